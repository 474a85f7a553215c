import numpy as np
import pytest

from convscope.analysis import Attribution, Trust
from convscope.errors import ArgumentError
from convscope.viz import attribution


def record(shape, low=0.0, trust=(), method="grad_cam"):
    rng = np.random.default_rng(0)
    maps = rng.uniform(low, 1, shape).astype(np.float32)
    classes = tuple([1] * shape[0])
    return Attribution(maps, method, "conv", "class 1", classes, trust)


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize(
    ("maps", "inputs"),
    [
        ((2, 8, 8), (2, 3, 8, 8)),
        ((1, 9, 6), (1, 1, 9, 6)),
        ((1, 20), (1, 4, 20)),
        ((1, 5, 6, 7), (1, 1, 5, 6, 7)),
    ],
)
def test_pictures_signals_and_volumes_are_drawn(maps, inputs, low):
    drawn = attribution(record(maps, low), np.random.default_rng(1).random(inputs))
    assert len(drawn.axes) == 2 * maps[0]
    assert (
        drawn.png()
        == attribution(record(maps, low), np.random.default_rng(1).random(inputs)).png()
    )


def test_the_map_that_is_drawn_is_the_record_and_its_scale_begins_at_zero():
    found = record((1, 8, 8))
    drawn = attribution(found, np.zeros((1, 1, 8, 8)))
    image = drawn.axes[1].images[1]
    np.testing.assert_array_equal(image.get_array(), found.maps[0])
    assert image.get_clim() == (0.0, float(found.maps.max()))
    signed = attribution(record((1, 8, 8), -2.0), np.zeros((1, 1, 8, 8)))
    low, high = signed.axes[1].images[1].get_clim()
    assert low == -high


def test_the_verdict_stands_under_its_map_and_the_class_by_name_above():
    trust = (Trust(0.9, 0.1, (0.5, 0.52), (0.5, 0.49)),)
    drawn = attribution(
        record((1, 8, 8), trust=trust), np.zeros((1, 1, 8, 8)), classes=("dog", "cat")
    )
    words = " ".join(each.get_text() for each in drawn.axes[1].texts)
    assert "supported" in words
    assert drawn.get_suptitle() == "What speaks for 'cat'"


def test_several_methods_stand_side_by_side():
    found = [record((1, 8, 8)), record((1, 8, 8), method="saliency")]
    assert len(attribution(found, np.zeros((1, 1, 8, 8))).axes) == 3


def test_inputs_of_another_size_are_refused():
    with pytest.raises(ArgumentError, match="Give the inputs that were explained"):
        attribution(record((1, 8, 8)), np.zeros((1, 1, 9, 9)))
    with pytest.raises(ArgumentError, match="found is empty"):
        attribution([], np.zeros((1, 1, 9, 9)))
