"""Every row of the table of operations, on random settings, against torch itself."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.analysis import check, summary
from convscope.analysis.operations.registry import OPERATIONS, by_torch, meta_result
from convscope.errors import ConvscopeError

SETTINGS = 25


class Call(nn.Module):
    """A network that is one call."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


def maps(r, axes=None, channels=None):
    """A shape without its batch axis."""
    axes = r.choice([1, 2, 3]) if axes is None else axes
    return (channels or r.choice([2, 4]), *(r.randint(1, 6) for _ in range(axes)))


def like(shape, device):
    return torch.ones(shape, device=device)


def convolution(r):
    shape, groups = maps(r), r.choice([1, 1, 2, 3])
    axes, kernel = len(shape) - 1, r.randint(1, 4)
    weight = (r.choice([2, 4]), r.choice([1, 2, 4]), *[kernel] * axes)
    stride, padding, dilation = r.randint(1, 3), r.randint(0, 2), r.randint(1, 2)
    bias = r.choice([None, weight[0], 3])
    given = (stride, padding, dilation, groups)
    run = getattr(F, f"conv{axes}d")
    return shape, lambda x: run(
        x,
        like(weight, x.device),
        None if bias is None else like(bias, x.device),
        *given,
    )


def transposed(r):
    shape, groups = maps(r), r.choice([1, 1, 2])
    axes, kernel = len(shape) - 1, r.randint(1, 4)
    weight = (r.choice([2, 4]), r.choice([1, 2]), *[kernel] * axes)
    given = (r.randint(1, 3), r.randint(0, 2), r.randint(0, 2), groups, r.randint(1, 2))
    run = getattr(F, f"conv_transpose{axes}d")
    return shape, lambda x: run(x, like(weight, x.device), None, *given)


def pooling(kind, axes=None):
    def draw(r):
        shape = maps(r, axes)
        run = getattr(F, f"{kind}_pool{len(shape) - 1}d")
        given = {
            "kernel_size": r.randint(1, 4),
            "stride": r.choice([None, 1, 2, 3]),
            "padding": r.randint(0, 2),
            "ceil_mode": r.random() < 0.3,
        }
        if kind == "max":
            given["dilation"] = r.randint(1, 2)
        return shape, lambda x: run(x, **given)

    return draw


def adaptive(kind):
    def draw(r):
        shape, size = maps(r), r.randint(1, 7)
        run = getattr(F, f"adaptive_{kind}_pool{len(shape) - 1}d")
        return shape, lambda x: run(x, size)

    return draw


def batch_norm(r):
    shape, channels = maps(r), r.choice([2, 4])
    return shape, lambda x: F.batch_norm(
        x, like(channels, x.device), like(channels, x.device), training=False
    )


def group_norm(r):
    shape, groups, channels = maps(r), r.randint(1, 4), r.choice([2, 4])
    return shape, lambda x: F.group_norm(x, groups, like(channels, x.device))


def layer_norm(run):
    def draw(r):
        shape = maps(r)
        wanted = shape[r.randint(0, len(shape) - 1) :] if r.random() < 0.7 else (3, 2)
        return shape, lambda x: run(x, wanted, like(wanted, x.device))

    return draw


def linear(r):
    shape, weight = maps(r, r.choice([0, 1])), (3, r.choice([2, 3, 4]))
    return shape, lambda x: F.linear(x, like(weight, x.device), like(3, x.device))


def product(kind):
    def draw(r):
        rank = {"mm": 1, "bmm": 2, "mv": 1, "matmul": r.randint(1, 2)}[kind]
        shape = tuple(r.randint(2, 3) for _ in range(rank))
        inner = r.randint(2, 3)
        other = {"mv": (inner,), "bmm": (2, inner, 3)}.get(kind, (inner, 3))
        return shape, lambda x: getattr(torch, kind)(x, like(other, x.device))

    return draw


def summed_product(kind):
    def draw(r):
        rank = {"addmm": 1, "baddbmm": 2, "addmv": 1}[kind]
        shape = tuple(r.randint(2, 3) for _ in range(rank))
        inner, added = r.randint(2, 3), r.choice([(3,), (2,), (2, 3)])
        other = {"addmv": (inner,), "baddbmm": (2, inner, 3)}.get(kind, (inner, 3))
        run = getattr(torch, kind)
        return shape, lambda x: run(like(added, x.device), x, like(other, x.device))

    return draw


def dot(r):
    size, other = r.randint(2, 3), r.randint(2, 3)
    return (size,), lambda x: torch.dot(x[0], like(other, x.device))


def bilinear(r):
    size, weight = r.randint(2, 3), (5, r.randint(2, 3), 4)
    return (size,), lambda x: F.bilinear(
        x, like((x.shape[0], 4), x.device), like(weight, x.device)
    )


