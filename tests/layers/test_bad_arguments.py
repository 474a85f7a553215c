"""Whatever a layer is given, the error is ours and begins with the layer's name."""

import inspect
import warnings

import pytest
import torch

from convscope import layers
from convscope.errors import ConvscopeError
from convscope.layers import from_torch

# What a constructor needs; the rest has defaults.
NEEDED = {
    "in_channels": 4,
    "out_channels": 4,
    "channels": 4,
    "num_features": 4,
    "num_channels": 4,
    "num_groups": 2,
    "kernel_size": 3,
    "input_size": 7,
    "output_size": 3,
    "size": 3,
    "norm_type": 2,
    "normalized_shape": 7,
    "padding": 1,
    "value": 0.5,
    "upscale_factor": 2,
    "downscale_factor": 7,
}
OPTIONAL = {"Upsample": {"size": 9}, "Fold": {"output_size": 4, "kernel_size": 2}}
OPTIONAL |= {
    f"FractionalMaxPool{n}d": {"kernel_size": 2, "output_size": 3} for n in (1, 2, 3)
}
NAMES = [
    name
    for name in layers.__all__
    if inspect.isclass(getattr(layers, name)) and name not in from_torch.__all__
]
ODD = [0, -1, 1.5, "x", None, (), (1,), (2, 2, 2, 2), [3.5, 3.5], 2**70, ((1,),)]


def axes_of(name):
    return int(name[-2]) if name.endswith(("1d", "2d", "3d")) else 2


def arguments(name):
    """Keyword arguments with which the layer is built."""
    parameters = inspect.signature(getattr(layers, name)).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty}
    return {n: NEEDED[n] for n in needed} | OPTIONAL.get(name, {})


def image(name, dtype=torch.float32):
    shape = (2, 4, 9) if name == "Fold" else (2, 4, *(7,) * axes_of(name))
    return torch.ones(shape, dtype=dtype)


def called(layer, x):
    """The layer's output; for unpooling with indices of the same shape."""
    if "Unpool" in type(layer).__name__:
        return layer(x, torch.zeros(getattr(x, "shape", ()), dtype=torch.long))
    return layer(x)


def raw(name, call):
    """An error that is not ours, or not in the layer's name; None if all is well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except ConvscopeError as error:
        ours = str(error).startswith((name.rstrip("123d"), "unknown ", *PARTS))
        return None if ours else f"unnamed: {error}"
    except Exception as error:  # to be told
        return f"{type(error).__name__}: {error}"
    return None


# Parts of a layer, and functions that a layer is in whole, speak for it.
PARTS = ("Conv", "Depthwise", "Pointwise", "local_contrast_norm", "rectify", "gain")


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_of_any_kind_is_used_or_refused_by_name(name):
    kind, needed = getattr(layers, name), arguments(name)
    found = {}
    for argument in inspect.signature(kind).parameters:
        if argument == "connections":
            continue
        for value in ODD:
            given = needed | {argument: value}
            problem = raw(name, lambda given=given: called(kind(**given), image(name)))
            if problem is not None:
                found[argument, str(value)] = problem
    assert found == {}


INPUTS = {
    "a list": lambda name: [1.0, 2.0],
    "nothing": lambda name: None,
    "half": lambda name: image(name, torch.float16),
    "double": lambda name: image(name, torch.float64),
    "integers": lambda name: image(name, torch.int64),
    "bytes": lambda name: image(name, torch.uint8),
    "booleans": lambda name: image(name, torch.bool),
    "complex": lambda name: image(name, torch.complex64),
    "sparse": lambda name: image(name).to_sparse(),
    "one place": lambda name: image(name)[..., :1],
    "no place": lambda name: image(name)[..., :0],
    "no channels": lambda name: image(name)[:, :0],
    "no batch": lambda name: image(name)[:0],
    "a scalar": lambda name: torch.tensor(1.0),
    "six axes": lambda name: torch.ones(1, 1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_input_of_any_kind_is_used_or_refused_by_name(name):
    layer = getattr(layers, name)(**arguments(name))
    found = {}
    for what, make in INPUTS.items():
        problem = raw(name, lambda make=make: called(layer, make(name)))
        if problem is not None:
            found[what] = problem
    assert found == {}
