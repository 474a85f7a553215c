"""PyTorch's own samples of every module, through each way that optimize may choose.

Left out: losses in channels-last layout, whose backward pass torch itself refuses there
(``grad_input must be contiguous``), so that ``optimize`` would not choose it; and two
modules that hold no layer of ours and take most of the time.
"""

import copy

import pytest
import torch
from torch import nn
from torch.testing._internal.common_modules import module_db

from convscope import kernels
from convscope.execution import Optimized, Setting
from convscope.execution.outputs import tensors_in

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no native kernels")

SLOW = {"nn.LinearCrossEntropyLoss", "nn.Transformer"}
MODULES = [info for info in module_db if info.name not in SLOW]
CPU = torch.device("cpu")
CHAINS = Setting(CPU, "float32", False, kernels=True)
LAYERS = Setting(CPU, "float32", True, kernels=True)


def samples(info):
    """A module, its positional and its named inputs."""
    for training in (True, False):
        for sample in info.module_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=True,
            training=training,
        ):  # fmt: skip
            if sample.forward_input is None:
                continue
            made = sample.constructor_input
            torch.manual_seed(0)
            net = info.module_cls(*made.args, **made.kwargs).train(training)
            yield net, sample.forward_input.args, sample.forward_input.kwargs


def results(net, call, inputs, named):
    """Every tensor that comes out of a step; or what was refused."""
    torch.manual_seed(1)
    own = [
        x.detach().clone().requires_grad_(x.requires_grad)
        if isinstance(x, torch.Tensor) else copy.deepcopy(x)
        for x in inputs
    ]  # fmt: skip
    try:
        y = call(*own, **named)
    except Exception as error:
        return [], (type(error), str(error))
    found = list(tensors_in(y))
    losses = [x.square().sum() for x in found if x.requires_grad]
    if losses:
        torch.stack(losses).sum().backward()
    leaves = [x for x in own if isinstance(x, torch.Tensor)] + list(net.parameters())
    grads = [x.grad for x in leaves if x.grad is not None]
    return [*found, *grads, *net.buffers()], type(y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", MODULES, ids=lambda info: info.name)
def test_samples_of_modules_compute_the_same(info):
    if torch.float32 not in info.dtypes:
        pytest.skip("has no float32")
    for net, inputs, named in samples(info):
        for setting in (CHAINS, LAYERS):
            if setting is LAYERS and info.name.endswith("Loss"):
                continue
            plain, other = copy.deepcopy(net), copy.deepcopy(net)
            if len(inputs) == 1 and not named:
                plain, other = nn.Sequential(plain), nn.Sequential(other)
            expected, kind = results(plain, plain, inputs, named)
            found, ours = results(other, Optimized(other, setting), inputs, named)
            assert ours == kind
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(
                    a, b, rtol=1e-3, atol=1e-4, equal_nan=True, check_stride=False
                )
