"""Two oracles for a definition: torch with autograd in float64, and finite differences.

A definition under test is a function of arrays that returns ``y`` and a function from
the gradient for ``y`` to the gradients for the arrays.
"""

import numpy as np
import torch

# Fewer than 500 terms, each below 16, one rounding each: 500 * 16 * 2**-53 < 1e-12.
ATOL = 1e-12
STEP = 1e-5  # of the differences
# Their error: 2**-53 * |loss| / STEP < 1e-8, and STEP**2 * third derivative < 1e-8.
DIFFERENCE_ATOL = 1e-7


def arrays(*shapes, seed=0):
    """Standard normal numbers."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def check_against_torch(definition, in_torch, *inputs):
    """Output and every gradient equal torch's."""
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    theirs = in_torch(*tensors)
    (grad,) = arrays(theirs.shape, seed=1)
    theirs.backward(torch.tensor(grad))
    ours, backward = definition(*inputs)
    np.testing.assert_allclose(ours, theirs.detach(), rtol=0, atol=ATOL)
    grads = backward(grad)
    assert len(grads) == len(inputs)
    for number, (tensor, one) in enumerate(zip(tensors, grads, strict=True)):
        np.testing.assert_allclose(
            one, tensor.grad, rtol=0, atol=ATOL, err_msg=f"gradient {number}"
        )


def check_against_differences(definition, *inputs):
    """Every gradient is the slope of ``sum(grad * y)``."""
    ours, backward = definition(*inputs)
    (grad,) = arrays(np.shape(ours), seed=1)
    grads = backward(grad)
    assert len(grads) == len(inputs)
    for number, (x, one) in enumerate(zip(inputs, grads, strict=True)):
        assert np.shape(one) == x.shape
        for place in np.ndindex(x.shape):
            losses = []
            for step in (STEP, -STEP):
                moved = [array.copy() for array in inputs]
                moved[number][place] += step
                losses.append((grad * definition(*moved)[0]).sum())
            slope = (losses[0] - losses[1]) / (2 * STEP)
            assert abs(slope - one[place]) <= DIFFERENCE_ATOL, (number, place)
