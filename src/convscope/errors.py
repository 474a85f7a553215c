"""Everything this package raises on purpose.

ConvscopeError
├── ArgumentError (also ValueError)   a value the caller passed is not allowed
│   ├── ShapeError                    sizes that cannot fit together
│   ├── UnknownNameError              no model, data set or setting of that name
│   └── CallError (also TypeError)    arguments that the function does not have
├── DataError                         files or samples that cannot be used
│   ├── BadImageError                 one image that cannot be read; the rest can
│   └── MissingDataError              a data set that is neither here nor to be had
├── RunError                          a run folder that cannot be read or written
│   ├── RunExistsError                it holds another run already
│   ├── RunBusyError                  another process is training in it
│   ├── WriteError                    a disk that is full, or does not let us write
│   └── CheckpointError               its checkpoint cannot be used
├── ExplanationError                  a number is not what its parts add up to
├── KernelError                       a native kernel refused what it was given
├── TrainingError                     training cannot start or cannot go on
│   └── NotFiniteError                the loss became NaN or infinite
└── MissingExtraError (also ImportError)   an optional library is not installed

Messages read ``where: argument=value what is wrong, with the derived number. What to
do.`` What to do may be data (``Remedy``): the library names arguments, the command line
its flags. The command line prints errors as one line and exits with code 2.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Remedy:
    """One thing to do about an error, and the argument that does it.

    Attributes:
        text: In words, small letters first: "replace it".
        argument: Of the library: "force". Empty if words are enough.
        value: What to give it, if that is known; sizes of inputs by their names.
        is_call: ``argument`` is a function of the package, and ``value`` its argument.

    >>> Remedy("replace it", "force", True).in_python()
    'replace it (force=True)'
    >>> Remedy("go on with it", "resume", "runs/1", is_call=True).in_python()
    "go on with it (cs.resume('runs/1'))"
    """

    text: str
    argument: str = ""
    value: str | int | bool | Mapping[str, tuple[int, ...]] | None = None
    is_call: bool = False

    def in_python(self) -> str:
        """As the library says it."""
        if not self.argument:
            return self.text
        value = "..." if self.value is None else repr(self.value)
        if self.is_call:
            return f"{self.text} (cs.{self.argument}({value}))"
        return f"{self.text} ({self.argument}={value})"


class ConvscopeError(Exception):
    """Base of every error raised on purpose.

    Args:
        what: What is wrong, in whole sentences.
        remedies: What to do about it, each instead of the others.

    >>> str(ConvscopeError("No room.", remedies=[Remedy("take another", "folder")]))
    'No room. Take another (folder=...).'
    """

    def __init__(self, what: str, *, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(what)
        self.what, self.remedies = what, tuple(remedies)

    def __str__(self) -> str:
        """The message with remedies as arguments of the library."""
        return self.said(Remedy.in_python)

    def said(self, write: Callable[[Remedy], str]) -> str:
        """The message with each remedy as ``write`` puts it."""
        if not self.remedies:
            return self.what
        *most, last = map(write, self.remedies)
        several = f"{', '.join(most)}, or {last}" if most else last
        return f"{self.what} {several[:1].upper()}{several[1:]}."


class ArgumentError(ConvscopeError, ValueError):
    """A value the caller passed is not allowed."""


class ShapeError(ArgumentError):
    """Sizes that cannot fit together."""


MOST_NAMES = 40  # that a message lists


class UnknownNameError(ArgumentError):
    """A name outside a closed set; the message suggests the nearest one.

    >>> str(UnknownNameError("model", "lenet-5", ["lenet5", "mlp"]))
    "unknown model 'lenet-5'. Did you mean 'lenet5'?"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(name for name in known if name)
        close = difflib.get_close_matches(name, names, n=1)
        if close:
            hint = f"Did you mean {close[0]!r}?"
        else:
            more = f" and {len(names) - MOST_NAMES} more" * (len(names) > MOST_NAMES)
            hint = f"Known: {', '.join(names[:MOST_NAMES])}{more}."
        self.known = tuple(names)
        super().__init__(f"unknown {kind} {name!r}. {hint}")


