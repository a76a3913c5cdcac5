"""A run whose loss is no finite number stops there, says where, and keeps what was good."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ancestral.cli.main import main
from ancestral.data.base import ArraySplit, Data, Split
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import Model
from ancestral.training import TrainConfig, fit
from ancestral.training import checkpoint as checkpoints
from ancestral.training.divergence import Watch

EVENT = Event.real((2,))


class Diverging(Model):
    """A mean that is learned, with a term that is not a number from one step on, and weights from another on."""

    name: ClassVar[str] = "diverging"

    def __init__(self, event: Event, condition: Event | None = None, *, loss_at: int = 10**9, weights_at: int = 10**9) -> None:
        super().__init__(event, condition)
        self.mean = nn.Parameter(torch.zeros(2))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))  # buffers may be what they like
        self.loss_at, self.weights_at, self.steps = loss_at, weights_at, 0

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        distance = (x - self.mean).square().sum(1).mean()
        penalty = distance.new_tensor(torch.nan if self.steps >= self.loss_at else 0.0)
        self.steps += 1
        return {"loss": distance + penalty, "distance": distance.detach(), "penalty": penalty}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        return {"nats": (x - self.mean).square().sum(1)}

    def after_step(self, group: str) -> None:
        if self.steps > self.weights_at:
            with torch.no_grad():
                self.mean[1] = torch.inf


def train(path: Path, model: Model, *, validation: bool = True, checkpoint_every: int = 0) -> None:
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    splits: dict[str, Split] = {"train": ArraySplit(x)}
    if validation:
        splits["validation"] = ArraySplit(x)
    config = TrainConfig(
        batch_size=8, epochs=4, samples=0, loggers=("csv",), log_every=1000, checkpoint_every=checkpoint_every
    )
    fit(model, Data("toy", EVENT, splits), path, config, progress=False)


def refused(path: Path, model: Model, *, validation: bool = True, checkpoint_every: int = 0) -> str:
    with pytest.raises(InvalidInput) as caught:
        train(path, model, validation=validation, checkpoint_every=checkpoint_every)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("training diverged: ")
    return text


def test_the_first_bad_loss_ends_it_and_names_term_and_batch(tmp_path: Path) -> None:
    text = refused(tmp_path / "run", Diverging(EVENT, loss_at=7), checkpoint_every=3)  # 5 batches in an epoch
    assert "penalty is nan at step 8, batch 3 of epoch 2" in text
    assert "distance" not in text
    assert "lower --train.learning_rate" in text
    kept = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert kept is not None
    assert kept.stem == "step-000000006"
    assert str(kept) in text
    assert f"ancestral fit --resume {tmp_path / 'run'}" in text


def test_it_stops_before_the_weights_have_changed(tmp_path: Path) -> None:
    model = Diverging(EVENT, loss_at=3)
    refused(tmp_path / "run", model)
    assert model.steps == 4, "no step after the bad one"
    assert bool(model.mean.isfinite().all())
    assert "there is no checkpoint yet: start again with --overwrite" in refused(
        tmp_path / "other", Diverging(EVENT, loss_at=0)
    )


@pytest.mark.parametrize("validation", [True, False])
def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path, validation: bool) -> None:
    """Broken in the step before an evaluation, so that no loss has told."""
    text = refused(tmp_path / "run", Diverging(EVENT, weights_at=9), validation=validation)
    assert ("validation nats is inf after step 10" if validation else "mean is not finite after step 10") in text
    assert checkpoints.paths(tmp_path / "run" / "checkpoints")[-1].stem == "step-000000005"
    saved = checkpoints.load(tmp_path / "run" / "checkpoints")
    assert bool(saved.part("model")["mean"].isfinite().all())


def test_losses_are_found_later_where_looking_would_wait(tmp_path: Path) -> None:
    watch = Watch(tmp_path, 10, at_once=False)
    for step in range(25):
        term = torch.tensor(-torch.inf if step in (12, 20) else 1.0)
        watch.see(step, {"loss": term + 1.0, "kl": term})
    with pytest.raises(InvalidInput, match="kl is -inf at step 13, batch 3 of epoch 2"):
        watch.check(torch.tensor(-torch.inf))
    watch.check(torch.tensor(3.0))  # what was seen is forgotten
    with pytest.raises(InvalidInput, match="the losses of all processes add up to nan"):
        watch.check(torch.tensor(torch.nan))


def test_an_absurd_learning_rate_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["fit", "vae", "digits", "-o", "run", "--quiet", "--model.hidden", "8", "--model.latent", "2"]
    argv += ["--train.learning_rate", "1e30", "--train.steps", "50", "--train.samples", "0", "--train.loggers", "csv"]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("ancestral: error: training diverged: ")
    assert err.count("\n") == 1
    assert "lower --train.learning_rate" in err
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert main([*argv, "--overwrite", "--train.learning_rate", "1e-3", "--train.steps", "2"]) == 0
