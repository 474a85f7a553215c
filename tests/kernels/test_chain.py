"""A chain of stages equals torch, forward and backward, however it is cut to blocks."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from convscope import kernels
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.kernels import StagePlan, apply_stages, numbers_of, stages
from convscope.kernels.reference import correlation_forward
from kernels.chains import check_close, draw_chain, draw_tensors, in_torch, terms_of

pytestmark = pytest.mark.skipif(
    not kernels.available(), reason="there are no native kernels here"
)
TWICE_TWO = {"pooling": "max", "pool_size": (2, 2), "pool_stride": (2, 2)}
DIGITS = [
    StagePlan(
        in_channels=1,
        in_size=(16, 16),
        out_channels=6,
        kernel_size=(5, 5),
        activation="relu",
        **TWICE_TWO,
    ),
    StagePlan(in_channels=6, in_size=(6, 6), out_channels=19, kernel_size=(6, 6)),
]


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def _threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def gradients(x: Tensor, parameters: list[Tensor], plan, run) -> list[Tensor]:
    """Output, and the gradients of a fixed weighting of it."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, *parameters)]
    out = run(leaves[0], leaves[1:], plan)
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(5))
    out.backward(weighting.to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def check(plan: list[StagePlan], batch: int, seed: int = 0) -> None:
    x, parameters = draw_tensors(plan, batch, seed)
    actual = gradients(x, parameters, plan, stages)
    doubles = [p.double() for p in parameters]
    expected = gradients(x.double(), doubles, plan, in_torch)
    names = (
        "output",
        "gradient of x",
        *("gradient of a parameter" for _ in parameters),
    )
    for what, a, e in zip(names, actual, expected, strict=True):
        check_close(a, e.reshape(a.shape), terms_of(plan, batch), what)


@pytest.mark.parametrize("seed", range(60))
def test_a_random_chain_equals_torch_in_float64(seed):
    check(draw_chain(seed), batch=(1, 3, 15, 16, 17, 33)[seed % 6], seed=seed)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("batch", [1, 2, 15, 16, 17, 31, 32, 33, 64, 70, 129])
def test_batches_of_any_size_are_served(batch):
    check(DIGITS, batch)


@pytest.mark.parametrize("size", range(1, 12))
def test_kernels_of_1_to_11_are_served(size):
    for pooling in ({}, TWICE_TWO):
        check(
            [
                StagePlan(
                    in_channels=2,
                    in_size=(13, 14),
                    out_channels=3,
                    kernel_size=(size, size),
                    activation="tanh",
                    **pooling,
                )
            ],
            batch=3,
        )


@pytest.mark.parametrize(
    "activation", ["none", "relu", "tanh", "abs", "gelu", "sigmoid"]
)
@pytest.mark.parametrize("pooling", ["none", "max", "average"])
@pytest.mark.parametrize("window", [(2, 2), (3, 2), (3, 3), (2, 3)], ids=str)
def test_every_activation_meets_every_pooling(activation, pooling, window):
    size, step = window
    stage = StagePlan(
        in_channels=2,
        in_size=(9, 10),
        out_channels=3,
        kernel_size=(3, 3),
        activation=activation,
        pooling=pooling,
        pool_size=(size, size),
        pool_stride=(step, step),
    )
    check([stage], batch=5)


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 1))], ids=str)
@pytest.mark.parametrize("step", [(2, 2), (1, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (5, 2)], ids=str)
@pytest.mark.parametrize("channels", [(1, 16), (3, 32), (6, 16), (9, 16)], ids=str)
def test_windows_of_four_over_few_channels_give_x_its_gradient(
    channels, kernel, step, padding
):
    stage = StagePlan(
        in_channels=channels[0],
        in_size=(9, 10),
        out_channels=channels[1],
        kernel_size=kernel,
        padding=padding,
        activation="tanh",
        pooling="max",
        pool_size=(2, 2),
        pool_stride=step,
    )
    check([stage], batch=19, seed=1)


def test_a_convolution_equals_the_plain_loops():
    plan = [
        StagePlan(in_channels=2, in_size=(5, 6), out_channels=3, kernel_size=(3, 2))
    ]
    x, (weight, bias) = draw_tensors(plan, batch=2, seed=1)
    loops = correlation_forward(x.numpy(), weight.numpy(), bias.numpy())
    check_close(stages(x, [weight, bias], plan), torch.tensor(loops), 13, "output")


def test_signals_are_images_of_height_1():
    stage = StagePlan(
        in_channels=3, in_size=(1, 9), out_channels=4, kernel_size=(1, 3), bias=False
    )
    x, weight = torch.randn(5, 3, 9), torch.randn(4, 3, 3)
    expected = torch.conv1d(x.double(), weight.double())
    check_close(stages(x, [weight], [stage])[:, :, 0], expected, 9, "output", 3.0)


def test_an_empty_batch_gives_an_empty_output_and_zero_gradients():
    x, parameters = draw_tensors(DIGITS, 0, 0)
    out, *rest = gradients(x, parameters, DIGITS, stages)
    assert out.shape == (0, 19, 1, 1)
    assert all((g == 0).all() for g in rest)


def test_tensors_of_any_layout_are_taken():
    x, parameters = draw_tensors(DIGITS, 4, 0)
    parameters[2] = parameters[2].contiguous(memory_format=torch.channels_last)
    wide = torch.randn(4, 1, 16, 32)
    wide[..., ::2] = x
    expected = stages(x, [p.contiguous() for p in parameters], DIGITS)
    assert torch.equal(stages(wide[..., ::2], parameters, DIGITS), expected)


def test_the_gradient_of_x_is_left_out_where_nobody_asks():
    x, parameters = draw_tensors(DIGITS, 4, 0)
    leaves = [p.requires_grad_() for p in parameters]
    stages(x, leaves, DIGITS).sum().backward()
    assert x.grad is None
    assert all(p.grad is not None for p in leaves)


def test_in_a_tie_the_first_in_row_order_gets_the_gradient():
    stage = StagePlan(
        in_channels=1, in_size=(2, 2), out_channels=1, kernel_size=(1, 1), **TWICE_TWO
    )
    x = torch.tensor([[[[1.0, 3.0], [3.0, 3.0]]]], requires_grad=True)
    stages(x, [torch.ones(1, 1, 1, 1), torch.zeros(1)], [stage]).sum().backward()
    assert x.grad.tolist() == [[[[0.0, 1.0], [0.0, 0.0]]]]


@pytest.mark.parametrize(
    "activation", ["none", "relu", "tanh", "abs", "gelu", "sigmoid"]
)
@pytest.mark.parametrize("pooling", ["none", "max", "average"])
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e-40, -1e-42, 3e38]
)
def test_what_is_no_usual_number_goes_through_as_in_torch(activation, pooling, value):
    stage = StagePlan(
        in_channels=1,
        in_size=(4, 6),
        out_channels=1,
        kernel_size=(1, 1),
        bias=False,
        activation=activation,
        pooling=pooling,
        pool_size=(2, 2),
        pool_stride=(2, 2),
    )
    x = torch.randn(3, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    x[0, 0, 1, 1] = x[1, 0, 0, 4] = x[2, 0, 3, 0] = value
    weight = torch.ones(1, 1, 1, 1)
    expected = in_torch(x, [weight], [stage])
    if activation == "gelu" and value > 1e38:
        pytest.skip("torch gives NaN for the GELU of inf, and inf for that of 3e38")
    actual = stages(x, [weight], [stage])
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=5e-7, equal_nan=True)


