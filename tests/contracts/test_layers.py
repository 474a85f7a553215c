"""The contract that every layer keeps, run for every case of every family."""

import copy
import importlib
import inspect
import io
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from contracts.layer_case import Case
from convscope.errors import ShapeError

FOLDER = Path(__file__).parent / "layer_cases"
CASES: list[Case] = [
    case
    for path in sorted(FOLDER.glob("*.py"))
    for case in importlib.import_module(f"contracts.layer_cases.{path.stem}").CASES
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
AXES = {"1d": 1, "2d": 2, "3d": 3}


def made(case: Case, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return case.make().to(dtype)


def batch(case: Case, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(case.input, generator=generator, dtype=torch.float64).to(dtype)


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_no_two_cases_share_a_name():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_public_layer_has_a_case():
    public = {
        name
        for name in cs.layers.__all__
        if inspect.isclass(layer := getattr(cs.layers, name))
        and issubclass(layer, nn.Module)
    }
    assert public <= {type(made(case)).__name__ for case in CASES}


@every_case
def test_the_shape_is_the_one_from_arithmetic(case):
    assert made(case)(batch(case)).shape == case.output


@every_case
def test_the_parameters_are_as_many_as_arithmetic_says(case):
    assert sum(p.numel() for p in made(case).parameters()) == case.parameters


@every_case
def test_every_parameter_gets_a_finite_gradient(case):
    layer, x = made(case), batch(case).requires_grad_()
    layer(x).square().sum().backward()
    for name, parameter in [("x", x), *layer.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_case
def test_the_gradient_is_that_of_finite_differences(case):
    if not case.double:
        pytest.skip("random in training")
    layer, x = made(case, torch.float64), batch(case, torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def function(x: Tensor, *values: Tensor) -> Tensor:
        state = {**dict(zip(names, values, strict=True)), **copy.deepcopy(buffers)}
        return torch.func.functional_call(layer, state, (x,))

    inputs = [t.detach().requires_grad_() for t in (x, *layer.parameters())]
    torch.autograd.gradcheck(function, inputs, fast_mode=True)


@every_case
@torch.no_grad()
def test_memory_that_is_laid_out_otherwise_gives_the_same(case):
    layer, x = made(case).eval(), batch(case)
    expected = layer(x)
    strided = torch.stack([x, x], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    close(layer(strided), expected)
    close(layer(x.transpose(0, -1).contiguous().transpose(0, -1)), expected)
    if x.ndim in (4, 5):
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        close(layer(x.contiguous(memory_format=last)), expected)


@every_case
@torch.no_grad()
def test_an_image_alone_gives_what_it_gives_in_a_batch(case):
    if not case.single:
        pytest.skip("looks at the whole batch")
    layer, x = made(case).eval(), batch(case)
    close(layer(x[:1]), layer(x)[:1])


@every_case
@torch.no_grad()
def test_a_batch_of_none_gives_a_batch_of_none(case):
    if not case.empty_batch:
        pytest.skip("refuses it")
    assert made(case).eval()(batch(case)[:0]).shape == (0, *case.output[1:])


@every_case
@torch.no_grad()
def test_weights_move_to_another_layer_by_state_dict_copy_and_pickle(case):
    layer, x = made(case).eval(), batch(case)
    expected = layer(x)
    torch.manual_seed(9)
    other = case.make().eval()
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin(x), expected, rtol=0, atol=0)


@every_case
def test_the_repr_tells_how_it_was_built(case):
    layer = made(case)
    text = re.sub(r"\s+", " ", repr(layer))
    assert text.startswith(type(layer).__name__)
    wanted = [
        name
        for name, parameter in inspect.signature(type(layer)).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    assert not wanted or not text.endswith(f"{type(layer).__name__}()"), text


@every_case
@torch.no_grad()
def test_evaluation_gives_the_same_twice(case):
    if not case.deterministic:
        pytest.skip("random in evaluation too")
    layer, x = made(case).eval(), batch(case)
    torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)


@every_case
def test_a_wrong_rank_names_the_layer(case):
    if case.any_rank:
        pytest.skip("takes any number of axes")
    layer = made(case)
    with pytest.raises(ShapeError, match=f"^{type(layer).__name__}: .* got "):
        layer(torch.zeros(2, 3, 4, 4, 4, 4, 4))


@every_case
def test_a_wrong_channel_count_names_the_layer_and_the_count(case):
    if case.channels is None:
        pytest.skip("takes any number of channels")
    layer = made(case)
    shape = (case.input[0], case.channels + 1, *case.input[2:])
    with pytest.raises(ShapeError, match=f"^{type(layer).__name__}: .* got "):
        layer(torch.zeros(shape))


@every_case
def test_it_compiles_to_one_graph_and_gives_the_same(case):
    if not case.compile:
        pytest.skip("cannot be traced")
    torch._dynamo.reset()
    layer, x = made(case).eval(), batch(case).requires_grad_()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    ours, expected = compiled(x), layer(x)
    close(ours, expected)
    (gradient,) = torch.autograd.grad(ours.square().sum(), x)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    close(gradient, wanted)


@every_case
@torch.no_grad()
def test_onnx_runtime_gives_the_same(case):
    if not case.onnx:
        pytest.skip("has no form in ONNX")
    onnxruntime = pytest.importorskip("onnxruntime")
    layer, x = made(case).eval(), batch(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(layer, (x,), dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (ours,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(ours, layer(x).numpy(), rtol=1e-4, atol=1e-5)
