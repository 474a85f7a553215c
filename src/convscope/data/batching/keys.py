"""Random numbers that are a function of their key, not of what was drawn before.

A number is named by ``(seed, epoch, sample, stream, counter)``. Whoever asks for it, in
whatever order, batch, process or thread, gets the same bits; nothing is stored, so a
run resumes in mid-epoch by asking again.
"""

import math

import torch
from torch import Tensor

from convscope.errors import ArgumentError

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _signed(word: int) -> int:
    """The int64 of the same 64 bits."""
    return word - (1 << 64) if word >> 63 else word


def _mix(word: int) -> int:
    """SplitMix64's finalizer on one Python integer."""
    word = (word ^ (word >> _SHIFTS[0])) * _FACTORS[0] & _WORD
    word = (word ^ (word >> _SHIFTS[1])) * _FACTORS[1] & _WORD
    return word ^ (word >> _SHIFTS[2])


def _mix_(words: Tensor) -> Tensor:
    """``_mix`` on int64 in place; products wrap, shifts are made logical by a mask."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None), strict=True):
        words ^= (words >> shift).bitwise_and_((1 << (64 - shift)) - 1)
        if factor is not None:
            words *= _signed(factor)
    return words


def _stream_word(stream: str | int) -> int:
    """Every text and every integer gets a word of its own."""
    if isinstance(stream, int):
        return stream & _WORD
    word = len(stream)
    for letter in stream.encode():
        word = _mix((word + _GOLDEN + letter) & _WORD)
    return word


def bits(
    seed: int, epoch: int, samples: Tensor, stream: str | int, count: int
) -> Tensor:
    """64 random bits for each sample and counter.

    Args:
        seed: Of the run; any integer, taken modulo 2**64.
        epoch: Pass over the data, from 0.
        samples: (B,) int64, which sample each row is for.
        stream: What the numbers are for; different streams are independent.
        count: Numbers per sample; more of them never change the earlier ones.

    Returns:
        (B, count) int64 on the device of ``samples``.

    Raises:
        ArgumentError: ``samples`` is not a vector of int64, or ``count`` is negative.

    Source:
        Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators,
        figure 17 (SplitMix64). There the state walks from draw to draw; here the key is
        hashed to a state of its own per sample and the counter takes the steps.

    >>> bits(0, 0, torch.tensor([0, 1]), "order", 2).shape
    torch.Size([2, 2])
    """
    if samples.dtype != torch.int64 or samples.ndim != 1:
        raise ArgumentError(
            f"keys: samples must be a vector of int64; got {samples.dtype} of shape "
            f"{tuple(samples.shape)}."
        )
    if count < 0:
        raise ArgumentError(f"keys: count={count} must not be negative.")
    word = 0
    for part in (seed, epoch, _stream_word(stream)):
        word = _mix((word + _GOLDEN + part) & _WORD)
    state = _mix_(samples * _signed(_GOLDEN) + _signed(word))
    steps = torch.arange(1, count + 1, device=samples.device) * _signed(_GOLDEN)
    return _mix_(state[:, None] + steps)


def uniform(
    seed: int,
    epoch: int,
    samples: Tensor,
    stream: str | int,
    count: int,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Uniform numbers in [0, 1), (B, count): 53 random bits in float64, 24 in float32.

    Exact on every device: an integer times a power of two. Arguments as of ``bits``.

    Raises:
        ArgumentError: ``dtype`` is neither float64 nor float32.

    >>> uniform(0, 0, torch.tensor([7]), "flip", 1).item()
    0.058289090956058054
    """
    if dtype not in (torch.float64, torch.float32):
        raise ArgumentError(f"keys: dtype={dtype} must be torch.float64 or float32.")
    digits = 53 if dtype == torch.float64 else 24
    words = bits(seed, epoch, samples, stream, count)
    words = (words >> (64 - digits)).bitwise_and_((1 << digits) - 1)
    return words.to(dtype).mul_(2.0**-digits)


def normal(
    seed: int, epoch: int, samples: Tensor, stream: str | int, count: int
) -> Tensor:
    """Standard normal numbers, (B, count) float64, by the inverse of their integral.

    Arguments as of ``bits``. Between devices the last bit may differ, because each has
    its own logarithm.

    >>> normal(0, 0, torch.arange(10_000), "noise", 1).std().round(decimals=1).item()
    1.0
    """
    middle = uniform(seed, epoch, samples, stream, count) + 2.0**-54  # never 0
    quantile: Tensor = torch.special.ndtri(middle)
    return quantile


def integers(
    seed: int, epoch: int, samples: Tensor, stream: str | int, count: int, high: int
) -> Tensor:
    """Whole numbers from 0 to ``high - 1``, (B, count) int64.

    Arguments as of ``bits``. No number is favored by more than ``high`` in 2**53.

    Raises:
        ArgumentError: ``high`` is below 1 or above 2**32.

    >>> integers(0, 0, torch.tensor([7]), "partner", 3, high=10).tolist()
    [[1, 8, 4]]
    """
    if not 1 <= high <= 1 << 32:
        raise ArgumentError(f"keys: high={high} must be between 1 and 2**32.")
    return (uniform(seed, epoch, samples, stream, count) * high).long()


def symmetric_beta(
    seed: int, epoch: int, samples: Tensor, stream: str | int, alpha: float
) -> Tensor:
    """One number per sample from Beta(alpha, alpha), (B,) float64; no rejection.

    Two uniform numbers ``u, v`` give ``t = sqrt(2 alpha (u**(-1/alpha) - 1)) cos(2 pi
    v)``, which has Student's t distribution with ``2 alpha`` degrees of freedom, and
    ``(1 + t / sqrt(2 alpha + t**2)) / 2`` then has the beta distribution. Arguments as
    of ``bits``.

    Raises:
        ArgumentError: ``alpha`` is not above 0.

    Source:
        Bailey 1994, Polar generation of random variates with the t-distribution;
        Devroye 1996, Random variate generation in one line of code, section 3. Written
        here with ``p = u**(1/alpha)``, so that nothing overflows for small ``alpha``.

    >>> 0 < symmetric_beta(0, 0, torch.tensor([7]), "mixup", alpha=0.2).item() < 1
    True
    """
    if not alpha > 0:
        raise ArgumentError(f"keys: alpha={alpha} must be above 0.")
    u, v = uniform(seed, epoch, samples, stream, 2).unbind(1)
    p = (1 - u) ** (1 / alpha)  # 1 - u: never 0
    cosine = torch.cos(2 * math.pi * v)
    squared = (1 - p) * cosine**2
    ratio = torch.sqrt(squared / (p + squared).clamp(min=torch.finfo(u.dtype).tiny))
    return (1 + torch.copysign(ratio, cosine)) / 2


def permutation(seed: int, epoch: int, n: int, stream: str | int = "order") -> Tensor:
    """The numbers 0 to n - 1 in random order, (n,) int64: an argsort of keyed bits.

    >>> sorted(permutation(0, 3, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return bits(seed, epoch, torch.arange(n), stream, 1)[:, 0].argsort(stable=True)
