"""The nearest values that work, for a window that does not fit its input.

``nearest_fixes(size, kernel_size, padding=, dilation=)  -> Fixes``
``Fixes``: smallest ``size``, ``padding`` to add on each side, largest
``kernel_size``, largest ``dilation``; ``str(fixes)`` is the sentence for a message.
"""

from dataclasses import dataclass

from convscope.arithmetic.axis import EndsLike, both_ends, kernel_span
from convscope.errors import explains_calls


@dataclass(frozen=True)
class Fixes:
    """Each field alone makes the window fit; None where no value of it can.

    ``size`` is the smallest input, ``padding`` the elements to add on *each* side,
    ``kernel_size`` and ``dilation`` the largest that fit.

    >>> print(Fixes(size=5, padding=1, kernel_size=3, dilation=None))
    Use an input of at least 5, 1 more padding on each side, or kernel_size at most 3.
    """

    size: int
    padding: int | None
    kernel_size: int | None
    dilation: int | None

    def __str__(self) -> str:
        remedies = [f"an input of at least {self.size}"]
        if self.padding is not None:
            remedies.append(f"{self.padding} more padding on each side")
        if self.kernel_size is not None:
            remedies.append(f"kernel_size at most {self.kernel_size}")
        if self.dilation is not None:
            remedies.append(f"dilation at most {self.dilation}")
        return f"Use {any_of(remedies)}."


@explains_calls
def nearest_fixes(
    size: int,
    kernel_size: int,
    *,
    padding: EndsLike = 0,
    dilation: int = 1,
    pooling: bool = False,
) -> Fixes:
    """The smallest change of each argument after which one window fits.

    The stride plays no part: a window that fits once fits at any stride.

    Args:
        size: Input length, in elements.
        kernel_size: Window length, in taps.
        padding: Elements added at each end of the input, or ``(before, after)`` it.
        dilation: Step from one tap to the next, in input elements.
        pooling: Whether torch's limit for pooling holds: padding at most half of
            ``kernel_size``.

    >>> nearest_fixes(8, 7, padding=(1, 1), dilation=2)
    Fixes(size=11, padding=2, kernel_size=5, dilation=1)
    """
    ends = both_ends(padding, where="nearest_fixes")
    span = kernel_span(kernel_size, dilation)
    padded = size + sum(ends)
    missing = max(0, span - padded)
    more: int | None = -(-missing // 2)
    if pooling and more is not None and max(ends) + more > kernel_size // 2:
        more = None
    taps = min(kernel_size, (padded - 1) // dilation + 1)
    if pooling and taps // 2 < max(ends):
        taps = 0
    spread = dilation if kernel_size == 1 else (padded - 1) // (kernel_size - 1)
    return Fixes(
        size=max(1, span - sum(ends)),
        padding=more,
        kernel_size=taps if taps >= 1 else None,
        dilation=min(dilation, spread) if spread >= 1 else None,
    )


def any_of(remedies: list[str]) -> str:
    """Join choices the way a sentence lists them.

    >>> any_of(["stride 1", "2", "4"])
    'stride 1, 2 or 4'
    """
    long = any(" " in remedy for remedy in remedies[1:])
    if len(remedies) == 1:
        return remedies[0]
    comma = "," if long and len(remedies) > 2 else ""
    return f"{', '.join(remedies[:-1])}{comma} or {remedies[-1]}"
