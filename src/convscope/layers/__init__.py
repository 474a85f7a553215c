"""Layers as ``torch.nn.Module``: they read arguments, hold parameters and call
``convscope.functional``.

Where torch.nn has the layer, ours takes the same arguments in the same order and holds
the same state dict.
"""

from convscope.layers.adaptive_pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    GlobalAvgPool1d,
    GlobalAvgPool2d,
    GlobalAvgPool3d,
    GlobalMaxPool1d,
    GlobalMaxPool2d,
    GlobalMaxPool3d,
)
from convscope.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from convscope.layers.contrast import (
    LocalContrastNorm1d,
    LocalContrastNorm2d,
    LocalContrastNorm3d,
)
from convscope.layers.conv import Conv1d, Conv2d, Conv3d
from convscope.layers.convert import to_convolutional, to_linear
from convscope.layers.from_torch import *  # noqa: F403  # torch.nn's own
from convscope.layers.group_norm import (
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from convscope.layers.initial_filters import set_filters
from convscope.layers.layer_norm import LayerNorm, RMSNorm
from convscope.layers.local import (
    LocallyConnected1d,
    LocallyConnected2d,
    LocallyConnected3d,
)
from convscope.layers.pad import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from convscope.layers.partial import PartialConv1d, PartialConv2d, PartialConv3d
from convscope.layers.patches import Fold, Unfold
from convscope.layers.pool import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from convscope.layers.random_pool import (
    FractionalMaxPool1d,
    FractionalMaxPool2d,
    FractionalMaxPool3d,
    StochasticPool1d,
    StochasticPool2d,
    StochasticPool3d,
)
from convscope.layers.rectify import Gain, Rectification
from convscope.layers.resize import PixelShuffle, PixelUnshuffle, Upsample
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
from convscope.layers.stage import Stage1d, Stage2d, Stage3d
from convscope.layers.stages import stages
from convscope.layers.subsample import Subsampling1d, Subsampling2d, Subsampling3d
from convscope.layers.transposed import (
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from convscope.layers.unpool import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "DepthwiseConv3d",
    "Fold",
    "FractionalMaxPool1d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "Gain",
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "LayerNorm",
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
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "PixelShuffle",
    "PixelUnshuffle",
    "PointwiseConv1d",
    "PointwiseConv2d",
    "PointwiseConv3d",
    "RMSNorm",
    "Rectification",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "SeparableConv1d",
    "SeparableConv2d",
    "SeparableConv3d",
    "Stage1d",
    "Stage2d",
    "Stage3d",
    "StochasticPool1d",
    "StochasticPool2d",
    "StochasticPool3d",
    "Subsampling1d",
    "Subsampling2d",
    "Subsampling3d",
    "Unfold",
    "Upsample",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "set_filters",
    "stages",
    "to_convolutional",
    "to_linear",
]
