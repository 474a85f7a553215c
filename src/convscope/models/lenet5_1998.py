"""LeNet-5 as published: connection table, trainable subsampling, codes as outputs."""

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.layers import Conv2d, Subsampling2d
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, uniform
from convscope.models.lenet5 import border, map_size

# Table I of the paper: for each map of C3, the maps of S2 that it sees.
SEEN_BY_C3 = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5),
    (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
TABLE = tuple(tuple(number in seen for number in range(6)) for seen in SEEN_BY_C3)

# Digits on 12 rows of 7: the codes that F6 is to produce. Drawn for this library, in
# the manner of the paper's figure 3, whose own bitmaps are not published as numbers.
DIGITS = """
..###..  ...#...  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
.#...#.  ..##...  ##...##  ##...##  ...###.  ##.....  .##....  ##...##  ##...##  ##...##
##...##  .###...  .....##  .....##  ..#.##.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...#...  .....##  .....##  .#..##.  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...#...  ....##.  ..####.  ##..##.  ######.  ##.###.  ....##.  .#####.  ##...##
##...##  ...#...  ...##..  ..####.  ##..##.  .....##  ###..##  ...##..  .#####.  .######
##...##  ...#...  ..##...  .....##  #######  .....##  ##...##  ...##..  ##...##  .....##
##...##  ...#...  .##....  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...#...  ##.....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...#...  ##.....  ##...##  ....##.  ##...##  ##...##  .##....  ##...##  ....##.
.#...#.  ...#...  ##...##  ##...##  ....##.  ##...##  .#...#.  .##....  ##...##  .####..
..###..  .#####.  #######  .#####.  ....##.  .#####.  ..###..  .##....  .#####.  .###...
"""
UNITS = 84  # 7 x 12


def codes(num_classes: int) -> Tensor:
    """One row of -1 and 1 for each class: the ten digits, then rows drawn by lot.

    The paper codes more characters by more bitmaps, and names rows drawn by lot as the
    other choice; these are always the same.

    >>> codes(10).shape
    torch.Size([10, 84])
    """
    rows = [line.split() for line in DIGITS.strip().splitlines()]
    drawn = ["".join(row[digit] for row in rows) for digit in range(10)]
    signs = [[1.0 if mark == "#" else -1.0 for mark in text] for text in drawn]
    lot = torch.Generator().manual_seed(0)
    more = torch.rand(max(num_classes - 10, 0), UNITS, generator=lot, device="cpu")
    every = torch.cat([torch.tensor(signs, device="cpu"), (more < 0.5) * 2.0 - 1.0])
    return every[:num_classes]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x): it maps -1 and 1 to themselves, where it bends most.

    Source:
        LeCun et al. 1998, equation 6 and appendix A.

    >>> ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=4)
    tensor([-1.,  0.,  1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return 1.7159 * torch.tanh(2 / 3 * x)


class Codes(nn.Module):
    """Minus the squared distance to the code of each class: the nearest is largest.

    Args:
        num_classes: Rows of `codes`.

    Shape:
        x:      (N, 84)
        return: (N, num_classes), at most 0

    Source:
        LeCun et al. 1998, equation 7, there without the minus. Cross entropy of these
        outputs is the paper's equation 9 except for its class of rubbish, j.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.empty(num_classes, UNITS))
        self.codes.copy_(codes(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """One output for each class."""
        return -(x[:, None, :] - self.codes).square().sum(dim=2)

    def extra_repr(self) -> str:
        """How many codes of how many signs."""
        return f"{len(self.codes)} codes of {self.codes.shape[1]}"


@register(
    ModelCard(
        name="lenet5_1998",
        summary="LeNet-5 as published",
        source="LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning "
        "applied to document recognition, figure 2, table I, section III",
        differs=(
            "the bitmaps of the digits are drawn anew",
            "the outputs are minus the distances, so that the largest wins",
            "C5 spans whatever map the input size leaves",
            "images below 32 pixels are padded by 2 in C1",
            "subsampling begins as the mean, there at random",
        ),
        input_shape=(1, 32, 32),
        num_classes=10,
        parameters=60_000,
        multiply_adds=325_680,
        min_size=12,
    )
)
def lenet5_1998(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Three convolutions, two trainable subsamplings, one hidden layer, ten codes.

    Weights begin as published: uniform within 2.4 / fan_in.

    >>> net = lenet5_1998(10, 1, (32, 32))
    >>> net(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 10])
    """
    pad = border(input_size)
    net = nn.Sequential(
        Conv2d(in_channels, 6, 5, padding=pad, padding_mode=padding_mode),     # C1
        ScaledTanh(),
        Subsampling2d(6), ScaledTanh(),                            # S2: (6, 14, 14)
        Conv2d(6, 16, 5, connections=TABLE), ScaledTanh(),         # C3: (16, 10, 10)
        Subsampling2d(16), ScaledTanh(),                           # S4: (16, 5, 5)
        Conv2d(16, 120, map_size(input_size)), ScaledTanh(), nn.Flatten(),       # C5
        nn.Linear(120, UNITS), ScaledTanh(),                       # F6
        Codes(num_classes),
    )  # fmt: skip
    kernels, matrices = convolutions_and_linears(net)
    for layer in (*kernels, *matrices):
        uniform(layer, 2.4)
    return net
