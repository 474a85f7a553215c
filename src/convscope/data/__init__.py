"""From names, folders and arrays to samples in memory."""

from convscope.data.catalogue import StandardSet, describe, names
from convscope.data.dataset import UNLABELED, Dataset, Samples, SetAside
from convscope.data.preprocessing import Preprocessing
from convscope.data.sources import load
from convscope.data.splits import assign

__all__ = [
    "UNLABELED",
    "Dataset",
    "Preprocessing",
    "Samples",
    "SetAside",
    "StandardSet",
    "assign",
    "describe",
    "load",
    "names",
]
