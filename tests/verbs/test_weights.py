"""Models with rounded weights: what it costs, what works, and what is refused."""

from pathlib import Path

import pytest
import torch

import ancestral
from ancestral.cli.main import main
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.int8 import Int8Linear
from ancestral.models import registry, store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = registry.create("transformer", Event.integers((12,), 7, ("time",)), width=32, layers=2, heads=2)
    store.save(model, tmp_path / "model")
    return tmp_path / "model"


def test_all_linear_layers_are_of_eight_bits_and_likelihoods_are_near(folder):
    whole, rounded = ancestral.load(folder), ancestral.load(folder, weights="int8")
    layers = [m for m in rounded.modules() if isinstance(m, Int8Linear | torch.nn.Linear)]
    assert len(layers) == 2 * 4 + 1
    assert all(isinstance(layer, Int8Linear) for layer in layers)
    x = whole.sample(20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rounded.log_prob(x), whole.log_prob(x), rtol=0.0, atol=0.2)
    assert not torch.equal(rounded.log_prob(x), whole.log_prob(x))
    assert rounded.sample(3, generator=torch.Generator().manual_seed(0)).shape == (3, 12)


def test_half_precision_is_that_of_a_saved_model(folder, tmp_path):
    whole, rounded = ancestral.load(folder), ancestral.load(folder, weights="half")
    store.save(whole, tmp_path / "half", half=True)
    saved = dict(ancestral.load(tmp_path / "half").named_parameters())
    assert all(p.dtype == torch.float32 and torch.equal(p, saved[name]) for name, p in rounded.named_parameters())
    assert any(not torch.equal(p, rounded.get_parameter(name)) for name, p in whole.named_parameters())
    with torch.no_grad():
        whole.get_parameter("output.weight")[0, 0] = 1e6
    store.save(whole, tmp_path / "large")
    with pytest.raises(InvalidInput, match=r"output.weight does not fit half precision"):
        ancestral.load(tmp_path / "large", weights="half")


def test_bfloat16_gives_nearly_the_same_likelihoods_and_draws(tmp_path):
    torch.manual_seed(0)
    model = registry.create("gated-pixelcnn", Event.integers((1, 6, 6), 256), channels=16, layers=3).eval()
    store.save(model, tmp_path / "model")
    other = ancestral.load(tmp_path / "model", weights="bfloat16")
    assert all(p.dtype == torch.bfloat16 for p in other.parameters())
    x = ancestral.sample(other, 16, seed=0)
    assert x.dtype == torch.uint8
    ours, theirs = other.log_prob(x), model.log_prob(x)
    assert ours.dtype == torch.float32
    assert not torch.equal(ours, theirs)
    torch.testing.assert_close(ours, theirs, rtol=0.01, atol=0.0)
    steps: list[torch.Tensor] = []
    flat = x.flatten(1)
    other.run(other.init_state(16), lambda entry, raw: steps.append(raw) or flat[:, entry])
    torch.testing.assert_close(torch.stack(steps, dim=1), other(x).flatten(1, 3), rtol=0.0, atol=0.1)


def test_a_resized_model_keeps_them(folder):
    longer = ancestral.load(folder, weights="int8").resized(20)
    assert sum(isinstance(m, Int8Linear) for m in longer.modules()) == 9
    assert longer.sample(1, generator=torch.Generator().manual_seed(0)).shape == (1, 20)


def test_what_cannot_be_is_refused(folder, tmp_path):
    with pytest.raises(InvalidInput, match=r"no kind of weights 'int4'.*Choose one of half, int8, bfloat16"):
        ancestral.load(folder, weights="int4")
    store.save(registry.create("transformer", Event.integers((4,), 300, ("time",))), tmp_path / "many")
    with pytest.raises(Unsupported, match=r"transformer of 4.* cannot compute in bfloat16.*at most 257 levels"):
        ancestral.load(tmp_path / "many", weights="bfloat16")
    store.save(registry.create("vae", Event.binary((4,))), tmp_path / "vae")
    with pytest.raises(Unsupported, match=r"vae of 4 binary.*autoregressive"):
        ancestral.load(tmp_path / "vae", weights="bfloat16")
    rounded = ancestral.load(folder, weights="int8")
    with pytest.raises(InvalidInput, match="save the model that they were made from"):
        store.save(rounded, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    store.save(registry.create("made", Event.binary((4,))), tmp_path / "made")
    with pytest.raises(Unsupported, match=r"weights of a made cannot be rounded.*transformer"):
        ancestral.load(tmp_path / "made", weights="int8")


def test_steps_give_what_a_pass_gives(folder):
    rounded = ancestral.load(folder, weights="int8").double()
    x = rounded.sample(4, generator=torch.Generator().manual_seed(0))
    steps = []
    rounded.run(rounded.init_state(4), lambda entry, raw: steps.append(raw) or x[:, entry])
    torch.testing.assert_close(torch.stack(steps, dim=1), rounded(x), rtol=1e-10, atol=1e-10)


def test_the_command_line_takes_them(folder, tmp_path, capsys):
    assert main(["sample", str(folder), "--weights", "int8", "-n", "2", "-o", str(tmp_path / "x.npy"), "--quiet"]) == 0
    assert main(["sample", str(folder), "--weights", "int3", "-n", "2", "-o", str(tmp_path / "y.npy")]) == 2
    assert "no kind of weights 'int3'" in capsys.readouterr().err
    assert not (tmp_path / "y.npy").exists()
