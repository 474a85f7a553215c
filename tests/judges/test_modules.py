"""PyTorch's ModuleInfo as the judge: its samples of every layer that has a namesake.

Also all of its modules through ``cs.optimize``, whichever way of calling is forced.
"""

import functools

import pytest
import torch
from torch import nn

import convscope as cs
from convscope import kernels, layers
from convscope.execution import Setting, optimization
from judges.samples import (
    ModuleSample,
    module_infos,
    module_samples,
    outcome,
    require_same,
)

pytest.importorskip("expecttest", reason="PyTorch's own tests need it")

LAYERS = sorted(name for name in module_infos() if hasattr(layers, name))
# What torch itself says of some samples, whoever calls.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in (
        "LSTM with projections is not supported",
        "linear_cross_entropy",
        "enable_nested_tensor is True",
        "reduction",
        "The PyTorch API of nested tensors",
    )
]
DTYPES = (torch.float32, torch.float64)

# Samples that we do not answer as torch does, each with the reason.
EXCLUDED = {
    "FractionalMaxPool3d": (
        lambda s: len(s.called[0][0].shape) == 4,
        "_random_samples for two images where there is one: torch reads the first "
        "without a word, we refuse",
    ),
    **dict.fromkeys(
        ("LPPool1d", "LPPool2d", "LPPool3d"),
        (
            lambda s: s.made[0][0] % 1 != 0,
            "a negative number to a power that is not whole is NaN in torch; we take "
            "the power of its size",
        ),
    ),
}


def is_excluded(name: str, sample: ModuleSample) -> bool:
    return name in EXCLUDED and EXCLUDED[name][0](sample)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_its_namesake_in_torch_gives(name, dtype, training):
    judged = 0
    for sample in module_samples(name, dtype, training):
        if is_excluded(name, sample):
            continue
        theirs = sample.build(module_infos()[name].module_cls, dtype).train(training)
        ours = sample.build(getattr(layers, name), dtype).train(training)
        ours.load_state_dict(theirs.state_dict())
        require_same(
            outcome(ours, sample.inputs(), list(ours.parameters())),
            outcome(theirs, sample.inputs(), list(theirs.parameters())),
            dtype,
        )
        judged += 1
    assert judged > 0


# Modules that cs.optimize is not asked about, each with the reason.
NOT_OPTIMIZED = {
    "LazyConv1d": "checked by the contract of cs.optimize, which gives them sizes",
    "LazyConv2d": "the same",
    "LazyConv3d": "the same",
    "LazyConvTranspose1d": "the same",
    "LazyConvTranspose2d": "the same",
    "LazyConvTranspose3d": "the same",
    "NLLLoss": "torch's own gradient of it refuses maps in channels-last layout",
}


@pytest.mark.skipif(not kernels.available(), reason="no native kernels")
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("name", sorted(set(module_infos()) - set(NOT_OPTIMIZED)))
def test_optimizing_changes_no_output_and_no_gradient(name, last, monkeypatch):
    setting = Setting(torch.device("cpu"), "float32", last, kernels=True)
    monkeypatch.setattr(optimization, "choose", lambda *_, **__: setting)
    for training in (True, False):
        for sample in module_samples(name, torch.float32, training):
            build = functools.partial(
                sample.build, module_infos()[name].module_cls, torch.float32
            )
            net, same = build().train(training), build().train(training)
            fast = cs.optimize(net, example_inputs=sample.inputs()[0])
            require_same(
                outcome(fast, sample.inputs(), list(net.parameters())),
                outcome(same, sample.inputs(), list(same.parameters())),
                torch.float32,
            )


def test_the_judge_rejects_a_layer_that_is_off():
    class Off(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 1.001

    sample = next(module_samples("Conv2d", torch.float64, True))
    theirs = sample.build(nn.Conv2d, torch.float64)
    with pytest.raises(AssertionError):
        require_same(
            outcome(sample.build(Off, torch.float64), sample.inputs(), []),
            outcome(theirs, sample.inputs(), []),
            torch.float64,
        )
