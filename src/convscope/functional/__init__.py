"""Operations on tensors without state: each family of the lectures in a file.

Everything here takes tensors of one, two or three spatial axes, (N, C, L),
(N, C, H, W) or (N, C, D, H, W), and reads its sizes from ``convscope.arithmetic``.
"""

from convscope.functional.connections import dense_weight, read_connections
from convscope.functional.contrast import local_contrast_norm
from convscope.functional.conv import conv, conv1d, conv2d, conv3d
from convscope.functional.filtering import filter_image
from convscope.functional.filters import (
    FILTERS,
    Filter,
    filter_kernel,
    gabor_bank,
    gaussian_taps,
)
from convscope.functional.local import locally_connected
from convscope.functional.matrix import conv_matrix
from convscope.functional.padding import pad
from convscope.functional.partial import partial_conv
from convscope.functional.rectify import gain, rectify
from convscope.functional.response import local_response_norm
from convscope.functional.transposed import (
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

__all__ = [
    "FILTERS",
    "Filter",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_matrix",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "dense_weight",
    "filter_image",
    "filter_kernel",
    "gabor_bank",
    "gain",
    "gaussian_taps",
    "local_contrast_norm",
    "local_response_norm",
    "locally_connected",
    "pad",
    "partial_conv",
    "read_connections",
    "rectify",
]
