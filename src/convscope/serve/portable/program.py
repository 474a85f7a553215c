"""A network as a short list of plain operations, which the page carries out itself.

Each operation is a dict that is JSON: ``op`` names it, ``in`` what it takes (a number
from 0 is a value, ``-1 - k`` the constant ``k``), ``shape`` is of what it gives, with
the batch axis, which is 1. Value 0 is the input; operation ``i`` gives value ``i + 1``.

==========  ==================================================================
``conv``    window times kernel: ``w``, ``b``, stride, padding, dilation, groups
``convt``   the same, transposed
``dense``   rows times ``w`` (out, in), plus ``b``
``matmul``  a stack of matrices times a stack of matrices
``norm``    per channel, by ``mean`` and ``var`` that it was given
``standard``  by mean and variance of each block of ``block`` elements
``unary``   a function of one number, with ``args``
``binary``  two arrays, broadcast
``softmax``  over ``axis``; ``log`` for its logarithm
``gather``  elements put elsewhere: source = ``base`` + the sum of an offset per axis
``same``    the same elements in another shape
``axes``    a weighted sum along each axis: average pooling, interpolation
``maxpool``  the largest of a window: for each axis where it begins, ends, its step
``reduce``  mean, sum, largest or smallest over axes
``cat``     side by side along ``axis``
==========  ==================================================================
"""

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from convscope.errors import ConvscopeError

Array = npt.NDArray[Any]
Operation = dict[str, Any]


class PortableError(ConvscopeError):
    """A network cannot be put into one file."""


@dataclass(frozen=True, eq=False)
class Program:
    """What `program_of` made of a network.

    Attributes:
        operations: In the order in which they are carried out.
        constants: Weights and other numbers that do not depend on the input.
        cards: For each card which value it shows; None if it has none.
        output: Which value is the network's answer.
        parameters: By card: which constants are its weight and its bias.
    """

    operations: tuple[Operation, ...]
    constants: tuple[Array, ...]
    cards: tuple[int | None, ...]
    output: int
    parameters: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
