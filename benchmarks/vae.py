"""A VAE of 784-512-16 over 60,000 random binary images, beside pythae's own trainer and plain torch."""

import tempfile
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.event import Event
from ancestral.models.base import count_parameters
from ancestral.models.latent.vae import VAE
from benchmarks.harness import SCORE, AbsentError, Clock, Contender, Measure, Settings, Table, bare, fitted, ours

LATENT, HIDDEN, BATCH, EPOCH = 16, 512, 128, 60_000


def images(settings: Settings) -> Tensor:
    """Random binary images, (n, 1, 28, 28)."""
    return (torch.rand(256 if settings.tiny else EPOCH, 1, 28, 28) < 0.2).to(torch.uint8)


def _our() -> VAE:
    return VAE(Event.binary((1, 28, 28)), latent=LATENT, hidden=(HIDDEN,))


class PlainVAE(nn.Module):
    """The same networks and the same bound in plain torch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))

    def bound(self, x: Tensor) -> Tensor:
        x = x.flatten(1).float()
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z).float(), x, reduction="none").sum(1)
        return 0.5 * (1.0 + log_var - mean.square() - log_var.exp()).sum(1) - reconstruction


def _plain(settings: Settings) -> Contender:
    model = PlainVAE()
    return bare(model, images(settings), BATCH, settings, lambda x: -model.bound(x).mean(), model.bound)


def _pythae(settings: Settings) -> Contender:
    import pythae  # noqa: F401
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    if settings.precision != "float32":
        raise AbsentError("its trainer has mixed precision on CUDA alone")
    x = images(settings).float()
    model = PythaeVAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce"))

    def train(n: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(folder, BATCH, BATCH, num_epochs=1, learning_rate=1e-4, no_cuda=True)
            rows = x.repeat(-(-n * BATCH // len(x)), 1, 1, 1)[: n * BATCH]
            trainer = BaseTrainer(model, BaseDataset(rows, torch.zeros(len(rows))), training_config=config)
            trainer.prepare_training()
            began = time.perf_counter()
            trainer.train_step(1)
            return time.perf_counter() - began

    def score(n: int) -> float:
        model.eval()
        per_epoch = len(x) // BATCH
        began = time.perf_counter()
        with torch.no_grad():
            for step in range(n):
                start = step % per_epoch * BATCH
                model({"data": x[start : start + BATCH]})
        return time.perf_counter() - began

    return Contender(count_parameters(model.parameters()), {"train": Clock(train, BATCH), "score": Clock(score, BATCH)})


TABLE = Table(
    "vae",
    "VAE",
    {"train": Measure("seconds per epoch of 60,000", rate=False, scale=EPOCH), "score": SCORE},
    {
        "binary 784, hidden 512, code 16, batches of 128": {
            "ancestral": lambda s: fitted(_our(), images(s), BATCH, s),
            "ancestral, bare loop": lambda s: ours(_our(), images(s), BATCH, s),
            "plain torch, bare loop": _plain,
            "pythae BaseTrainer": _pythae,
        }
    },
)
