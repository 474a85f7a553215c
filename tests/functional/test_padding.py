import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from convscope.arithmetic import BORDER_MODES
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.functional import pad

NUMPY = {  # by another library, that knows all six
    "zeros": {"mode": "constant"},
    "constant": {"mode": "constant", "constant_values": 2.5},
    "reflect": {"mode": "reflect"},
    "symmetric": {"mode": "symmetric"},
    "replicate": {"mode": "edge"},
    "circular": {"mode": "wrap"},
}
SCIPY = {
    "constant": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "circular": "wrap",
}


@pytest.mark.parametrize("mode", BORDER_MODES)
@pytest.mark.parametrize(
    "pairs", [[(2, 1)], [(0, 3), (1, 0)], [(1, 2), (2, 2), (0, 1)]]
)
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
def test_numpy_pads_the_same(mode, pairs, lead):
    x = torch.randn(*lead, 5, 4, 3)
    around = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    expected = np.pad(x.numpy(), around, **NUMPY[mode])
    np.testing.assert_array_equal(pad(x, pairs, mode, 2.5), expected)


@pytest.mark.parametrize("mode", SCIPY)
def test_scipy_filters_as_if_padded_so(mode):
    x, weight = torch.randn(6, 5).double(), torch.randn(3, 3).double()
    expected = ndimage.correlate(x, weight, mode=SCIPY[mode], cval=2.5)
    padded = pad(x, [(1, 1), (1, 1)], mode, 2.5)
    ours = torch.conv2d(padded[None, None], weight[None, None])[0, 0]
    torch.testing.assert_close(ours, torch.tensor(expected))


def test_one_integer_pads_every_axis_but_batch_and_channels():
    assert pad(torch.ones(2, 3, 4, 5), 1).shape == (2, 3, 6, 7)
    assert pad(torch.ones(2, 3, 4, 5), (0, 2)).shape == (2, 3, 4, 9)
    assert pad(torch.ones(4, 5), 1, "reflect", axes=2).shape == (6, 7)


def test_no_padding_copies_nothing():
    x = torch.ones(1, 1, 4)
    assert pad(x, 0, "reflect") is x


@pytest.mark.parametrize("mode", BORDER_MODES)
def test_gradients_reach_every_copy(mode):
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)

    def padded(x):
        return pad(x, [(1, 2), (2, 0)], mode, 0.5)

    assert torch.autograd.gradcheck(padded, x)
    assert torch.autograd.gradgradcheck(padded, x)


@pytest.mark.parametrize("mode", BORDER_MODES)
def test_it_maps_over_a_batch_of_batches(mode):
    x = torch.randn(3, 2, 1, 5, 4)
    each = torch.stack([pad(one, [(1, 0), (2, 1)], mode) for one in x])
    mapped = torch.func.vmap(lambda one: pad(one, [(1, 0), (2, 1)], mode))(x)
    assert mapped.equal(each)


@pytest.mark.parametrize("mode", BORDER_MODES)
def test_channels_last_stays(mode):
    x = torch.randn(2, 8, 5, 4).to(memory_format=torch.channels_last)
    out = pad(x, [(1, 1), (1, 1)], mode)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", BORDER_MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_are_copied_as_they_are(mode, dtype):
    x = torch.randn(2, 3, 5, 4).to(dtype)
    out = pad(x, 2, mode, 0.5)
    assert out.dtype == dtype
    assert out.equal(pad(x.double(), 2, mode, 0.5).to(dtype))


@pytest.mark.parametrize(
    ("mode", "padding", "text"),
    [
        (
            "reflect",
            [(0, 0), (0, 3)],
            "pad, width: padding=(0, 3) with padding_mode='reflect' needs 4 elements, "
            "the input has 3. Use padding at most 2, or padding_mode='replicate'.",
        ),
        (
            "symmetric",
            [(5, 0), (0, 0)],
            "pad, height: padding=(5, 0) with padding_mode='symmetric' needs 5 "
            "elements, the input has 4. Use padding at most 4, or "
            "padding_mode='replicate'.",
        ),
        (
            "circular",
            4,
            "pad, width: padding=(4, 4) with padding_mode='circular' needs 4 elements, "
            "the input has 3. Use padding at most 3, or padding_mode='replicate'.",
        ),
    ],
)
def test_an_input_too_small_to_be_mirrored_is_refused(mode, padding, text):
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        pad(torch.ones(1, 1, 4, 3), padding, mode)


def test_names_are_refused():
    text = "^unknown padding_mode 'relfect'. Did you mean 'reflect'[?]$"
    with pytest.raises(UnknownNameError, match=text):
        pad(torch.ones(1, 1, 4), 1, "relfect")
    text = (
        "pad: padding='same' is a name, which needs a kernel to mean a number. Give "
        "numbers, or the output of resolve_paddings."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        pad(torch.ones(1, 1, 4), "same")
    text = (
        "pad: x has shape (4,), which is 1 axes, and padding=[(1, 1), (1, 1)] is for "
        "2. Give padding for at most 1."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        pad(torch.ones(4), [(1, 1), (1, 1)])
