"""Layers as ``torch.nn.Module``: they read arguments, hold parameters and call
``convscope.functional``.

Where torch.nn has the layer, ours takes the same arguments in the same order and holds
the same state dict.
"""

from convscope.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from convscope.layers.contrast import (
    LocalContrastNorm1d,
    LocalContrastNorm2d,
    LocalContrastNorm3d,
)
from convscope.layers.conv import Conv1d, Conv2d, Conv3d
from convscope.layers.filters import set_filters
from convscope.layers.local import (
    LocallyConnected1d,
    LocallyConnected2d,
    LocallyConnected3d,
)
from convscope.layers.partial import PartialConv1d, PartialConv2d, PartialConv3d
from convscope.layers.rectify import Gain, Rectification
from convscope.layers.response import (
    LocalResponseNorm,
    LocalResponseNorm1d,
    LocalResponseNorm2d,
    LocalResponseNorm3d,
)
from convscope.layers.separable import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    DepthwiseConv3d,
    PointwiseConv1d,
    PointwiseConv2d,
    PointwiseConv3d,
    SeparableConv1d,
    SeparableConv2d,
    SeparableConv3d,
)
from convscope.layers.transposed import (
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "DepthwiseConv3d",
    "Gain",
    "LocalContrastNorm1d",
    "LocalContrastNorm2d",
    "LocalContrastNorm3d",
    "LocalResponseNorm",
    "LocalResponseNorm1d",
    "LocalResponseNorm2d",
    "LocalResponseNorm3d",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "LocallyConnected3d",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "PointwiseConv1d",
    "PointwiseConv2d",
    "PointwiseConv3d",
    "Rectification",
    "SeparableConv1d",
    "SeparableConv2d",
    "SeparableConv3d",
    "set_filters",
]
