"""The effective receptive field: how much each input element really matters.

The receptive field of arithmetic says where an output *may* look. How strongly it does
is measured: the gradient of the middle outputs with respect to the input, squared and
averaged over random inputs and output channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.differentiating import require_gradients
from convscope.analysis.capturing.given import (
    GivenInputs,
    explain_failure,
    require_layers,
)
from convscope.analysis.inputs import InputSize, Shape, shapes_of, sized_inputs
from convscope.analysis.tracing.meta_copy import meta_copy, plain_path, uncompiled
from convscope.analysis.tracing.preserve import Snapshot
from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError, ConvscopeError, UnknownNameError


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """Measured energy of the gradient of one output element.

    Attributes:
        path: The layer whose output was measured; empty for the network's own.
        output_index: Which element along each spatial axis; empty if it has none.
        energy: Mean squared gradient for each input position, summed over channels;
            it adds up to 1.
        support: First and last input element with any gradient, per axis.
        theory: The same from arithmetic, borders regarded; None where unknown.
        samples: Random inputs it is a mean over.
    """

    path: str
    output_index: Shape
    energy: npt.NDArray[np.float64]
    support: tuple[tuple[int, int], ...]
    theory: tuple[tuple[int, int], ...] | None
    samples: int

    def width(self, share: float = 0.95) -> tuple[int, ...]:
        """Input elements per axis in the shortest span that holds ``share`` of it.

        Args:
            share: Part of the energy, above 0, at most 1.

        Raises:
            ArgumentError: ``share`` is not in that interval.
        """
        if not 0 < share <= 1:
            raise ArgumentError(
                f"EffectiveField.width: share={share} is not above 0 and at most 1. "
                "Use 0.95."
            )
        spans = []
        for axis in range(self.energy.ndim):
            others = tuple(a for a in range(self.energy.ndim) if a != axis)
            spans.append(_shortest(self.energy.sum(axis=others), share))
        return tuple(spans)

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON, the energy as nested lists."""
        return {
            "path": self.path,
            "output_index": list(self.output_index),
            "support": [list(span) for span in self.support],
            "theory": self.theory and [list(span) for span in self.theory],
            "width_95": list(self.width()),
            "samples": self.samples,
            "energy": self.energy.tolist(),
        }


class NoGradientError(ArgumentError):
    """The output does not depend on the input by a gradient."""


def effective_receptive_field(
    module: nn.Module,
    input_size: InputSize,
    *,
    layer: str = "",
    output_index: Shape | None = None,
    samples: int = 16,
    seed: int = 0,
) -> EffectiveField:
    """Measure where one output of a network with weights looks, and how strongly.

    The network runs in evaluation on ``samples`` inputs of normal noise; it is not
    changed, nor are the random numbers of the process.

    Args:
        module: A network with one input.
        input_size: Size of the input without the batch axis.
        layer: Path of the module whose output to measure; the network's by default.
        output_index: Which output element, one index per spatial axis; by default the
            middle.
        samples: Inputs to average over, at least 1.
        seed: Of the noise.

    Raises:
        ArgumentError: The network has no weights yet, ``samples`` is below 1, there is
            no such output element, or no gradient reaches the input.
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ShapeError: The network does not work on this input; see `check`.

    Source:
        Luo et al. 2016, "Understanding the effective receptive field in deep
        convolutional neural networks". There the gradient of one channel with random
        weights; here the squares over all channels of the network that is given.

    >>> field = effective_receptive_field(nn.Conv2d(1, 1, 3), (1, 9, 9), samples=1)
    >>> field.support
    ((3, 5), (3, 5))
    """
    where = "effective_receptive_field"
    shapes = shapes_of(sized_inputs(input_size, where=where))
    if samples < 1:
        raise ArgumentError(f"{where}: samples={samples} is below 1. Use 16.")
    if len(shapes) != 1 or len(shapes[0]) < 2:
        raise ArgumentError(
            f"{where}: input_size={input_size!r} is not one input with space. Give "
            "(C, H, W), (C, L) or (C, D, H, W)."
        )
    if any(p.is_meta for p in module.parameters()):
        raise ArgumentError(
            f"{where}: the network has no weights. Build it on a device first."
        )
    require_layers(module, where)
    module, layer = uncompiled(module), plain_path(layer)
    names = dict(module.named_modules())
    if layer not in names:
        raise UnknownNameError("layer", layer, names)
    net = meta_copy(module, keep_values=True).eval()
    place = next(module.parameters(), torch.empty(0))
    noise = np.random.default_rng(seed).standard_normal((samples, *shapes[0]))
    x = torch.tensor(noise, dtype=place.dtype, device=place.device, requires_grad=True)
    state = Snapshot(module)
    try:
        output = _output_of(net, layer, x)
    except ConvscopeError:
        raise
    except Exception as error:
        explain_failure(module, GivenInputs(x.detach(), where), error, False, where)
        raise
    finally:
        state.restore()
    if output.is_complex():
        raise ArgumentError(
            f"{where}: layer={layer!r} gives complex numbers, which have no one "
            "gradient. Choose a layer of real ones."
        )
    index = _index(output, output_index, where)
    chosen = output  # torch's instance norm misplaces the gradient of a permuted map
    for position in index:
        chosen = chosen[:, :, position]  # in the end (samples, channels)
    total = np.zeros(shapes[0][1:])
    if chosen.requires_grad:
        require_gradients(chosen.sum(), where)
    for channel in range(chosen.shape[1] if chosen.requires_grad else 0):
        (slope,) = torch.autograd.grad(
            chosen[:, channel].sum(), x, retain_graph=True, allow_unused=True
        )
        if slope is None:
            continue
        squares = slope.abs().double().square().sum(dim=1).mean(dim=0)
        total += squares.cpu().numpy()
    if not total.any():
        raise NoGradientError(
            f"{where}: no gradient of output {index or 'values'} reaches the input. "
            "Look at summary(...).unreached, or choose another layer."
        )
    return EffectiveField(
        layer,
        index,
        total / total.sum(),
        _support(total),
        _theory(module, shapes[0], layer, index),
        samples,
    )


