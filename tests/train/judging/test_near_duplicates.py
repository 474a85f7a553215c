"""Near duplicates of a data set, against plain loops over its pictures."""

import itertools

import numpy as np
import pytest
import torch

from convscope.data.dataset import Samples
from convscope.data.folders import duplicates
from convscope.train.judging import near_duplicates as room
from convscope.train.judging.near_duplicates import near_duplicates


def smooth(count, seed, *, channels=1, size=32, top=255):
    """Pictures of a few large waves, none like another."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, channels, 5, 5)))
    large = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    dtype = np.uint8 if top < 256 else np.uint16
    return torch.from_numpy((large.numpy() * top).astype(dtype))


def samples(pixels, labels=None):
    labels = torch.zeros(len(pixels)).long() if labels is None else labels
    return Samples(pixels, labels, [str(i) for i in range(len(pixels))])


@pytest.fixture
def planted():
    """Test picture 3 is training picture 7, a little brighter; 5 and 6 are one."""
    train, test = smooth(20, 1), smooth(10, 2)
    test[3] = train[7] // 2 + 60
    test[6] = test[5]
    labels = torch.arange(10) % 2
    return {"train": samples(train), "test": samples(test, labels)}


def test_what_was_planted_is_found_and_nothing_else(planted):
    found = near_duplicates(planted, "test")
    groups = [(g.members, g.are_equal, g.are_mixed) for g in found.groups]
    assert groups == [
        ((("test", 3), ("train", 7)), False, True),
        ((("test", 5), ("test", 6)), True, True),
    ]
    assert found.seen == (3,)
    assert found.among_all


def test_of_many_the_judged_are_compared_with_all_as_plain_loops_do(
    planted, monkeypatch
):
    monkeypatch.setattr(room, "EACH", 5)
    monkeypatch.setattr(duplicates, "BLOCK", (4, 7))
    planted["train"].pixels[9] = planted["train"].pixels[8]
    found = near_duplicates(planted, "test")
    assert not found.among_all
    linked = {frozenset(group.members) for group in found.groups}
    test, train = planted["test"].pixels, planted["train"].pixels
    every = [("test", i, p) for i, p in enumerate(test)]
    every += [("train", i, p) for i, p in enumerate(train)]
    expected = set()
    for (a, i, p), (b, j, q) in itertools.combinations(every, 2):
        likeness = np.corrcoef(p.numpy().ravel(), q.numpy().ravel())[0, 1]
        if "test" in (a, b) and likeness > 0.99:
            expected.add(frozenset([(a, i), (b, j)]))
    assert linked == expected


@pytest.mark.parametrize(("channels", "top"), [(3, 255), (1, 65535), (3, 65535)])
def test_color_and_16_bits_are_looked_at_too(channels, top):
    train, test = (smooth(6, s, channels=channels, top=top) for s in (1, 2))
    test[2] = train[4]
    found = near_duplicates({"train": samples(train), "test": samples(test)}, "test")
    assert [g.members for g in found.groups] == [(("test", 2), ("train", 4))]


def test_too_many_are_not_compared(planted, monkeypatch):
    monkeypatch.setattr(room, "EACH", 5)
    monkeypatch.setattr(room, "PAIRS", 100)
    assert near_duplicates(planted, "test") is None


def test_training_images_have_not_been_seen_by_themselves(planted):
    assert near_duplicates(planted, "train").seen == ()
