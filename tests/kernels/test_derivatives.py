"""Derivatives of every order and kind, through every kernel: torch's in float64.

A kernel gives a number and its first derivative. Whatever asks for more (a gradient
penalty, torch.func, forward mode) has to be computed by torch's own operations, or it
is wrong without a word.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from convscope import kernels
from convscope.kernels import StagePlan, apply_stages, numbers_of
from convscope.kernels.gelu import gelu
from convscope.kernels.max_pool import max_pool
from convscope.kernels.norm import batch_norm, frozen_norm
from kernels.chains import in_torch

pytestmark = [
    pytest.mark.skipif(not kernels.available(), reason="no native kernels"),
    # torch loads these rules by what it has deprecated itself
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

Function = Callable[..., Tensor]
LAST = torch.channels_last
PLAN = [
    StagePlan(
        in_channels=3,
        in_size=(6, 7),
        out_channels=4,
        kernel_size=(3, 2),
        padding=((1, 0), (0, 1)),
        activation="tanh",
        pooling="max",
        pool_size=(2, 2),
        pool_stride=(2, 2),
    ),
    StagePlan(
        in_channels=4,
        in_size=(2, 3),
        out_channels=5,
        kernel_size=(2, 3),
        activation="gelu",
    ),
]
STATISTICS = torch.linspace(-1, 1, 3), torch.linspace(0.5, 2, 3)


class Case(NamedTuple):
    """What a kernel computes, and the same by torch, of x and other tensors."""

    ours: Function
    theirs: Function
    shapes: tuple[tuple[int, ...], ...]  # of x, and of the rest
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)


def frozen(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, variance = STATISTICS
    return frozen_norm(x, weight, bias, None, mean, variance, activation="gelu")


def frozen_in_torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, variance = (t.to(x.dtype) for t in STATISTICS)
    return F.gelu(F.batch_norm(x, mean, variance, weight, bias))


def normed_in_torch(x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    return F.gelu(F.batch_norm(x, None, None, weight, bias, True) + other)


def normed(x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    return batch_norm(x, weight, bias, other, activation="gelu", residual="before")[0]


def normed_after(x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    return batch_norm(x, weight, bias, other, activation="relu", residual="after")[0]


def normed_after_in_torch(
    x: Tensor, weight: Tensor, bias: Tensor, other: Tensor
) -> Tensor:
    return F.relu(F.batch_norm(x, None, None, weight, bias, True)) + other


SHAPE = (5, 3, 6, 7)
WEIGHTS = ((4, 3, 3, 2), (4,), (5, 4, 2, 3), (5,))
CASES = {
    "chain of stages": Case(
        lambda x, *p: apply_stages(x, list(p), numbers_of(PLAN)),
        lambda x, *p: in_torch(x, p, PLAN),
        (SHAPE, *WEIGHTS),
        (torch.float32,),
    ),
    "batch norm": Case(normed, normed_in_torch, (SHAPE, (3,), (3,), SHAPE)),
    "batch norm, residual after": Case(
        normed_after, normed_after_in_torch, (SHAPE, (3,), (3,), SHAPE)
    ),
    "frozen norm": Case(frozen, frozen_in_torch, (SHAPE, (3,), (3,))),
    "max pooling": Case(
        lambda x: max_pool(x, (3, 2), (2, 2), (1, 1), ceil_mode=True),
        lambda x: F.max_pool2d(x, (3, 2), (2, 2), (1, 1), ceil_mode=True),
        (SHAPE,),
    ),
    "gelu": Case(gelu, F.gelu, (SHAPE,)),
}
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.contiguous(memory_format=LAST) if x.ndim == 4 else x,
}
EACH = [
    pytest.param(case, layout, dtype, id=f"{name}, {layout}, {dtype}"[:-1])
    for name, case in CASES.items()
    for layout in LAYOUTS
    for dtype in case.dtypes
]
each = pytest.mark.parametrize(("case", "layout", "dtype"), EACH)


def draw(case: Case, layout: str, dtype: torch.dtype) -> list[Tensor]:
    """Arguments that ``dtype`` holds exactly; parameters stay float32."""
    generator = torch.Generator().manual_seed(3)
    given = [torch.randn(shape, generator=generator) for shape in case.shapes]
    given = [LAYOUTS[layout](x.bfloat16().float()) for x in given]
    return [x.to(dtype) if x.ndim == 4 and case.shapes[1:2] != WEIGHTS[:1] else x
            for x in given]  # fmt: skip


def check(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Equal up to rounding.

    Sums of at most 5 * 42 terms, each made by fewer than 20 roundings, of order 1 to
    the largest: 4096 roundings of float32. What is bfloat16 is rounded to 8 bits at
    each of four steps, and sums add up what those differ by: 1/16 of the largest.
    """
    allowed = 4096 * 2**-24 if dtype is torch.float32 else 2**-4
    assert found.shape == expected.shape
    worst = (found.double() - expected).abs().max().item()
    size = max(1.0, expected.abs().max().item())
    assert worst <= allowed * size, f"off by {worst} of {size}"


def energy(function: Function) -> Function:
    """A number whose second derivative needs that of the function."""

    def of(*inputs: Tensor) -> Tensor:
        y = function(*inputs)
        y = y.double() if y.dtype == torch.float64 else y.float()
        return (y * y.detach().new_ones(()) + y.sin()).square().mean()

    return of


def both(case: Case, inputs: list[Tensor]) -> list[tuple[Function, list[Tensor]]]:
    return [(case.ours, inputs), (case.theirs, [x.double() for x in inputs])]


