import dataclasses

import numpy as np
import pytest

from convscope.data import describe, load, locate
from convscope.data.published import unpacked_cache
from convscope.data.published.content import read
from data.files import write_cifar


@pytest.fixture
def small(machine):
    """A set of 120 images that counts as published, its files and its arrays."""
    write_cifar(machine / "data" / "cifar10")
    card = dataclasses.replace(
        describe("cifar10"), train_count=100, test_count=20, content_md5=()
    )
    found = locate(card)
    return card, found, read(card, found, None)


def test_what_is_kept_is_recalled(small, tmp_path):
    card, found, data = small
    assert unpacked_cache.recall(card, found, tmp_path) is None
    unpacked_cache.keep(card, found, tmp_path, data)
    again = unpacked_cache.recall(card, found, tmp_path)
    np.testing.assert_array_equal(again.images, data.images, strict=True)
    np.testing.assert_array_equal(again.labels, data.labels, strict=True)
    assert again.train_count == 100


def test_a_changed_file_is_read_again_and_replaces_what_was_kept(small, tmp_path):
    card, found, data = small
    unpacked_cache.keep(card, found, tmp_path, data)
    found.paths[0].touch()
    assert unpacked_cache.recall(card, found, tmp_path) is None
    unpacked_cache.keep(card, found, tmp_path, data)
    assert len(list((tmp_path / "decoded").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array" * 100])
def test_a_damaged_cache_is_not_believed(small, tmp_path, damage):
    card, found, data = small
    unpacked_cache.keep(card, found, tmp_path, data)
    (kept,) = (tmp_path / "decoded").iterdir()
    kept.write_bytes(damage)
    assert unpacked_cache.recall(card, found, tmp_path) is None


def test_a_pickle_in_the_cache_is_not_opened(small, tmp_path):
    card, found, data = small
    unpacked_cache.keep(card, found, tmp_path, data)
    (kept,) = (tmp_path / "decoded").iterdir()
    np.save(kept, np.array([{"a": 1}]), allow_pickle=True)
    assert unpacked_cache.recall(card, found, tmp_path) is None


def test_a_cache_that_cannot_be_written_costs_time_only(small, tmp_path):
    card, found, data = small
    (tmp_path / "decoded").write_text("in the way")
    unpacked_cache.keep(card, found, tmp_path, data)
    assert unpacked_cache.recall(card, found, tmp_path) is None


def test_files_that_are_not_the_published_ones_are_not_kept(machine):
    write_cifar(machine / "data" / "cifar10")
    load("cifar10")
    assert not (machine / "cache").exists()
