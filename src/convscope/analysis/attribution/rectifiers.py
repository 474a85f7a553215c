"""Backward rules of rectifiers, wherever they are written.

Guided backpropagation and the deconvolutional network change what a ReLU does to a
gradient. Hooks on modules miss ``torch.relu(x)``, change modules that are used twice
only once, and fail in place; here every call is changed, by a function mode.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Rule = Literal["guided", "deconvolution"]


class RectifierRule(TorchFunctionMode):
    """While it is entered, gradients pass every ReLU and ReLU6 by another rule.

    ``"guided"``: where the input and the gradient are above 0 (Springenberg et al.
    2015, Striving for simplicity). ``"deconvolution"``: where the gradient is above 0,
    whatever the input (Zeiler and Fergus 2014, Visualizing and understanding).

    >>> x = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    >>> with RectifierRule("guided"):
    ...     y = torch.relu(x)
    >>> (y * torch.tensor([1.0, 1.0, -1.0])).sum().backward()
    >>> x.grad.tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.met = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What torch asks for at every function."""
        named = kwargs or {}
        top, in_place = _rectifier(func, args, named)
        if top is None:
            return func(*args, **named)
        self.met += 1
        x: Tensor = args[0] if args else named["input"]
        y: Tensor = _Rectified.apply(x, top, self.rule)  # type: ignore[no-untyped-call]
        return x.copy_(y) if in_place else y


_PLAIN = (torch.relu, F.relu, Tensor.relu)
_IN_PLACE = (torch.relu_, F.relu_, Tensor.relu_)


def _rectifier(func: Any, args: Any, named: Any) -> tuple[float | None, bool]:
    """Where the function cuts off above, None if it is no rectifier; if in place."""
    if func in _IN_PLACE:
        return float("inf"), True
    if func in _PLAIN:
        in_place = bool(named.get("inplace") or (len(args) > 1 and args[1] is True))
        return float("inf"), in_place
    if func is F.relu6:
        return 6.0, bool(named.get("inplace") or (len(args) > 1 and args[1]))
    if func is F.hardtanh:
        low = named.get("min_val", args[1] if len(args) > 1 else -1.0)
        high = named.get("max_val", args[2] if len(args) > 2 else 1.0)
        if low == 0:
            return float(high), bool(named.get("inplace", len(args) > 3 and args[3]))
    return None, False


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, top: float, rule: Rule) -> Tensor:
        y = x.clamp(0, top)
        ctx.passes = (x > 0) & (x < top) if rule == "guided" else None  # type: ignore[attr-defined]
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].clamp(min=0)
        if ctx.passes is not None:
            gradient = gradient * ctx.passes
        return gradient, None, None
