"""Training: groups, losses and measures, gradients that reach every parameter, and seeded runs that agree to the bit."""

from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ancestral.data.base import ArraySplit, Data
from ancestral.models import Model, registry
from ancestral.training import TrainConfig, create_model, fit
from tests.contracts.cases import Case, contract, generator, log_prob

BATCH = 16


def groups_at(model: Model, step: int) -> tuple[str, ...]:
    groups = model.groups_at(step)
    return tuple(model.parameter_groups() if groups is None else groups)


def train(model: Model, case: Case, steps: int, seed: int = 0) -> dict[str, Tensor]:
    """Take a few steps of Adam; return the largest size of each parameter's gradient in its own groups' losses."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = model.parameter_groups()
    optimizers = {group: torch.optim.Adam(parameters, lr=0.02) for group, parameters in groups.items()}
    largest: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    noise = generator(seed)
    model.train()
    for step in range(steps):
        x, condition = case.data(BATCH, seed=1000 * seed + step), case.conditions(BATCH, seed=1000 * seed + step)
        for group in groups_at(model, step):
            model.zero_grad(set_to_none=True)
            model.loss(x, condition, group=group, generator=noise)["loss"].backward()
            for parameter in groups[group]:
                if parameter.grad is not None:
                    name = names[id(parameter)]
                    largest[name] = torch.maximum(largest[name], parameter.grad.abs().max())
            optimizers[group].step()
            model.after_step(group)
    return largest


@contract()
def test_every_parameter_is_in_one_group_of_a_step(case: Case) -> None:
    """In one group, or in several of different steps: layers that are trained alone first, and all together later."""
    model = case.build()
    groups = model.parameter_groups()
    assert {id(p) for parameters in groups.values() for p in parameters} == {
        id(p) for p in model.parameters() if p.requires_grad
    }
    for step in range(20):
        grouped = [id(p) for group in groups_at(model, step) for p in groups[group]]
        assert len(grouped) == len(set(grouped)), "a step updates a parameter in two groups"
    updated = {group for step in range(20) for group in groups_at(model, step)}
    assert updated == set(groups)


@contract()
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    """In some of the first steps, from some initial weights: a layer may start at zero, and a tiny ReLU may be dead."""
    missing: set[str] = set()
    for seed in range(4):
        model = case.build(seed, spread=0.0)
        names = {name for name, p in model.named_parameters() if p.requires_grad}
        largest = train(model, case, steps=6, seed=seed)
        assert all(bool(torch.isfinite(value)) for value in largest.values())
        reached = {name for name, value in largest.items() if float(value) > 0.0}
        missing = names - reached if seed == 0 else missing - reached
        if not missing:
            return
    pytest.fail(f"no gradient ever reached {sorted(missing)}")


@contract()
def test_losses_are_scalars(case: Case) -> None:
    model = case.build().train()
    for group in model.parameter_groups():
        values = model.loss(case.data(BATCH), case.conditions(BATCH), group=group, generator=generator())
        assert values["loss"].requires_grad
        for name, value in values.items():
            assert value.shape == (), name
            assert bool(torch.isfinite(value)), name
            assert name == "loss" or not value.requires_grad, f"{name} keeps the graph alive: detach it"


@contract()
@torch.no_grad()
def test_measures_are_one_number_for_each_datum(case: Case) -> None:
    model, x, condition = case.build(), case.data(BATCH), case.conditions(BATCH)
    measured = model.measures(x, condition, generator=generator())
    assert model.monitor in measured
    for name, value in measured.items():
        assert value.shape == (BATCH,), name
        assert bool(torch.isfinite(value).all()), name
    # A model whose likelihood takes many passes may be validated on an estimate, under another name.
    if case.exact and "nats" in measured:
        torch.testing.assert_close(measured["nats"], -log_prob(model, x, condition))


@contract()
def test_losses_keep_their_digits_under_mixed_precision(case: Case) -> None:
    """bfloat16 in the layers, at least 32 bits in what is summed over a datum."""
    x, condition = case.data(BATCH), case.conditions(BATCH)
    for group in case.build().parameter_groups():
        full = case.build().loss(x, condition, group=group, generator=generator())["loss"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = case.build().loss(x, condition, group=group, generator=generator())["loss"]
        assert mixed.dtype == torch.float32
        torch.testing.assert_close(mixed, full, rtol=0.1, atol=0.1)


@contract()
def test_two_seeded_trainings_agree_to_the_bit(case: Case) -> None:
    states = []
    for _ in range(2):
        model = case.build(spread=0.0)
        train(model, case, steps=3)
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("name", registry.names())
def test_two_seeded_runs_agree_to_the_bit(name: str, tmp_path: Path) -> None:
    cls = registry.get(name)
    case = Case(name, 0, cls.examples[0]["event"], cls.examples[0].get("condition"))
    x, condition = case.data(24), case.conditions(24)
    splits = {"train": ArraySplit(x, condition), "validation": ArraySplit(x, condition)}
    data = Data("toy", case.event, splits, condition=case.condition)
    options = {key: value for key, value in cls.examples[0].items() if key not in ("event", "condition")}
    config = TrainConfig.for_model(cls, steps=3, epochs=None, batch_size=8, samples=0, loggers=("csv",))
    weights = []
    for folder in ("one", "two"):
        model = create_model(name, case.event, case.condition, seed=0, **options)
        run = fit(model, data, tmp_path / folder, config, progress=False)
        weights.append((run.path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