def attention(r):
    shape, other = (2, 4, 3), (2, 2, r.randint(2, 5), r.choice([3, 3, 4]))
    return shape, lambda x: F.scaled_dot_product_attention(
        x, like(other, x.device), like(other, x.device)
    )


def recurrent(r):
    size, steps = r.randint(2, 4), r.randint(1, 3)
    kind = r.choice([nn.LSTM, nn.GRU, nn.RNN])
    net = {d: kind(3, 4, batch_first=True, device=d) for d in ("cpu", "meta")}
    return (steps, size), lambda x: net[x.device.type](x)[0]


def elementwise(r):
    run = r.choice([
        F.relu, F.gelu, F.silu, F.hardswish, F.mish, F.elu, F.leaky_relu, F.hardtanh,
        F.hardsigmoid, F.softplus, torch.tanh, torch.sigmoid, torch.exp, torch.sqrt,
        torch.rsqrt, torch.abs, torch.neg, F.celu, F.selu, F.rrelu,
        lambda x: x.clone().relu_(), lambda x: x.clamp(0, 1), lambda x: x + 1,
    ])  # fmt: skip
    return maps(r), run


def arithmetic(r):
    shape = maps(r)
    other = tuple(r.choice([size, size, 1, 3]) for size in shape[r.randint(0, 1) :])
    run = r.choice([
        torch.add, torch.sub, torch.mul, torch.div, torch.maximum,
        lambda x, y: x.clone().add_(y), lambda x, y: y - x,
    ])  # fmt: skip
    return shape, lambda x: run(x, like(other, x.device))


def reduction(r):
    shape = maps(r)
    dims = [r.randint(-3, 3) for _ in range(r.randint(1, 2))]
    keep = r.random() < 0.5
    run = r.choice([torch.mean, torch.sum, torch.amax, torch.logsumexp])
    return shape, lambda x: run(x, dims, keepdim=keep)


def along(r):
    dim, run = r.randint(-4, 4), r.choice([torch.softmax, F.log_softmax, torch.cumsum])
    return maps(r), lambda x: run(x, dim)


def view(r):
    shape = maps(r)
    sizes = r.choice([(-1,), (2, -1), (2, r.randint(1, 12)), (-1, 3)])
    run = r.choice([torch.Tensor.view, torch.Tensor.reshape])
    return shape, lambda x: run(x, x.shape[0], *sizes)


def moved(r):
    shape, one, other = maps(r), r.randint(-4, 4), r.randint(-4, 4)
    run = r.choice([
        lambda x: x.transpose(one, other), lambda x: x.unsqueeze(one),
        lambda x: x.squeeze(one), lambda x: x.select(one, other),
        lambda x: x.narrow(one, 0, abs(other)), lambda x: x[:, 1:3:2],
        lambda x: x.permute(*range(x.ndim - 1, -1, -1)), lambda x: x[0].t(),
        lambda x: torch.stack([x, x], one), lambda x: torch.cat(x.unbind(1), one),
        lambda x: torch.cat(x.split(2, one), one), lambda x: x.detach().clone(),
        lambda x: torch.cat(x.split([1, abs(other)], one), 0),
        lambda x: x[:, :1].expand(-1, 3, *x.shape[2:]),
        lambda x: x.expand(x.shape[0], 3, *x.shape[2:]),
        lambda x: x.as_strided((2, 2), (1, 1)),
    ])  # fmt: skip
    return shape, run


def concatenation(r):
    shape, dim = maps(r), r.randint(-4, 4)
    other = tuple(r.choice([size, size, size, 3]) for size in (2, *shape))
    return shape, lambda x: torch.cat([x, like(other, x.device)], dim)


def shuffled(r):
    shape, factor = (r.choice([4, 8, 9]), r.randint(2, 6), 4), r.choice([2, 2, 3])
    run = r.choice([F.pixel_shuffle, F.pixel_unshuffle])
    return shape, lambda x: run(x, factor)


def padded(mode):
    def draw(r):
        shape = maps(r)
        pads = [r.randint(-2, 4) for _ in range(2 * (len(shape) - 1))]
        return shape, lambda x: F.pad(x, pads, mode=mode)

    return draw


def resized(mode):
    def draw(r):
        axes = {"nearest": r.randint(1, 3), "linear": r.randint(1, 3)}.get(mode, 2)
        names = {1: "linear", 2: "bilinear", 3: "trilinear"}
        name = names[axes] if mode == "linear" else mode
        size = r.choice([r.randint(1, 9), tuple(r.randint(1, 9) for _ in range(axes))])
        return maps(r, axes), lambda x: F.interpolate(x, size=size, mode=name)

    return draw


