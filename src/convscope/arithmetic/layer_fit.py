"""One sentence on whether a layer fits its input, and what would make it fit.

``explain_fit(sizes, kernel_size, stride=, padding=, dilation=) -> str``
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from convscope.arithmetic.axis import kernel_span, per_axis
from convscope.arithmetic.fixes import any_of, nearest_fixes
from convscope.arithmetic.inverse import ExactFixes, exact_fixes
from convscope.arithmetic.padding import PaddingLike, resolve_paddings
from convscope.arithmetic.shapes import axis_name, padded_text
from convscope.errors import explains_calls

LINES = {1: ("element",), 2: ("row", "column"), 3: ("slice", "row", "column")}
MOST_STRIDES = 5  # nearest to the one asked for; a long list of divisors helps nobody


@dataclass(frozen=True)
class _Axis:
    """The numbers of one axis; equal axes share one formula."""

    size: int
    kernel_size: int
    stride: int
    padding: tuple[int, int]
    dilation: int

    @property
    def span(self) -> int:
        return kernel_span(self.kernel_size, self.dilation)

    @property
    def slack(self) -> int:
        """Elements the window can move by; below 0 where it does not fit once."""
        return self.size + sum(self.padding) - self.span

    def formula(self) -> str:
        padding = f" + {sum(self.padding)}" if any(self.padding) else ""
        exact = Fraction(self.slack, self.stride) + 1
        return (
            f"({self.size}{padding} - {self.span}) / {self.stride} + 1 = "
            f"{decimal(exact)}"
        )

    def fixes(self) -> ExactFixes:
        return exact_fixes(
            self.size,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )


@explains_calls
def explain_fit(
    sizes: int | Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: PaddingLike = 0,
    dilation: int | Sequence[int] = 1,
) -> str:
    """Whether windows fit an input exactly; if not, what is ignored and what would fit.

    Args:
        sizes: Input lengths, one per spatial axis; one integer is one axis.
        kernel_size: Window lengths, in taps; one integer serves all axes.
        stride: Steps between windows; one integer serves all axes.
        padding: A name or numbers, as `parse_padding` reads them.
        dilation: Steps between taps; one integer serves all axes.

    Raises:
        ArgumentError: A value is not in its range, or not one per axis.

    >>> explain_fit((7, 7), 3, stride=2)
    '7x7 with 3x3 and stride 2 fits: (7 - 3) / 2 + 1 = 3'
    """
    sizes = (sizes,) if isinstance(sizes, int) else sizes
    count, where = len(sizes), "explain_fit"
    kernels = per_axis(kernel_size, count, name="kernel_size", where=where)
    strides = per_axis(stride, count, name="stride", where=where)
    dilations = per_axis(dilation, count, name="dilation", where=where)
    checked = per_axis(sizes, count, name="sizes", where=where)
    paddings = resolve_paddings(
        padding, checked, kernels, stride=strides, dilation=dilations, where=where
    )
    axes = [
        _Axis(*numbers)
        for numbers in zip(checked, kernels, strides, paddings, dilations, strict=True)
    ]
    head = _head(axes)
    if any(axis.slack < 0 for axis in axes):
        return f"{head} does not fit: {_too_large(axes)}"
    formulas = _by_axis(axes, [axis.formula() for axis in axes], " ", ", ")
    if all(axis.slack % axis.stride == 0 for axis in axes):
        return f"{head} fits: {formulas}"
    return (
        f"{head} does not fit: {formulas}; {_ignored(axes)} would be ignored; "
        f"{_padding_fix(axes)}, or use {_stride_fix(axes)}"
    )


def decimal(value: Fraction) -> str:
    """A fraction with 2 decimals, or as many as show that it is not whole.

    >>> decimal(Fraction(7, 3)), decimal(Fraction(5, 2)), decimal(Fraction(2999, 1000))
    ('2.33', '2.5', '2.999')
    """
    if value.denominator == 1:
        return str(value.numerator)
    digits = 2
    while Fraction(text := f"{float(value):.{digits}f}").denominator == 1:
        digits += 1
    return text.rstrip("0")


def _head(axes: list[_Axis]) -> str:
    """What is asked: sizes, paddings, kernels, dilations, strides."""
    parts = "x".join(str(axis.size) for axis in axes)
    if any(any(axis.padding) for axis in axes):
        parts += f" padded by {_alike([_amount(axis.padding) for axis in axes])}"
    parts += f" with {'x'.join(str(axis.kernel_size) for axis in axes)}"
    if any(axis.dilation > 1 for axis in axes):
        spans = "x".join(str(axis.span) for axis in axes)
        spread = _alike([str(axis.dilation) for axis in axes])
        parts += f", dilation {spread} (spans {spans})"
    return f"{parts} and stride {_alike([str(axis.stride) for axis in axes])}"


def _too_large(axes: list[_Axis]) -> str:
    """The axes along which not one window fits, with the nearest that do."""
    reasons = []
    for axis in axes:
        fixes = nearest_fixes(
            axis.size, axis.kernel_size, padding=axis.padding, dilation=axis.dilation
        )
        padded = padded_text(axis.size, axis.padding)
        remedy = str(fixes).removesuffix(".").replace("Use", "use", 1)
        reason = (
            f"a window spans {axis.span} elements, the input has {padded}; {remedy}"
        )
        reasons.append(reason if axis.slack < 0 else "")
    return _by_axis(axes, reasons, ": ", "; ")


def _ignored(axes: list[_Axis]) -> str:
    """How many rows and columns no window reaches."""
    names = LINES.get(len(axes), tuple(f"line of axis {i}" for i in range(len(axes))))
    counts = [axis.slack % axis.stride for axis in axes]
    some = [(count, name) for count, name in zip(counts, names, strict=True) if count]
    if len({count for count, _ in some}) == 1:
        count = some[0][0]
        number = "one" if count == 1 else str(count)
        return f"{number} {_and([_plural(name, count) for _, name in some])}"
    return _and([f"{'one' if n == 1 else n} {_plural(name, n)}" for n, name in some])


def _padding_fix(axes: list[_Axis]) -> str:
    """The smallest paddings with which every axis fits."""
    texts = []
    for axis in axes:
        new = axis.fixes().padding
        by = f"{new[0]} before and {new[1]} after" if new[0] != new[1] else str(new[0])
        old = f" instead of {_amount(axis.padding)}" if any(axis.padding) else ""
        texts.append("" if new == axis.padding else f"by {by}{old}")
    if len(set(texts)) == 1 and _are_alike(axes):
        return f"pad {texts[0]}"
    some = [
        f"the {axis_name(place, len(axes))} {text}"
        for place, text in enumerate(texts)
        if text
    ]
    return f"pad {_and(some)}"


def _stride_fix(axes: list[_Axis]) -> str:
    """The strides that fit: common ones, where all axes have one stride."""
    if len({axis.stride for axis in axes}) == 1:
        common = set(axes[0].fixes().strides)
        common.intersection_update(*(axis.fixes().strides for axis in axes))
        return f"stride {any_of(_nearest(common, axes[0]))}"
    texts = []
    for place, axis in enumerate(axes):
        if axis.slack % axis.stride:
            strides = any_of(_nearest(set(axis.fixes().strides), axis))
            texts.append(f"stride {strides} for the {axis_name(place, len(axes))}")
    return _and(texts)


def _nearest(strides: set[int], axis: _Axis) -> list[str]:
    """Those near the stride asked for: the other divisors would skip most of it."""
    limit = 2 * max(axis.stride, axis.span)
    near = sorted(
        (stride for stride in strides if stride <= limit),
        key=lambda stride: (abs(stride - axis.stride), stride),
    )
    return [str(stride) for stride in sorted(near[:MOST_STRIDES])]


def _by_axis(axes: list[_Axis], texts: list[str], colon: str, comma: str) -> str:
    """One text if all axes are alike, else each after the name of its axis."""
    if _are_alike(axes):
        return texts[0]
    named = [
        f"{axis_name(place, len(axes))}{colon}{text}"
        for place, text in enumerate(texts)
        if text
    ]
    return comma.join(named)


def _are_alike(axes: list[_Axis]) -> bool:
    return len(set(axes)) == 1


def _alike(texts: list[str]) -> str:
    """One value for all axes, or one per axis."""
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _amount(padding: tuple[int, int]) -> str:
    return str(padding[0]) if padding[0] == padding[1] else str(padding)


def _plural(name: str, count: int) -> str:
    head, _, rest = name.partition(" ")
    plural = head if count == 1 else f"{head}s"
    return f"{plural} {rest}" if rest else plural


def _and(texts: list[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
