"""Training: one loop on Lightning Fabric for every model, run directories, and bit-exact resume."""

from ancestral.training.config import TrainConfig
from ancestral.training.fit import create_model, fit, resume
from ancestral.training.loop import TrainingInterrupted
from ancestral.training.run import Run

__all__ = ["Run", "TrainConfig", "TrainingInterrupted", "create_model", "fit", "resume"]
