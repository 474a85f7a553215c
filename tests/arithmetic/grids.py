"""Every small layer along one axis, which the tests go through one by one."""

from itertools import product
from typing import NamedTuple


class Small(NamedTuple):
    size: int
    kernel_size: int
    stride: int
    padding: int
    dilation: int

    @property
    def arguments(self) -> dict[str, object]:
        return {
            "stride": self.stride,
            "padding": (self.padding, self.padding),
            "dilation": self.dilation,
        }


SMALL = [
    Small(*numbers)
    for numbers in product(
        range(1, 10), range(1, 5), range(1, 4), range(3), range(1, 3)
    )
]
