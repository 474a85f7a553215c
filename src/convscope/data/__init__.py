"""From names, folders and arrays to batches of samples."""

from convscope.data.arrays import from_arrays
from convscope.data.batching.augmentation import Augmentation
from convscope.data.batching.batches import Batch, Batches, plain
from convscope.data.dataset import UNLABELED, Dataset, Samples, SetAside
from convscope.data.folders.audit import AuditReport, audit
from convscope.data.folders.findings import Finding, Suspect
from convscope.data.folders.load_folder import load_folder
from convscope.data.loading import load
from convscope.data.preprocessing import Preprocessing
from convscope.data.published.catalog import StandardSet, describe, names
from convscope.data.published.local_files import locate
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
    "Suspect",
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
