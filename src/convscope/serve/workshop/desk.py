"""The arithmetic desk: one layer's settings to all that follows from them."""

import math
from collections.abc import Sequence
from typing import Any

from convscope.arithmetic import (
    convolution_multiply_adds,
    convolution_parameters,
    exact_fixes,
    explain_fit,
    nearest_fixes,
)
from convscope.errors import ConvscopeError, ShapeError
from convscope.serve.workshop.settings import Axes, Settings
from convscope.serve.workshop.window_film import require_numbers, window_film

KINDS = {
    "convolution": "Conv",
    "transposed": "ConvTranspose",
    "max pooling": "MaxPool",
    "average pooling": "AvgPool",
}


def desk(given: Settings) -> dict[str, Any]:
    """Output size, formula, costs, receptive field, film and code of one layer.

    What does not fit is told in ``error``, with changes of the settings that mend it;
    ``proposals`` are the like where the layer works but leaves elements out.

    >>> found = desk(Settings(size=7, kernel=3, stride=3))
    >>> found["output"], found["formula"]
    ([2, 2], ['⌊(7 - 3) / 3⌋ + 1 = 2', '⌊(7 - 3) / 3⌋ + 1 = 2'])
    >>> [proposal["label"] for proposal in found["proposals"]]
    ['padding 1', 'stride 1', 'stride 2', 'stride 4', 'size 6', 'size 9']
    """
    settings = given.model_dump(mode="json")
    try:
        axes = Axes(given)
        outputs = axes.outputs()
        costs = _costs(axes, outputs)
        film = window_film(axes, outputs)
    except ConvscopeError as error:
        return {"settings": settings, "error": _refused(given, error)}
    fields = [axes.field(axis) for axis in range(given.axes)]
    channels = given.channels if given.is_pooling else given.filters
    return {
        "settings": settings,
        "error": None,
        "output": list(outputs),
        "shape": [channels, *outputs],
        "sentence": _sentence(axes, outputs),
        "formula": [axes.formula(axis) for axis in range(given.axes)],
        **costs,
        "receptive_field": [
            {"size": field.size, "stride": str(field.stride)} for field in fields
        ],
        "proposals": [] if given.is_transposed else _exact(axes),
        "python": code(given),
        **film,
    }


def code(given: Settings) -> str:
    """Python that gives the desk's numbers.

    >>> print(code(Settings(size=7, kernel=3, stride=2)))
    import convscope as cs
    <BLANKLINE>
    layer = cs.layers.Conv2d(1, 1, kernel_size=3, stride=2)
    cs.arithmetic.output_shape((7, 7), 3, stride=2)
    cs.summary(layer, (1, 7, 7))
    """
    own = Settings()
    window = "".join(
        f", {name}={getattr(given, name)!r}"
        for name in ("stride", "padding", "dilation", "output_padding")
        if getattr(given, name) != getattr(own, name)
    )
    if given.is_pooling and "stride" not in window:
        window = f", stride=1{window}"  # theirs is the kernel's size by default
    kernel = repr(given.kernel)
    if given.is_pooling:
        arguments = f"kernel_size={kernel}{window}"
    else:
        arguments = f"{given.channels}, {given.filters}, kernel_size={kernel}{window}"
    if given.groups != 1:
        arguments += f", groups={given.groups}"
    if given.mode != "zeros":
        arguments += f", padding_mode={given.mode!r}"
    size = given.size
    sizes = (size,) * given.axes if isinstance(size, int) else size
    function = "transposed_output_shape" if given.is_transposed else "output_shape"
    return "\n".join(
        (
            "import convscope as cs",
            "",
            f"layer = cs.layers.{KINDS[given.operation]}{given.axes}d({arguments})",
            f"cs.arithmetic.{function}({sizes!r}, {kernel}{window})",
            f"cs.summary(layer, {(given.channels, *sizes)!r})",
        )
    )


