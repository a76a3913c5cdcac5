"""Deep generative models: train any of them on your own data, then sample, score, complete and compress."""

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.likelihood import Likelihood

__version__ = "0.1.0"
__all__ = ["Event", "InvalidInput", "Likelihood", "Unsupported", "__version__"]
