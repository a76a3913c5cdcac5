"""Checkpoints: safetensors and a JSON manifest with its checksum, whole or refused."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.files import write_bytes, write_text

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on: tensors by name, and JSON-able scalars."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names start with `prefix` and a dot, without it."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(prefix + ".")}


def save(folder: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and remove all but the newest `keep`.

    The tensors are written first and the manifest, which holds their checksum, last: a checkpoint without a
    manifest does not exist. Both are written to a temporary name, synced and renamed.

    Raises:
        OSError: if they cannot be written; older checkpoints are untouched then.
    """
    content = save_tensors({name: t.detach().cpu().contiguous().clone() for name, t in checkpoint.tensors.items()})
    path = folder / f"step-{step:09d}.safetensors"
    manifest = {
        "format": FORMAT,
        "step": step,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "scalars": checkpoint.scalars,
    }
    try:
        write_bytes(path, content)
        write_text(path.with_suffix(".json"), json.dumps(manifest, indent=1) + "\n")
    except OSError as error:
        if not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)
        kept = newest(folder)
        last = f"the last good one, {kept}, is kept" if kept else "there is no earlier one"
        raise OSError(
            error.errno,
            f"the checkpoint of step {step} could not be written ({error.strerror}); {last}: free some space and resume",
        ) from error
    for old in paths(folder)[:-keep]:
        # The manifest goes first, so that no manifest is ever without its tensors.
        old.with_suffix(".json").unlink()
        old.unlink(missing_ok=True)
    return path


def paths(folder: Path) -> list[Path]:
    """Return the checkpoints of `folder` that have a manifest, oldest first."""
    return sorted(p.with_suffix(".safetensors") for p in folder.glob("step-*.json"))


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole, or None."""
    for path in reversed(paths(folder)):
        if problem(path) is None:
            return path
    return None


def problem(path: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, or None."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return f"has format {manifest['format']}, expected {FORMAT}"
        expected_bytes, expected_sum = int(manifest["bytes"]), str(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"has an unreadable manifest ({error})"
    if not path.is_file():
        return "is missing"
    # The size is compared before anything is read into memory.
    if path.stat().st_size != expected_bytes:
        return f"has {path.stat().st_size} bytes, expected {expected_bytes}: it is truncated or altered"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected_sum:
            return "has another checksum than its manifest: it was altered"
    return None


def load(folder: Path, path: Path | None = None) -> Checkpoint:
    """Load a checkpoint.

    Args:
        folder: the folder of checkpoints.
        path: the checkpoint; the newest where None.

    Raises:
        InvalidInput: if there is none, or it is damaged; the message names the last good one.
    """
    candidates = paths(folder)
    if path is None:
        if not candidates:
            raise InvalidInput(f"{folder} holds no checkpoint: the run was stopped before its first one; start it again")
        path = candidates[-1]
    wrong = problem(path)
    if wrong is not None:
        good = newest(folder)
        advice = (
            f"the last good one is {good}: resume with --checkpoint {good}" if good else "no good one is left: start again"
        )
        raise InvalidInput(f"the checkpoint {path} {wrong}; {advice}")
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Checkpoint(load_tensors(path.read_bytes()), manifest["scalars"])
