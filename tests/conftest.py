"""What every test shares: one thread, one seed, and the folder of real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("ancestral", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("ancestral")

# Tensors here are tiny: a second thread costs more than it gives, and sums would depend on the machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Start every test from the same global random state, whatever ran before it."""
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == torch.float32, "a test left another default type behind"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need one are skipped where it is absent."""
    root = os.environ.get("ANCESTRAL_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real data: set ANCESTRAL_DATA to the folder that holds them")
    return Path(root)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small MADE, trained for a moment on some of the digits."""
    from ancestral.verbs.fit import fit

    folder = tmp_path_factory.mktemp("digits") / "made"
    options = {"hidden": (16,), "epochs": 1, "samples": 4, "loggers": ("csv",)}
    return fit("made", "digits", output=folder, data_options={"limit": 100}, progress=False, **options).path


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small MADE of digits given their label."""
    from ancestral.verbs.fit import fit

    folder = tmp_path_factory.mktemp("digits") / "conditional"
    options = {"hidden": (16,), "epochs": 1, "samples": 0, "loggers": ("csv",)}
    return fit("made", "digits", output=folder, condition="label", data_options={"limit": 100}, progress=False, **options).path
