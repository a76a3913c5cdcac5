"""Weights & Biases, where it is installed, behind the two calls that the report makes."""

from pathlib import Path

from ancestral.errors import InvalidInput


class WandbLogger:
    """Log scalars to Weights & Biases.

    Args:
        path: the run directory; its name is the run's name.

    Raises:
        InvalidInput: if wandb is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InvalidInput("the logger wandb is not installed: pip install ancestral[wandb], or leave it out") from error
        self._run = wandb.init(dir=str(path), name=path.name)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Log one value."""
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
