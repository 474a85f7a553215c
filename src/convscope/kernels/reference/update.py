"""Gradient descent: one update of one array of weights.

``gradient_descent_update(weight, grad, velocity) -> weight, velocity``
"""

from convscope.kernels.reference.arrays import Array, Numbers, doubles


def gradient_descent_update(
    weight: Numbers,
    grad: Numbers,
    velocity: Numbers,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """A step down the slope, with what is left of the steps before.

    ``velocity <- momentum * velocity + grad + weight_decay * weight``
    ``weight   <- weight - learning_rate * velocity``

    Args:
        weight: The weights.
        grad: Gradient of the loss for them.
        velocity: What the update before returned; zeros at first.
        learning_rate: Length of a step, per unit of velocity.
        momentum: Share of the velocity that is kept, in [0, 1).
        weight_decay: Pull towards 0, per unit of weight.

    Source:
        ``torch.optim.SGD``, whose learning rate is outside the velocity as here.

    >>> import numpy as np
    >>> weight, velocity = np.array([1.0]), np.array([2.0])
    >>> gradient_descent_update(
    ...     weight, np.array([4.0]), velocity, learning_rate=0.25, momentum=0.5
    ... )
    (array([-0.25]), array([5.]))
    """
    weight, grad, velocity = doubles(weight, grad, velocity)
    velocity = momentum * velocity + grad + weight_decay * weight
    return weight - learning_rate * velocity, velocity