class CallError(ArgumentError, TypeError):
    """A call with an argument that the function does not have, or without one it needs.

    >>> issubclass(CallError, TypeError)
    True
    """


class DataError(ConvscopeError):
    """Files or samples that cannot be used."""


class BadImageError(DataError):
    """One image that cannot be read; the others still can."""


class MissingDataError(DataError):
    """A data set that is neither on this machine nor to be had."""


class RunError(ConvscopeError):
    """A run folder that cannot be read or written."""


class RunExistsError(RunError):
    """The folder holds another run already."""


class RunBusyError(RunError):
    """Another process is training in this run folder."""


class WriteError(RunError):
    """A file of the run cannot be written; what was there before still is."""


class CheckpointError(RunError):
    """The checkpoint in this run folder cannot be used."""


class ExplanationError(ConvscopeError):
    """A number in a network is not what we make of its parts: we do not know why."""


class KernelError(ConvscopeError):
    """A native kernel refused what it was given, and computed nothing."""


class TrainingError(ConvscopeError):
    """Training cannot start, or cannot go on."""


class NotFiniteError(TrainingError):
    """The loss became NaN or infinite."""


class MissingExtraError(ConvscopeError, ImportError):
    """An optional library is not installed; the message says which extra brings it.

    >>> str(MissingExtraError("tensorboard", "tracking"))
    "tensorboard is not installed. Run: pip install 'convscope[tracking]'"
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed. Run: pip install 'convscope[{extra}]'"
        )


def explains_calls(function: Callable[P, T]) -> Callable[P, T]:
    """The function, whose signature is explained to whoever calls it wrongly.

    A misspelled argument gets a suggestion; a constructor speaks in the name of the
    class that is built, not of the one that it inherits from.

    Raises:
        CallError: An argument is unknown, is missing, or is one too many.
        ArgumentError: The library underneath has no code for a type of numbers.

    >>> @explains_calls
    ... def area(height, width=1):
    ...     return height * width
    >>> area(3, widht=2)
    Traceback (most recent call last):
    convscope.errors.CallError: area: unknown argument 'widht'. Did you mean 'width'?
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ConvscopeError:
            raise
        except NotImplementedError as error:
            raise ArgumentError(_no_kernel(function, args, kwargs)) from error
        except (TypeError, OverflowError) as error:
            problem = _mismatch(function, args, kwargs)
            if problem is not None:
                raise CallError(problem) from error
            raise ArgumentError(_unusable(function, args, kwargs, error)) from error
        except (RuntimeError, ValueError, AttributeError) as error:
            if function.__name__ != "__init__":  # of a layer: it has only arguments
                raise
            raise ArgumentError(_unusable(function, args, kwargs, error)) from error

    return called


def _called(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    """What the caller knows it by: a layer by its class, the rest by ``where``."""
    if function.__name__ in ("__init__", "forward"):
        return type(args[0]).__name__
    return str(kwargs.get("where", function.__name__))


def _unusable(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
) -> str:
    """Arguments of a kind that nothing above has refused in better words."""
    reason = str(error).partition("\n")[0].rstrip(".")
    name = _called(function, args, kwargs)
    return f"{name}: an argument cannot be used: {reason}. See help({name})."


def _no_kernel(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    """What torch has no code for, by the type of the first tensor."""
    where = _called(function, args, kwargs)
    dtypes = [getattr(value, "dtype", None) for value in (*args, *kwargs.values())]
    dtype = next(filter(None, dtypes), "unknown")
    return (
        f"{where}: x is of type {dtype}, for which this cannot be computed here. "
        "Give x.float()."
    )


def _mismatch(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """What is wrong with the call; None where it matches the signature."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = str(error)
    else:
        return None
    name, parameters = function.__name__, list(signature.parameters.values())
    if name in ("__init__", "forward"):
        name, parameters = type(args[0]).__name__, parameters[1:]
    known = [parameter.name for parameter in parameters]
    for given in kwargs:
        if given not in known:
            return f"{name}: {UnknownNameError('argument', given, known)}"
    shown = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    return f"{name}: {problem}. Call {name}{shown}."
