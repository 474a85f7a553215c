"""Running statistics of batch normalization, taken anew from data."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from convscope.analysis.probes.batch_statistics import (
    Batches,
    Moments,
    StatisticsReport,
    batch_norms,
    measure,
    report,
)
from convscope.errors import ArgumentError
from convscope.private_torch import AnyBatchNorm

_WHERE = "recompute_statistics"


def recompute_statistics(
    net: nn.Module,
    data: Batches,
    *,
    batch_size: int = 256,
    layer_by_layer: bool = False,
) -> StatisticsReport:
    """Sets every batch normalization to the exact mean and variance over data.

    Over all values that reach a layer, each counting the same, whatever the momentum
    and the sizes of the batches. For averaged weights, for weights that moved faster
    than the running averages, or for data of another kind.

    What reaches a layer depends on the layers before it. In one pass, by default, they
    normalize with each batch, as in training. With ``layer_by_layer`` they normalize
    with their new statistics, in one pass for each layer: in evaluation every layer's
    output over ``data`` then has exactly the mean ``bias`` and, but for ``eps``, the
    deviation ``weight``, and batch sizes make no difference.

    Args:
        net: Changed in place, its running statistics only; modes are put back.
        data: A data set, whose training part is taken; inputs (N, C, ...); or batches:
            tensors, or sequences that begin with one.
        batch_size: Inputs at a time, where ``data`` does not say it.
        layer_by_layer: Whether layers are done one after the other.

    Returns:
        The statistics as they were beside the new ones, for each layer that was
        reached; the others are left alone.

    Raises:
        ArgumentError: There are no data, a layer gets one value per channel, or
            ``layer_by_layer`` with data that can be read only once.

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 2, steps 8 to 12, which average
        variances of batches; here the variance is that of all values.

    >>> net = nn.Sequential(nn.BatchNorm1d(1))
    >>> was = recompute_statistics(net, torch.tensor([[1.0], [3.0], [8.0]]))
    >>> net[0].running_mean, net[0].running_var
    (tensor([4.]), tensor([13.]))
    """
    if layer_by_layer and isinstance(data, Iterator):
        raise ArgumentError(
            f"{_WHERE}: layer_by_layer reads data several times, and data is an "
            "iterator, which can be read once. Give list(data)."
        )
    once = partial(measure, net, data, batch_size=batch_size, where=_WHERE)
    moments = once(as_in_training=not layer_by_layer)
    norms = {path: batch_norms(net)[path] for path in moments}
    before = {path: copy.deepcopy(norm.state_dict()) for path, norm in norms.items()}
    running = report(net, moments)
    try:
        for place, path in enumerate(norms):
            if layer_by_layer and place:  # the first one's input is known already
                moments |= once(as_in_training=False, paths=[path])
            _set(norms[path], moments[path])
    except BaseException:
        for path, norm in norms.items():
            norm.load_state_dict(before[path])
        raise
    return running.measured_anew(moments)


@torch.no_grad()
def _set(norm: AnyBatchNorm, moments: Moments) -> None:
    for kept, found in (
        (norm.running_mean, moments.mean),
        (norm.running_var, moments.variance),
        (norm.num_batches_tracked, torch.tensor(moments.batches)),
    ):
        if kept is not None:
            kept.copy_(found)
