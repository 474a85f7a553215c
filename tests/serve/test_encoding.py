"""Binary answers, read back."""

import numpy as np
import pytest

from convscope.serve.encoding import decoded, encoded


@pytest.mark.parametrize("shape", [(3,), (2, 3, 5), (1, 1, 1), (0, 4)])
def test_arrays_come_back_within_half_precision(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    header, arrays = decoded(encoded({"x": 1}, {"a": values, "b": values}))
    assert header == {"x": 1}
    for name in ("a", "b"):
        np.testing.assert_allclose(arrays[name], values, rtol=1e-3, atol=1e-7)


def test_exact_arrays_and_large_numbers_are_not_rounded():
    values = np.float32([1 / 3, 1e6])
    for exact in (frozenset({"a"}), frozenset()):
        _, arrays = decoded(encoded({}, {"a": values}, exact=exact))
        assert (arrays["a"] == values).all()
