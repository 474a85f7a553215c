"""Layers in a row, as the builder holds them: shapes, costs, what does not fit."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from convscope import layers
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.summary import summary
from convscope.errors import ArgumentError
from convscope.serve.workshop.desk import desk
from convscope.serve.workshop.settings import Settings

MOST_LAYERS = 60
MOST_PARAMETERS = 5_000_000  # that are trained in the page
Count = Annotated[int, Field(ge=1, le=4096)]
Side = Annotated[int, Field(ge=1, le=64)]


class _Layer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Convolution(_Layer):
    """A convolution; the channels of its input are those that reach it."""

    kind: Literal["convolution"] = "convolution"
    filters: Count = 8
    kernel: Side = 3
    stride: Side = 1
    padding: Annotated[int, Field(ge=0, le=64)] = 0
    dilation: Side = 1
    groups: Count = 1


class Pooling(_Layer):
    """The largest element of each window, or their mean."""

    kind: Literal["max pooling", "average pooling"]
    kernel: Side = 2
    stride: Side = 2
    padding: Annotated[int, Field(ge=0, le=32)] = 0


class Linear(_Layer):
    """Fully connected; the features of its input are those that reach it."""

    kind: Literal["linear"] = "linear"
    features: Count = 10


class Dropout(_Layer):
    """Values left out at random while training."""

    kind: Literal["dropout"] = "dropout"
    p: Annotated[float, Field(ge=0, lt=1)] = 0.5


class Plain(_Layer):
    """A layer without numbers of its own to choose."""

    kind: Literal[
        "ReLU", "Sigmoid", "Tanh", "batch norm", "flatten", "global average pooling"
    ]


Layer = Annotated[
    Convolution | Pooling | Linear | Dropout | Plain, Field(discriminator="kind")
]


class Plan(BaseModel):
    """A network in a row.

    Attributes:
        input: (C, *space) of one input, 1 to 3 axes of space.
        classes: Numbers that it is to give.
        layers: First to last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[tuple[Count, ...], Field(min_length=2, max_length=4)] = (1, 8, 8)
    classes: Count = 10
    layers: Annotated[tuple[Layer, ...], Field(max_length=MOST_LAYERS)] = ()

    @property
    def axes(self) -> int:
        """Of space."""
        return len(self.input) - 1


Problem = dict[str, Any]
Shape = tuple[int, ...]


def built(plan: Plan) -> dict[str, Any]:
    """What each layer of a plan gives, sees and costs, and which one does not fit.

    A layer that cannot work ends the row: the ones behind it have no shape. A problem
    has a message, whether the network works all the same (``works``), and remedies:
    changes of this layer, or one to ``insert`` before it.

    >>> found = built(Plan(input=(1, 7, 7), layers=[Convolution(stride=3)]))
    >>> found["layers"][0]["shape"], found["layers"][0]["problem"]["works"]
    ([8, 2, 2], True)
    """
    modules, problems = _modules(plan)
    record = summary(nn.Sequential(*modules), plan.input) if modules else None
    rows = [] if record is None else [row for row in record.rows if row.is_layer]
    told = []
    for place in range(len(plan.layers)):
        row = rows[place] if place < len(rows) else None
        field = row.receptive_field if row else None
        told.append(
            {
                "text": row.kind if row else _said(plan.layers[place]),
                "shape": list(row.output_shape) if row else None,
                "parameters": row.parameters if row else None,
                "multiply_adds": row.multiply_adds if row else None,
                "receptive_field": [a.size for a in field] if field else None,
                "problem": problems.get(place),
            }
        )
    whole = len(rows) == len(plan.layers)
    end = _end(plan, tuple(rows[-1].output_shape) if rows else plan.input)
    works = bool(whole and rows and end is None)
    return {
        "input": list(plan.input),
        "layers": told,
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "end": end if whole else None,
        "works": works,
        "python": code(plan, modules) if whole and rows else None,
    }


def network(plan: Plan) -> nn.Sequential:
    """The plan as a network.

    Raises:
        ArgumentError: It does not work, or is too large to be trained in a page.
    """
    found = built(plan)
    if not found["works"]:
        said = [one["problem"] for one in found["layers"] if one["problem"]]
        why = next((p for p in said if not p["works"]), found["end"])
        raise ArgumentError(f"build: {why['message'] if why else 'add a layer.'}")
    if found["parameters"] > MOST_PARAMETERS:
        raise ArgumentError(
            f"build: {found['parameters']:,} parameters are more than a page trains "
            f"({MOST_PARAMETERS:,}). Use fewer filters or features."
        )
    return nn.Sequential(*_modules(plan)[0])


def code(plan: Plan, modules: list[nn.Module] | None = None) -> str:
    """Python that makes the same network.

    >>> layers = [Convolution(filters=2), Plain(kind="ReLU")]
    >>> print(code(Plan(input=(1, 5, 5), layers=layers)))
    import convscope as cs
    from torch import nn
    <BLANKLINE>
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.ReLU(),
    )
    print(cs.summary(net, (1, 5, 5)))
    """
    made = _modules(plan)[0] if modules is None else modules
    return "\n".join(
        (
            "import convscope as cs",
            "from torch import nn",
            "",
            "net = nn.Sequential(",
            *(f"    {_written(module)}," for module in made),
            ")",
            f"print(cs.summary(net, {plan.input!r}))",
        )
    )


