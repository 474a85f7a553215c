"""Layers as ``torch.nn.Module``: they read arguments, hold parameters and call
``convscope.functional``.

Where torch.nn has the layer, ours takes the same arguments in the same order and holds
the same state dict.
"""

from convscope.layers.conv import Conv1d, Conv2d, Conv3d

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
]
