"""Device, number format and memory format: what a network runs in."""

import json
import re

import pytest
import torch

from convscope.errors import ArgumentError
from convscope.execution import Optimized, Setting, choose_device
from convscope.models import build

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused():
    text = "device='cuda:99' is not available on this machine. Use 'auto' or 'cpu'."
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        choose_device("cuda:99")


@pytest.mark.parametrize("name", ["gpu", "tpu", "nonsense", "meta", "", "cpux"])
def test_what_is_no_device_is_refused_with_the_names(name):
    text = (
        f"device={name!r} is not one of auto, cpu, cuda, mps. Take 'auto', which uses "
        "a GPU where there is one, or 'cpu'."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        choose_device(name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_setting_gives_float32_logits_near_those_of_float64(
    precision, channels_last
):
    torch.manual_seed(0)
    net = build("resnet9", width=4).eval()
    images = torch.randn(2, 3, 32, 32)
    exact = net.double()(images.double())
    setting = Setting(CPU, precision, channels_last)
    net = setting.place(net.float())
    with torch.no_grad():
        found = Optimized(net, setting)(setting.lay_out(images))
    assert found.dtype == torch.float32
    # bfloat16 keeps 8 bits; errors of ten layers add up like a random walk.
    atol = 1e-5 if precision == "float32" else 2**-8 * 10 * exact.abs().max().item()
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=atol)


def test_a_setting_reads_as_words():
    assert str(Setting(CPU, "bfloat16", True)) == "cpu, bfloat16, channels-last"
    whole = "cpu, float32, channels-last, native kernels"
    assert str(Setting(CPU, "float32", True, kernels=True)) == whole


def test_a_setting_travels_as_json():
    setting = Setting(CPU, "bfloat16", True, kernels=True)
    assert Setting.from_dict(json.loads(json.dumps(setting.to_dict()))) == setting
