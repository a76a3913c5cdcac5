"""Data: a name, a path or an array becomes splits of one `Event`."""

from ancestral.data.base import ArraySplit, Data, Split
from ancestral.data.sources import load

__all__ = ["ArraySplit", "Data", "Split", "load"]
