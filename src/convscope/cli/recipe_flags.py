"""One flag for each field of the recipe, made from the field itself."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from convscope.data.batching.augmentation import Augmentation
from convscope.train.recipe import Recipe


def with_recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """``command(..., recipe_changes)`` with a flag in place of ``recipe_changes``.

    Each flag is None unless it is given; those that are given arrive together as one
    dictionary.
    """
    signature = inspect.signature(command)
    kept = [p for n, p in signature.parameters.items() if n != "recipe_changes"]
    flags = [*_flags(Recipe), *_flags(Augmentation)]

    def wrapped(**values: Any) -> None:
        changes = {flag.name: values.pop(flag.name) for flag in flags}
        given = {k: _plain(v) for k, v in changes.items() if v is not None}
        command(**values, recipe_changes=given)

    parameters = [*kept, *flags]
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped


def _flags(fields_of: type[Recipe] | type[Augmentation]) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Optional[_type(field)],  # noqa: UP045 - the type is a value here
                typer.Option(help=_help(field)),
            ],
        )
        for name, field in fields_of.model_fields.items()
        if name not in ("augmentation", "model", "model_options", "start")
    ]


def _type(field: FieldInfo) -> Any:
    kinds = [a for a in _options(field.annotation) if a is not type(None)]
    kind = kinds[0]
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]  # type: ignore[misc]
    return kind


def _options(annotation: Any) -> tuple[Any, ...]:
    is_union = type(None) in get_args(annotation)
    return get_args(annotation) if is_union else (annotation,)


def _help(field: FieldInfo) -> str:
    default = "none" if field.default is None else field.default
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    return f"{field.description} [{default}]"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
