"""Optimizer and model state as named tensors and JSON-able scalars, sharded or not."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def model_state(model: nn.Module, sharded: bool) -> dict[str, Tensor]:
    """Return the whole model's state by name; under FSDP every process must call it."""
    if not sharded:
        return model.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return state


def load_model_state(model: nn.Module, state: dict[str, Tensor], sharded: bool) -> None:
    """Restore what `model_state` returned."""
    if not sharded:
        model.load_state_dict(state)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(model, dict(state), options=StateDictOptions(full_state_dict=True))


def optimizer_state(model: nn.Module, optimizer: Optimizer, sharded: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as tensors and scalars; hyper-parameters are not part of it, the loop sets them."""
    if sharded:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True, flatten_optimizer_state_dict=True)
        flat: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=options)
    else:
        flat = {f"{i}.{k}": v for i, state in optimizer.state_dict()["state"].items() for k, v in state.items()}
    tensors = {k: v for k, v in flat.items() if isinstance(v, Tensor)}
    return tensors, {k: v for k, v in flat.items() if not isinstance(v, Tensor)}


def load_optimizer_state(
    model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any], sharded: bool
) -> None:
    """Restore what `optimizer_state` returned."""
    flat: dict[str, Any] = {**tensors, **scalars}
    if sharded:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True, flatten_optimizer_state_dict=True)
        set_optimizer_state_dict(model, optimizer, flat, options=options)
        return
    state: dict[int, dict[str, Any]] = {}
    for name, value in flat.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(generator: torch.Generator) -> dict[str, Tensor]:
    """Return the states of the run's generator and of the global ones, as bytes."""
    state = {"run": generator.get_state(), "cpu": torch.random.get_rng_state()}
    if generator.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(generator.device)
    return state


def load_random_state(generator: torch.Generator, state: dict[str, Tensor]) -> None:
    """Restore what `random_state` returned."""
    generator.set_state(state["run"])
    torch.random.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], generator.device)
