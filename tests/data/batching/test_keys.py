import re

import numpy as np
import pytest
import torch
from scipy import stats

from convscope.data.batching import keys
from convscope.errors import ArgumentError

WORD = (1 << 64) - 1
SAMPLES = torch.arange(20_000)


def as_words(bits):
    return bits.numpy().view(np.uint64)


def mix(word):  # the published finalizer, on Python's integers
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def test_the_tensor_arithmetic_gives_the_published_outputs_of_splitmix64():
    steps = torch.arange(1, 4) * (0x9E3779B97F4A7C15 - (1 << 64))
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert as_words(keys._mix_(steps)).tolist() == published


def test_bits_are_the_plain_integer_definition():
    golden = 0x9E3779B97F4A7C15
    seed, epoch, stream = -3, 12, 99
    word = 0
    for part in (seed, epoch, stream):
        word = mix((word + golden + part) & WORD)
    samples = [0, 1, 2, 49_999, 2**40 + 7, -1]
    expected = [
        [mix((mix((s * golden + word) & WORD) + c * golden) & WORD) for c in (1, 2, 3)]
        for s in samples
    ]
    found = keys.bits(seed, epoch, torch.tensor(samples), stream, 3)
    assert as_words(found).tolist() == expected


def test_the_numbers_of_a_key_never_change():
    # A run recorded with one version resumes with the next: these bits are a format.
    found = keys.bits(1, 2, torch.tensor([3]), "order", 2)
    assert found.tolist() == [[1447424041780691063, 9182001315224655092]]


def test_a_sample_gets_the_same_bits_in_any_company():
    whole = keys.bits(0, 5, SAMPLES, "augment", 3)
    chosen = torch.tensor([19_999, 4, 4, 700])
    assert torch.equal(keys.bits(0, 5, chosen, "augment", 3), whole[chosen])
    assert torch.equal(keys.bits(0, 5, SAMPLES, "augment", 9)[:, :3], whole)


def test_the_number_of_threads_does_not_matter():
    threads, many = torch.get_num_threads(), torch.arange(200_000)
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(keys.normal(0, 0, many, "noise", 1))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def uniform(seed, epoch, samples, stream):
    return keys.uniform(seed, epoch, samples, stream, 1)[:, 0].numpy()


def unmixed(seed, epoch, samples, stream):
    """Planted mistake: a lattice, not random."""
    return (seed * 0.3 + epoch * 0.7 + samples.numpy() * 0.6180339887) % 1.0


def same_for_streams(seed, epoch, samples, stream):
    """Planted mistake: the stream is forgotten."""
    return uniform(seed, epoch, samples, "a")


def weak_seed(seed, epoch, samples, stream):
    """Planted mistake: seeds and epochs are added."""
    return uniform(seed + epoch, 0, samples, stream)


def check_quality(draw):
    """Uniform alone, in pairs of neighbors, and unrelated to every nearby key."""
    first = draw(0, 0, SAMPLES, "a")
    many = torch.zeros(1, dtype=torch.int64)
    sequences = {
        "samples": first,
        "epochs": np.concatenate([draw(0, e, many, "a") for e in range(2000)]),
        "seeds": np.concatenate([draw(s, 0, many, "a") for s in range(2000)]),
    }
    for along, numbers in sequences.items():
        counts = np.histogram(numbers, 64, (0, 1))[0]
        assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4, along
        table = np.histogram2d(numbers[:-1], numbers[1:], 8, ((0, 1), (0, 1)))[0]
        assert stats.chisquare(table.ravel()).pvalue > 1e-4, along
    next_epoch, next_seed = draw(0, 1, SAMPLES, "a"), draw(1, 0, SAMPLES, "a")
    pairs = {
        "next sample": (first, draw(0, 0, SAMPLES + 1, "a")),
        "next epoch": (first, next_epoch),
        "next seed": (first, next_seed),
        "seed for epoch": (next_epoch, next_seed),
        "other stream": (first, draw(0, 0, SAMPLES, "b")),
        "longer stream": (first, draw(0, 0, SAMPLES, "aa")),
    }
    for name, columns in pairs.items():
        # Two unrelated columns correlate by about 1 / sqrt(n); 5 of these never happen.
        assert abs(np.corrcoef(*columns)[0, 1]) < 5 / np.sqrt(len(SAMPLES)), name


def test_numbers_are_uniform_and_unrelated_to_those_of_nearby_keys():
    check_quality(uniform)


