"""Model and optimizer state as whole tensors by name, whether or not the run shards them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


def shard(model: nn.Module, mesh: Any) -> nn.Module:
    """Shard the parameters over the data-parallel processes (FSDP2), so that `loss` gathers them as it needs them."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    fully_shard(model, mesh=mesh["data_parallel"])
    register_fsdp_forward_method(model, "loss")
    return model


def gather(tensor: Tensor) -> Tensor:
    """Return a whole tensor; where it is sharded every process must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor sharded as `like` is; where it is, every process must call this."""
    return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state of a model by name."""
    return {name: gather(tensor) for name, tensor in model.state_dict().items()}


@torch.no_grad()
def load_model_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Restore what `model_state` returned."""
    for name, tensor in model.state_dict().items():
        tensor.copy_(distribute(state[name].to(tensor.device), tensor))


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as tensors and scalars; hyper-parameters are not part of it, the loop sets them."""
    flat = {f"{i}.{k}": v for i, state in optimizer.state_dict()["state"].items() for k, v in state.items()}
    tensors = {k: gather(v) for k, v in flat.items() if isinstance(v, Tensor)}
    return tensors, {k: v for k, v in flat.items() if not isinstance(v, Tensor)}


def load_optimizer_state(optimizer: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """Restore what `optimizer_state` returned."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    # Sorted, so that all processes distribute in the same order.
    for name, value in sorted({**tensors, **scalars}.items()):
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        # Moments are sharded like their parameter; step counts are scalars.
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value = distribute(value.to(parameter.device), parameter)
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
