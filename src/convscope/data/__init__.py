"""From names, folders and arrays to batches of samples."""

from convscope.data.arrays import from_arrays
from convscope.data.audit import AuditReport, Finding, audit
from convscope.data.augmentation import Augmentation
from convscope.data.batches import Batch, Batches, plain
from convscope.data.catalog import StandardSet, describe, names
from convscope.data.dataset import UNLABELED, Dataset, Samples, SetAside
from convscope.data.folder import load_folder
from convscope.data.locate import locate
from convscope.data.preprocessing import Preprocessing
from convscope.data.sources import load
from convscope.data.splits import assign

__all__ = [
    "UNLABELED",
    "AuditReport",
    "Augmentation",
    "Batch",
    "Batches",
    "Dataset",
    "Finding",
    "Preprocessing",
    "Samples",
    "SetAside",
    "StandardSet",
    "assign",
    "audit",
    "describe",
    "from_arrays",
    "load",
    "load_folder",
    "locate",
    "names",
    "plain",
]
