"""Whether layers work: dead units, saturation, gradients, what batch norms do.

Everything is gathered batch by batch; what is kept does not grow with the data.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.record import Captured
from convscope.analysis.render import packed
from convscope.analysis.summary import summary
from convscope.analysis.tracing.meta_copy import meta_copy, uncompiled
from convscope.analysis.tracing.preserve import Snapshot
from convscope.data.batching.batches import plain
from convscope.data.dataset import UNLABELED, Dataset
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.private_torch import AnyBatchNorm

Labeled: TypeAlias = Dataset | Iterable[tuple[Tensor, Tensor]]
BINS = 60
FLAT = 0.05  # of the largest slope; a unit whose slope is below it is saturated
_MEMORY = 400e6  # bytes of activations in one batch

# By the first word of its kind: where an activation's slope is below FLAT of its
# largest. Of tanh the slope is 1 - y^2, of the logistic function y (1 - y).
_SATURATED: dict[str, Any] = {
    "relu": lambda y: y == 0,
    "relu6": lambda y: (y == 0) | (y == 6),
    "threshold": lambda y: y == 0,
    "tanh": lambda y: 1 - y.square() < FLAT,
    "scaledtanh": lambda y: 1 - (y / 1.7159).square() < FLAT,
    "sigmoid": lambda y: 4 * y * (1 - y) < FLAT,
    "hardtanh": lambda y: y.abs() == 1,
    "hardsigmoid": lambda y: (y == 0) | (y == 1),
}


@dataclass(frozen=True)
class LayerHealth:
    """What one call of a layer gave over the data.

    Attributes:
        label: The call's name, as `capture` has it.
        kind: The layer or function as one would write it.
        channels: Channels, or features of a vector.
        dead: Channels that gave the same value everywhere, for every image.
        zeros: Share of values that were 0.
        saturated: Of an activation, the share of values where its slope is below 5 %
            of its largest; None of other layers.
        mean: Of all values.
        std: Of all values.
        gradient: Root mean square of the loss's gradient at one value; None without a
            loss.
    """

    label: str
    kind: str
    channels: int
    dead: tuple[int, ...]
    zeros: float
    saturated: float | None
    mean: float
    std: float
    gradient: float | None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {**vars(self), "dead": list(self.dead)}


@dataclass(frozen=True)
class WeightHealth:
    """One parameter and the gradient of the mean loss.

    Attributes:
        path: Its name in the network.
        norm: Of the parameter.
        gradient: Norm of the gradient, over all images at once.
    """

    path: str
    norm: float
    gradient: float

    @property
    def ratio(self) -> float:
        """Gradient's norm over the parameter's; infinite where the latter is 0."""
        return self.gradient / self.norm if self.norm else math.inf

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {**vars(self), "ratio": self.ratio}


@dataclass(frozen=True, eq=False)
class NormHealth:
    """How values were distributed before and after a batch norm.

    Attributes:
        path: Where it is.
        before_edges: (61,) ends of the bins, before it.
        before: (60,) share of values in each; what lies outside is in the outermost.
        after_edges: (61,) after it.
        after: (60,) share of values in each.
    """

    path: str
    before_edges: npt.NDArray[np.float64]
    before: npt.NDArray[np.float64]
    after_edges: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True, eq=False)
class Health:
    """What layers, weights and batch norms did over some images, in evaluation.

    Attributes:
        network: Class of the network, or what it was called by.
        images: How many were looked at.
        loss: Mean cross-entropy; None without labels.
        layers: In the order of the calls.
        weights: In the order of the network.
        norms: Batch norms.
        notes: What is not known, and why.
    """

    network: str
    images: int
    loss: float | None
    layers: tuple[LayerHealth, ...]
    weights: tuple[WeightHealth, ...]
    norms: tuple[NormHealth, ...]
    notes: tuple[str, ...] = ()

    @property
    def dead(self) -> int:
        """Dead channels of all activations."""
        return sum(len(e.dead) for e in self.layers if e.saturated is not None)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "network": self.network,
            "images": self.images,
            "loss": self.loss,
            "layers": [each.to_dict() for each in self.layers],
            "weights": [each.to_dict() for each in self.weights],
            "norms": [each.to_dict() for each in self.norms],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int = 80) -> str:
        """A table of the layers; where it is too wide, a paragraph for each.

        Args:
            width: Of the lines, in columns.
        """
        heads = ("layer", "dead", "zeros", "saturated", "mean", "std", "gradient")
        rows = [heads]
        for e in self.layers:
            flat = "-" if e.saturated is None else f"{e.saturated:.1%}"
            slope = "-" if e.gradient is None else f"{e.gradient:.2e}"
            rows.append(
                (e.label or "output", f"{len(e.dead)}/{e.channels}", f"{e.zeros:.1%}",
                 flat, f"{e.mean:.3g}", f"{e.std:.3g}", slope)
            )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        if max(map(len, lines)) > width:
            lines = []
            for label, *cells in rows[1:]:
                said = [f"{head} {cell}"
                        for head, cell in zip(heads[1:], cells, strict=True)
                        if cell != "-"]  # fmt: skip
                lines += [*textwrap.wrap(label, width), *packed(said, width)]
        notes = [textwrap.fill(f"- {note}", max(width, 20), subsequent_indent="  ")
                 for note in self.notes]  # fmt: skip
        return "\n".join([*lines, *notes])


def health(
    net: nn.Module,
    data: Labeled,
    *,
    part: str = "test",
    most: int = 512,
    batch_size: int = 32,
    name: str = "",
) -> Health:
    """Dead units, saturation, gradients and batch norms, over some images.

    The network runs in evaluation and is as before afterwards. Gradients are of the
    cross-entropy, where images have labels and the network gives (N, classes).

    Args:
        net: Any network with one input.
        data: A data set, or pairs (images, labels) of tensors, gone through once.
        part: Which images of a data set: ``train``, ``val`` or ``test``.
        most: Images to look at, at least 2.
        batch_size: Images at a time; fewer where layers are large.
        name: What to call the network; its class by default.

    Raises:
        ArgumentError: A bound is too low, or there is no such part.
        DataError: There are fewer than two images.
        ShapeError: The network does not work on these inputs; see `check`.

    >>> from convscope.data import load
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    >>> found = health(net, load("digits"), most=64)
    >>> found.images, [each.label for each in found.layers]
    (64, ['0', '1', '2', '3'])
    """
    where = "health"
    if most < 2 or batch_size < 1:
        raise ArgumentError(
            f"{where}: most={most}, batch_size={batch_size}: at least 2 images, and 1 "
            "at a time, are needed. Use most=512."
        )
    net = uncompiled(net)
    layers: dict[str, _Layer] = {}
    norms: dict[str, _Norm] = {}
    slopes: dict[str, Tensor] = {}
    notes: dict[str, None] = {}
    images = labeled = 0
    loss_sum = 0.0
    is_norm = [p for p, m in net.named_modules() if isinstance(m, AnyBatchNorm)]
    for x, labels in _batches(net, data, part, most, batch_size, where):
        count = int((labels != UNLABELED).sum())
        loss = _loss(labels) if count else None
        if loss is None:
            notes["without labels there are no gradients"] = None
        try:
            found = capture(net, x, gradients=loss is not None, target=loss)
        except _NoClassesError:
            loss = None
            found = capture(net, x)
            notes[_NO_CLASSES] = None
        for label, each in found.items():
            if each.outputs and each.outputs[0].is_floating_point():
                layers.setdefault(label, _Layer(each)).add(each, count)
        if loss is not None:
            loss_sum += float(loss(found.output)) * count
            labeled += count
            _add_slopes(net, x, loss, count, slopes)
        if is_norm:
            seen = capture(net, x, is_norm, layer_inputs=True)
            for label, each in seen.items():
                norms.setdefault(label, _Norm(each)).add(each)
        images += len(x)
    if images < 2:
        raise DataError(f"{where}: {images} images are too few. Give at least 2.")
    if any(each.gradient is not None for each in layers.values()):
        notes["gradients are of the mean cross-entropy, in evaluation"] = None
    return Health(
        network=name or type(net).__name__,
        images=images,
        loss=loss_sum / labeled if labeled else None,
        layers=tuple(each.record(labeled) for each in layers.values()),
        weights=tuple(
            WeightHealth(
                path, float(value.detach().norm()), float(slopes[path].norm()) / labeled
            )
            for path, value in net.named_parameters()
            if path in slopes
        ),
        norms=tuple(each.record(label) for label, each in norms.items()),
        notes=tuple(notes),
    )


_NO_CLASSES = "the network gives no (N, classes), so there is no loss and no gradient"


class _NoClassesError(Exception):
    """The output is not what a cross-entropy takes."""


def _loss(labels: Tensor) -> Any:
    """The mean cross-entropy of an output, by these labels."""

    def cross_entropy(output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise _NoClassesError
        if int(labels.max()) >= output.shape[1]:
            raise _NoClassesError
        return F.cross_entropy(output.float(), labels, ignore_index=UNLABELED)

    return cross_entropy


def _batches(
    net: nn.Module, data: Labeled, part: str, most: int, batch_size: int, where: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels where the network is, at most ``most`` images in all."""
    place = next((p.device for p in net.parameters()), torch.device("cpu"))
    left = most
    for x, labels in _pairs(data, part, most, batch_size, where):
        if left <= 0:
            return
        size = _fitting(net, x, batch_size)
        for first in range(0, min(len(x), left), size):
            last = min(first + size, left)
            yield x[first:last].to(place), labels[first:last].to(place)
        left -= len(x)


