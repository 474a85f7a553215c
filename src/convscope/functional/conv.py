"""Convolution over one, two or three spatial axes, written once.

``conv(x, weight, bias, stride=, padding=, dilation=, groups=, padding_mode=, flip=)``
``conv1d``, ``conv2d``, ``conv3d``: the same, for weights of that rank only.
"""

from torch import Tensor

from convscope.arithmetic import PADDING_MODES, PaddingLike, PaddingMode, PerAxis
from convscope.errors import UnknownNameError, explains_calls
from convscope.functional.geometry import (
    WEIGHT,
    correlate,
    read_geometry,
    require_rank,
    reversed_kernel,
)
from convscope.functional.operands import require_alike, require_bias
from convscope.functional.padding import filled
from convscope.functional.partial import reweighted


@explains_calls
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    padding_value: float = 0.0,
    flip: bool = False,
    where: str = "conv",
) -> Tensor:
    """The sum of products of a kernel with the window under it, at each position.

    Two operations go by the name of convolution. **Cross-correlation** lays the
    kernel on the input as it is stored, ``out[o] = sum_t x[o + t] w[t]``; this is
    what deep-learning libraries compute and call convolution, and so it is here.
    **Convolution** in mathematics and signal processing reverses the kernel along
    every spatial axis first, ``out[o] = sum_t x[o - t] w[t]`` up to a shift of ``o``;
    ``flip=True`` computes that. Learning finds either kernel equally well; with given
    filters that are not symmetric the two differ.

    Args:
        x: The input.
        weight: One kernel for each output channel and each input channel of its group.
        bias: One scalar for each output channel.
        stride: Steps between windows, in input elements; one integer serves all axes.
        padding: A name (``valid``, ``same``, ``same_lower``, ``full``, ``causal``)
            or numbers, as `arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in input elements; one integer serves all axes.
        groups: Blocks of channels that do not see each other.
        padding_mode: What the padding holds, see `functional.pad`; or ``"partial"``:
            nothing, see `functional.partial_conv`.
        padding_value: What it holds with ``padding_mode="constant"``.
        flip: Whether the kernel is reversed along every spatial axis.
        where: What an error message begins with.

    Shape:
        x:      (N, C_in, *space) or (C_in, *space)
        weight: (C_out, C_in / groups, *kernel)
        bias:   (C_out,)
        return: (N, C_out, *space_out) or (C_out, *space_out)

    Raises:
        ShapeError: The kernel does not fit, or shapes do not belong together.
        UnknownNameError: Another name of a padding or of a padding mode.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        Goodfellow, Bengio & Courville, Deep Learning, section 9.1.

    >>> import torch
    >>> x, weight = torch.eye(3)[:1][None], torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> conv(x, weight, padding="full")
    tensor([[[3., 2., 1., 0., 0.]]])
    >>> conv(x, weight, padding="full", flip=True)
    tensor([[[1., 2., 3., 0., 0.]]])
    """
    if padding_mode not in PADDING_MODES:
        raise UnknownNameError("padding_mode", str(padding_mode), PADDING_MODES)
    geometry = read_geometry(x, weight, stride, padding, dilation, groups, where)
    require_alike(x, {"weight": weight, "bias": bias}, where)
    require_bias(bias, weight.shape[0], where)
    if flip:
        weight = reversed_kernel(weight)
    if padding_mode == "zeros":
        return correlate(x, weight, bias, geometry)
    if padding_mode == "partial":
        return reweighted(x, weight, bias, geometry)
    x = filled(x, geometry.padding, padding_mode, padding_value, where=where)
    none = ((0, 0),) * geometry.axes
    return correlate(x, weight, bias, geometry._replace(padding=none))


@explains_calls
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    padding_value: float = 0.0,
    flip: bool = False,
    where: str = "conv1d",
) -> Tensor:
    """`conv` along one spatial axis; arguments, shapes and errors are the same.

    The first seven arguments are those of ``torch.nn.functional.conv1d``, in its order.

    >>> import torch
    >>> conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3), stride=2).shape
    torch.Size([1, 1, 2])
    """
    require_rank(x, weight, where, WEIGHT, axes=1)
    return conv(
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode=padding_mode,
        padding_value=padding_value,
        flip=flip,
        where=where,
    )


@explains_calls
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    padding_value: float = 0.0,
    flip: bool = False,
    where: str = "conv2d",
) -> Tensor:
    """`conv` along two spatial axes; arguments, shapes and errors are the same.

    The first seven arguments are those of ``torch.nn.functional.conv2d``, in its order.

    >>> import torch
    >>> conv2d(torch.ones(1, 1, 5, 4), torch.ones(1, 1, 3, 3), padding="same").shape
    torch.Size([1, 1, 5, 4])
    """
    require_rank(x, weight, where, WEIGHT, axes=2)
    return conv(
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode=padding_mode,
        padding_value=padding_value,
        flip=flip,
        where=where,
    )


@explains_calls
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    padding_value: float = 0.0,
    flip: bool = False,
    where: str = "conv3d",
) -> Tensor:
    """`conv` along three spatial axes; arguments, shapes and errors are the same.

    The first seven arguments are those of ``torch.nn.functional.conv3d``, in its order.

    >>> import torch
    >>> conv3d(torch.ones(1, 1, 5, 4, 3), torch.ones(2, 1, 3, 3, 3)).shape
    torch.Size([1, 2, 3, 2, 1])
    """
    require_rank(x, weight, where, WEIGHT, axes=3)
    return conv(
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode=padding_mode,
        padding_value=padding_value,
        flip=flip,
        where=where,
    )
