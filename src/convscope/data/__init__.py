"""From names, folders and arrays to batches of samples."""

from convscope.data.arrays import from_arrays
from convscope.data.augmentation import Augmentation
from convscope.data.batches import Batch, Batches, plain
from convscope.data.catalog import StandardSet, describe, names
from convscope.data.dataset import UNLABELED, Dataset, Samples, SetAside
from convscope.data.locate import locate
from convscope.data.preprocessing import Preprocessing
from convscope.data.sources import load
from convscope.data.splits import assign

__all__ = [
    "UNLABELED",
    "Augmentation",
    "Batch",
    "Batches",
    "Dataset",
    "Preprocessing",
    "Samples",
    "SetAside",
    "StandardSet",
    "assign",
    "describe",
    "from_arrays",
    "load",
    "locate",
    "names",
    "plain",
]