def _pairs(
    data: Labeled, part: str, most: int, batch_size: int, where: str
) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(data, Dataset):
        for x, labels in data:
            if not isinstance(x, Tensor) or not isinstance(labels, Tensor):
                raise ArgumentError(
                    f"{where}: a batch holds {type(x).__name__} and "
                    f"{type(labels).__name__}, where tensors of images and labels are "
                    "needed. Networks with several inputs are not looked at."
                )
            yield x, labels.long()
        return
    if part not in data.parts:
        raise UnknownNameError("part", part, data.parts)
    samples = data.parts[part]
    if len(samples) > most:  # from all of it: parts may be sorted by class
        chosen = np.linspace(0, len(samples) - 1, most).round().astype(int)
        samples = samples.subset(chosen)
    for batch in plain(samples, data.preprocessing, batch_size):
        yield batch.images, batch.targets


def _fitting(net: nn.Module, x: Tensor, batch_size: int) -> int:
    """Images in a batch whose activations fit into memory."""
    bytes_ = summary(net, tuple(x.shape[1:])).training_bytes
    return max(1, min(batch_size, int(_MEMORY / max(bytes_, 1))))


def _add_slopes(
    net: nn.Module, x: Tensor, loss: Any, count: int, slopes: dict[str, Tensor]
) -> None:
    """Adds the gradient of the summed loss at each parameter."""
    copy, state = meta_copy(net, keep_values=True).eval(), Snapshot(net)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            named = {p: v for p, v in copy.named_parameters() if v.requires_grad}
            if not named:
                return
            found = torch.autograd.grad(
                loss(copy(x.clone())) * count, list(named.values()), allow_unused=True
            )  # a copy, for a network may write into its input
    finally:
        state.restore()
    for path, slope in zip(named, found, strict=True):
        if slope is not None:
            before = slopes.get(path)
            slopes[path] = slope if before is None else before + slope


