"""Deep generative models: train any of them on your own data, then sample, score, complete and compress.

Everything public is imported when it is first used, so that `import ancestral` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ancestral.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from ancestral.event import Event
    from ancestral.likelihood import Likelihood
    from ancestral.models.base import Model
    from ancestral.training import Run, TrainConfig
    from ancestral.training.fit import resume
    from ancestral.verbs.compare import Comparison, compare
    from ancestral.verbs.evaluate import Evaluation, evaluate
    from ancestral.verbs.fit import fit
    from ancestral.verbs.sample import sample
    from ancestral.verbs.score import score
    from ancestral.zoo import load

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Evaluation",
    "Event",
    "InvalidInput",
    "Likelihood",
    "Model",
    "Run",
    "TrainConfig",
    "Unsupported",
    "__version__",
    "compare",
    "evaluate",
    "fit",
    "load",
    "resume",
    "sample",
    "score",
]

_HOMES = {
    "Comparison": "ancestral.verbs.compare",
    "Evaluation": "ancestral.verbs.evaluate",
    "Event": "ancestral.event",
    "Likelihood": "ancestral.likelihood",
    "Model": "ancestral.models.base",
    "Run": "ancestral.training",
    "TrainConfig": "ancestral.training",
    "compare": "ancestral.verbs.compare",
    "evaluate": "ancestral.verbs.evaluate",
    "fit": "ancestral.verbs.fit",
    "load": "ancestral.zoo",
    "resume": "ancestral.training",
    "sample": "ancestral.verbs.sample",
    "score": "ancestral.verbs.score",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ancestral' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