def _costs(axes: Axes, outputs: tuple[int, ...]) -> dict[str, Any]:
    """Parameters and multiply-adds, and how they are counted."""
    given = axes.given
    if given.is_pooling:
        nothing = {"value": 0, "text": "nothing is learned, nothing multiplied"}
        return {"parameters": nothing, "multiply_adds": nothing}
    places = axes.size if given.is_transposed else outputs
    parameters = convolution_parameters(
        given.channels, given.filters, axes.kernel, groups=given.groups
    )
    products = convolution_multiply_adds(
        given.channels, given.filters, axes.kernel, places, groups=given.groups
    )
    own = [given.filters, given.channels // given.groups, *axes.kernel]
    text = "·".join(map(str, own))
    return {
        "parameters": {"value": parameters, "text": f"{text} + {given.filters}"},
        "multiply_adds": {
            "value": products,
            "text": f"{text}·{'·'.join(map(str, places))}",
        },
    }


def _sentence(axes: Axes, outputs: tuple[int, ...]) -> str:
    if axes.given.is_transposed:
        return f"{_by(axes.size)} becomes {_by(outputs)}"
    return explain_fit(
        axes.size, axes.kernel, stride=axes.stride, padding=axes.ends,
        dilation=axes.dilation,
    )  # fmt: skip


def _by(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _proposal(name: str, values: Sequence[int]) -> dict[str, Any]:
    """A change of one setting, as a button has it."""
    value = values[0] if len(set(values)) == 1 else list(values)
    text = value if isinstance(value, int) else _by(value)
    return {"label": f"{name.replace('_', ' ')} {text}", "change": {name: value}}


def _exact(axes: Axes) -> list[dict[str, Any]]:
    """Changes after which no element is left out."""
    given = axes.given
    fixes = [
        exact_fixes(size, k, stride=s, padding=ends, dilation=d)
        for size, k, s, ends, d in zip(
            axes.size, axes.kernel, axes.stride, axes.ends, axes.dilation, strict=True
        )
    ]
    if all(fix.smaller == size for fix, size in zip(fixes, axes.size, strict=True)):
        return []
    found = []
    paddings = [fix.padding for fix in fixes]
    if not isinstance(given.padding, str) and all(a == b for a, b in paddings):
        found.append(_proposal("padding", [before for before, _ in paddings]))
    strides = set(fixes[0].strides).intersection(*(fix.strides for fix in fixes))
    nearest = sorted(strides, key=lambda s: (abs(s - axes.stride[0]), s))[:3]
    found += [_proposal("stride", [s] * given.axes) for s in sorted(nearest)]
    smaller = [fix.smaller for fix in fixes if fix.smaller]
    if len(smaller) == given.axes:
        found.append(_proposal("size", smaller))
    found.append(_proposal("size", [fix.larger for fix in fixes]))
    return [one for one in found if _works(given, one["change"])]


def _refused(given: Settings, error: ConvscopeError) -> dict[str, Any]:
    """The library's words, and changes of the settings that mend it."""
    found = _mends(given) if isinstance(error, ShapeError) else _unset(given)
    remedies = [one for one in found if _works(given, one["change"])]
    return {"message": str(error), "remedies": remedies}


def _unset(given: Settings) -> list[dict[str, Any]]:
    """Each setting that differs from where the desk begins, put back."""
    own = Settings()
    changed = [n for n in Settings.model_fields if getattr(given, n) != getattr(own, n)]
    return [
        {"label": f"{name.replace('_', ' ')} {getattr(own, name)}".strip(),
         "change": {name: getattr(own, name)}}
        for name in changed
        if name not in ("operation", "axes", "size", "kernel", "seed")
    ]  # fmt: skip


def _mends(given: Settings) -> list[dict[str, Any]]:
    """Changes that might mend it, the smallest first."""
    if given.channels % given.groups or given.filters % given.groups:
        shared = math.gcd(given.channels, given.filters)
        fit = max(g for g in range(1, given.groups + 1) if shared % g == 0)
        return [_proposal("groups", [fit])]
    if given.is_transposed:
        return _unset(given)
    axes = Axes(given)
    fixes = [
        nearest_fixes(size, k, padding=ends, dilation=d)
        for size, k, ends, d in zip(
            axes.size, axes.kernel, axes.ends, axes.dilation, strict=True
        )
    ]
    found = []
    if not isinstance(given.padding, str):
        more = zip(axes.ends, (fix.padding or 0 for fix in fixes), strict=True)
        found.append(_proposal("padding", [ends[0] + own for ends, own in more]))
    for name in ("kernel_size", "dilation"):
        values = [getattr(fix, name) for fix in fixes]
        if all(values):
            found.append(_proposal(name.removesuffix("_size"), values))
    sizes = [max(fix.size, n) for fix, n in zip(fixes, axes.size, strict=True)]
    found.append(_proposal("size", sizes))
    return found + _unset(given)


def _works(given: Settings, change: dict[str, Any]) -> bool:
    """Whether the layer works once changed."""
    try:
        axes = Axes(Settings.model_validate({**given.model_dump(), **change}))
        outputs = axes.outputs()
        _costs(axes, outputs)
        require_numbers(axes, outputs)
    except (ConvscopeError, ValueError):
        return False
    return True
