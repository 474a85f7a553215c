"""Operations on tensors without state: each family of the lectures in a file.

Everything here takes tensors of one, two or three spatial axes, (N, C, L),
(N, C, H, W) or (N, C, D, H, W), and reads its sizes from ``convscope.arithmetic``.
"""

from convscope.functional.adaptive_pool import (
    adaptive_avg_pool,
    adaptive_max_pool,
    adaptive_max_pool_with_indices,
    global_avg_pool,
    global_max_pool,
)
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
from convscope.functional.fractional_pool import (
    fractional_max_pool,
    fractional_max_pool_with_indices,
)
from convscope.functional.local import locally_connected
from convscope.functional.lp_pool import lp_pool
from convscope.functional.matrix import conv_matrix
from convscope.functional.padding import pad
from convscope.functional.partial import partial_conv
from convscope.functional.pool import (
    avg_pool,
    max_pool,
    max_pool_with_indices,
    pool_winners,
)
from convscope.functional.rectify import gain, rectify
from convscope.functional.response import local_response_norm
from convscope.functional.stochastic_pool import stochastic_pool
from convscope.functional.subsample import subsample
from convscope.functional.transposed import (
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from convscope.functional.unpool import max_unpool

__all__ = [
    "FILTERS",
    "Filter",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "adaptive_max_pool_with_indices",
    "avg_pool",
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
    "fractional_max_pool",
    "fractional_max_pool_with_indices",
    "gabor_bank",
    "gain",
    "gaussian_taps",
    "global_avg_pool",
    "global_max_pool",
    "local_contrast_norm",
    "local_response_norm",
    "locally_connected",
    "lp_pool",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "pad",
    "partial_conv",
    "pool_winners",
    "read_connections",
    "rectify",
    "stochastic_pool",
    "subsample",
]