POINT = StagePlan(
    in_channels=1, in_size=(1, 1), out_channels=1, kernel_size=(1, 1), bias=False
)


@pytest.mark.parametrize("value", [float("inf"), 3e38, 50.0])
def test_gelu_keeps_what_is_large(value):
    stage = dataclasses.replace(POINT, activation="gelu")
    x = torch.full((1, 1, 1, 1), value)
    assert torch.equal(stages(x, [torch.ones(1)], [stage]), x)


def test_denormal_numbers_keep_their_value():
    tiny = torch.full((1, 1, 1, 1), 1e-41)
    assert torch.equal(stages(tiny, [torch.ones(1)], [POINT]), tiny)


@pytest.mark.usefixtures("_threads")
def test_results_are_the_same_to_the_last_bit_every_time():
    x, parameters = draw_tensors(DIGITS, 100, 0)
    first = gradients(x, parameters, DIGITS, stages)
    for _ in range(3):
        again = gradients(x, parameters, DIGITS, stages)
        assert all(map(torch.equal, first, again))


def test_the_number_of_threads_changes_rounding_only():
    x, parameters = draw_tensors(DIGITS, 100, 0)
    one = gradients(x, parameters, DIGITS, stages)
    torch.set_num_threads(2)
    try:
        two = gradients(x, parameters, DIGITS, stages)
    finally:
        torch.set_num_threads(1)
    for a, b in zip(one, two, strict=True):
        check_close(a, b, terms_of(DIGITS, 100), "two threads")


SETS = [name for name in ("sse2", "avx2", "avx512", "neon") if name in kernels.sets()]


@pytest.mark.parametrize("name", SETS)
def test_every_instruction_set_equals_torch(name):
    program = (
        "import torch; torch.set_num_threads(1)\n"
        "from kernels.test_chain import check, draw_chain, DIGITS, kernels\n"
        f"assert kernels.instruction_set() == {name!r}\n"
        "for seed in range(30):\n"
        "    check(draw_chain(seed), (1, 5, 16, 18)[seed % 4], seed)\n"
        "check(DIGITS, 70)\n"
    )
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        env={**os.environ, "CONVSCOPE_KERNELS": name, "PYTHONPATH": path},
    )


