import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError, DataError
from convscope.train.judging.calibration import fit_temperature, tempered


def honest(n, classes, seed=0):
    """Probabilities, and labels drawn from them: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.5), n)
    labels = (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=classes - 1)
    return p, labels


@pytest.mark.parametrize("true", [0.5, 1.7, 4.0])
def test_the_temperature_that_spoiled_probabilities_is_found(true):
    p, labels = honest(6000, 5)
    found = fit_temperature(tempered(p, 1 / true), labels)
    # The estimate from 6,000 draws spreads by about 2%.
    assert found.value == pytest.approx(true, rel=0.08)
    assert found.error_after < found.error_before
    assert found.likelihood_after < found.likelihood_before


def test_it_is_the_minimum_that_another_optimizer_finds():
    p, labels = honest(500, 4, seed=3)
    spoiled = tempered(p, 0.4)
    logits, y = torch.from_numpy(np.log(spoiled)), torch.from_numpy(labels)
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(logits / log_t.exp(), y)
        value.backward()
        return value

    optimizer.step(loss)
    found = fit_temperature(spoiled, labels)
    assert found.value == pytest.approx(float(log_t.detach().exp()), rel=1e-3)


def test_tempering_is_softmax_of_divided_logits_and_keeps_the_order():
    logits = torch.randn(40, 7, dtype=torch.float64)
    for temperature in (0.3, 1.0, 5.0):
        found = tempered(logits.softmax(1).numpy(), temperature)
        expected = (logits / temperature).softmax(1).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-10)
        assert (found.argmax(1) == logits.argmax(1).numpy()).all()


def test_a_network_that_is_always_right_and_sure_is_not_made_worse():
    p = np.eye(3)[[0, 1, 2, 0]]
    found = fit_temperature(p, np.array([0, 1, 2, 0]))
    assert found.likelihood_after <= found.likelihood_before


def test_wrong_arguments_are_refused():
    with pytest.raises(DataError, match="no images to fit it to"):
        fit_temperature(np.empty((0, 3)), np.empty(0, np.int64))
    with pytest.raises(ArgumentError, match="temperature=0 must be positive"):
        tempered(np.eye(2), 0)
