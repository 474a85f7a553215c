"""Rectification and gain, map by map."""

import torch
from torch import Tensor

from convscope.errors import ShapeError, explains_calls
from convscope.functional.operands import require_plain


@explains_calls
def rectify(x: Tensor) -> Tensor:
    """Absolute value, so that an edge counts the same in either polarity.

    Its derivative at 0 is taken as 0.

    Shape:
        x:      any
        return: like x

    Source:
        Jarrett et al., What is the best multi-stage architecture for object
        recognition?, ICCV 2009, section 2: R_abs.

    >>> rectify(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([2., 0., 3.])
    """
    require_plain(x, "rectify")
    return x.abs()


@explains_calls
def gain(x: Tensor, weight: Tensor) -> Tensor:
    """``g tanh(x)`` with one trainable ``g`` for each map.

    Shape:
        x:      (N, C, ...)
        weight: (C,)
        return: like x

    Raises:
        ShapeError: ``weight`` does not have one value for each map of ``x``.

    Source:
        Jarrett et al., ICCV 2009, section 2: the end of a filter bank layer F_CSG.

    >>> gain(torch.tensor([[0.0, 100.0]]), torch.tensor([1.0, 3.0]))
    tensor([[0., 3.]])
    """
    require_plain(x, "gain")
    if x.ndim < 2 or weight.shape != x.shape[1:2]:
        raise ShapeError(
            f"gain: weight must have shape (C,) for x of shape (N, C, ...); got "
            f"{tuple(weight.shape)} for {tuple(x.shape)}. Give one gain per map."
        )
    return torch.tanh(x) * weight.view(-1, *[1] * (x.ndim - 2))
