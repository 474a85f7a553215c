"""A module's own forward, rewritten operation by operation with torch.fx."""

import operator
from typing import Any

from torch import Tensor, fx, nn

from convscope.layers.convert.by_layer import (
    Computed,
    Conversion,
    Shape,
    refusal,
    shape_text,
)

_FLATTENING = {"flatten", "view", "reshape", "squeeze", "getitem"}
_POOLING = {"adaptive_avg_pool": "Avg", "adaptive_max_pool": "Max", "mean": "Avg"}
_ELEMENTWISE = {
    "add", "sub", "mul", "truediv", "div", "neg", "iadd", "isub", "imul", "itruediv",
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu",
    "mish", "sigmoid", "logsigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish",
    "softplus", "softsign", "dropout", "alpha_dropout", "clamp", "exp", "abs", "square",
    "add_", "mul_", "contiguous", "clone", "float",
}  # fmt: skip
_OVER_CHANNELS = {"softmax", "log_softmax"}


class _Layers(fx.Tracer):
    """Sees every module that is called as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def rewrite_forward(
    conversion: Conversion, layer: nn.Module, value: Computed, path: str
) -> tuple[nn.Module, Computed]:
    """The module with its forward rewritten, and what comes out of the present one."""
    try:
        graph = _Layers().trace(layer)
    except Exception as error:  # whatever the module's forward does with a proxy
        raise refusal(
            path, layer,
            f"has a forward that torch.fx cannot trace ({error})".rstrip("."),
            "Write it without branches on values, or as Sequential",
        ) from error  # fmt: skip
    out = _Rewriting(conversion, layer, graph, path).run(value)
    graph.lint()
    new = fx.GraphModule(layer, graph, type(layer).__name__)
    new.delete_all_unused_submodules()
    return new, out


class _Rewriting:
    def __init__(
        self, conversion: Conversion, layer: nn.Module, graph: fx.Graph, path: str
    ) -> None:
        self.conversion, self.layer, self.graph = conversion, layer, graph
        self.path = path
        self.values: dict[fx.Node, Computed] = {}
        self.moved: dict[fx.Node, fx.Node] = {}  # what was erased, and by what

    def run(self, value: Computed) -> Computed:
        given = iter([value])
        for node in list(self.graph.nodes):
            if node.op == "placeholder":
                default = node.args[0] if node.args else None
                self.values[node] = next(given, Computed(default))
            elif node.op == "output":
                result = node.args[0]
                if not isinstance(result, fx.Node):
                    raise self.refused(
                        node, "returns more than one tensor", "Return one tensor"
                    )
                return self.values[result]
            else:
                value = self.step(node)
                self.values[self.moved.get(node, node)] = value
        raise self.refused("forward", "returns nothing", "Return one tensor")

    def refused(self, node: fx.Node | str, reason: str, remedy: str) -> Exception:
        """A refusal that names the operation and the module it stands in."""
        name = type(self.layer).__name__
        if isinstance(node, fx.Node):
            what = node.target if isinstance(node.target, str) else _name(node)
            name += f", {what}"
        return refusal(self.path, name, reason, remedy)

    def step(self, node: fx.Node) -> Computed:
        """What the node computes; the node itself is rewritten on the way."""
        if node.op == "get_attr":
            return Computed(operator.attrgetter(str(node.target))(self.layer))
        if node.op == "call_module":
            return self.module(node)
        data = self.computed(node)
        if _name(node) == "dropout":  # traced as in evaluation, where it is off
            out = Computed(data, self.inputs(node)[0].flat_from)
            self.call(node, nn.Dropout(_rate(node)))
            return out
        flats = [value for value in self.inputs(node) if value.flat_from is not None]
        if not isinstance(data, Tensor):
            return Computed(data)
        if flats:
            return self.on_flat(node, data, flats)
        return self.on_map(node, data)

    def inputs(self, node: fx.Node) -> list[Computed]:
        return [self.values[source] for source in node.all_input_nodes]

    def computed(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda source: self.values[source].data
        )
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        target: Any = node.target
        return target(*args, **kwargs)

    def module(self, node: fx.Node) -> Computed:
        path, given = str(node.target), self.inputs(node)
        layer = self.layer.get_submodule(path)
        full = f"{self.path}.{path}" if self.path else path
        if len(given) != 1 or len(node.args) != 1 or node.kwargs:
            if any(value.flat_from for value in given):
                raise refusal(
                    full, layer, "takes more than one argument, one of them flat",
                    "Convert what comes before it",
                )  # fmt: skip
            args, kwargs = fx.node.map_arg(
                (node.args, node.kwargs), lambda source: self.values[source].data
            )
            return Computed(layer(*args, **kwargs))
        new, out = self.conversion.step(layer, given[0], full)
        self.layer.set_submodule(path, new)
        return out

    def on_map(self, node: fx.Node, data: Tensor) -> Computed:
        """An operation on maps: one that flattens, one that pools, or any other."""
        name, given = _name(node), self.inputs(node)
        maps = [value.data for value in given if self.conversion.is_map(value.data)]
        if not maps:
            return Computed(data)
        shape = tuple(maps[0].shape)
        kind = next((k for n, k in _POOLING.items() if name.startswith(n)), None)
        if kind and data.shape[:2] == shape[:2]:
            return self.pooled(node, kind, shape, data)
        if self.conversion.is_map(data):
            return Computed(data)
        if name in _FLATTENING and data.shape == (shape[0], maps[0][0].numel()):
            self.call(node, nn.Identity())
            return Computed(data, shape[1:])
        raise self.refused(
            node,
            f"makes {shape_text(data)} of a map {shape_text(maps[0])}",
            "Flatten all but the batch axis, or keep a map",
        )

    def pooled(self, node: fx.Node, kind: str, shape: Shape, data: Tensor) -> Computed:
        flat = not self.conversion.is_map(data)
        outputs = (1,) * self.conversion.axes if flat else tuple(data.shape[2:])
        if flat and data.ndim != 2:
            raise self.refused(
                node, "pools some of the spatial axes", "Pool all of them"
            )
        pool = self.conversion.pool(kind, shape[2:], outputs, _name(node), self.path)
        self.call(node, pool)
        return Computed(data, (shape[1], *outputs) if flat else None)

    def call(self, node: fx.Node, layer: nn.Module) -> None:
        """Put a call of ``layer`` in the place of ``node``."""
        name = f"{node.name}_layer"
        self.layer.add_module(name, layer)
        self.conversion.origin[layer] = self.layer
        with self.graph.inserting_before(node):
            new = self.graph.call_module(name, (node.all_input_nodes[0],))
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)
        self.moved[node] = new

    def on_flat(self, node: fx.Node, data: Tensor, flats: list[Computed]) -> Computed:
        """An operation on what was flattened, which now is a map."""
        name, flat_from = _name(node), flats[0].flat_from or ()
        others = [value.data for value in self.inputs(node) if value.flat_from is None]
        single = all(not isinstance(o, Tensor) or o.numel() == 1 for o in others)
        alike = all(value.flat_from == flat_from for value in flats) and single
        if alike and data.shape == flats[0].data.shape:
            if name in _ELEMENTWISE:
                return Computed(data, flat_from)
            if name in _FLATTENING:
                self.call(node, nn.Identity())
                return Computed(data, flat_from)
            if name in _OVER_CHANNELS:
                self.conversion.require_one_place(name, flat_from, self.path)
                node.args, node.kwargs = node.args[:1], {"dim": 1}
                return Computed(data, flat_from)
        raise self.refused(
            node,
            f"works on a flattened map of {flat_from} in a way that does not slide",
            "Write it as layers, or element by element",
        )


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", node.target))


def _rate(node: fx.Node) -> float:
    """The share that a call of ``dropout`` drops."""
    given: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    return float(given)
