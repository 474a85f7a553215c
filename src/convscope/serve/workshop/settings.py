"""What the desk is set to, as its address holds it, and the same axis by axis."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from convscope.arithmetic import (
    ReceptiveField,
    Transposed,
    Window,
    kernel_span,
    output_size,
    per_axis,
    receptive_field,
    resolve_paddings,
    resolve_transposed_padding,
    transposed_output_size,
)
from convscope.arithmetic.borders import PaddingMode
from convscope.arithmetic.padding import PaddingName, parse_padding
from convscope.arithmetic.shapes import require_room
from convscope.errors import ArgumentError
from convscope.functional.pool_window import PoolWindow

Operation = Literal["convolution", "transposed", "max pooling", "average pooling"]
Count = Annotated[int, Field(ge=1, le=4096)]
Few = Annotated[int, Field(ge=0, le=4096)]
Sizes = Count | Annotated[tuple[Count, ...], Field(min_length=1, max_length=3)]
Fews = Few | Annotated[tuple[Few, ...], Field(min_length=1, max_length=3)]


class Settings(BaseModel):
    """One layer on one input.

    Attributes:
        operation: What the window does.
        axes: Of space.
        size: Of the input, one number or one for each axis.
        kernel: Taps, likewise.
        stride: Steps, likewise.
        padding: Elements at both ends, likewise; or a name.
        mode: What padding holds; of a convolution.
        dilation: Steps between taps, likewise.
        output_padding: Elements added at the end; of a transposed convolution.
        channels: Of the input.
        filters: Channels of the output; of a pooling as many as of the input.
        groups: Blocks of channels that do not see each other.
        filter: Name of the kernel that is drawn; empty for numbers by ``seed``.
        flip: Whether the kernel is turned around, as in signal processing.
        seed: Of the numbers that are drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: Operation = "convolution"
    axes: Literal[1, 2, 3] = 2
    size: Sizes = 7
    kernel: Sizes = 3
    stride: Sizes = 1
    padding: Fews | PaddingName = 0
    mode: PaddingMode = "zeros"
    dilation: Sizes = 1
    output_padding: Fews = 0
    channels: Count = 1
    filters: Count = 1
    groups: Count = 1
    filter: str = Field("", max_length=40)
    flip: bool = False
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @property
    def is_transposed(self) -> bool:
        """Whether padding is cut off the output."""
        return self.operation == "transposed"

    @property
    def is_pooling(self) -> bool:
        """Whether nothing is learned."""
        return self.operation.endswith("pooling")


class Axes:
    """Settings axis by axis, as `arithmetic` takes them.

    Args:
        given: The settings.

    Attributes:
        size, kernel, stride, dilation: One number for each axis.
        ends: Elements of padding (before, after), for each axis.
        more: Elements of output padding.

    Raises:
        ArgumentError: A value is not one for each axis, or has no meaning here.
    """

    def __init__(self, given: Settings) -> None:
        def each(name: str, minimum: int = 1) -> tuple[int, ...]:
            return per_axis(
                getattr(given, name), given.axes, name=name, minimum=minimum,
                where="desk",
            )  # fmt: skip

        _require_meaning(given)
        self.given = given
        self.size, self.kernel = each("size"), each("kernel")
        self.stride, self.dilation = each("stride"), each("dilation")
        self.more = each("output_padding", 0)
        if not given.is_transposed:
            self.ends = resolve_paddings(
                given.padding, self.size, self.kernel, stride=self.stride,
                dilation=self.dilation, where="desk",
            )  # fmt: skip
            return
        parsed = parse_padding(given.padding, given.axes, where="desk")
        found = [
            resolve_transposed_padding(pad, k, stride=s, dilation=d)
            for pad, k, s, d in zip(
                parsed, self.kernel, self.stride, self.dilation, strict=True
            )
        ]
        self.ends = tuple(ends for ends, _ in found)
        self.more = tuple(
            own or added for own, (_, added) in zip(self.more, found, strict=True)
        )

    def outputs(self) -> tuple[int, ...]:
        """Sizes of the output.

        Raises:
            ShapeError: No window fits, padding repeats more than there is, or a window
                of a max pooling lies on padding alone.
        """
        found = tuple(self._output(axis) for axis in range(self.given.axes))
        if self.given.operation == "convolution":
            require_room(self.size, self.ends, self.given.mode, where="desk")
        if self.given.operation == "max pooling":
            PoolWindow(
                self.size, found, self.kernel, self.stride, self.dilation, self.ends,
                ceil_mode=False, where="desk",
            ).tables()  # fmt: skip
        return found

    def formula(self, axis: int) -> str:
        """The output's size along an axis, with the numbers in it."""
        size, stride, d = self.size[axis], self.stride[axis], self.dilation[axis]
        k, ends, out = self.kernel[axis], sum(self.ends[axis]), self._output(axis)
        span = str(k) if d == 1 else f"({d}·({k} - 1) + 1)"
        if self.given.is_transposed:
            more = f" + {self.more[axis]}" if self.more[axis] else ""
            less = f" - {ends}" if ends else ""
            return f"({size} - 1)·{stride} + {span}{less}{more} = {out}"
        inner = f"({size}{f' + {ends}' if ends else ''} - {span}) / {stride}"
        if (size + ends - kernel_span(k, d)) % stride:
            inner = f"⌊{inner}⌋"
        return f"{inner} + 1 = {out}"

    def field(self, axis: int) -> ReceptiveField:
        """What an output sees along an axis."""
        kind = Transposed if self.given.is_transposed else Window
        layer = kind(self.kernel[axis], self.stride[axis], self.ends[axis],
                     self.dilation[axis])  # fmt: skip
        return receptive_field([layer])

    def _output(self, axis: int) -> int:
        given: dict[str, Any] = {
            "stride": self.stride[axis],
            "padding": self.ends[axis],
            "dilation": self.dilation[axis],
            "where": "desk",
        }
        if self.given.is_transposed:
            given["output_padding"] = self.more[axis]
            return transposed_output_size(self.size[axis], self.kernel[axis], **given)
        return output_size(self.size[axis], self.kernel[axis], **given)


def _require_meaning(given: Settings) -> None:
    """That nothing is set that the operation does not have."""
    own = Settings()
    without = {
        "convolution": ("output_padding",),
        "transposed": ("mode",),
        "max pooling": ("output_padding", "mode", "groups", "filter", "flip"),
        "average pooling": (
            "output_padding", "mode", "groups", "filter", "flip", "dilation",
        ),
    }[given.operation]  # fmt: skip
    for name in without:
        value = getattr(given, name)
        if value not in (getattr(own, name), (getattr(own, name),) * given.axes):
            what = {
                "convolution": "a convolution",
                "transposed": "a transposed convolution",
                "max pooling": "a max pooling",
                "average pooling": "an average pooling",
            }[given.operation]
            raise ArgumentError(
                f"desk: {name}={value!r} has no meaning for {what}. Set {name} to "
                f"{getattr(own, name)!r}."
            )
    if given.is_pooling and given.filters not in (1, given.channels):
        raise ArgumentError(
            f"desk: filters={given.filters}, but a pooling keeps the channels of its "
            f"input, {given.channels}. Set filters to {given.channels}."
        )
