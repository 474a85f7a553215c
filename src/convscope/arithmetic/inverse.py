"""The questions backwards: which sizes, paddings and strides give what is wanted.

A layer *fits exactly* where its last window ends on the last element of the padded
input, so that nothing is ignored.

``ignored_elements(size, kernel_size, ...)``   0 where the layer fits exactly
``exact_fixes(size, kernel_size, ...) -> ExactFixes``  the nearest values that do
``fitting_sizes(layers) -> Sizes``             input sizes that fit a whole chain
``possible_strides(size, kernel_size, ...)``   strides that fit exactly
``padding_for(size, outputs, kernel_size, ...)``, ``padding_that_keeps(kernel_size)``
``layers_to_cover(size, kernel_size, ...)``    depth until the field covers an image

The sentence about a layer is in ``layer_fit.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt

from convscope.arithmetic.axis import EndsLike, both_ends, kernel_span, require
from convscope.arithmetic.chain import Adaptive, AxisLayer, Transposed, Upsample, Window
from convscope.arithmetic.shapes import output_size
from convscope.errors import ArgumentError, ShapeError, explains_calls


@dataclass(frozen=True)
class Sizes:
    """The lengths ``smallest``, ``smallest + step``, ``smallest + 2 * step``, ...

    ``step`` is 0 where ``smallest`` is the only one.

    >>> sizes = Sizes(15, 16)
    >>> 31 in sizes, sizes.nearest(224), sizes.up_to(50)
    (True, (223, 239), [15, 31, 47])
    """

    smallest: int
    step: int

    def __contains__(self, size: int) -> bool:
        if self.step == 0:
            return size == self.smallest
        return size >= self.smallest and (size - self.smallest) % self.step == 0

    def nearest(self, size: int) -> tuple[int | None, int | None]:
        """The largest length that is at most ``size`` and the smallest at least."""
        if size in self:
            return (size, size)
        if size < self.smallest:
            return (None, self.smallest)
        if self.step == 0:
            return (self.smallest, None)
        below = size - (size - self.smallest) % self.step
        return (below, below + self.step)

    def up_to(self, limit: int) -> list[int]:
        """All lengths that are at most ``limit``."""
        if self.step == 0:
            return [self.smallest] if self.smallest <= limit else []
        return list(range(self.smallest, limit + 1, self.step))

    def both(self, other: "Sizes") -> "Sizes | None":
        """The lengths in both, for branches that read the same input; None for none.

        >>> Sizes(1, 4).both(Sizes(3, 6))
        Sizes(smallest=9, step=12)
        """
        few, many = sorted((self, other), key=lambda sizes: sizes.step)
        if few.step == 0:
            return few if few.smallest in many else None
        start = max(few.smallest, many.smallest)
        begin = many.nearest(start)[1]
        period = few.step // gcd(few.step, many.step)
        for turn in range(period):
            size = (begin or 0) + turn * many.step
            if size in few:
                return Sizes(size, period * many.step)
        return None


@explains_calls
def ignored_elements(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
) -> int:
    """Elements at the end of the padded input that no window reaches.

    They are counted from the end of the last window; where a stride is longer than
    the kernel, the gaps between windows are not among them.

    Raises:
        ShapeError: No window fits; see `output_size`.

    >>> ignored_elements(7, 3, stride=3)
    1
    """
    output_size(
        size,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        where="ignored_elements",
    )
    return (
        size + sum(both_ends(padding)) - kernel_span(kernel_size, dilation)
    ) % stride


@dataclass(frozen=True)
class ExactFixes:
    """Each field alone makes a layer fit exactly.

    ``smaller`` and ``larger`` are the nearest input sizes, ``smaller`` None if there
    is none; ``padding`` the smallest increase, to ``(before, after)``, equal on both
    sides where that is possible; ``strides`` all strides that fit.

    >>> exact_fixes(8, 3, stride=2).padding
    (0, 1)
    """

    smaller: int | None
    larger: int
    padding: tuple[int, int]
    strides: tuple[int, ...]


@explains_calls
def exact_fixes(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
) -> ExactFixes:
    """The nearest input sizes, padding and strides with which nothing is ignored.

    Args:
        size: Input length, in elements.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in input elements.
        padding: Elements added at each end of the input, or ``(before, after)`` it.
        dilation: Step from one tap to the next, in input elements.

    Raises:
        ShapeError: No window fits; see `output_size`.

    >>> exact_fixes(7, 3, stride=3)
    ExactFixes(smaller=6, larger=9, padding=(1, 1), strides=(1, 2, 4))
    """
    ends = both_ends(padding, where="exact_fixes")
    ignored = ignored_elements(
        size, kernel_size, stride=stride, padding=ends, dilation=dilation
    )
    sizes = fitting_sizes([Window(kernel_size, stride, ends, dilation)])
    smaller, larger = sizes.nearest(size)
    missing = -ignored % stride
    both_sides = [more for more in range(stride) if 2 * more % stride == missing]
    more = (both_sides[0],) * 2 if both_sides else (0, missing)
    return ExactFixes(
        smaller=smaller,
        larger=size if larger is None else larger,
        padding=(ends[0] + more[0], ends[1] + more[1]),
        strides=possible_strides(size, kernel_size, padding=padding, dilation=dilation),
    )


@explains_calls
def possible_strides(
    size: int,
    kernel_size: int,
    *,
    padding: EndsLike = 0,
    dilation: int = 1,
) -> tuple[int, ...]:
    """The strides at which the last window ends on the last padded element.

    They divide ``size + padding - span``. Where that is 0 there is one window, every
    stride is possible, and those up to the kernel's span are returned.

    Raises:
        ShapeError: No window fits; see `output_size`.

    >>> possible_strides(7, 3)
    (1, 2, 4)
    """
    output_size(
        size,
        kernel_size,
        padding=padding,
        dilation=dilation,
        where="possible_strides",
    )
    span = kernel_span(kernel_size, dilation)
    slack = size + sum(both_ends(padding)) - span
    if slack == 0:
        return tuple(range(1, span + 1))
    low = [d for d in range(1, isqrt(slack) + 1) if slack % d == 0]
    return tuple(sorted({*low, *(slack // d for d in low)}))


@explains_calls
def fitting_sizes(layers: Sequence[AxisLayer]) -> Sizes:
    """The input sizes at which every window of a chain fits exactly.

    Adaptive pooling fits where all its windows are equally long; interpolation by a
    fraction where it leaves no remainder.

    Args:
        layers: The layers, first to last.

    Raises:
        ShapeError: No input size fits all layers.

    >>> fitting_sizes([Window(3), Window(2, stride=2), Window(3), Window(2, stride=2)])
    Sizes(smallest=10, step=4)
    """
    sizes = Sizes(1, 1)
    for place in reversed(range(len(layers))):
        before = _sizes_before(layers[place], sizes)
        if before is None:
            raise ShapeError(
                f"fitting_sizes: layers[{place}]={layers[place]} never has an output "
                f"that the layers after it need, {sizes.smallest} plus a multiple of "
                f"{sizes.step}. Change its stride or its padding."
            )
        sizes = before
    return sizes


@explains_calls
def padding_for(
    size: int,
    outputs: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[int, int]:
    """The smallest padding ``(before, after)`` that gives an output of ``outputs``.

    The odd element goes at the end.

    Args:
        size: Input length, in elements.
        outputs: Wanted output length, in elements.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in input elements.
        dilation: Step from one tap to the next, in input elements.

    Raises:
        ShapeError: The output is longer than ``outputs`` without any padding.

    >>> padding_for(224, 112, 7, stride=2)
    (2, 3)
    """
    for name, value in (("size", size), ("outputs", outputs), ("stride", stride)):
        require("padding_for", name, value, 1)
    span = kernel_span(kernel_size, dilation)
    reached = (size - span) // stride + 1 if size >= span else 0
    if reached > outputs:
        raise ShapeError(
            f"padding_for: outputs={outputs} is less than the {reached} of an input of "
            f"{size} without padding. Use outputs of at least {reached}, or a larger "
            "stride or kernel."
        )
    total = max(0, (outputs - 1) * stride + span - size)
    return (total // 2, total - total // 2)


@explains_calls
def padding_that_keeps(kernel_size: int, *, dilation: int = 1) -> tuple[int, int]:
    """The padding ``(before, after)`` with which stride 1 keeps every size.

    It is ``span - 1`` in all: equal on both sides only for an odd span.

    >>> padding_that_keeps(5), padding_that_keeps(4)
    ((2, 2), (1, 2))
    """
    require("padding_that_keeps", "kernel_size", kernel_size, 1)
    require("padding_that_keeps", "dilation", dilation, 1)
    total = kernel_span(kernel_size, dilation) - 1
    return (total // 2, total - total // 2)


@explains_calls
def layers_to_cover(
    size: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
) -> int:
    """How many equal layers until the receptive field is at least ``size`` long.

    With stride 1, ``L`` layers see ``1 + L * (span - 1)`` elements.

    Args:
        size: Image length, in elements.
        kernel_size: Window length of every layer, in taps.
        stride: Stride of every layer.
        dilation: Dilation of every layer.

    Raises:
        ArgumentError: A window of one tap never sees more than one element.

    >>> layers_to_cover(224, 3), layers_to_cover(224, 3, stride=2)
    (112, 7)
    """
    for name, value in (
        ("size", size),
        ("kernel_size", kernel_size),
        ("stride", stride),
        ("dilation", dilation),
    ):
        require("layers_to_cover", name, value, 1)
    if kernel_size == 1 and size > 1:
        raise ArgumentError(
            f"layers_to_cover: kernel_size=1 sees 1 element at any depth, not {size}. "
            "Use kernel_size=2 or more."
        )
    field, jump, layers = 1, 1, 0
    while field < size:
        field += (kernel_span(kernel_size, dilation) - 1) * jump
        jump *= stride
        layers += 1
    return layers


def _sizes_before(layer: AxisLayer, outputs: Sizes) -> Sizes | None:
    """Input lengths with which ``layer`` fits exactly and makes one of ``outputs``."""
    if isinstance(layer, Window):
        span = kernel_span(layer.kernel_size, layer.dilation)
        first = (outputs.smallest - 1) * layer.stride + span - sum(layer.padding)
        return _at_least(1, first, outputs.step * layer.stride)
    if isinstance(layer, Transposed):
        more = layer.output_size(1 + sum(layer.padding)) - layer.stride * (
            1 + sum(layer.padding)
        )
        return _solve(layer.stride, more, outputs)
    if isinstance(layer, Upsample):
        times, step = Fraction(layer.scale).as_integer_ratio()
        whole = _solve(times, 0, outputs)
        return whole and Sizes(whole.smallest * step, whole.step * step)
    if isinstance(layer, Adaptive):
        return Sizes(layer.outputs, layer.outputs) if layer.outputs in outputs else None
    raise ArgumentError(
        f"fitting_sizes: layers has {layer!r}, whose inverse is not known. Use Window, "
        "Transposed, Upsample or Adaptive."
    )


def _solve(times: int, more: int, outputs: Sizes) -> Sizes | None:
    """Lengths ``n`` of at least 1 with ``n * times + more`` among ``outputs``."""
    period = max(1, outputs.step // gcd(outputs.step, times))
    least = max(1, -((more - outputs.smallest) // times))
    for size in range(least, least + period):
        if size * times + more in outputs:
            return Sizes(size, period if outputs.step else 0)
    return None


def _at_least(least: int, first: int, step: int) -> Sizes | None:
    """The progression from ``first``, without what is below ``least``."""
    if first >= least:
        return Sizes(first, step)
    if step == 0:
        return None
    return Sizes(first + -((first - least) // step) * step, step)
