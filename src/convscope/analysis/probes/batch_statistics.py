"""What batch normalization expects, against what reaches it.

In training a layer normalizes with the mean and variance of the batch, in evaluation
with running averages of them. Where the two disagree, a network that trains well does
badly in evaluation. `compare_statistics` shows where.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from convscope.data.batching.batches import Batch, plain
from convscope.data.dataset import Dataset
from convscope.errors import ArgumentError
from convscope.private_torch import AnyBatchNorm

Batches: TypeAlias = Dataset | Tensor | Iterable[Tensor | Batch | Sequence[Any]]


@dataclass(frozen=True)
class LayerStatistics:
    """One batch normalization: its running statistics, and those of the data.

    Attributes:
        path: Where the layer is, ``layer1.0.bn1``.
        running_mean: (C,) float64, what evaluation subtracts.
        running_var: (C,) float64.
        batch_mean: (C,) float64, over all values that reached the layer.
        batch_var: (C,) float64, unbiased as the running one is.
        values: Values per channel that reached it.
        eps: What the layer adds to a variance.
    """

    path: str
    running_mean: Tensor
    running_var: Tensor
    batch_mean: Tensor
    batch_var: Tensor
    values: int
    eps: float

    @property
    def mean_gap(self) -> Tensor:
        """(C,) between the means, in running standard deviations."""
        deviation = (self.running_var + self.eps).sqrt()
        return (self.batch_mean - self.running_mean).abs() / deviation

    @property
    def variance_ratio(self) -> Tensor:
        """(C,) the larger variance over the smaller one, 1 or more."""
        ratio = (self.batch_var + self.eps) / (self.running_var + self.eps)
        return torch.maximum(ratio, 1 / ratio)


@dataclass(frozen=True)
class StatisticsReport:
    """Running against batch statistics, layer by layer; ``str`` gives a table.

    Attributes:
        layers: In the order in which they were reached.
        mean_tolerance: Gap of means from which a layer disagrees, in running standard
            deviations.
        variance_tolerance: Ratio of variances from which it does.
    """

    layers: tuple[LayerStatistics, ...]
    mean_tolerance: float
    variance_tolerance: float

    @property
    def disagreeing(self) -> tuple[LayerStatistics, ...]:
        """Layers with a channel beyond a tolerance."""
        return tuple(layer for layer in self.layers if self._beyond(layer).any())

    def measured_anew(self, moments: dict[str, "Moments"]) -> "StatisticsReport":
        """The same running statistics beside other moments of the same layers."""
        layers = tuple(
            replace(
                layer,
                batch_mean=moments[layer.path].mean,
                batch_var=moments[layer.path].variance,
                values=moments[layer.path].count,
            )
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def _beyond(self, layer: LayerStatistics) -> Tensor:
        # Written so that a NaN is beyond, too.
        near = layer.mean_gap <= self.mean_tolerance
        return ~(near & (layer.variance_ratio <= self.variance_tolerance))

    def to_dict(self) -> dict[str, Any]:
        """Numbers that JSON knows."""
        return {
            "mean_tolerance": self.mean_tolerance,
            "variance_tolerance": self.variance_tolerance,
            "layers": [
                {
                    "path": layer.path,
                    "values": layer.values,
                    "mean_gap": layer.mean_gap.tolist(),
                    "variance_ratio": layer.variance_ratio.tolist(),
                    "disagrees": bool(self._beyond(layer).any()),
                }
                for layer in self.layers
            ],
        }

    def __str__(self) -> str:
        if not self.layers:
            return "no batch normalization with running statistics was reached"
        heads = ("layer", "channels", "mean gap", "variance ratio", "off")
        rows = [heads, *(self._cells(layer) for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            path, *cells = (
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join([path, *cells]))
        lines += [
            f"{len(self.disagreeing)} of {len(self.layers)} disagree: a channel's mean "
            f"is off by more than {self.mean_tolerance:g}",
            "running deviations, or its variance by more than a factor of "
            f"{self.variance_tolerance:g}.",
        ]
        return "\n".join(lines)

    def _cells(self, layer: LayerStatistics) -> tuple[str, ...]:
        off = int(self._beyond(layer).sum())
        return (
            layer.path or "(network)",
            str(len(layer.running_mean)),
            f"{layer.mean_gap.max():.3g}",
            f"{layer.variance_ratio.max():.3g}",
            str(off) if off else "",
        )


class Moments:
    """Mean and variance per channel of all that is added, in float64.

    >>> moments = Moments()
    >>> _ = moments.add(torch.tensor([[1.0], [3.0]])).add(torch.tensor([[8.0]]))
    >>> moments.mean.item(), moments.variance.item()
    (4.0, 13.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.batches = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)  # about the mean

    def add(self, x: Tensor) -> "Moments":
        """Takes in the values of a batch (N, C, ...)."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count = x.numel() // x.shape[1]
        if not count:
            return self
        wide = x.detach() if x.dtype == torch.float64 else x.detach().float()
        variance, mean = torch.var_mean(wide, axes, correction=0)
        mean, variance = mean.cpu().double(), variance.cpu().double()
        total = self.count + count
        step = mean - self.mean
        # Chan, Golub & LeVeque 1979: moments of two parts, joined without cancellation.
        self._squares = (
            self._squares
            + variance * count
            + step.square() * (self.count * count / total)
        )
        self.mean = self.mean + step * (count / total)
        self.count = total
        self.batches += 1
        return self

    @property
    def variance(self) -> Tensor:
        """(C,) unbiased: divided by one less than the values."""
        return self._squares / (self.count - 1)


def compare_statistics(
    net: nn.Module,
    data: Batches,
    *,
    batch_size: int = 256,
    mean_tolerance: float = 0.5,
    variance_tolerance: float = 2.0,
) -> StatisticsReport:
    """Running statistics of each batch normalization against those of data.

    Everything but the batch normalizations is in evaluation mode; those normalize with
    each batch, as in training. The network is left as it was.

    Args:
        net: Has batch normalizations, of this package or of torch.nn.
        data: A data set, whose training part is taken; inputs (N, C, ...); or batches:
            tensors, or sequences that begin with one.
        batch_size: Inputs at a time, where ``data`` does not say it.
        mean_tolerance: Gap of means that still agrees, in running deviations.
        variance_tolerance: Ratio of variances that still agrees.

    Raises:
        ArgumentError: There are no data, or a layer gets one value per channel.

    >>> net = nn.Sequential(nn.BatchNorm2d(1))
    >>> found = compare_statistics(net, torch.linspace(3, 5, 8).view(2, 1, 2, 2))
    >>> print(str(found).splitlines()[1])
    0             1         4            2.04    1
    """
    moments = measure(net, data, batch_size=batch_size, as_in_training=True)
    return report(net, moments, mean_tolerance, variance_tolerance)


def report(
    net: nn.Module,
    moments: dict[str, Moments],
    mean_tolerance: float = 0.5,
    variance_tolerance: float = 2.0,
) -> StatisticsReport:
    """The running statistics as they are now, beside measured ones."""
    found = batch_norms(net)
    layers = []
    for path, measured in moments.items():
        layer = found[path]
        layers.append(
            LayerStatistics(
                path,
                _kept(layer.running_mean),
                _kept(layer.running_var),
                measured.mean,
                measured.variance,
                measured.count,
                layer.eps,
            )
        )
    return StatisticsReport(tuple(layers), mean_tolerance, variance_tolerance)


def batch_norms(net: nn.Module) -> dict[str, AnyBatchNorm]:
    """Batch normalizations that keep running statistics, by path."""
    return {
        path: module
        for path, module in net.named_modules()
        if isinstance(module, AnyBatchNorm) and module.running_mean is not None
    }


def measure(
    net: nn.Module,
    data: Batches,
    *,
    batch_size: int = 256,
    as_in_training: bool,
    paths: Iterable[str] | None = None,
    where: str = "compare_statistics",
) -> dict[str, Moments]:
    """Moments of what reaches each batch normalization, in the order of the first call.

    Args:
        net: Left as it was.
        data: As for `compare_statistics`.
        batch_size: Inputs at a time, where ``data`` does not say it.
        as_in_training: Whether batch normalizations normalize with each batch.
        paths: Which to measure; all by default.
        where: What an error message begins with.

    Raises:
        ArgumentError: There are no data, or a layer gets one value per channel.
    """
    norms = batch_norms(net)
    moments: dict[str, Moments] = {}

    def watch(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            moments.setdefault(path, Moments()).add(inputs[0])

        return norms[path].register_forward_pre_hook(hook)

    handles = [watch(path) for path in (norms if paths is None else paths)]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    count = 0
    try:
        with _evaluating(net, norms.values() if as_in_training else ()):
            for images in _inputs(data, batch_size, where):
                count += 1
                net(images.to(device))
    finally:
        for handle in handles:
            handle.remove()
    if not count:
        raise ArgumentError(f"{where}: data holds no batches. Give at least one.")
    for path, measured in moments.items():
        if measured.count < 2:
            raise ArgumentError(
                f"{where}: {path!r} got {measured.count} value per channel, which has "
                "no variance. Give two inputs or more."
            )
    return moments


@contextlib.contextmanager
def _evaluating(net: nn.Module, training: Iterable[AnyBatchNorm]) -> Iterator[None]:
    """Evaluation without gradients, but for layers that normalize with each batch."""
    modes = {module: module.training for module in net.modules()}
    chosen = list(training)
    tracked = [layer.track_running_stats for layer in chosen]
    try:
        net.eval()
        for layer in chosen:
            layer.train()
            layer.track_running_stats = False  # reads and writes no running statistics
        with torch.no_grad():
            yield
    finally:
        for layer, kept in zip(chosen, tracked, strict=True):
            layer.track_running_stats = kept
        for module, mode in modes.items():
            module.training = mode


def _inputs(data: Batches, batch_size: int, where: str) -> Iterator[Tensor]:
    if batch_size < 1:
        raise ArgumentError(f"{where}: batch_size={batch_size} must be at least 1.")
    if isinstance(data, Dataset):
        size = _no_single(len(data.train), batch_size)
        for batch in plain(data.train, data.preprocessing, size):
            yield batch.images
    elif isinstance(data, Tensor):
        if len(data):
            yield from data.split(_no_single(len(data), batch_size))
    else:
        for one in data:
            if isinstance(one, Batch):
                one = one.images
            first = one if isinstance(one, Tensor) else one[0]
            if not isinstance(first, Tensor):
                raise ArgumentError(
                    f"{where}: data has a batch of type {type(one).__name__}. Give "
                    "tensors, or sequences that begin with one."
                )
            yield first


def _no_single(count: int, size: int) -> int:
    """A batch size near ``size`` that leaves no input alone in the last batch."""
    while count % size == 1 and size < count:
        size += 1
    return size


def _kept(statistic: Tensor | None) -> Tensor:
    if statistic is None:
        return torch.empty(0)
    return statistic.detach().to("cpu", torch.float64, copy=True)
