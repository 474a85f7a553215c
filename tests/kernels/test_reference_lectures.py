"""The definitions give the numbers that the lectures give."""

import json
from pathlib import Path

import numpy as np
import pytest

from convscope.kernels import reference

LECTURES = json.loads(
    (Path(__file__).parents[1] / "golden" / "lectures.json").read_text()
)


def image(rows):
    return np.array(rows, dtype=float)[None, None]


def check_correlation(one, forward):
    y = forward(image(one["image"]), image(one["kernel"]))
    assert y[0, 0].tolist() == one["correlation"]


@pytest.mark.parametrize("name", ["plus", "cross", "flip"])
def test_correlation_gives_the_lectures_numbers(name):
    check_correlation(LECTURES[name], reference.correlation_forward)


def test_convolution_gives_those_of_the_lecture_that_flips():
    flip = LECTURES["flip"]
    y = reference.convolution_forward(image(flip["image"]), image(flip["kernel"]))
    assert y[0, 0].tolist() == flip["convolution"]


def test_the_check_notices_a_flip():
    with pytest.raises(AssertionError):
        check_correlation(LECTURES["flip"], reference.convolution_forward)


def test_the_neighborhood_average_gives_the_lectures_numbers_when_rounded():
    average = LECTURES["average"]
    x = image(average["image"])
    ninths = np.full((1, 1, 3, 3), 1 / 9)
    for y in (
        reference.correlation_forward(x, ninths),
        reference.average_pooling_forward(x, 3, stride=1),
    ):
        assert y.round()[0, 0].tolist() == average["rounded"]


def test_max_pooling_has_the_lectures_winners_and_only_they_get_the_gradient():
    pooling = LECTURES["max_pooling"]
    y, winners = reference.max_pooling_forward(
        image(pooling["image"]), pooling["kernel_size"]
    )
    assert y[0, 0].tolist() == pooling["pooled"]
    rows, columns = np.unravel_index(winners[0, 0], (4, 4))
    assert np.stack([rows, columns], -1).tolist() == pooling["winners"]
    back = reference.max_pooling_backward(np.ones_like(y), winners, (4, 4))
    assert np.argwhere(back[0, 0]).tolist() == sorted(
        place for row in pooling["winners"] for place in row
    )


@pytest.mark.parametrize("one", LECTURES["output_sizes"], ids=str)
def test_a_map_has_the_size_that_the_lecture_says(one):
    y = reference.correlation_forward(
        np.ones((1, 1, one["size"])),
        np.ones((1, 1, one["kernel_size"])),
        stride=one["stride"],
        padding=one["padding"],
        dilation=one["dilation"],
    )
    assert y.shape == (1, 1, one["output"])


def test_the_digit_page_has_the_lectures_maps_and_parameters():
    page = LECTURES["digit_page"]
    x, parameters, sizes = np.zeros((1, 1, 32, 32)), 0, [32]
    for layer in page["convolutions"]:
        weight = np.zeros((layer["out_channels"], layer["in_channels"], 5, 5))
        x = reference.correlation_forward(x, weight, weight[:, 0, 0, 0])
        sizes.append(x.shape[2])
        x, _ = reference.max_pooling_forward(reference.relu_forward(x), page["pool"])
        sizes.append(x.shape[2])
        parameters += weight.size + len(weight)
    x = x.reshape(1, -1)
    for inputs, outputs in page["linear"]:
        weight = np.zeros((outputs, inputs))
        x = reference.fully_connected_forward(x, weight, weight[:, 0])
        parameters += weight.size + len(weight)
    assert sizes == page["sizes"]
    assert x.shape == (1, 10)
    assert parameters == page["parameters"]


def slopes_of_the_bandit(probabilities):
    """Gradient for a logit per class and input, where they give these probabilities."""
    x = np.eye(2)[LECTURES["bandit"]["x"]]  # a column for x = 0, and one for x = 1
    labels = np.array(LECTURES["bandit"]["label"])
    logits = np.log(np.maximum(probabilities, 1e-30)).T
    z = reference.fully_connected_forward(x, logits)
    _, p = reference.cross_entropy_forward(z, labels)
    grad = reference.cross_entropy_backward(p, labels)
    return reference.fully_connected_backward(grad, x, logits)[1]


def test_the_bandits_best_fit_is_the_empirical_frequencies():
    best_fit = np.array(LECTURES["bandit"]["best_fit"])
    # ten terms of at most 0.1, and 1e-30 in place of the probability 0
    assert np.abs(slopes_of_the_bandit(best_fit)).max() < 1e-15
    assert np.abs(slopes_of_the_bandit(best_fit[::-1])).max() > 0.01
