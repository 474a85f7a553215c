"""Whether a map says what the network uses: insertion, deletion, shuffled weights."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis.attribution.record import Array
from convscope.execution import images_together

Scores: TypeAlias = Callable[[Tensor], Tensor]  # (M, C, *space) to (M,), 0 to 1

STEPS = 16  # of covering and uncovering
ORDERS = 4  # random ones
CELLS = 14  # along each axis: random orders cover cells, for single pixels are noise
STAGES = 5  # numbers of layers whose weights are shuffled


def areas(
    scores: Scores, image: Tensor, *orders: npt.NDArray[np.float64]
) -> list[tuple[float, float]]:
    """Insertion and deletion area of each of some orders of the input's elements.

    Args:
        scores: Of inputs, what the network gives the target, from 0 to 1.
        image: The input.
        orders: The higher, the sooner an element is shown or covered.

    Shape:
        image: (C, *space)
        order: (*space)

    Source:
        Petsiuk, Das and Saenko 2018, RISE: randomized input sampling for explanation
        of black-box models, section 4.2: deletion covers with 0 (of normalized inputs:
        their mean), insertion uncovers what was blurred. Here in 16 equal steps, by
        the trapezoidal rule.
    """
    blurred, nothing = blur(image), torch.zeros_like(image)
    together = images_together(image.shape[1:], image.device)

    def scored(copies: Tensor) -> Tensor:
        return torch.cat([scores(part) for part in copies.split(together)]).double()

    # Where every order begins and ends.
    hidden, whole, gone = scored(torch.stack([blurred, image, nothing])).cpu()
    found = []
    for order in orders:
        sequence = torch.from_numpy(np.argsort(-order, axis=None, kind="stable").copy())
        counts = [round(sequence.numel() * k / STEPS) for k in range(STEPS + 1)]
        shown, covered = [], []
        mask = torch.zeros(sequence.numel(), dtype=torch.bool)
        for before, count in itertools.pairwise(counts[:-1]):
            mask[sequence[before:count]] = True
            chosen = mask.view(order.shape).unsqueeze(0).to(image.device)
            shown.append(torch.where(chosen, image, blurred))
            covered.append(torch.where(chosen, nothing, image))
        one, other = scored(torch.stack([*shown, *covered])).cpu().chunk(2)
        found.append(
            (
                _area(torch.cat([hidden[None], one, whole[None]])),
                _area(torch.cat([whole[None], other, gone[None]])),
            )
        )
    return found


def random_orders(
    space: tuple[int, ...], seed: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Random orders of the cells of a grid with at most 14 along each axis."""
    rng = np.random.default_rng(seed)
    grid = tuple(min(CELLS, size) for size in space)
    for _ in range(ORDERS):
        cells = rng.permutation(math.prod(grid)).reshape(grid).astype(np.float64)
        for axis, size in enumerate(space):
            places = (np.arange(size) * grid[axis]) // size
            cells = np.take(cells, places, axis)
        yield cells


def blur(image: Tensor) -> Tensor:
    """The input without detail: Gaussian, deviation 5/224 of each side, 1 at least."""
    out = image.unsqueeze(0)
    for axis, size in enumerate(image.shape[1:]):
        deviation = max(1.0, 5 * size / 224)
        reach = min(math.ceil(3 * deviation), max(size - 1, 0))
        if not reach:
            continue
        x = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
        kernel = torch.exp(-(x**2) / (2 * deviation**2))
        kernel = kernel / kernel.sum()
        moved = out.movedim(axis + 2, -1)
        flat = moved.reshape(-1, 1, size)
        padded = F.pad(flat, (reach, reach), mode="reflect")
        flat = F.conv1d(padded, kernel.view(1, 1, -1))
        out = flat.reshape(moved.shape).movedim(-1, axis + 2)
    return out[0]


def shuffled(
    net: nn.Module, *, seed: int, stages: int = STAGES
) -> Iterator[tuple[str, nn.Module]]:
    """The network with the weights of its last layers shuffled, of ever more of them.

    Shuffling keeps each weight's values, so that the scale of activations stays sane.

    Args:
        net: A copy of a network that may be changed; its weights are replaced, not
            written into.
        seed: Of the shuffles.
        stages: How often it is given, with equally many layers more each time; besides
            once with the last layer alone, if more than once.

    Source:
        Adebayo et al. 2018, Sanity checks for saliency maps, section 3 (cascading
        randomization; there weights are drawn anew).
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (path, module)
        for path, module in net.named_modules()
        if any(p.ndim > 1 for p in module.parameters(recurse=False))
    ]
    if not layers:
        return
    ends = {math.ceil(len(layers) * k / stages) for k in range(1, stages + 1)}
    if stages > 1:
        ends.add(1)
    for number, (path, module) in enumerate(reversed(layers), start=1):
        for name, weight in list(module.named_parameters(recurse=False)):
            order = torch.randperm(weight.numel(), generator=generator)
            mixed = weight.detach().flatten()[order.to(weight.device)]
            fresh = nn.Parameter(mixed.view_as(weight), weight.requires_grad)
            module.__dict__["_parameters"][name] = fresh
        if number in ends:
            yield path, net


def rank_correlation(one: Array, two: Array) -> float:
    """Spearman's, of two maps brought to 32 cells along each axis at most.

    A map that is the same everywhere has no order: 0.
    """
    small = [_pooled(np.abs(each)).ravel() for each in (one, two)]
    if any(np.ptp(each) == 0 for each in small):
        return 0.0
    return float(np.corrcoef(_ranks(small[0]), _ranks(small[1]))[0, 1])


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    """Places in order; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    means: npt.NDArray[np.float64] = ends - (counts - 1) / 2
    return means[places.ravel()]


def _pooled(values: Array) -> Array:
    x = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    size = [min(32, n) for n in values.shape]
    pools = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    if values.ndim > len(pools):
        return values
    pooled: Array = pools[values.ndim - 1](x, size)[0, 0].numpy()  # type: ignore[arg-type]
    return pooled


def _area(values: Tensor) -> float:
    return float(torch.trapezoid(values).item()) / (len(values) - 1)