MISTAKES = {
    "a weight is off": lambda x, p, plan: stages(x, [p[0] * 1.001, *p[1:]], plan),
    "average for maximum": lambda x, p, plan: stages(
        x, p, [dataclasses.replace(plan[0], pooling="average"), *plan[1:]]
    ),
    "one image is missing": lambda x, p, plan: stages(x * 0, p, plan),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_rejects_a_planted_mistake(mistake):
    x, parameters = draw_tensors(DIGITS, 5, 0)
    wrong = MISTAKES[mistake](x, parameters, DIGITS)
    right = in_torch(x.double(), [p.double() for p in parameters], DIGITS)
    with pytest.raises(AssertionError, match="off by"):
        check_close(wrong, right, terms_of(DIGITS, 5), "output")


def test_it_is_an_ordinary_operation_of_torch():
    x, parameters = draw_tensors(DIGITS, 5, 0)
    for leaf in (x, *parameters):
        leaf.requires_grad_()
    arguments = (x, parameters, numbers_of(DIGITS), True)
    torch.library.opcheck(torch.ops.convscope.stages.default, arguments)


def test_compiling_gives_the_same():
    x, parameters = draw_tensors(DIGITS, 5, 0)
    compiled = torch.compile(stages, backend="aot_eager", fullgraph=True)
    expected = gradients(x, parameters, DIGITS, stages)
    for a, e in zip(gradients(x, parameters, DIGITS, compiled), expected, strict=True):
        assert torch.equal(a, e)


class Digits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        parameters = draw_tensors(DIGITS, 1, 0)[1]
        self.all = torch.nn.ParameterList(parameters)

    def forward(self, x):
        return stages(x, list(self.all), DIGITS)


def test_exporting_keeps_it_as_one_operation():
    net, x = Digits(), draw_tensors(DIGITS, 3, 0)[0]
    program = torch.export.export(net, (x,))
    targets = [str(node.target) for node in program.graph.nodes]
    assert "convscope.stages.default" in targets
    assert torch.equal(program.module()(x), net(x))


def test_under_autocast_it_runs_in_float32():
    x, parameters = draw_tensors(DIGITS, 3, 0)
    with torch.autocast("cpu", torch.bfloat16):
        out = stages(x.bfloat16(), parameters, DIGITS)
    assert torch.equal(out, stages(x.bfloat16().float(), parameters, DIGITS))


def refused(error, text, call):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()


def test_images_of_another_size_are_refused():
    x, parameters = draw_tensors(DIGITS, 3, 0)
    refused(
        ShapeError,
        "stages: x has shape (3, 1, 16, 15), but the plan takes 256 numbers per image. "
        "Give the images that it is for.",
        lambda: stages(x[..., 1:], parameters, DIGITS),
    )


def test_parameters_of_another_size_are_refused():
    x, parameters = draw_tensors(DIGITS, 3, 0)
    refused(
        ShapeError,
        "stages: parameters have [6, 150, 4104, 19] numbers, but the plan takes "
        "[150, 6, 4104, 19]. Give weight and bias of each stage in turn.",
        lambda: stages(x, [parameters[i] for i in (1, 0, 2, 3)], DIGITS),
    )


def test_other_number_formats_are_refused():
    x, parameters = draw_tensors(DIGITS[1:], 3, 0)
    refused(
        ArgumentError,
        "stages: dtypes ['torch.float64', 'torch.float32', 'torch.float32'] are not "
        "all float32. Convert them, or use torch's own layers.",
        lambda: stages(x.double(), parameters, DIGITS[1:]),
    )


def test_other_devices_are_refused():
    x, parameters = draw_tensors(DIGITS, 3, 0)
    refused(
        ArgumentError,
        "stages: x is on meta, but these kernels are for the CPU. Use torch's own "
        "layers there.",
        lambda: stages(x.to("meta"), parameters, DIGITS),
    )


def test_stages_that_do_not_follow_each_other_are_refused():
    refused(
        ShapeError,
        "plan: a stage gives (6, 6, 6) (channels, height, width), but the next takes "
        "(1, 16, 16). Make the two agree.",
        lambda: numbers_of([DIGITS[0], DIGITS[0]]),
    )
    refused(
        ArgumentError,
        "plan=[] has no stage. Give at least one.",
        lambda: numbers_of([]),
    )


def test_a_plan_that_the_kernels_do_not_take_is_refused():
    numbers = numbers_of(DIGITS[1:])
    numbers[0] = 0
    with pytest.raises(ArgumentError, match="is not one that the native kernels take"):
        apply_stages(torch.zeros(1, 0), [], numbers)


def test_names_of_stages_are_a_closed_set():
    refused(
        UnknownNameError,
        "unknown activation 'rellu'. Did you mean 'relu'?",
        lambda: dataclasses.replace(DIGITS[1], activation="rellu"),
    )
    refused(
        UnknownNameError,
        "unknown pooling 'avg'. Did you mean 'average'?",
        lambda: dataclasses.replace(DIGITS[1], pooling="avg"),
    )
    refused(
        ArgumentError,
        "StagePlan: pool_size=(16, 2) and pool_stride=(2, 2) may be 15 at most. Leave "
        "this pooling to torch.",
        lambda: StagePlan(
            in_channels=1,
            in_size=(20, 20),
            out_channels=1,
            kernel_size=(1, 1),
            pooling="max",
            pool_size=(16, 2),
            pool_stride=(2, 2),
        ),
    )
