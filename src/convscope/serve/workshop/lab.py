"""The photo lab: a picture through steps chosen one by one."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from convscope.arithmetic import BorderMode
from convscope.errors import ArgumentError, ConvscopeError
from convscope.functional import avg_pool, conv2d, filter_kernel, max_pool, pad

MOST_STEPS = 12
MOST_SIDE = 1024  # pixels of what a step gives
Small = Annotated[int, Field(ge=1, le=31)]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Border = BorderMode | Literal["cut off"]
Pixels = npt.NDArray[np.float32]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pad(_Step):
    """Elements added at every side."""

    kind: Literal["pad"] = "pad"
    amount: Annotated[int, Field(ge=0, le=128)] = 8
    mode: BorderMode = "zeros"


class NamedFilter(_Step):
    """A filter by its name, each channel for itself."""

    kind: Literal["filter"] = "filter"
    name: str = Field("edges_8", max_length=40)
    border: Border = "replicate"
    dilation: Small = 1
    flip: bool = False


class TypedFilter(_Step):
    """A kernel as it was typed: rows of numbers."""

    kind: Literal["kernel"] = "kernel"
    rows: Annotated[
        tuple[Annotated[tuple[Number, ...], Field(min_length=1, max_length=15)], ...],
        Field(min_length=1, max_length=15),
    ] = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
    border: Border = "replicate"
    dilation: Small = 1
    flip: bool = False


class Average(_Step):
    """Each place becomes the mean of its neighborhood."""

    kind: Literal["average"] = "average"
    size: Small = 3
    border: Border = "replicate"


class Relu(_Step):
    """What is below 0 becomes 0."""

    kind: Literal["relu"] = "relu"


class Channels(_Step):
    """One channel alone, or their mean."""

    kind: Literal["channel"] = "channel"
    keep: Literal["red", "green", "blue", "gray"] = "gray"


class Pool(_Step):
    """The largest of each window, or the mean."""

    kind: Literal["max pooling", "average pooling"]
    kernel: Small = 2
    stride: Small = 2


class Stride(_Step):
    """Every so many-th row and column."""

    kind: Literal["stride"] = "stride"
    step: Small = 2


class Noise(_Step):
    """Places drawn at random become black or white, or all are shifted a little.

    The numbers are those of a counter (`random`), so that the page without a server
    draws the same.
    """

    kind: Literal["noise"] = "noise"
    what: Literal["salt and pepper", "even"] = "salt and pepper"
    amount: Annotated[float, Field(ge=0, le=1)] = 0.1
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0


Step = Annotated[
    Pad | NamedFilter | TypedFilter | Average | Relu | Channels | Pool | Stride | Noise,
    Field(discriminator="kind"),
]


class Steps(BaseModel):
    """What is done to a picture, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[tuple[Step, ...], Field(max_length=MOST_STEPS)] = ()


def through(picture: Pixels, steps: Sequence[Any]) -> tuple[list[Pixels], str | None]:
    """What each step gives, and why a step could not be done, if one could not.

    Args:
        picture: (C, H, W), 0 to 255.
        steps: Of `Steps`.

    >>> white = np.full((1, 4, 4), 255, np.float32)
    >>> found, error = through(white, [Pool(kind="max pooling")])
    >>> found[0].shape, error
    ((1, 2, 2), None)
    """
    found: list[Pixels] = []
    x = torch.from_numpy(np.ascontiguousarray(picture, np.float32))
    for number, step in enumerate(steps, 1):
        try:
            x = _done(x, step)
            if max(x.shape[1:]) > MOST_SIDE:
                raise ArgumentError(
                    f"{max(x.shape[1:]):,} pixels are more than {MOST_SIDE:,}. "
                    "Pad less."
                )
        except ConvscopeError as error:
            return found, f"step {number}, {step.kind}: {error}"
        found.append(x.numpy())
    return found, None


def code(steps: Sequence[Any]) -> str:
    """Python that does the same to a picture.

    >>> print(code([Relu(), Stride(step=3)]))
    import numpy as np
    import torch
    from PIL import Image
    import convscope.functional as F
    <BLANKLINE>
    picture = Image.open("photo.png").convert("RGB")
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
    x = x.clamp(min=0)
    x = x[:, ::3, ::3]
    """
    return "\n".join(
        (
            "import numpy as np",
            "import torch",
            "from PIL import Image",
            "import convscope.functional as F",
            "",
            'picture = Image.open("photo.png").convert("RGB")',
            "x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()",
            *(line for step in steps for line in _lines(step)),
        )
    )


def random(count: int, seed: int) -> npt.NDArray[np.uint32]:
    """Numbers of 32 bits that look drawn, each a function of its place and the seed.

    Source:
        The mixing steps of MurmurHash3's finalizer (Appleby, public domain).

    >>> random(3, 0).tolist() == random(5, 0)[:3].tolist()
    True
    """
    x = np.arange(count, dtype=np.uint32) + np.uint32((seed * 0x9E3779B9) % 2**32)
    x = x * np.uint32(0x9E3779B1)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    found: npt.NDArray[np.uint32] = x ^ (x >> np.uint32(16))
    return found


