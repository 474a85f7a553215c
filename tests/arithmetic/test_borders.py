import numpy as np
import pytest

from convscope.arithmetic import Bordered, border_element

NUMPY = {
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("size", [2, 3, 5])
def test_elements_beyond_the_border_are_those_of_numpy(mode, size):
    reach = 7  # around more than once
    found = [border_element(i, size, mode) for i in range(-reach, size + reach)]
    assert found == np.pad(np.arange(size), reach, mode=NUMPY[mode]).tolist()


@pytest.mark.parametrize("mode", ["zeros", "constant"])
def test_zeros_and_constants_are_no_element_of_the_input(mode):
    assert [border_element(i, 2, mode) for i in (-1, 0, 1, 2)] == [None, 0, 1, None]


def test_a_window_with_a_stride_and_a_dilation_reads_around_the_border():
    layer = Bordered(3, 2, (2, 2), 2, border="circular")
    assert layer.table(4) == [[2, 0, 2], [0, 2, 0]]
