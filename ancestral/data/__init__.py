"""Data: a name, a path or an array becomes splits of one `Event`."""

from ancestral.data.base import ArraySplit, Batch, Data, Split, Subset
from ancestral.data.catalogue import known
from ancestral.data.pairs import PairSplit
from ancestral.data.sources import load
from ancestral.data.stream import StreamSplit
from ancestral.data.text import TokenSplit

__all__ = ["ArraySplit", "Batch", "Data", "PairSplit", "Split", "StreamSplit", "Subset", "TokenSplit", "known", "load"]
