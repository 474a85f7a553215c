import hashlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data.splits import assign, content_hash, content_hashes
from convscope.errors import ArgumentError


def digest(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def native(hashes, validation, test):
    """The rule without the exception, in whole numbers."""
    bounds = (int(test * 2**64), int((test + validation) * 2**64))
    numbers = [int.from_bytes(h[:8], "big") for h in hashes]
    return [2 if n < bounds[0] else 1 if n < bounds[1] else 0 for n in numbers]


samples = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=80
)
shares = st.sampled_from([(0.1, 0.15), (0.1, 0.2), (0.25, 0.5), (0.1, 0.0), (0.0, 0.0)])


@given(samples, shares)
def test_equal_images_share_a_part_whatever_their_class(drawn, share):
    hashes, labels = [digest(n) for n, _ in drawn], [c for _, c in drawn]
    parts = assign(hashes, labels, validation=share[0], test=share[1])
    assert len(set(zip(hashes, parts.tolist(), strict=True))) == len(set(hashes))


@given(samples, samples, shares)
def test_new_images_move_no_old_one_but_a_loan(old, new, share):
    validation, test = share
    hashes = [digest(n) for n, _ in old + new]
    labels = [c for _, c in old + new]
    before = assign(hashes[: len(old)], labels[: len(old)], validation=validation,
                    test=test)  # fmt: skip
    after = assign(hashes, labels, validation=validation, test=test)[: len(old)]
    rule = np.array(native(hashes[: len(old)], validation, test))
    moved = before != after
    # whatever moved was lent before or is lent now: one of the two is not by the rule
    assert ((before != rule) | (after != rule))[moved].all()
    wanted = {0} | ({1} if validation else set()) | ({2} if test else set())
    for label in {c for _, c in old}:
        of_class = np.array(labels[: len(old)]) == label
        if wanted <= set(rule[of_class].tolist()):  # nothing needs to be lent
            mine = {h for h, m in zip(hashes, of_class, strict=False) if m}
            others = {
                h
                for h, c in zip(hashes, labels, strict=True)
                if c != label and h in mine
            }
            alone = [h not in others for h in hashes[: len(old)]]
            assert not moved[of_class & np.array(alone)].any()


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


@settings(max_examples=20)
@given(st.integers(0, 10**6), shares)
def test_each_class_gets_its_shares_up_to_chance(seed, share):
    validation, test = share
    hashes = [digest((seed, i)) for i in range(4000)]
    labels = np.arange(4000) % 4
    parts = assign(hashes, labels, validation=validation, test=test)
    for label in range(4):
        got = np.bincount(parts[labels == label], minlength=3) / 1000
        # six standard deviations of a share of 1000 draws: 6 * sqrt(0.25 / 1000)
        assert np.abs(got - [1 - validation - test, validation, test]).max() < 0.095


def test_without_an_exception_it_is_the_rule():
    hashes = [digest(i) for i in range(3000)]
    parts = assign(hashes, [0] * 3000, validation=0.1, test=0.15)
    assert parts.tolist() == native(hashes, 0.1, 0.15)


def test_a_class_without_a_test_image_lends_its_lowest_hash():
    hashes = [b"\x90" * 8, b"\x80" * 8, b"\xa0" * 8, b"\xff" * 8]
    parts = assign(hashes, [0, 0, 0, 0], validation=0.0, test=0.2)
    assert parts.tolist() == [0, 2, 0, 0]
    parts = assign(hashes, [0, 0, 0, 0], validation=0.1, test=0.2)
    assert parts.tolist() == [1, 2, 0, 0]


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
