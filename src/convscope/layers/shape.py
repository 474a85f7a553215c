"""The input of a layer, checked before torch sees it."""

from torch import Tensor, nn

from convscope.arithmetic import axis_name
from convscope.errors import ShapeError
from convscope.functional.operands import require_plain


def require_input(
    layer: nn.Module,
    x: Tensor,
    axes: int,
    channels: int | None,
    *,
    batched: bool = False,
) -> None:
    """Refuses a tensor of another rank or channel count than ``layer`` takes.

    Args:
        layer: Who asks; the message begins with the name of its class.
        x: What reached it.
        axes: Spatial axes that it takes.
        channels: Channels that it takes; None where any number will do.
        batched: Whether the batch axis is a must.

    Raises:
        ShapeError: The rank or the number of channels is another.
    """
    require_plain(x, type(layer).__name__)
    ranks = (axes + 2,) if batched else (axes + 1, axes + 2)
    fits = x.ndim in ranks
    came = x.shape[x.ndim - axes - 1] if fits else None
    if fits and came == 0:
        raise ShapeError(
            f"{type(layer).__name__}: x must have at least 1 channel; got "
            f"{tuple(x.shape)}. Look at what made it."
        )
    if fits and channels in (None, came):
        return
    name = type(layer).__name__
    letters = ", ".join(axis_name(axis, axes)[0].upper() for axis in range(axes))
    count = "C" if channels is None else channels
    wanted = f"(N, {count}, {letters})"
    if not batched:
        wanted += f" or ({count}, {letters})"
    text = f"{name}: x must have shape {wanted}; got {tuple(x.shape)}"
    if not fits:
        raise ShapeError(
            f"{text}, which has {x.ndim} {'axis' if x.ndim == 1 else 'axes'} instead "
            f"of {axes + 2}. {_remedy(x.ndim, axes)}"
        )
    raise ShapeError(
        f"{text}, which has {came} channels. Build the layer for {came} channels, or "
        f"give it {channels}."
    )


def _remedy(rank: int, axes: int) -> str:
    others = rank - 2
    if others in (1, 2, 3) and others != axes:
        return f"For {others} spatial axes take the {others}d layer."
    return "Add or remove axes with unsqueeze, flatten or unflatten."
