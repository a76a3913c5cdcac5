"""An RBM of 784-500 over 60,000 random binary images, persistent chains, beside scikit-learn's BernoulliRBM."""

import numpy as np
import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.models.energy.rbm import RBM
from benchmarks.harness import AbsentError, Build, Clock, Contender, Measure, Settings, Table, bare, fitted, now

VISIBLE, HIDDEN, EPOCH = 784, 500, 60_000
BATCHES = (10, 100)
"""scikit-learn's own batch, and the literature's; each has as many persistent chains, as scikit-learn has."""


def images(settings: Settings) -> Tensor:
    """Random binary images, (n, 784)."""
    return (torch.rand(256 if settings.tiny else EPOCH, VISIBLE) < 0.2).to(torch.uint8)


def _our(batch: int) -> RBM:
    return RBM(Event.binary((VISIBLE,)), hidden=HIDDEN, persistent=True, chains=batch)


def _fitted(batch: int) -> Build:
    def build(settings: Settings) -> Contender:
        model = _our(batch)
        return fitted(model, images(settings), batch, settings, model.free_energy)

    return build


def _bare(batch: int) -> Build:
    def build(settings: Settings) -> Contender:
        model = _our(batch)
        return bare(model, images(settings), batch, settings, lambda rows: model.loss(rows)["loss"], model.free_energy)

    return build


def _scikit(batch: int, dtype: type) -> Build:
    def build(settings: Settings) -> Contender:
        from sklearn.neural_network import BernoulliRBM

        if settings.precision != "float32":
            raise AbsentError("it has no bfloat16")
        x = images(settings).numpy().astype(dtype)
        model = BernoulliRBM(n_components=HIDDEN, batch_size=batch, n_iter=1, random_state=0).fit(x[: 2 * batch])

        def train(n: int) -> float:
            rows = np.resize(x, (n * batch, VISIBLE))
            began = now()
            # One call is one pass over these rows, without its own monitor of the pseudo-likelihood.
            model.fit(rows)
            return now() - began

        def score(n: int) -> float:
            per_epoch = len(x) // batch
            began = now()
            for step in range(n):
                start = step % per_epoch * batch
                model._free_energy(x[start : start + batch])
            return now() - began

        return Contender(VISIBLE * HIDDEN + VISIBLE + HIDDEN, {"train": Clock(train, batch), "score": Clock(score, batch)})

    return build


TABLE = Table(
    "rbm",
    "RBM",
    {"train": Measure("training, examples/s"), "score": Measure("free energies, rows/s")},
    {
        f"binary {VISIBLE}, hidden {HIDDEN}, PCD-1, batches of {batch}": {
            "ancestral": _fitted(batch),
            "ancestral, bare loop": _bare(batch),
            "scikit-learn BernoulliRBM, float32": _scikit(batch, np.float32),
            "scikit-learn BernoulliRBM, float64": _scikit(batch, np.float64),
        }
        for batch in BATCHES
    },
)
