"""Networks by name, one file per paper, each with a card."""

from convscope.models.airbench94 import airbench94
from convscope.models.alexnet_2012 import alexnet_2012
from convscope.models.alexnet_2014 import alexnet_2014
from convscope.models.all_conv import all_conv
from convscope.models.building import build
from convscope.models.card import (
    BuiltFrom,
    ModelCard,
    build_untrained,
    cards,
    find,
    options,
    register,
)
from convscope.models.choose import Choice, choose
from convscope.models.efficientnet_lite import efficientnet_lite
from convscope.models.fcn import fcn
from convscope.models.jarrett import jarrett
from convscope.models.lenet5 import lenet5
from convscope.models.lenet5_1998 import lenet5_1998
from convscope.models.lenet_page import lenet_page
from convscope.models.mlp import mlp
from convscope.models.mobilenet_v2 import mobilenet_v2
from convscope.models.nielsen import nielsen
from convscope.models.nin import nin
from convscope.models.published_weights import PRETRAINED, Pretrained, pretrained
from convscope.models.resnet import resnet, resnet_cifar
from convscope.models.resnet9 import resnet9
from convscope.models.softmax_regression import softmax_regression
from convscope.models.unet import unet
from convscope.models.vgg import vgg
from convscope.models.weights import LoadedWeights, load_weights, replace_head
from convscope.models.weights_file import read_weights

__all__ = [
    "PRETRAINED",
    "BuiltFrom",
    "Choice",
    "LoadedWeights",
    "ModelCard",
    "Pretrained",
    "airbench94",
    "alexnet_2012",
    "alexnet_2014",
    "all_conv",
    "build",
    "build_untrained",
    "cards",
    "choose",
    "efficientnet_lite",
    "fcn",
    "find",
    "jarrett",
    "lenet5",
    "lenet5_1998",
    "lenet_page",
    "load_weights",
    "mlp",
    "mobilenet_v2",
    "nielsen",
    "nin",
    "options",
    "pretrained",
    "read_weights",
    "register",
    "replace_head",
    "resnet",
    "resnet9",
    "resnet_cifar",
    "softmax_regression",
    "unet",
    "vgg",
]
