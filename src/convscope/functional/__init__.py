"""Operations on tensors without state: each family of the lectures in a file.

Everything here takes tensors of one, two or three spatial axes, (N, C, L),
(N, C, H, W) or (N, C, D, H, W), and reads its sizes from ``convscope.arithmetic``.
"""

from convscope.functional.conv import conv, conv1d, conv2d, conv3d
from convscope.functional.padding import pad

__all__ = [
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "pad",
]