def _done(x: Tensor, step: Any) -> Tensor:
    if isinstance(step, Pad):
        return pad(x, step.amount, step.mode, axes=2, where="pad")
    if isinstance(step, NamedFilter):
        return _filtered(x, filter_kernel(step.name), step)
    if isinstance(step, TypedFilter):
        return _filtered(x, _typed(step), step)
    if isinstance(step, Average):
        taps = torch.full((step.size, step.size), 1 / step.size**2)
        return _filtered(x, taps, step)
    if isinstance(step, Relu):
        return x.clamp(min=0)
    if isinstance(step, Channels):
        return _channel(x, step.keep)
    if isinstance(step, Pool):
        pool = max_pool if step.kind == "max pooling" else avg_pool
        return pool(x[None], step.kernel, stride=step.stride)[0]
    if isinstance(step, Stride):
        return x[:, :: step.step, :: step.step].contiguous()
    return _noisy(x, step)


def _typed(step: TypedFilter) -> Tensor:
    widths = {len(row) for row in step.rows}
    if len(widths) > 1:
        raise ArgumentError(
            f"rows have {' and '.join(map(str, sorted(widths)))} numbers. Give each "
            "as many as the others."
        )
    return torch.tensor(step.rows)


def _filtered(x: Tensor, taps: Tensor, step: Any) -> Tensor:
    """Each channel under the taps; its border as the step has it."""
    if getattr(step, "flip", False):
        taps = taps.flip(0, 1)
    dilation = getattr(step, "dilation", 1)
    if step.border != "cut off":
        reach = [dilation * (size - 1) for size in taps.shape]
        ends = [(r // 2, r - r // 2) for r in reach]
        x = pad(x, ends, step.border, axes=2, where="border")
    kernel = taps[None, None]
    return conv2d(x[:, None], kernel, dilation=dilation)[:, 0]


def _channel(x: Tensor, keep: str) -> Tensor:
    if keep == "gray":
        return x.mean(0, keepdim=True)
    place = ("red", "green", "blue").index(keep)
    if len(x) == 1:
        raise ArgumentError(f"the picture has one channel, so there is no {keep}.")
    return x[place : place + 1]


def _noisy(x: Tensor, step: Noise) -> Tensor:
    drawn = random(x[0].numel(), step.seed).astype(np.float64) / 2**32
    part = torch.from_numpy(drawn.reshape(x.shape[1:])).float()
    if step.what == "even":
        return x + step.amount * 255 * (part - 0.5)
    half = step.amount / 2
    salted = torch.where(part > 1 - half, torch.full_like(x, 255.0), x)
    return torch.where(part < half, torch.zeros_like(x), salted)


def _lines(step: Any) -> list[str]:
    if isinstance(step, Pad):
        return [f"x = F.pad(x, {step.amount}, {step.mode!r}, axes=2)"]
    if isinstance(step, NamedFilter):
        return _filter_lines(f"F.filter_kernel({step.name!r})", step)
    if isinstance(step, TypedFilter):
        rows = [list(row) for row in step.rows]
        return _filter_lines(f"torch.tensor({rows!r})", step)
    if isinstance(step, Average):
        size = step.size
        return _filter_lines(f"torch.full(({size}, {size}), 1 / {size**2})", step)
    if isinstance(step, Relu):
        return ["x = x.clamp(min=0)"]
    if isinstance(step, Channels):
        if step.keep == "gray":
            return ["x = x.mean(0, keepdim=True)"]
        place = ("red", "green", "blue").index(step.keep)
        return [f"x = x[{place}:{place + 1}]"]
    if isinstance(step, Pool):
        name = "max_pool" if step.kind == "max pooling" else "avg_pool"
        return [f"x = F.{name}(x[None], {step.kernel}, stride={step.stride})[0]"]
    if isinstance(step, Stride):
        return [f"x = x[:, ::{step.step}, ::{step.step}]"]
    return _noise_lines(step)


def _filter_lines(taps: str, step: Any) -> list[str]:
    lines = [f"taps = {taps}{'.flip(0, 1)' if getattr(step, 'flip', False) else ''}"]
    dilation = getattr(step, "dilation", 1)
    if step.border != "cut off":
        span = f"{dilation} * (n - 1)" if dilation > 1 else "(n - 1)"
        lines += [
            f"reach = [{span} for n in taps.shape]",
            "ends = [(r // 2, r - r // 2) for r in reach]",
            f"x = F.pad(x, ends, {step.border!r}, axes=2)",
        ]
    more = f", dilation={dilation}" if dilation > 1 else ""
    return [*lines, f"x = F.conv2d(x[:, None], taps[None, None]{more})[:, 0]"]


def _noise_lines(step: Noise) -> list[str]:
    drawn = (
        "from convscope.serve.workshop.lab import random",
        f"part = random(x[0].numel(), {step.seed}).astype(float) / 2**32",
        "part = torch.from_numpy(part.reshape(x.shape[1:])).float()",
    )
    if step.what == "even":
        return [*drawn, f"x = x + {step.amount} * 255 * (part - 0.5)"]
    half = step.amount / 2
    return [
        *drawn,
        f"x = torch.where(part > 1 - {half}, torch.full_like(x, 255.0), x)",
        f"x = torch.where(part < {half}, torch.zeros_like(x), x)",
    ]
