"""Which input elements an output really depends on: gradients in float64.

With positive weights and a positive input no two products cancel, so that the gradient
of an output is not zero exactly where the output depends on the input. Max pooling,
whose gradient goes to one element only, is replaced by a sum over the same window.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SumPool(nn.Module):
    """The windows of a max pooling, added up."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        p = self.pool
        kernel = (
            p.kernel_size if isinstance(p.kernel_size, tuple) else (p.kernel_size,) * 2
        )
        ones = x.new_ones((x.shape[1], 1, *kernel))
        return F.conv2d(x, ones, None, p.stride, p.padding, p.dilation, x.shape[1])


def positive(module: nn.Module) -> nn.Module:
    """A copy in float64 whose every path from input to output has a positive slope."""
    net = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            if tensor.is_floating_point():
                terms = tensor[0].numel() if tensor.ndim > 1 else 1
                tensor.fill_(0.0 if name.endswith("running_mean") else 0.5 / terms)
    for path, layer in list(net.named_modules(remove_duplicate=False)):
        if isinstance(layer, nn.MaxPool2d):
            owner, _, name = path.rpartition(".")
            setattr(net.get_submodule(owner), name, SumPool(layer))
    return net


def supports(
    module: nn.Module, shape: tuple[int, ...], axis: int
) -> list[tuple[int, int] | None]:
    """For each output position along ``axis``, the first and last input element."""
    net = positive(module)
    x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
    out = net(x)
    moving = out.ndim > 2
    found: list[tuple[int, int] | None] = []
    for position in range(out.shape[2 + axis] if moving else 1):
        part = out.select(2 + axis, position) if moving else out
        (slope,) = torch.autograd.grad(part.sum(), x, retain_graph=True)
        others = [d for d in range(slope.ndim) if d != 2 + axis]
        places = slope.abs().sum(others).nonzero().flatten().tolist()
        found.append((places[0], places[-1]) if places else None)
    return found


def claimed(module: nn.Module, shape: tuple[int, ...], axis: int, count: int):
    """What `exact_ranges` says of the same."""
    from convscope.analysis import exact_ranges

    ranges = exact_ranges(module, shape)
    assert ranges is not None
    along = list(ranges[axis])
    return along * count if len(along) == 1 else along


def require_support(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Every range that arithmetic claims is the support of a gradient."""
    for axis in range(len(shape) - 1):
        real = supports(module, shape, axis)
        assert claimed(module, shape, axis, len(real)) == real, f"axis {axis}"
