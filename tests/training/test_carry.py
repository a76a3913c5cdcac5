"""Truncated back-propagation through time: batches that follow one another, and state that goes with them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ancestral.data import load
from ancestral.data.base import Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.lstm_lm import LSTMLanguageModel
from ancestral.training import Run, TrainConfig, create_model, fit, resume
from ancestral.training import checkpoint as checkpoints

TEXT = b"".join(b"%d " % i for i in range(400))
CONFIG = dict(steps=30, batch_size=3, carry=True, samples=0, log_every=5, checkpoint_every=4, loggers=("csv",))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    (tmp_path / "numbers.txt").write_bytes(TEXT)
    return load(str(tmp_path / "numbers.txt"), length=20, validation=100, test=100)


def model_of(data: Data) -> LSTMLanguageModel:
    model = create_model("lstm-lm", data.event, None, seed=3, width=6, layers=2)
    assert isinstance(model, LSTMLanguageModel)
    return model


def run_in(path: Path, data: Data, **changes: object) -> Run:
    return fit(model_of(data), data, path, TrainConfig(**{**CONFIG, **changes}), progress=False)  # type: ignore[arg-type]


def test_each_row_reads_on_where_it_was(tmp_path: Path, data: Data) -> None:
    model = model_of(data)
    batches: list[Tensor] = []
    begun: list[bool] = []
    original = model.loss

    def loss(x: Tensor, condition: Tensor | None = None, **options: object) -> dict[str, Tensor]:
        assert model.carried is not None
        begun.append(bool((model.carried[0] == 256).all()))
        if batches and not begun[-1]:
            assert torch.equal(model.carried[0][:, 0], batches[-1][:, -1].long())
        batches.append(x)
        return original(x, condition, **options)  # type: ignore[arg-type]

    model.loss = loss  # type: ignore[method-assign]
    fit(model, data, tmp_path / "run", TrainConfig(**CONFIG), progress=False)  # type: ignore[arg-type]
    per_epoch = len(data.split("train")) // 3
    assert begun == [step % per_epoch == 0 for step in range(30)]
    text = bytes(torch.cat(batches[:per_epoch], dim=1)[1].tolist())
    assert text in TEXT
    assert model.carried is None  # what is done with it after training begins anew


def test_a_resumed_run_knows_the_state(tmp_path: Path, data: Data) -> None:
    whole = run_in(tmp_path / "whole", data, schedule="constant")
    part = run_in(tmp_path / "part", data, schedule="constant", steps=14)
    resumed = resume(part.path, steps=30, progress=False)
    left, right = (checkpoints.load(run.checkpoints).tensors for run in (whole, resumed))
    assert {"carried.0.0", "carried.0.1", "carried.0.2"} < left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def test_carry_is_for_text_and_models_with_a_state(tmp_path: Path, data: Data) -> None:
    digits = load("digits", limit=50)
    model = create_model("lstm-lm", digits.event, None, seed=0, width=4, layers=1)
    with pytest.raises(InvalidInput, match="carry is for text"):
        fit(model, digits, tmp_path / "a", TrainConfig(**CONFIG), progress=False)  # type: ignore[arg-type]
    other = create_model("bytenet", data.event, None, seed=0, width=4, sets=1, max_dilation=2)
    with pytest.raises(Unsupported, match="no state to carry"):
        fit(other, data, tmp_path / "b", TrainConfig(**CONFIG), progress=False)  # type: ignore[arg-type]
    vae = create_model("vae", data.event, None, seed=0, hidden=(4,), latent=2)
    with pytest.raises(InvalidInput, match="no state to carry"):
        fit(vae, data, tmp_path / "c", TrainConfig(**CONFIG), progress=False)  # type: ignore[arg-type]
