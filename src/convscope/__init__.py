"""Build, train, see inside and ship convolutional networks.

``import convscope as cs`` loads torch and numpy; everything else is loaded when it is
first used. Convolution here is what deep-learning libraries call so: the kernel is not
flipped, which signal processing calls cross-correlation.

>>> import convscope as cs
>>> net = cs.models.build("lenet5")
"""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as _numpy  # noqa: F401 - loaded before torch, so that both share OpenMP
import torch as _torch  # noqa: F401

if TYPE_CHECKING:
    from convscope import (
        analysis,
        arithmetic,
        data,
        execution,
        functional,
        kernels,
        layers,
        models,
        train,
        viz,
    )
    from convscope.analysis import (
        attribute,
        capture,
        check,
        explain_gradient,
        explain_unit,
    )
    from convscope.analysis.summary import summary
    from convscope.data import Dataset, Preprocessing
    from convscope.execution import optimize
    from convscope.train import (
        ConvClassifier,
        Recipe,
        Run,
        features,
        fit,
        report,
        resume,
    )

_ROOMS = (
    "analysis",
    "arithmetic",
    "data",
    "errors",
    "execution",
    "functional",
    "kernels",
    "layers",
    "models",
    "train",
    "viz",
)
_HOMES = {
    "attribute": "analysis",
    "capture": "analysis",
    "check": "analysis",
    "explain_gradient": "analysis",
    "explain_unit": "analysis",
    "summary": "analysis",
    "optimize": "execution",
    "Dataset": "data",
    "Preprocessing": "data",
    "ConvClassifier": "train",
    "Recipe": "train",
    "Run": "train",
    "features": "train",
    "fit": "train",
    "report": "train",
    "resume": "train",
}
__all__ = [
    "ConvClassifier",
    "Dataset",
    "Preprocessing",
    "Recipe",
    "Run",
    "analysis",
    "arithmetic",
    "attribute",
    "capture",
    "check",
    "data",
    "execution",
    "explain_gradient",
    "explain_unit",
    "features",
    "fit",
    "functional",
    "kernels",
    "layers",
    "models",
    "optimize",
    "report",
    "resume",
    "summary",
    "train",
    "viz",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("convscope")
    if name in _ROOMS:
        return importlib.import_module(f"convscope.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"convscope.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'convscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "errors"])
