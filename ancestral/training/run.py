"""A run directory: what a training leaves on disk, and how to use it."""

import csv
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ancestral.errors import InvalidInput
from ancestral.files import check_writable, replacing
from ancestral.models import store
from ancestral.models.base import Model

if TYPE_CHECKING:
    import pandas

COLUMNS = ("step", "epoch", "seconds", "split", "metric", "value")


class Run:
    """A folder with config.json, model.safetensors, metrics.csv, checkpoints/ and pictures.

    Args:
        path: the folder, which must hold a config.json.

    Raises:
        InvalidInput: if it is not a run directory.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config: dict[str, Any] = store.read_config(self.path)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> "pandas.DataFrame":
        """The logged metrics: columns step, epoch, seconds, split, metric, value."""
        import pandas

        path = self.path / "metrics.csv"
        if not path.is_file():
            return pandas.DataFrame(columns=list(COLUMNS))
        return pandas.read_csv(path)

    def model(self) -> Model:
        """Return the model that was best on validation, in evaluation mode."""
        return store.load(self.path)[0]


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Raise unless a new run can be put at `path`; nothing is made.

    Raises:
        InvalidInput: if it is a file, holds files, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is a file, expected a folder for the run: choose another with -o")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        what = "a run" if (path / store.CONFIG).exists() else "files"
        raise InvalidInput(f"{path} holds {what} already: resume it with --resume, choose another folder, or pass --overwrite")
    check_writable(path / store.CONFIG)


def claim(path: Path, *, overwrite: bool = False) -> None:
    """Make the folder of a new run, before anything is computed; what an earlier run left in it is removed.

    Raises:
        InvalidInput: as `check_free`.
    """
    check_free(path, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    if (path / store.CONFIG).exists():
        # Weights or checkpoints of the earlier run would pass for the new one's.
        for name in ("checkpoints", "samples", "tensorboard"):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in (store.CONFIG, store.WEIGHTS, "metrics.csv", "samples.png", "learning-curve.png"):
            (path / name).unlink(missing_ok=True)


class MetricsFile:
    """`metrics.csv`, appended row by row, and cut back to a step on resume.

    Args:
        path: the file.
        after: rows of later steps are removed.
    """

    def __init__(self, path: Path, after: int) -> None:
        self.path = path
        rows: list[list[str]] = []
        if path.exists():
            with path.open(newline="") as file:
                # A killed run can leave half a row at the end.
                rows = [r for r in list(csv.reader(file))[1:] if len(r) == len(COLUMNS) and int(r[0]) <= after]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file)

    def write(self, step: int, epoch: float, seconds: float, split: str, values: dict[str, float]) -> None:
        """Append one row for each metric."""
        for metric, value in values.items():
            self._writer.writerow([step, f"{epoch:.6g}", f"{seconds:.3f}", split, metric, repr(value)])
        self._file.flush()

    def sync(self) -> None:
        """Make the rows so far survive a crash of the machine."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
