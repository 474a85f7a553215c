"""torchvision and timm, beside a torch that torchvision was not built for.

``make judges`` installs them into a folder of their own, without what they depend on.
torchvision's compiled part may then not load, and its Python part asks for two
operators of it by name, which nothing here calls: they are given a signature first.
"""

import functools
import importlib
import warnings
from types import ModuleType

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_KEPT = []  # a signature lives as long as what registered it


@functools.cache
def library(name: str) -> ModuleType:
    """``torchvision`` or ``timm``.

    Raises:
        ImportError: They are not installed.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise ImportError(f"{name} is not installed; `make judges` installs it")
    if not _KEPT:
        signatures = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            signatures.define(operator + _NMS)
        _KEPT.append(signatures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        return importlib.import_module(name)