class _Layer:
    """Sums over batches of one call."""

    def __init__(self, first: Captured) -> None:
        self.label, self.kind = first.label, first.kind
        name = first.kind.partition("(")[0].lower().rstrip("_")
        self.test = _SATURATED.get(name)
        self.values = self.zeros = self.flat = 0
        self.total = self.squares = 0.0
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.gradient: float | None = None

    def add(self, each: Captured, labeled: int) -> None:
        y = each.outputs[0].detach()
        if y.ndim < 2:
            y = y.reshape(len(y) if y.ndim else 1, -1)
        self.values += y.numel()
        self.zeros += int((y == 0).sum())
        if self.test is not None:
            self.flat += int(self.test(y).sum())
        self.total += float(y.double().sum())
        self.squares += float(y.double().square().sum())
        rest = [axis for axis in range(y.ndim) if axis != 1]
        low, high = y.amin(rest), y.amax(rest)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        given = each.gradient
        slopes = given[0] if isinstance(given, tuple) else given  # of the first tensor
        if isinstance(slopes, Tensor):  # of the batch's mean loss
            squares = float(slopes.double().square().sum()) * labeled**2
            self.gradient = (self.gradient or 0.0) + squares

    def record(self, labeled: int) -> LayerHealth:
        low, high = self.low, self.high
        alike = () if low is None or high is None else (low == high).nonzero().flatten()
        mean = self.total / self.values
        variance = max(self.squares / self.values - mean**2, 0.0)
        slope = None
        if self.gradient is not None and labeled:
            slope = math.sqrt(self.gradient / self.values)
        return LayerHealth(
            label=self.label,
            kind=self.kind,
            channels=0 if low is None else len(low),
            dead=tuple(int(channel) for channel in alike),
            zeros=self.zeros / self.values,
            saturated=None if self.test is None else self.flat / self.values,
            mean=mean,
            std=math.sqrt(variance),
            gradient=slope,
        )


class _Norm:
    """Histograms of one batch norm; the first batch says where the bins are."""

    def __init__(self, each: Captured) -> None:
        before, after = self._both(each)
        self.edges = [_edges(before), _edges(after)]
        self.counts = [np.zeros(BINS), np.zeros(BINS)]

    def _both(self, each: Captured) -> tuple[Tensor, Tensor]:
        inputs = each.inputs or each.outputs
        return inputs[0].detach(), each.outputs[0].detach()

    def add(self, each: Captured) -> None:
        for place, values in enumerate(self._both(each)):
            edges = self.edges[place]
            flat = values.double().cpu().numpy().ravel()
            inside = np.clip(flat[np.isfinite(flat)], edges[0], edges[-1])
            self.counts[place] += np.histogram(inside, edges)[0]

    def record(self, path: str) -> NormHealth:
        before, after = (each / max(each.sum(), 1) for each in self.counts)
        return NormHealth(path, self.edges[0], before, self.edges[1], after)


def _edges(values: Tensor) -> npt.NDArray[np.float64]:
    """Bins four deviations to each side."""
    finite = values[values.isfinite()].double()
    mean = float(finite.mean()) if finite.numel() else 0.0
    spread = float(finite.std(correction=0)) if finite.numel() else 0.0
    return np.linspace(mean - 4 * (spread or 1), mean + 4 * (spread or 1), BINS + 1)
