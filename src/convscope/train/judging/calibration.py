"""One number that makes probabilities mean what they say: the temperature."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convscope.errors import ArgumentError, DataError
from convscope.train.judging.uncertainty import calibration_bins, calibration_error

Array = npt.NDArray[np.float64]
RANGE = (0.05, 20.0)  # outside of it a network is not miscalibrated but broken
LEAST = 1e-12  # a probability of 0 would be infinitely wrong


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by, and what that changes on the images it was fit to.

    Attributes:
        value: Above 1 the network is too sure of itself, below 1 not sure enough.
        images: How many it was fit to.
        error_before: Expected calibration error as the network is, 0 to 1.
        error_after: The same with the temperature.
        likelihood_before: Mean of ``-ln p(true class)``, in nats.
        likelihood_after: The same with the temperature; never larger.
    """

    value: float
    images: int
    error_before: float
    error_after: float
    likelihood_before: float
    likelihood_after: float


def fit_temperature(probabilities: Array, labels: npt.NDArray[np.int64]) -> Temperature:
    """The temperature of the smallest negative log-likelihood.

    The order of classes, and so every figure but the probabilities, stays. Fit it to
    images that the network was not trained on, and not to those it is judged by.

    Args:
        probabilities: What the network gave; rows sum to 1.
        labels: True classes.

    Shape:
        probabilities: (N, K)
        labels:        (N,)

    Raises:
        DataError: There are no images.

    Source:
        Guo et al. 2017, On calibration of modern neural networks, section 4.2. The
        likelihood is convex in 1 / T (it is the log-partition of an exponential
        family), so that one bounded search in ln T finds the least.

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.dirichlet((1, 1, 1), 4000)
    >>> labels = (honest.cumsum(1) < rng.random((4000, 1))).sum(1)
    >>> sure = tempered(honest, 1 / 3)
    >>> round(fit_temperature(sure, labels).value, 1)
    3.0
    """
    from scipy.optimize import minimize_scalar  # with scikit-learn; slow to import

    if not len(labels):
        raise DataError(
            "fit_temperature: there are no images to fit it to. Give validation images."
        )

    def loss(log_temperature: float) -> float:
        return _likelihood(
            tempered(probabilities, float(np.exp(log_temperature))), labels
        )

    found = minimize_scalar(
        loss, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-5}
    )
    value = float(np.exp(found.x))
    if loss(np.log(value)) >= loss(0.0):
        value = 1.0
    after = tempered(probabilities, value)
    return Temperature(
        value=value,
        images=len(labels),
        error_before=_error(probabilities, labels),
        error_after=_error(after, labels),
        likelihood_before=_likelihood(probabilities, labels),
        likelihood_after=_likelihood(after, labels),
    )


def tempered(probabilities: Array, temperature: float) -> Array:
    """Softmax of the logits divided by ``temperature``, from the probabilities alone.

    Raises:
        ArgumentError: The temperature is not positive and finite.

    >>> tempered(np.array([[0.9, 0.1]]), 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    if not 0 < temperature < float("inf"):
        raise ArgumentError(
            f"tempered: temperature={temperature} must be positive and finite; 1 "
            "changes nothing."
        )
    logits = np.log(np.maximum(probabilities, LEAST)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    rows: Array = powers / powers.sum(axis=1, keepdims=True)
    return rows


def _likelihood(p: Array, labels: npt.NDArray[np.int64]) -> float:
    own = p[np.arange(len(p)), labels]
    return float(-np.log(np.maximum(own, LEAST)).mean())


def _error(p: Array, labels: npt.NDArray[np.int64]) -> float:
    hits = p.argmax(axis=1) == labels
    return calibration_error(list(calibration_bins(p.max(axis=1), hits)))
