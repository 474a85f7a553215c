"""The desk's numbers are those of real layers on real tensors."""

import random
from typing import Any

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.serve.workshop.desk import code, desk
from convscope.serve.workshop.settings import Settings


def drawn(seed: int) -> dict[str, Any]:
    """Settings at random: some fit, some do not."""
    rng = random.Random(seed)
    axes = rng.choice([1, 2, 2, 3])

    def each(low: int, high: int) -> int | list[int]:
        if rng.random() < 0.7:
            return rng.randint(low, high)
        return [rng.randint(low, high) for _ in range(axes)]

    operation = rng.choice(
        ["convolution", "convolution", "transposed", "max pooling", "average pooling"]
    )
    given: dict[str, Any] = {
        "operation": operation, "axes": axes, "size": each(1, 7), "kernel": each(1, 4),
        "stride": each(1, 3), "padding": each(0, 2), "channels": rng.choice([1, 2, 4]),
        "seed": seed,
    }  # fmt: skip
    if operation != "average pooling":
        given["dilation"] = each(1, 2)
    if operation in ("convolution", "transposed"):
        given |= {"filters": rng.choice([1, 2, 6]), "groups": rng.choice([1, 1, 2])}
    if operation == "transposed":
        given["output_padding"] = each(0, 1)
    if operation == "convolution":
        given["mode"] = rng.choice(["zeros", "reflect", "circular", "replicate"])
        given["padding"] = rng.choice([given["padding"], "same", "valid", "full"])
    return given


def layer_of(given: Settings) -> nn.Module:
    """The layer that the desk's own Python makes."""
    lines = code(given).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines[:3]), names)  # noqa: S102  what the page offers to copy
    made: nn.Module = names["layer"]
    return made


@pytest.mark.parametrize("block", range(10))
def test_500_random_settings_give_what_their_layers_give(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        given = Settings.model_validate(drawn(seed))
        found = desk(given)
        sizes = given.size
        space = (sizes,) * given.axes if isinstance(sizes, int) else sizes
        shape = (given.channels, *space)
        try:
            layer = layer_of(given)
            out = layer(torch.zeros(1, *shape))
        except ConvscopeError:
            assert found["error"] is not None, given
            continue
        assert found["error"] is None, (given, found["error"])
        assert tuple(found["shape"]) == tuple(out.shape[1:]), given
        record = cs.summary(layer, shape)
        assert found["parameters"]["value"] == record.parameters, given
        if not given.is_pooling:
            assert found["multiply_adds"]["value"] == record.multiply_adds, given
            assert eval(found["parameters"]["text"].replace("·", "*")) == (  # noqa: S307
                record.parameters
            )


@pytest.mark.parametrize("seed", range(60))
def test_every_remedy_and_every_proposal_mends_what_it_is_for(seed: int) -> None:
    given = drawn(seed)
    found = desk(Settings.model_validate(given))
    offered = found["error"]["remedies"] if found["error"] else found["proposals"]
    for one in offered:
        after = desk(Settings.model_validate({**given, **one["change"]}))
        assert after["error"] is None, (given, one)
        if not found["error"]:
            assert after["proposals"] == [], (given, one)


@pytest.mark.parametrize("seed", range(200, 240))
def test_the_film_ends_with_what_the_layer_computes(seed: int) -> None:
    given = Settings.model_validate({**drawn(seed), "channels": 1, "groups": 1})
    if given.filters != 1:
        given = given.model_copy(update={"filters": 1})
    found = desk(given)
    if found["error"] or not found["film"]:
        pytest.skip("does not fit")
    film = found["film"]
    image = torch.tensor(film["grid"], dtype=torch.float64)
    inside = torch.tensor(film["is_input"])
    x = image[0][inside].reshape(1, 1, *film["size"])
    layer = layer_of(given).double()
    if not given.is_pooling:
        kernel = torch.tensor(film["kernel"], dtype=torch.float64)
        if given.is_transposed:
            kernel = kernel.flip(tuple(range(1, kernel.ndim)))
        with torch.no_grad():
            layer.weight.copy_(kernel[None])
            layer.bias.zero_()
    with torch.no_grad():
        out = layer(x)[0, 0]
    torch.testing.assert_close(out, torch.tensor(film["output"], dtype=torch.float64))
    assert [step["value"] for step in film["steps"]] == out.flatten().tolist()


def test_the_lecture_s_seven_by_three_with_stride_three_does_not_fit() -> None:
    found = desk(Settings(size=7, kernel=3, stride=3))
    assert "does not fit: (7 - 3) / 3 + 1 = 2.33" in found["sentence"]
    assert {"label": "stride 2", "change": {"stride": 2}} in found["proposals"]


def test_convolution_stands_beside_cross_correlation() -> None:
    one, turned = (desk(Settings(size=4, flip=flip, seed=3)) for flip in (False, True))
    assert one["other"] == turned["film"]["output"] != one["film"]["output"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 2, "kernel": 5}, "kernel_size=5 spans 5 elements, the input has 2"),
        ({"operation": "max pooling", "groups": 2, "channels": 2}, "groups=2 has no"),
        ({"channels": 3, "groups": 2}, "not a multiple of groups=2"),
        ({"operation": "max pooling", "padding": 3}, "holds padding only"),
        ({"size": (3, 4, 5)}, "size=(3, 4, 5)"),
        ({"filter": "gaussian"}, "Set kernel to 5x5"),
        ({"padding": 9, "operation": "transposed"}, "cuts 18 elements"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, Any], said: str) -> None:
    error = desk(Settings.model_validate(given))["error"]
    assert said in error["message"]
    assert error["remedies"] or "size=" in said
