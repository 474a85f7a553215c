"""The lab's steps against SciPy, NumPy and their own Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from convscope.functional import FILTERS, filter_kernel
from convscope.serve.workshop.lab import Steps, code, random, through

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 20, 24)).astype(np.float32)
SCIPY = {"zeros": "constant", "replicate": "nearest", "reflect": "mirror",
         "symmetric": "reflect", "circular": "wrap"}  # fmt: skip


def done(*steps: dict[str, Any]) -> list[np.ndarray]:
    found, error = through(PICTURE, Steps.model_validate({"steps": steps}).steps)
    assert error is None
    return found


@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("name", FILTERS)
def test_named_filters_are_scipy_s_correlation(name: str, border: str) -> None:
    (out,) = done({"kind": "filter", "name": name, "border": border})
    taps = filter_kernel(name).double().numpy()
    wanted = [
        ndimage.correlate(c.astype(float), taps, mode=SCIPY[border]) for c in PICTURE
    ]
    np.testing.assert_allclose(out, wanted, atol=2e-3)


def test_a_flipped_typed_kernel_is_scipy_s_convolution() -> None:
    rows = [[1, 2, 0], [0, -1, 3], [2, 0, 1]]
    (out,) = done({"kind": "kernel", "rows": rows, "flip": True})
    wanted = [ndimage.convolve(c.astype(float), np.array(rows, float), mode="nearest")
              for c in PICTURE]  # fmt: skip
    np.testing.assert_allclose(out, wanted, atol=1e-3)


def test_the_neighborhood_average_takes_noise_away() -> None:
    flat = np.full((1, 64, 64), 100, np.float32)
    steps = [{"kind": "noise", "amount": 0.2}, {"kind": "average", "size": 5}]
    found, _ = through(flat, Steps.model_validate({"steps": steps}).steps)
    spread = [float(np.abs(one - 100).mean()) for one in found]
    assert spread[1] < 0.6 * spread[0]
    changed = (found[0] != 100).mean()
    assert abs(changed - 0.2) < 0.02


def test_pooling_stride_padding_and_channels_are_numpy_s() -> None:
    pooled, strided, padded, green, gray = (
        done(step)[0]
        for step in (
            {"kind": "max pooling"},
            {"kind": "stride", "step": 3},
            {"kind": "pad", "amount": 2, "mode": "reflect"},
            {"kind": "channel", "keep": "green"},
            {"kind": "channel", "keep": "gray"},
        )
    )
    blocks = PICTURE.reshape(3, 10, 2, 12, 2)
    np.testing.assert_array_equal(pooled, blocks.max((2, 4)))
    np.testing.assert_array_equal(strided, PICTURE[:, ::3, ::3])
    np.testing.assert_array_equal(
        padded, np.pad(PICTURE, ((0, 0), (2, 2), (2, 2)), "reflect")
    )
    np.testing.assert_array_equal(green, PICTURE[1:2])
    np.testing.assert_allclose(gray, PICTURE.mean(0, keepdims=True), atol=1e-4)


def test_its_python_gives_the_same_picture(tmp_path: Path) -> None:
    steps = [
        {"kind": "pad", "mode": "circular"}, {"kind": "noise", "seed": 5},
        {"kind": "average"}, {"kind": "filter", "name": "sobel", "dilation": 2},
        {"kind": "kernel", "rows": [[1, 2], [3, 4]], "border": "cut off"},
        {"kind": "relu"}, {"kind": "average pooling"}, {"kind": "stride"},
        {"kind": "noise", "what": "even"}, {"kind": "channel", "keep": "blue"},
    ]  # fmt: skip
    chosen = Steps.model_validate({"steps": steps}).steps
    place = tmp_path / "photo.png"
    Image.fromarray(PICTURE.transpose(1, 2, 0).astype(np.uint8)).save(place)
    names: dict[str, Any] = {}
    exec(code(chosen).replace("photo.png", str(place)), names)  # noqa: S102
    found, _ = through(PICTURE, chosen)
    np.testing.assert_array_equal(names["x"].numpy(), found[-1])


def test_drawn_numbers_are_even_and_differ_by_seed() -> None:
    a, b = random(100_000, 1), random(100_000, 2)
    counts = np.bincount(a >> np.uint32(28), minlength=16)
    assert abs(counts / len(a) - 1 / 16).max() < 0.004
    assert (a == b).mean() < 1e-3
    assert abs(np.corrcoef(a[:-1].astype(float), a[1:].astype(float))[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"kind": "kernel", "rows": [[1, 2], [3]]}], "rows have 1 and 2 numbers"),
        ([{"kind": "filter", "name": "sobl"}], "Did you mean 'sobel'"),
        ([{"kind": "pad", "amount": 50, "mode": "reflect"}], "Use padding at most 19"),
        ([{"kind": "channel"}, {"kind": "channel", "keep": "red"}], "no red"),
        ([{"kind": "max pooling", "kernel": 31}], "spans 31 elements"),
        ([{"kind": "pad", "amount": 128}] * 4, "more than 1,024. Pad less"),
    ],
)
def test_a_step_that_cannot_be_done_is_named_and_the_others_stay(
    steps: list[dict[str, Any]], said: str
) -> None:
    found, error = through(PICTURE, Steps.model_validate({"steps": steps}).steps)
    assert error is not None
    assert said in error
    assert error.startswith(f"step {len(found) + 1}, ")
    assert len(found) == len(steps) - 1
