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
    from ancestral.verbs.classify import Classification, classify
    from ancestral.verbs.compare import Comparison, compare
    from ancestral.verbs.complete import CollapseWarning, Completion, complete
    from ancestral.verbs.compress import Compressed, compress
    from ancestral.verbs.decompress import Restored, decompress
    from ancestral.verbs.disentangle import Disentanglement, disentangle
    from ancestral.verbs.evaluate import Evaluation, evaluate
    from ancestral.verbs.filters import filters
    from ancestral.verbs.fit import fit
    from ancestral.verbs.index import index, search
    from ancestral.verbs.latents import arithmetic, interpolate, manifold, reconstruct, traverse
    from ancestral.verbs.maps import score_map
    from ancestral.verbs.mixing import Mixing, mixing
    from ancestral.verbs.outliers import Outliers, outliers
    from ancestral.verbs.partition import Partition, partition
    from ancestral.verbs.probe import Probe, probe
    from ancestral.verbs.retrieval import Retrieval, retrieval
    from ancestral.verbs.sample import sample
    from ancestral.verbs.score import score
    from ancestral.verbs.stream import stream_log_prob
    from ancestral.verbs.translate import Translation, bleu, translate
    from ancestral.verbs.writing import stream_text
    from ancestral.zoo import load

__version__ = "0.1.0"
__all__ = [
    "Classification",
    "CollapseWarning",
    "Comparison",
    "Completion",
    "Compressed",
    "Disentanglement",
    "Evaluation",
    "Event",
    "InvalidInput",
    "Likelihood",
    "Mixing",
    "Model",
    "Outliers",
    "Partition",
    "Probe",
    "Restored",
    "Retrieval",
    "Run",
    "TrainConfig",
    "Translation",
    "Unsupported",
    "__version__",
    "arithmetic",
    "bleu",
    "classify",
    "compare",
    "complete",
    "compress",
    "decompress",
    "disentangle",
    "evaluate",
    "filters",
    "fit",
    "index",
    "interpolate",
    "load",
    "manifold",
    "mixing",
    "outliers",
    "partition",
    "probe",
    "reconstruct",
    "resume",
    "retrieval",
    "sample",
    "score",
    "score_map",
    "search",
    "stream_log_prob",
    "stream_text",
    "translate",
    "traverse",
]

_HOMES = {
    "Classification": "ancestral.verbs.classify",
    "CollapseWarning": "ancestral.verbs.complete",
    "Comparison": "ancestral.verbs.compare",
    "Completion": "ancestral.verbs.complete",
    "Compressed": "ancestral.verbs.compress",
    "Disentanglement": "ancestral.verbs.disentangle",
    "Evaluation": "ancestral.verbs.evaluate",
    "Event": "ancestral.event",
    "Likelihood": "ancestral.likelihood",
    "Mixing": "ancestral.verbs.mixing",
    "Model": "ancestral.models.base",
    "Outliers": "ancestral.verbs.outliers",
    "Partition": "ancestral.verbs.partition",
    "Probe": "ancestral.verbs.probe",
    "Restored": "ancestral.verbs.decompress",
    "Retrieval": "ancestral.verbs.retrieval",
    "Run": "ancestral.training",
    "TrainConfig": "ancestral.training",
    "Translation": "ancestral.verbs.translate",
    "arithmetic": "ancestral.verbs.latents",
    "bleu": "ancestral.verbs.translate",
    "classify": "ancestral.verbs.classify",
    "compare": "ancestral.verbs.compare",
    "complete": "ancestral.verbs.complete",
    "compress": "ancestral.verbs.compress",
    "decompress": "ancestral.verbs.decompress",
    "disentangle": "ancestral.verbs.disentangle",
    "evaluate": "ancestral.verbs.evaluate",
    "filters": "ancestral.verbs.filters",
    "fit": "ancestral.verbs.fit",
    "index": "ancestral.verbs.index",
    "interpolate": "ancestral.verbs.latents",
    "load": "ancestral.zoo",
    "manifold": "ancestral.verbs.latents",
    "mixing": "ancestral.verbs.mixing",
    "outliers": "ancestral.verbs.outliers",
    "partition": "ancestral.verbs.partition",
    "probe": "ancestral.verbs.probe",
    "reconstruct": "ancestral.verbs.latents",
    "resume": "ancestral.training",
    "retrieval": "ancestral.verbs.retrieval",
    "sample": "ancestral.verbs.sample",
    "score": "ancestral.verbs.score",
    "score_map": "ancestral.verbs.maps",
    "search": "ancestral.verbs.index",
    "stream_log_prob": "ancestral.verbs.stream",
    "stream_text": "ancestral.verbs.writing",
    "translate": "ancestral.verbs.translate",
    "traverse": "ancestral.verbs.latents",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ancestral' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
