import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ShapeError
from convscope.kernels import reference
from kernels.gradients import (
    ATOL,
    arrays,
    check_against_differences,
    check_against_torch,
)


def from_output(forward, backward):
    def definition(x):
        y = forward(x)
        return y, lambda grad: [backward(grad, y)]

    return definition


def from_input(forward, backward):
    return lambda x: (forward(x), lambda grad: [backward(grad, x)])


ACTIVATIONS = {
    "sigmoid": (
        from_output(reference.sigmoid_forward, reference.sigmoid_backward),
        torch.sigmoid,
    ),
    "tanh": (from_output(reference.tanh_forward, reference.tanh_backward), torch.tanh),
    "relu": (from_input(reference.relu_forward, reference.relu_backward), torch.relu),
    "absolute": (
        from_input(reference.absolute_forward, reference.absolute_backward),
        torch.abs,
    ),
    "gelu": (from_input(reference.gelu_forward, reference.gelu_backward), F.gelu),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_gradient_are_those_of_torch(name):
    definition, theirs = ACTIVATIONS[name]
    check_against_torch(definition, theirs, *arrays((2, 3, 4)))
    kink_and_far = np.array([0.0, -0.0, 40.0, -40.0, 800.0, -800.0])
    check_against_torch(definition, theirs, kink_and_far)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_of_an_activation_is_its_slope(name):
    check_against_differences(ACTIVATIONS[name][0], *arrays((2, 3, 2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_check_rejects_the_gradient_of_another_activation(name):
    others = [other for other in ACTIVATIONS if other != name]
    for other in others:

        def mistaken(x, name=name, other=other):
            return ACTIVATIONS[name][0](x)[0], ACTIVATIONS[other][0](x)[1]

        with pytest.raises(AssertionError):
            check_against_torch(mistaken, ACTIVATIONS[name][1], *arrays((2, 3, 4)))


def gain(x, factor):
    y = reference.gain_forward(x, factor)
    return y, lambda grad: reference.gain_backward(grad, x, factor)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 2, 2)])
def test_the_gain_is_a_factor_of_tanh(shape):
    inputs = arrays(shape, (3,))
    check_against_torch(
        gain,
        lambda x, g: g.view(-1, *[1] * (x.ndim - 2)) * torch.tanh(x),
        *inputs,
    )
    check_against_differences(gain, *inputs)


def fully_connected(x, weight, bias):
    y = reference.fully_connected_forward(x, weight, bias)
    return y, lambda grad: reference.fully_connected_backward(grad, x, weight)


def test_fully_connected_and_its_gradients_are_those_of_torch():
    inputs = arrays((3, 4), (2, 4), (2,))
    check_against_torch(fully_connected, F.linear, *inputs)
    check_against_differences(fully_connected, *inputs)


def test_the_check_rejects_a_gradient_of_one_image_only():
    def mistaken(x, weight, bias):
        y, _ = fully_connected(x, weight, bias)
        return y, lambda grad: (
            fully_connected(x, weight, bias)[1](grad)[0],
            *reference.fully_connected_backward(grad[:1], x[:1], weight)[1:],
        )

    with pytest.raises(AssertionError):
        check_against_torch(mistaken, F.linear, *arrays((3, 4), (2, 4), (2,)))


def test_an_image_that_is_not_flat_is_refused():
    text = (
        "fully_connected_forward: x has shape (1, 2, 3), the weight is for (N, 6). "
        "Flatten each image to one row of 6 values."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        reference.fully_connected_forward(np.ones((1, 2, 3)), np.ones((4, 6)))


LABELS = np.array([2, 0, 1, 2])


def cross_entropy(logits):
    loss, p = reference.cross_entropy_forward(logits, LABELS)
    return loss, lambda grad: [grad * reference.cross_entropy_backward(p, LABELS)]


def cross_entropy_in_torch(logits):
    return F.cross_entropy(logits, torch.tensor(LABELS))


def test_cross_entropy_and_its_gradient_are_those_of_torch():
    (logits,) = arrays((4, 3))
    check_against_torch(cross_entropy, cross_entropy_in_torch, logits)
    check_against_torch(cross_entropy, cross_entropy_in_torch, 1000 * logits)
    check_against_differences(cross_entropy, logits)


CROSS_ENTROPY_MISTAKES = {
    "not averaged": lambda p: reference.cross_entropy_backward(p, LABELS) * len(p),
    "y - p": lambda p: -reference.cross_entropy_backward(p, LABELS),
    "p": lambda p: p / len(p),
}


@pytest.mark.parametrize("mistake", CROSS_ENTROPY_MISTAKES)
def test_the_check_of_cross_entropy_rejects_a_planted_mistake(mistake):
    def mistaken(logits):
        loss, p = reference.cross_entropy_forward(logits, LABELS)
        return loss, lambda grad: [grad * CROSS_ENTROPY_MISTAKES[mistake](p)]

    with pytest.raises(AssertionError):
        check_against_torch(mistaken, cross_entropy_in_torch, *arrays((4, 3)))
    with pytest.raises(AssertionError):
        check_against_differences(mistaken, *arrays((4, 3)))


def test_softmax_rows_are_probabilities_and_a_shift_changes_none():
    (logits,) = arrays((4, 3))
    p = reference.softmax(logits)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=ATOL)
    np.testing.assert_allclose(reference.softmax(logits + 900), p, rtol=0, atol=ATOL)


SETTINGS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.2},
]


def check_update(update):
    for settings in SETTINGS:
        weight, *grads = arrays(*[(2, 3)] * 5)
        theirs = torch.nn.Parameter(torch.tensor(weight))
        optimizer = torch.optim.SGD([theirs], lr=0.3, **settings)
        velocity = np.zeros_like(weight)
        for grad in grads:
            theirs.grad = torch.tensor(grad)
            optimizer.step()
            weight, velocity = update(
                weight, grad, velocity, learning_rate=0.3, **settings
            )
            np.testing.assert_allclose(weight, theirs.detach(), rtol=0, atol=ATOL)


def test_updates_are_those_of_torch():
    check_update(reference.gradient_descent_update)


def uphill(weight, grad, velocity, **settings):
    return reference.gradient_descent_update(weight, -grad, velocity, **settings)


def forgets(weight, grad, velocity, **settings):
    return reference.gradient_descent_update(weight, grad, 0 * velocity, **settings)


def decays_apart(weight, grad, velocity, *, weight_decay=0.0, **settings):
    moved, velocity = reference.gradient_descent_update(
        weight, grad, velocity, **settings
    )
    return moved - settings["learning_rate"] * weight_decay * weight, velocity


@pytest.mark.parametrize("mistake", [uphill, forgets, decays_apart])
def test_the_check_of_updates_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_update(mistake)
