"""Networks by name, one file per paper, each with a card."""

from convscope.models.card import (
    BuiltFrom,
    ModelCard,
    build,
    cards,
    find,
    options,
    register,
)
from convscope.models.choose import Choice, choose
from convscope.models.lenet5 import lenet5
from convscope.models.lenet_page import lenet_page
from convscope.models.mlp import mlp
from convscope.models.resnet import resnet, resnet_cifar
from convscope.models.resnet9 import resnet9
from convscope.models.softmax_regression import softmax_regression
from convscope.models.vgg import vgg

__all__ = [
    "BuiltFrom",
    "Choice",
    "ModelCard",
    "build",
    "cards",
    "choose",
    "find",
    "lenet5",
    "lenet_page",
    "mlp",
    "options",
    "register",
    "resnet",
    "resnet9",
    "resnet_cifar",
    "softmax_regression",
    "vgg",
]
