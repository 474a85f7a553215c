"""All operations that can be explained, and how they are found.

``rule_of(call)``  the `Rule` of a layer or a function, or None
"""

from typing import Any

from torch import nn

from convscope.analysis.explaining import (
    activations,
    convolution,
    elementwise,
    local_norms,
    moving,
    normalization,
    pooling,
)
from convscope.analysis.explaining.site import Rule
from convscope.analysis.tracing.calls import Call

RULES: tuple[Rule, ...] = (
    *convolution.RULES,
    *pooling.RULES,
    *normalization.RULES,
    *local_norms.RULES,
    *activations.RULES,
    *elementwise.RULES,
    *moving.RULES,
)
_BY_MODULE = {name: rule for rule in RULES for name in rule.modules}
_BY_FUNCTION = {name: rule for rule in RULES for name in rule.functions}
_HOMES = ("torch.nn.modules.", "convscope.layers.")


def is_unknown(module: nn.Module) -> bool:
    """Whether a layer is the user's own, so that what it is made of may tell more."""
    ours = type(module).__module__.startswith(_HOMES)
    return not ours and _rule(module) is None


def rule_of(call: Call) -> Rule | None:
    """By the function's name, or by the class whose forward the layer has.

    A class of the user's that inherits from ``nn.Conv2d`` is explained as one only
    where it leaves ``forward`` as it is.
    """
    if call.module is None:
        return _BY_FUNCTION.get(call.name)
    return _rule(call.module)


def _rule(module: nn.Module) -> Rule | None:
    kind: Any = type(module)
    for base in kind.__mro__:
        known = base.__module__.startswith(_HOMES) and base.__name__ in _BY_MODULE
        if known and vars(base).get("forward", base.forward) is kind.forward:
            return _BY_MODULE[base.__name__]
    return None