def created(r):
    run = r.choice([torch.zeros_like, torch.ones_like, lambda x: x.new_zeros(2, 3)])
    return maps(r), run


DRAWN = {
    "convolution": convolution,
    "transposed convolution": transposed,
    "max pooling": pooling("max"),
    "max pooling along a line": pooling("max", 1),
    "average pooling": pooling("avg"),
    "average pooling of volumes": pooling("avg", 3),
    "adaptive average pooling": adaptive("avg"),
    "adaptive max pooling": adaptive("max"),
    "batch norm": batch_norm,
    "group norm": group_norm,
    "layer norm": layer_norm(F.layer_norm),
    "root mean square norm": layer_norm(F.rms_norm),
    "linear": linear,
    "matrix product": product("matmul"),
    "product of two matrices": product("mm"),
    "products of batches of matrices": product("bmm"),
    "product of a matrix and a vector": product("mv"),
    "product of two matrices, and a sum": summed_product("addmm"),
    "products of batches, and a sum": summed_product("baddbmm"),
    "product of a matrix and a vector, and a sum": summed_product("addmv"),
    "product of two vectors": dot,
    "bilinear": bilinear,
    "attention": attention,
    "recurrent layer": recurrent,
    "activation": elementwise,
    "elementwise": elementwise,
    "arithmetic": arithmetic,
    "new tensor": created,
    "mean": reduction,
    "reduction": reduction,
    "softmax": along,
    "along one axis": along,
    "view": view,
    "concatenation": concatenation,
    "pixel shuffle": shuffled,
    "pixel unshuffle": shuffled,
    "padding with a constant": padded("constant"),
    "padding by reflection": padded("reflect"),
    "padding by repetition": padded("replicate"),
    "nearest neighbor": resized("nearest"),
    "linear interpolation": resized("linear"),
    "cubic interpolation": resized("bicubic"),
}
for _name in (
    "copy", "unsqueeze", "transpose", "transpose of a matrix", "permute", "slice",
    "select", "split", "unbind", "stack", "expand", "other strides",
):  # fmt: skip
    DRAWN[_name] = moved
FILES_ONLY = {one.name for one in OPERATIONS if not one.torch and not one.functions}


def require_same_as_torch(call, shape):
    """Equal shapes where torch computes; refused by both where it does not."""
    try:
        real = tuple(call(torch.ones(2, *shape)).shape)
    except (RuntimeError, ValueError, IndexError):
        real = None
    try:
        check(Call(call), shape)
    except ConvscopeError as error:
        refused = real is None or "mixes images" in str(error)
        if not refused:
            raise AssertionError(f"{shape}: refused, and torch computes") from error
        return
    assert real is not None, f"{shape}: accepted, and torch refuses"
    found = summary(Call(call), shape).rows[0].output_shape
    assert found == (real[1:] if real and real[0] == 2 else real), shape


@pytest.mark.parametrize("name", DRAWN)
def test_shapes_are_torchs_and_exactly_what_torch_refuses_is_refused(name):
    r = random.Random(name)
    for _ in range(SETTINGS):
        shape, call = DRAWN[name](r)
        require_same_as_torch(call, shape)


def test_every_row_is_walked():
    rows = {one.name for one in OPERATIONS} - FILES_ONLY - {"question"}
    assert rows == set(DRAWN)


def test_the_walk_rejects_planted_mistakes(monkeypatch):
    from dataclasses import replace

    from convscope.analysis.operations import registry
    from convscope.analysis.tracing import verify

    monkeypatch.setattr(verify, "CHEAP", -1)  # the real forward would notice too
    row = by_torch("avg_pool3d")
    permissive = replace(row, shape=by_torch("avg_pool2d").shape)
    monkeypatch.setitem(registry._BY_TORCH, "avg_pool3d", permissive)
    volumes = registry._BY_FUNCTION["avg_pool3d"]
    silent = replace(volumes, refuses=lambda given: None)
    monkeypatch.setitem(registry._BY_FUNCTION, "avg_pool3d", silent)
    with pytest.raises(AssertionError, match="accepted, and torch refuses"):
        require_same_as_torch(lambda x: F.avg_pool3d(x, 3, 1, 1), (2, 4, 4, 1))


def test_names_of_rows_and_their_spellings_are_unique():
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    for spelling in ("torch", "functions", "onnx"):
        names = [name for one in OPERATIONS for name in getattr(one, spelling)]
        assert len(names) == len(set(names))


def test_what_may_not_fit_is_left_to_torch():
    x, weight = torch.ones(2, 3), torch.ones(4, 5)
    assert meta_result(torch.ops.aten.mm.default, (x, weight), {}) is None
