"""The loop: limits, schedules, averaging, precision, logs, early stopping, divergence."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ancestral.data import load
from ancestral.data.base import ArraySplit, Data
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import store
from ancestral.training import Run, TrainConfig, create_model, fit
from ancestral.training.ema import EMA
from ancestral.training.sampler import Sampler, shard


def toy(n: int = 64) -> Data:
    x = (torch.rand(n, 6, generator=torch.Generator().manual_seed(0)) < 0.3).to(torch.uint8)
    return Data("toy", Event.binary((6,)), {"train": ArraySplit(x), "validation": ArraySplit(x[: n // 2])})


def train(path: Path, data: Data | None = None, **config) -> Run:
    data = data or toy()
    model = create_model("fvsbn", data.event)
    settings = {"batch_size": 8, "samples": 4, "loggers": ("csv",), **config}
    return fit(model, data, path, TrainConfig(**settings), progress=False)


def values(run: Run, split: str, metric: str) -> list[float]:
    metrics = run.metrics
    return metrics[(metrics["split"] == split) & (metrics["metric"] == metric)]["value"].tolist()


def test_a_run_directory_holds_all_that_it_promises(tmp_path: Path) -> None:
    run = train(tmp_path / "run", epochs=2, loggers=("csv", "tensorboard"))
    for name in ("config.json", "model.safetensors", "metrics.csv", "learning-curve.png", "samples.png", "README.md"):
        assert (run.path / name).stat().st_size > 0, name
    assert len(list((run.path / "samples").glob("*.png"))) == 2
    assert list((run.path / "tensorboard").glob("events*"))
    assert run.config["training"]["epochs"] == 2
    assert run.config["data"]["splits"] == {"train": 64, "validation": 32}
    assert not [p for p in run.path.rglob(".*") if p.is_file()], "a temporary file was left"


@pytest.mark.parametrize(("limit", "steps"), [({"steps": 5}, 5), ({"epochs": 2}, 16), ({"epochs": 9, "steps": 3}, 3)])
def test_limits(tmp_path: Path, limit: dict, steps: int) -> None:
    assert train(tmp_path / "run", log_every=1, **limit).metrics["step"].max() == steps


def test_minutes_end_a_run(tmp_path: Path) -> None:
    run = train(tmp_path / "run", minutes=0.02, log_every=1, samples=0, evaluate_every=1000)
    assert 1.0 < run.metrics["seconds"].max() < 10.0


def test_schedule_and_warm_up(tmp_path: Path) -> None:
    run = train(tmp_path / "run", steps=8, warmup_steps=2, learning_rate=0.1, log_every=1)
    rates = values(run, "train", "learning_rate")
    # The rate is logged after the step, so it is that of the step to come.
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * t / 8)) * min(1.0, (t + 1) / 2) for t in range(1, 9)]
    assert rates[:7] == pytest.approx(expected[:7])
    assert rates[7] == pytest.approx(0.0, abs=1e-12)


def test_training_learns_and_the_best_model_is_kept(tmp_path: Path) -> None:
    run = train(tmp_path / "run", epochs=30, learning_rate=0.01)
    nats = values(run, "validation", "nats")
    assert nats[-1] < nats[0] - 0.1
    x, _ = toy().splits["validation"].batch(torch.arange(32))
    assert -run.model().log_prob(x).mean().item() == pytest.approx(min(nats), rel=1e-5)


def test_patience_stops(tmp_path: Path) -> None:
    # Validation data that contradict the training data get worse from the start.
    data = toy()
    data.splits["validation"] = ArraySplit(1 - data.splits["train"].batch(torch.arange(32))[0])
    run = train(tmp_path / "run", data, epochs=50, patience=3, learning_rate=0.05)
    assert len(values(run, "validation", "nats")) <= 6


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    a = train(tmp_path / "a", steps=8, batch_size=32, precision="64", ema=0.5)
    b = train(tmp_path / "b", steps=8, batch_size=16, accumulate=2, precision="64", ema=0.5)
    left, right = (load_file(run.path / store.WEIGHTS) for run in (a, b))
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("precision", ["bf16", "32", "64"])
def test_precisions(tmp_path: Path, precision: str) -> None:
    run = train(tmp_path / "run", epochs=8, precision=precision, learning_rate=0.05)
    nats = values(run, "validation", "nats")
    assert nats[-1] < nats[0]
    dtype = torch.float64 if precision == "64" else torch.float32
    assert load_file(run.path / store.WEIGHTS)["weight"].dtype == dtype


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"diverged.*learning_rate"):
        train(tmp_path / "run", steps=200, learning_rate=1e38, optimizer="sgd", log_every=1)


def test_model_and_data_must_fit(tmp_path: Path) -> None:
    model = create_model("fvsbn", Event.binary((5,)))
    with pytest.raises(InvalidInput, match="the model is for 5 binary"):
        fit(model, toy(), tmp_path / "run", TrainConfig(), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"optimizer": "adamm"}, {"ema": 1.0}, {"precision": "8"}, {"loggers": ("paper",)}, {"batch_size": 0}],
)
def test_settings_out_of_range(bad: dict) -> None:
    with pytest.raises(InvalidInput, match=next(iter(bad)).rstrip("s")):
        TrainConfig(**bad)


def test_unknown_setting_names_near_ones() -> None:
    with pytest.raises(InvalidInput, match="Did you mean learning_rate"):
        TrainConfig.from_json({"learning_rat": 0.1})


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(tmp_path / "run", steps=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_sampler_covers_an_epoch_once_and_divides_it_among_processes() -> None:
    n, batch = 103, 8
    whole = Sampler(n, 2 * batch, seed=5)
    parts = [Sampler(n, batch, seed=5, rank=r, world=2) for r in range(2)]
    assert whole.batches == parts[0].batches == 6
    seen = [whole.indices(i) for i in range(6)]
    assert len(torch.cat(seen).unique()) == 96
    for i, indices in enumerate(seen):
        assert torch.equal(indices, torch.cat([p.indices(i) for p in parts]))
    assert not torch.equal(whole.indices(6), seen[0])
    assert torch.equal(Sampler(n, 2 * batch, seed=5).indices(9), whole.indices(9))


def test_shards_partition() -> None:
    for n in (1, 7, 64):
        for world in (1, 2, 3):
            parts = [torch.cat([*shard(n, 4, r, world), torch.empty(0, dtype=torch.long)]) for r in range(world)]
            assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))


def test_a_limited_evaluation_is_spread_over_the_split() -> None:
    parts = torch.cat(list(shard(10_000, 64, 0, 1, limit=100)))
    assert torch.equal(parts, torch.arange(100) * 100)


def test_ema_is_the_recursion_and_swaps_back() -> None:
    linear = torch.nn.Linear(2, 1).double()
    ema = EMA(linear, 0.9)
    shadow = linear.weight.detach().clone()
    for t in range(1, 20):
        with torch.no_grad():
            linear.weight += 1.0
        ema.update()
        decay = min(0.9, (1 + t) / (10 + t))
        shadow = decay * shadow + (1 - decay) * linear.weight.detach()
    current = linear.weight.detach().clone()
    with ema.applied():
        torch.testing.assert_close(linear.weight, shadow, check_dtype=True)
    assert torch.equal(linear.weight, current)


def test_digits_with_a_condition_draws_a_picture(tmp_path: Path) -> None:
    data = load("digits", condition="label")
    model = create_model("vae", data.event, data.condition, latent=2, hidden=(16,))
    run = fit(model, data, tmp_path / "run", TrainConfig(steps=3, samples=10), progress=False)
    assert (run.path / "samples.png").exists()


def test_a_stream_trains_by_steps_and_resumes_to_the_bit(tmp_path: Path) -> None:
    from datasets import Dataset

    from ancestral.training import resume

    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2400, 3, generator=generator).numpy()
    Dataset.from_dict({f"c{i}": table[:, i] for i in range(3)}).to_parquet(tmp_path / "table.parquet")
    data = load(tmp_path / "table.parquet", stream=True)

    def run(name: str, steps: int, **config) -> Run:
        model = create_model("made", data.event, hidden=(8,))
        settings = TrainConfig(steps=steps, schedule="constant", samples=0, log_every=1, loggers=("csv",), **config)
        return fit(model, data, tmp_path / name, settings, progress=False)

    whole, part = run("whole", 9), run("part", 4)
    resumed = resume(part.path, steps=9, progress=False)
    left, right = load_file(whole.path / store.WEIGHTS), load_file(resumed.path / store.WEIGHTS)
    assert all(torch.equal(left[name], right[name]) for name in left)
    with pytest.raises(InvalidInput, match="steps"):
        fit(create_model("made", data.event), data, tmp_path / "epochs", TrainConfig(epochs=2), progress=False)
    assert not (tmp_path / "epochs" / "config.json").exists()