@pytest.mark.parametrize("mistake", [unmixed, same_for_streams, weak_seed])
def test_the_check_of_quality_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_quality(mistake)


def test_the_counters_of_a_sample_are_unrelated():
    table = keys.uniform(0, 0, SAMPLES, "a", 8).numpy()
    correlation = np.corrcoef(table.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(SAMPLES))


@pytest.mark.parametrize("part", ["seed", "epoch", "stream", "sample"])
def test_one_bit_of_the_key_changes_every_bit_of_the_number_half_the_time(part):
    samples = torch.arange(500) * 977
    key = {"seed": 11, "epoch": 3, "stream": 5}
    before = as_words(keys.bits(key["seed"], key["epoch"], samples, key["stream"], 1))
    changed = np.zeros(64)
    for bit in range(40):
        other, moved = dict(key), samples
        if part == "sample":
            moved = samples ^ (1 << bit)
        else:
            other[part] ^= 1 << bit
        after = as_words(
            keys.bits(other["seed"], other["epoch"], moved, other["stream"], 1)
        )
        flips = (before ^ after)[:, 0]
        share = [(flips >> np.uint64(b) & np.uint64(1)).mean() for b in range(64)]
        changed += np.array(share) / 40
    # 500 samples x 40 bits: the share of flips has a deviation of 0.5 / sqrt(20,000).
    assert np.abs(changed - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_never_one(dtype):
    numbers = keys.uniform(0, 0, SAMPLES, "a", 50, dtype)
    assert numbers.dtype == dtype
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_normal_numbers_are_normal():
    numbers = keys.normal(0, 0, SAMPLES, "a", 2).numpy()
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3


def test_integers_are_even_and_reach_both_ends():
    numbers = keys.integers(0, 0, SAMPLES, "a", 2, high=7)
    counts = torch.bincount(numbers.flatten())
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 8.0])
def test_the_symmetric_beta_has_scipys_distribution(alpha):
    numbers = keys.symmetric_beta(0, 0, SAMPLES, "mixup", alpha).numpy()
    assert np.isfinite(numbers).all()
    assert numbers.min() >= 0
    assert numbers.max() <= 1
    distance = stats.kstest(numbers, stats.beta(alpha, alpha).cdf)
    assert distance.pvalue > 1e-3


def test_a_small_alpha_leaves_the_right_share_in_the_middle():
    numbers = keys.symmetric_beta(0, 0, SAMPLES, "mixup", 0.05).numpy()
    edges = [0, 1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999, 1]
    expected = np.diff(stats.beta(0.05, 0.05).cdf(edges)) * len(SAMPLES)
    counts = np.histogram(numbers, edges)[0]
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_a_wrong_alpha_is_seen_by_the_distribution_test():
    numbers = keys.symmetric_beta(0, 0, SAMPLES, "mixup", 0.25).numpy()
    assert stats.kstest(numbers, stats.beta(0.2, 0.2).cdf).pvalue < 1e-3


def test_an_alpha_near_zero_or_huge_stays_finite():
    for alpha in (1e-6, 1e6):
        numbers = keys.symmetric_beta(0, 0, SAMPLES, "mixup", alpha)
        assert torch.isfinite(numbers).all()


def test_permutations_hold_every_number_once_and_differ_by_epoch_and_seed():
    orders = [keys.permutation(s, e, 1000) for s in range(3) for e in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert len({tuple(order.tolist()) for order in orders}) == 9


def test_every_place_of_a_permutation_is_as_likely():
    places = torch.stack([keys.permutation(0, e, 5) for e in range(5000)])
    for column in places.unbind(1):
        assert stats.chisquare(torch.bincount(column).numpy()).pvalue > 1e-4


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: keys.bits(0, 0, torch.zeros(2), "a", 1),
            "keys: samples must be a vector of int64; got torch.float32 of shape (2,).",
        ),
        (
            lambda: keys.bits(0, 0, SAMPLES, "a", -1),
            "keys: count=-1 must not be negative.",
        ),
        (
            lambda: keys.uniform(0, 0, SAMPLES, "a", 1, torch.float16),
            "keys: dtype=torch.float16 must be torch.float64 or float32.",
        ),
        (
            lambda: keys.integers(0, 0, SAMPLES, "a", 1, high=0),
            "keys: high=0 must be between 1 and 2**32.",
        ),
        (
            lambda: keys.symmetric_beta(0, 0, SAMPLES, "a", 0.0),
            "keys: alpha=0.0 must be above 0.",
        ),
    ],
)
def test_arguments_out_of_range_are_named(call, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        call()