def _modules(plan: Plan) -> tuple[list[nn.Module], dict[int, Problem]]:
    """Modules up to the first that cannot work, and the problems by their place."""
    modules: list[nn.Module] = []
    problems: dict[int, Problem] = {}
    shape: Shape = plan.input
    for place, layer in enumerate(plan.layers):
        problem, after = _fit(layer, shape, plan.axes)
        if problem is not None:
            problems[place] = problem
            if not problem["works"]:
                break
        modules.append(_module(layer, shape, plan.axes))
        shape = after
    return modules, problems


def _fit(layer: Any, shape: Shape, axes: int) -> tuple[Problem | None, Shape]:
    """What is wrong with a layer for an input of this shape; what it gives."""
    is_flat = len(shape) == 1
    if isinstance(layer, Convolution | Pooling):
        if is_flat:
            return _flat(layer, shape), shape
        return _windows(layer, shape, axes)
    if isinstance(layer, Linear):
        if is_flat:
            return None, (layer.features,)
        message = (
            f"{_by(shape)} reaches a fully connected layer, which takes a vector. "
            "Put flatten before it."
        )
        return _problem(message, [_insert("flatten")]), shape
    if layer.kind == "flatten":
        count = 1
        for size in shape:
            count *= size
        return None, (count,)
    if layer.kind == "global average pooling":
        return (_flat(layer, shape), shape) if is_flat else (None, shape[:1])
    return None, shape


def _windows(
    layer: Convolution | Pooling, shape: Shape, axes: int
) -> tuple[Problem | None, Shape]:
    """A convolution or pooling, judged by the desk."""
    own = layer.model_dump(exclude={"kind"})
    given = {"axes": axes, "size": shape[1:], "channels": shape[0], **own}
    found = desk(Settings(operation=layer.kind, **given))
    error = found["error"]
    if error is None:
        after = tuple(found["shape"])
        if not found["proposals"]:
            return None, after
        remedies = [one for one in found["proposals"] if _is_own(one, own)]
        return {**_problem(found["sentence"], remedies), "works": True}, after
    remedies = [one for one in error["remedies"] if _is_own(one, own)]
    return _problem(error["message"].removeprefix("desk: "), remedies), shape


def _is_own(remedy: dict[str, Any], own: dict[str, Any]) -> bool:
    return all(
        name in own and isinstance(value, int)
        for name, value in remedy["change"].items()
    )


def _flat(layer: Any, shape: Shape) -> Problem:
    return _problem(
        f"a vector of {shape[0]:,} reaches {layer.kind}, which needs maps. Move it "
        "before flatten and the fully connected layers.", [_remove()],
    )  # fmt: skip


def _end(plan: Plan, shape: Shape) -> Problem | None:
    """What is wrong with what the network gives."""
    wanted = plan.classes
    if shape == (wanted,):
        return None
    message = f"the network gives {_by(shape)}, {wanted} classes need {wanted} numbers."
    last = plan.layers[-1] if plan.layers else None
    if isinstance(last, Linear):
        remedy = {"label": f"{wanted} features", "change": {"features": wanted}}
        return _problem(f"{message} Give the last layer {wanted} features.", [remedy])
    added: list[dict[str, Any]] = [{"kind": "linear", "features": wanted}]
    if len(shape) > 1:
        added.insert(0, {"kind": "flatten"})
    label = f"add a fully connected layer of {wanted}"
    return _problem(
        f"{message} End with a fully connected layer.",
        [{"label": label, "append": added}],
    )


def _problem(message: str, remedies: list[dict[str, Any]]) -> Problem:
    return {"message": message, "works": False, "remedies": remedies}


def _insert(kind: str) -> dict[str, Any]:
    return {"label": f"insert {kind}", "insert": {"kind": kind}}


def _remove() -> dict[str, Any]:
    return {"label": "remove it", "remove": True}


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]:,} numbers"


def _module(layer: Any, shape: Shape, axes: int) -> nn.Module:
    channels = shape[0]
    if isinstance(layer, Convolution):
        own = layer.model_dump(exclude={"kind", "filters", "kernel"})
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        return kind(channels, layer.filters, layer.kernel, **own)
    if isinstance(layer, Pooling):
        name = "MaxPool" if layer.kind == "max pooling" else "AvgPool"
        pool: type[nn.Module] = getattr(layers, f"{name}{axes}d")
        return pool(layer.kernel, stride=layer.stride, padding=layer.padding)
    if isinstance(layer, Linear):
        return nn.Linear(channels, layer.features)
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    if layer.kind == "batch norm":
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        return kinds[len(shape) - 2 if len(shape) > 1 else 0](channels)
    if layer.kind == "global average pooling":
        made: nn.Module = getattr(layers, f"GlobalAvgPool{axes}d")()
        return made
    return _PLAIN[layer.kind]()


_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "flatten": nn.Flatten,
}


def _written(module: nn.Module) -> str:
    """A module as Python has it."""
    room = "nn" if type(module).__module__.startswith("torch") else "cs.layers"
    text = layer_text(module)
    return f"{room}.{text if '(' in text else f'{text}()'}"


def _said(layer: Any) -> str:
    """A layer that was not reached, in words."""
    given = layer.model_dump(exclude={"kind"}, exclude_defaults=True)
    numbers = ", ".join(f"{name} {value}" for name, value in given.items())
    return f"{layer.kind}{f', {numbers}' if numbers else ''}"
