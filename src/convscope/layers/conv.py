"""``Conv1d``, ``Conv2d``, ``Conv3d``: torch.nn's, with more paddings and options."""

import math
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from convscope.arithmetic import (
    PADDING_MODES,
    AxisPadding,
    PaddingLike,
    PaddingMode,
    PerAxis,
    parse_padding,
    per_axis,
    require_groups,
)
from convscope.errors import ArgumentError, UnknownNameError, explains_calls
from convscope.functional.connections import (
    Connections,
    pair_places,
    placed,
    read_connections,
)
from convscope.functional.conv import conv
from convscope.functional.geometry import reversed_kernel
from convscope.layers.shape import require_input
from convscope.layers.window import Sliding

_PLAIN: dict[int, Any] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


class Convolution(Sliding, nn.Module):
    """Convolution along as many spatial axes as the subclass says; see `Conv2d`."""

    axes: ClassVar[int]
    weight: Tensor
    bias: Tensor | None
    connections: Tensor | None
    places: Tensor
    # A name; one integer per axis, as torch.nn holds it; or pairs where ends differ.
    padding: Any
    padding_mode: Any

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        padding_value: float = 0.0,
        flip: bool = False,
        connections: Connections | None = None,
    ) -> None:
        # torch.nn's own __init__ would refuse what it does not have.
        nn.Module.__init__(self)
        where, axes = type(self).__name__, self.axes
        require_groups(where, in_channels, out_channels, groups)
        if padding_mode not in PADDING_MODES:
            raise UnknownNameError("padding_mode", str(padding_mode), PADDING_MODES)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = per_axis(kernel_size, axes, name="kernel_size", where=where)
        self.stride = per_axis(stride, axes, name="stride", where=where)
        self.padding = compact_padding(parse_padding(padding, axes, where=where))
        self.dilation = per_axis(dilation, axes, name="dilation", where=where)
        self.groups, self.padding_mode = groups, padding_mode
        self.padding_value, self.flip = padding_value, flip
        self.transposed, self.output_padding = False, (0,) * axes
        channels: tuple[int, ...] = (out_channels, in_channels // groups)
        table = places = None
        self._table: Tensor | None = None
        if connections is not None:
            if groups != 1:
                raise ArgumentError(
                    f"{where}: connections and groups={groups} both say which channels "
                    "see each other. Use groups=1."
                )
            found = read_connections(
                connections, out_channels, in_channels, where=where
            )
            self._table = found  # no buffer, so that `to_empty` leaves it as it is
            table = torch.empty_like(found, device=device)
            places = torch.empty(int(found.sum()), dtype=torch.long, device=device)
            channels = places.shape
        self.register_buffer("connections", table)
        self.register_buffer("places", places, persistent=False)
        empty = partial(torch.empty, device=device, dtype=dtype)
        self.weight = nn.Parameter(empty(*channels, *self.kernel_size))
        self.register_parameter(
            "bias", nn.Parameter(empty(out_channels)) if bias else None
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the parameters anew, as torch.nn does.

        Uniform within ``1 / sqrt(fan_in)``, where ``fan_in`` is the inputs of one
        output value: taps times the channels that it is connected to.
        """
        if self._table is None:
            draw_parameters(self.weight, self.bias)
            return
        self._place_connections()
        fan_in = self._table.sum(1) * math.prod(self.kernel_size)
        bound = fan_in.to(self.weight).rsqrt()
        pair_bound = bound[self._table.nonzero()[:, 0].to(bound.device)]
        self.weight.uniform_(-1, 1).mul_(pair_bound.view(-1, *(1,) * self.axes))
        if self.bias is not None:
            self.bias.uniform_(-1, 1).mul_(bound)

    def dense_weight(self) -> Tensor:
        """The weight (out_channels, in_channels / groups, *kernel_size) as applied.

        Pairs that are not connected are 0, and ``flip`` has been done.
        """
        weight = self._whole_weight()
        return reversed_kernel(weight) if self.flip else weight

    def _is_plain(self) -> bool:
        """Whether it computes what torch.nn's of the same arguments does, by zeros."""
        return self.padding_mode == "zeros" and not self.flip and self._table is None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of ``x``."""
        if (
            self._is_plain()
            and type(self.padding[0]) is int
            and not torch.compiler.is_compiling()
        ):
            try:
                out: Tensor = _PLAIN[self.axes](
                    x,
                    self.weight,
                    self.bias,
                    self.stride,
                    self.padding,
                    self.dilation,
                    self.groups,
                )
                return out
            except (RuntimeError, TypeError):
                pass  # torch refuses what we refuse; said again below, with a remedy
        require_input(self, x, self.axes, self.in_channels)
        return conv(
            x,
            self._whole_weight(),
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            padding_mode=self.padding_mode,
            padding_value=self.padding_value,
            flip=self.flip,
            where=type(self).__name__,
        )

    def extra_repr(self) -> str:
        """Every argument that is not the default."""
        text = arguments_text(self)
        if self.connections is None:
            return text
        pairs = self.out_channels * self.in_channels
        return f"{text}, connections={len(self.places)} of {pairs} pairs"

    def _whole_weight(self) -> Tensor:
        if self.connections is None:
            return self.weight
        return placed(self.weight, self.places, self.out_channels, self.in_channels)

    def _place_connections(self) -> None:
        if self._table is not None and self.connections is not None:
            self.connections.copy_(self._table)
            self.places.copy_(pair_places(self._table))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        ours, theirs = self._table, state_dict.get(f"{prefix}connections")
        if ours is not None and theirs is not None and not theirs.cpu().equal(ours):
            errors: list[str] = arguments[-1]
            errors.append(
                f"{type(self).__name__}: {prefix}connections in the state are another "
                "table, whose kernels belong to other pairs. Build the layer with "
                "that table."
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._place_connections()


class ConvGeometry(NamedTuple):
    """What a convolution with zeros around its input reads besides numbers."""

    weight: tuple[int, ...]  # its shape
    biased: bool
    stride: Any
    padding: Any
    dilation: Any
    groups: int


def plain_geometry(layer: Any) -> ConvGeometry | None:
    """Of a convolution, torch.nn's or ours; None if it does more than torch's own.

    >>> plain_geometry(nn.Conv2d(1, 4, 3)).weight
    (4, 1, 3, 3)
    >>> plain_geometry(Conv2d(1, 4, 3, flip=True)) is None
    True
    """
    ours = isinstance(layer, Convolution)
    plain = layer._is_plain() if ours else layer.padding_mode == "zeros"
    weight = layer._parameters.get("weight")
    if not plain or weight is None:
        return None
    return ConvGeometry(
        tuple(weight.shape),
        layer._parameters.get("bias") is not None,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
    )


def compact_padding(padding: tuple[AxisPadding, ...]) -> Any:
    """Padding as torch.nn holds it: a name or integers; pairs where ends differ."""
    pairs = [pair for pair in padding if not isinstance(pair, str)]
    if not pairs:
        return padding[0]
    if all(before == after for before, after in pairs):
        return tuple(before for before, _ in pairs)
    return padding


@torch.no_grad()
def draw_parameters(weight: Tensor, bias: Tensor | None) -> None:
    """The start of torch.nn's convolutions, bit for bit."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(weight[0].numel())
        nn.init.uniform_(bias, -bound, bound)


def arguments_text(layer: Any) -> str:
    """The arguments of a convolution; of most only what is not the default."""
    axes = len(layer.kernel_size)
    defaults = {
        "padding": (0,) * axes,
        "output_padding": (0,) * axes,
        "dilation": (1,) * axes,
        "groups": 1,
        "padding_mode": "zeros",
        "padding_value": 0.0,
        "flip": False,
    }
    parts = [
        f"{layer.in_channels}, {layer.out_channels}",
        f"kernel_size={layer.kernel_size}, stride={layer.stride}",
        *(
            f"{name}={value!r}"
            for name, default in defaults.items()
            if (value := getattr(layer, name, default)) != default
        ),
    ]
    return ", ".join(parts if layer.bias is not None else [*parts, "bias=False"])


# Subclasses of torch.nn's: other tools ask isinstance(module, nn.Conv2d) to place,
# initialize, prune or count, and every attribute that they then read is here.
class Conv1d(Convolution, nn.Conv1d):
    """Convolution along length; arguments and the rest as in `Conv2d`.

    >>> Conv1d(2, 4, 3, dilation=4, padding="causal")(torch.zeros(1, 2, 100)).shape
    torch.Size([1, 4, 100])
    """

    axes = 1


class Conv2d(Convolution, nn.Conv2d):
    """Convolution along height and width.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along each spatial axis; one integer serves all.
        stride: Steps between windows, in input elements.
        padding: ``valid``, ``same`` (with any stride), ``same_lower``, ``full``, or
            ``causal`` in 1-D; one integer, one per axis, or one pair ``(before,
            after)`` per axis.
        dilation: Steps between taps, in input elements.
        groups: Blocks of channels that do not see each other.
        bias: Whether each output channel has one scalar more.
        padding_mode: What the padding holds: ``zeros``, ``constant``, ``reflect``,
            ``symmetric``, ``replicate``, ``circular``, as `functional.pad` shows them;
            or ``partial``: nothing, outputs at the border are re-weighted instead.
        device: Where the parameters are.
        dtype: What the parameters are.
        padding_value: What the padding holds with ``padding_mode="constant"``.
        flip: Whether the kernel is reversed, which makes this a true convolution; see
            `functional.conv`.
        connections: A table (out_channels, in_channels) of booleans: which output sees
            which input. ``weight`` then holds only the connected pairs.

    Shape:
        x:      (N, in_channels, *space) or (in_channels, *space)
        weight: (out_channels, in_channels / groups, *kernel_size); with
                ``connections`` (pairs, *kernel_size), in row order of the table;
                ``dense_weight()`` is the whole
        bias:   (out_channels,)
        return: (N, out_channels, *space_out) or (out_channels, *space_out)

    Raises:
        UnknownNameError: Another name of a padding or of a padding mode.
        ArgumentError: A value is not in its range, or not one per axis.
        ShapeError: ``groups`` does not divide the channels; ``connections`` has
            another shape; what reaches the layer does not fit.

    Source:
        Arguments, parameters and their start are torch.nn's, bit for bit; connection
        tables are from LeCun et al. 1998, table I.

    >>> Conv2d(3, 8, 3, stride=2, padding="same")(torch.zeros(1, 3, 225, 64)).shape
    torch.Size([1, 8, 113, 32])
    """

    axes = 2


class Conv3d(Convolution, nn.Conv3d):
    """Convolution along depth, height and width; the rest as in `Conv2d`.

    >>> Conv3d(1, 4, 3, padding="same")(torch.zeros(1, 5, 6, 7)).shape
    torch.Size([4, 5, 6, 7])
    """

    axes = 3