@each
def test_a_gradient_penalty_is_that_of_float64(case, layout, dtype):
    results = []
    for function, inputs in both(case, draw(case, layout, dtype)):
        leaves = [x.detach().requires_grad_() for x in inputs]
        first = torch.autograd.grad(
            energy(function)(*leaves), leaves, create_graph=True
        )
        assert all(g.requires_grad for g in first)
        penalty = sum(g.double().square().sum() for g in first)
        results.append([*first, *torch.autograd.grad(penalty, leaves)])
    for found, expected in zip(*results, strict=True):
        check(found.detach(), expected.detach(), dtype)


def by_pass(function: Function, inputs: list[Tensor], twice: bool) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    first = torch.autograd.grad(energy(function)(*leaves), leaves, create_graph=twice)
    return list(first)


def hessian_times(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """Product of the Hessian and the inputs themselves, forward over reverse."""
    every = tuple(range(len(inputs)))
    gradient = torch.func.grad(energy(function), argnums=every)
    return list(torch.func.jvp(gradient, tuple(inputs), tuple(inputs))[1])


def reverse_over_reverse(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    first = torch.autograd.grad(energy(function)(*leaves), leaves, create_graph=True)
    return list(torch.autograd.grad(first, leaves, [x.detach() for x in leaves]))


def gradient(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    every = tuple(range(len(inputs)))
    return list(torch.func.grad(energy(function), argnums=every)(*inputs))


def forward_mode(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.func.jvp(function, tuple(inputs), tuple(inputs)))


def dual_numbers(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    with forward_ad.dual_level():
        y = function(*(forward_ad.make_dual(x, x) for x in inputs))
        return list(forward_ad.unpack_dual(y))


def dual_gradients(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """The backward pass of a graph that was built before the level began."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = function(*leaves)
    with forward_ad.dual_level():
        outer = forward_ad.make_dual(y.detach().clone(), y.detach().clone())
        first = torch.autograd.grad(y, leaves, outer)
        return [t for g in first for t in forward_ad.unpack_dual(g)]


def jacobian(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    def of(x: Tensor) -> Tensor:
        return function(x, *inputs[1:])[0].flatten()[:8]

    return [torch.func.jacrev(of)(inputs[0])]


def batched_gradients(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = function(*leaves)
    outer = torch.stack([y.detach(), y.detach().square()])
    return list(torch.autograd.grad(y, leaves, outer, is_grads_batched=True))


def mapped(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    def of(scale: Tensor) -> Tensor:
        return function(inputs[0] * scale, *inputs[1:])

    return [torch.vmap(of)(torch.tensor([0.5, 2.0], dtype=inputs[0].dtype))]


def per_sample(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of each image by itself: a batch of one for the kernels."""

    def of(x: Tensor, *rest: Tensor) -> Tensor:
        return energy(function)(x.unsqueeze(0), *rest)

    images = [x.ndim == 4 and x.shape == inputs[0].shape for x in inputs]
    if any(images[1:]):  # the residual is one image, too
        inputs = [inputs[0], *inputs[1:3], inputs[3].unsqueeze(1)]
    axes = tuple(0 if image else None for image in images)
    return [torch.vmap(torch.func.grad(of), axes)(*inputs)]


WAYS = [
    hessian_times,
    reverse_over_reverse,
    gradient,
    forward_mode,
    dual_numbers,
    dual_gradients,
    jacobian,
    batched_gradients,
    mapped,
    per_sample,
]


@each
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_whatever_derives_sees_what_float64_sees(case, layout, dtype, way):
    (ours, inputs), (theirs, exact) = both(case, draw(case, layout, dtype))
    for found, expected in zip(way(ours, inputs), way(theirs, exact), strict=True):
        check(found.detach(), expected.detach(), dtype)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_tensor_given_twice_has_one_gradient_for_both(case):
    inputs = draw(case, "contiguous", torch.float32)
    results = []
    for function, given in both(case, inputs):
        x = given[0].detach().requires_grad_()
        rest = [x if t.shape == x.shape else t for t in given[1:]]
        (first,) = torch.autograd.grad(
            energy(function)(x, *rest), [x], create_graph=True
        )
        results.append(torch.autograd.grad(first.square().sum(), [x])[0])
    check(results[0].detach(), results[1].detach(), torch.float32)


def test_the_check_rejects_a_derivative_that_is_left_out():
    class Forgets(torch.autograd.Function):
        """First derivative only, as a kernel that nobody watches gives it."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0].detach().cos()

    case = Case(Forgets.apply, torch.sin, (SHAPE,))
    (ours, inputs), (theirs, exact) = both(case, draw(case, "contiguous", torch.float))
    with pytest.raises(AssertionError, match="off by"):
        check(
            reverse_over_reverse(ours, inputs)[0],
            reverse_over_reverse(theirs, exact)[0],
            torch.float32,
        )


@pytest.mark.parametrize("way", [hessian_times, gradient, forward_mode, mapped])
def test_compiling_changes_no_derivative(way):
    inputs = draw(CASES["gelu"], "contiguous", torch.float32)

    def of(x: Tensor) -> list[Tensor]:
        return way(gelu, [x])

    found = torch.compile(of, backend="aot_eager")(*inputs)
    for one, expected in zip(found, way(F.gelu, [inputs[0].double()]), strict=True):
        check(one.detach(), expected.detach(), torch.float32)
