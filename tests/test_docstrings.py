"""Every public name explains itself: a docstring, an example, a signature in full."""

import importlib
import inspect
import types

import pytest

# Rooms whose every public name has an example; a room is added when all of its have.
ROOMS = [
    "convscope",
    "convscope.layers",
    "convscope.functional",
    "convscope.models",
    "convscope.arithmetic",
]
NO_EXAMPLE = {
    # name: why there is none
}
VARIADIC = {
    # name: why the signature does not name what it takes
    "convscope.models.build": "each model has options of its own; `options` lists them",
    "convscope.models.build_untrained": "as `build`",
    "convscope.functional.filter_kernel": "each filter has options of its own; "
    "`FILTERS[name].options` lists them",
    "convscope.functional.filter_image": "as `filter_kernel`",
}


def is_explained(value):
    """Whether it is a class or function, which can have a docstring of its own."""
    return inspect.isclass(value) or inspect.isroutine(value)


def is_of(room, value):
    """Whether a name is defined in the room, not just handed on by it."""
    return room != "convscope" or value.__module__.startswith(tuple(ROOMS[1:]))


def public(rooms):
    """``room.name -> value`` of the functions and classes that rooms offer."""
    found = {}
    for room in rooms:
        module = importlib.import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            plain = not isinstance(value, types.GenericAlias | types.UnionType)
            if plain and is_explained(value) and is_of(room, value):
                found[f"{room}.{name}"] = value
    return found


PUBLIC = public(ROOMS)


def unnamed(function):
    """Parameters of a signature that stand for any number of arguments."""
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in many]


def has_example(value):
    """Whether its own docstring, not an inherited one, shows a use."""
    return ">>>" in (value.__doc__ or "")


def methods_of(name, value):
    """The class or function itself, and the public methods that a class defines."""
    is_protocol = getattr(value, "_is_protocol", False)  # nobody builds one
    found = {} if is_protocol else {name: value}
    for method, function in vars(value).items() if inspect.isclass(value) else ():
        if not method.startswith("_") and inspect.isroutine(function):
            found[f"{name}.{method}"] = getattr(value, method)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name):
    assert has_example(PUBLIC[name]) or name in NO_EXAMPLE, f"{name} shows no use"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_signature_names_its_arguments(name):
    for full, function in methods_of(name, PUBLIC[name]).items():
        assert full in VARIADIC or not unnamed(function), f"{full}{unnamed(function)}"


def test_exceptions_are_of_names_that_there_are():
    assert set(NO_EXAMPLE) | set(VARIADIC) <= set(PUBLIC)
    assert all(unnamed(PUBLIC[name]) for name in VARIADIC)
    assert not any(has_example(PUBLIC[name]) for name in NO_EXAMPLE)


def test_what_explains_nothing_is_noticed():
    def silent(*args, size=1, **more):
        """Does something."""

    assert not has_example(silent)
    assert unnamed(silent) == ["args", "more"]
    assert {"convscope.layers.Conv2d", "convscope.functional.conv2d"} <= set(PUBLIC)