def _output_of(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    """What the module at ``layer`` returns in its last call."""
    found: list[Any] = []

    def keep(_: nn.Module, __: Any, out: Any) -> None:  # what follows may write into it
        found.append(out.clone() if isinstance(out, Tensor) else out)

    net.get_submodule(layer).register_forward_hook(keep)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng([]):
        net(x.clone())
    if not found or not isinstance(found[-1], Tensor) or found[-1].ndim < 2:
        raise ArgumentError(
            f"effective_receptive_field: layer={layer!r} is not called, or does not "
            "return (N, C, ...). Choose a layer of summary(...)."
        )
    result: Tensor = found[-1]
    return result


def _index(output: Tensor, wanted: Shape | None, where: str) -> Shape:
    sizes = tuple(output.shape[2:])
    if wanted is None:
        return tuple(size // 2 for size in sizes)
    if len(wanted) != len(sizes):
        raise ArgumentError(
            f"{where}: output_index={wanted} has {len(wanted)} numbers, the output has "
            f"{len(sizes)} axes of space. Give {len(sizes)}."
        )
    for axis, (index, size) in enumerate(zip(wanted, sizes, strict=True)):
        if not 0 <= index < size:
            raise ArgumentError(
                f"{where}: output_index={wanted} is outside the output, which has "
                f"{size} elements along the {axis_name(axis, len(sizes))}. Use 0 to "
                f"{size - 1}."
            )
    return wanted


def _theory(
    module: nn.Module, shape: Shape, layer: str, index: Shape
) -> tuple[tuple[int, int], ...] | None:
    """First and last input element that the output may see, borders regarded."""
    from convscope.analysis.summary import exact_ranges

    ranges = exact_ranges(module, shape, layer)
    if ranges is None:
        return None
    spans = []
    for axis, seen in enumerate(ranges):
        one = seen[index[axis]] if len(seen) > 1 else seen[0]
        if one is None:
            return None
        spans.append(one)
    return tuple(spans)


def _support(energy: npt.NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """First and last position with any energy, per axis."""
    return tuple((int(p.min()), int(p.max())) for p in np.nonzero(energy))


def _shortest(energy: npt.NDArray[np.float64], share: float) -> int:
    """Length of the shortest run of elements with that share of the sum."""
    running = np.concatenate([[0.0], np.cumsum(energy / energy.sum())])
    rounding = 1e-12  # of the running sum, so that share=1 finds the whole
    for length in range(1, len(energy)):
        if (running[length:] - running[:-length]).max() >= share - rounding:
            return length
    return len(energy)
