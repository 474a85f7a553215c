import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.data.splits import assign, content_hash, content_hashes
from convscope.errors import ArgumentError


def digest(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def in_order_of_hashes(hashes, validation, test):
    """The rule for one class without copies, as a list sorted and cut twice."""
    share = {2: test, 1: validation}
    counts = {p: max(1, int(s * len(hashes) + 0.5)) if s else 0
              for p, s in share.items()}  # fmt: skip
    ranked = [2] * counts[2] + [1] * counts[1] + [0] * len(hashes)
    order = sorted(range(len(hashes)), key=lambda i: hashes[i])
    return [ranked[order.index(i)] for i in range(len(hashes))]


samples = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=80
)
shares = st.sampled_from([(0.1, 0.15), (0.1, 0.2), (0.25, 0.5), (0.1, 0.0), (0.0, 0.0)])


@given(samples, shares)
def test_equal_images_share_a_part_whatever_their_class(drawn, share):
    hashes, labels = [digest(n) for n, _ in drawn], [c for _, c in drawn]
    parts = assign(hashes, labels, validation=share[0], test=share[1])
    assert len(set(zip(hashes, parts.tolist(), strict=True))) == len(set(hashes))


@given(st.sets(st.integers(0, 10**6), min_size=6, max_size=90), shares)
def test_one_new_image_moves_at_most_three_old_ones_and_none_of_others(numbers, share):
    validation, test = share
    hashes = [digest(n) for n in sorted(numbers)]
    labels = [i % 2 for i in range(len(hashes))]
    after = assign(hashes, labels, validation=validation, test=test)[:-1]
    before = assign(hashes[:-1], labels[:-1], validation=validation, test=test)
    moved = np.flatnonzero(before != after)
    assert len(moved) <= 3
    assert {labels[i] for i in moved} <= {labels[-1]}


def test_many_new_images_move_about_the_square_root_of_their_number():
    hashes = [digest(i) for i in range(5000)]
    before = assign(hashes[:4000], [0] * 4000, validation=0.1, test=0.15)
    after = assign(hashes, [0] * 5000, validation=0.1, test=0.15)[:4000]
    # a boundary moves by a binomial of 1000 draws: 6 standard deviations, two of them
    assert (before != after).sum() < 2 * 6 * (1000 * 0.25 * 0.75) ** 0.5


@given(samples, shares)
def test_a_class_has_every_part_if_it_has_enough_images_of_its_own(drawn, share):
    validation, test = share
    hashes, labels = [digest(n) for n, _ in drawn], [c for _, c in drawn]
    parts = assign(hashes, labels, validation=validation, test=test)
    by_importance = [0] + [2] * (test > 0) + [1] * (validation > 0)
    for label in set(labels):
        has = [p for p, c in zip(parts, labels, strict=True) if c == label]
        own = {
            h
            for h, c in zip(hashes, labels, strict=True)
            if c == label
            and not any(
                g == h and d != label for g, d in zip(hashes, labels, strict=True)
            )
        }
        assert set(by_importance[: len(own)]) <= set(has)


@given(samples, shares, st.randoms(use_true_random=False))
def test_order_and_class_numbers_do_not_matter(drawn, share, random):
    hashes, labels = [digest(n) for n, _ in drawn], [c for _, c in drawn]
    parts = assign(hashes, labels, validation=share[0], test=share[1])
    order = list(range(len(drawn)))
    random.shuffle(order)
    renamed = [9 - labels[i] for i in order]
    again = assign([hashes[i] for i in order], renamed, validation=share[0],
                   test=share[1])  # fmt: skip
    assert again.tolist() == parts[order].tolist()


@given(st.lists(st.integers(4, 60), min_size=1, max_size=5), shares)
def test_each_class_gets_its_shares_exactly(sizes, share):
    validation, test = share
    labels = np.repeat(np.arange(len(sizes)), sizes)
    hashes = [digest(i) for i in range(len(labels))]
    parts = assign(hashes, labels, validation=validation, test=test)
    for label, size in enumerate(sizes):
        got = np.bincount(parts[labels == label], minlength=3)
        for part, wanted in ((1, validation), (2, test)):
            # rounded to a whole image, or the one that every part gets
            assert abs(got[part] - wanted * size) <= 0.5 or got[part] == 1
            assert (got[part] > 0) == (wanted > 0)


@given(st.integers(4, 90), shares)
def test_one_class_is_sorted_by_hash_and_cut(count, share):
    hashes = [digest(i) for i in range(count)]
    parts = assign(hashes, [0] * count, validation=share[0], test=share[1])
    assert parts.tolist() == in_order_of_hashes(hashes, *share)


def test_copies_leave_a_part_as_near_to_its_share_as_they_allow():
    hashes = [digest(i // 7) for i in range(7 * 40)]  # 40 images, each seven times
    parts = assign(hashes, [0] * 280, validation=0.1, test=0.15)
    assert np.bincount(parts).tolist() == [210, 28, 42]


def test_a_crowd_of_copies_does_not_become_the_test():
    hashes = [bytes(8)] * 10 + [b"\x80" * 8, b"\xff" * 8]
    parts = assign(hashes, [0] * 12, validation=0.1, test=0.15)
    assert parts.tolist() == [0] * 10 + [1, 2]


def test_a_single_image_is_trained_on():
    assert assign([bytes(8)], [0], validation=0.1, test=0.2).tolist() == [0]


def test_the_hash_tells_shape_type_and_pixels_apart():
    image = np.zeros((1, 2, 4), np.uint8)
    others = [
        image.reshape(1, 4, 2),
        np.zeros((1, 2, 2), np.uint16),
        np.zeros((1, 2, 4), np.uint16),
        np.eye(4, dtype=np.uint8)[None, :2],
    ]
    hashes = [content_hash(image), *map(content_hash, others)]
    assert len(set(hashes)) == 5
    assert content_hash(image[:, ::-1]) == content_hash(image.copy())
    assert content_hashes(np.stack([image, image])) == [hashes[0]] * 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ([digest(0)], [0], 1.0, 0.0),
            "assign: validation=1.0 is not a share of the samples. "
            "Use a number from 0 to below 1.",
        ),
        (
            ([digest(0)], [0], 0.5, 0.5),
            "assign: validation=0.5 and test=0.5 take 1 of the samples and leave none "
            "to train on. Use shares that sum to less than 1.",
        ),
        (
            ([digest(0)], [0, 1], 0.1, 0.1),
            "assign: 1 hashes and 2 labels were given. Give one of each per sample.",
        ),
        (
            ([b"short"], [0], 0.1, 0.1),
            "assign: a hash has 5 bytes; at least 8 are needed.",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    hashes, labels, validation, test = arguments
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        assign(hashes, labels, validation=validation, test=test)


def test_no_samples_have_no_parts():
    assert assign([], [], validation=0.1, test=0.1).shape == (0,)
