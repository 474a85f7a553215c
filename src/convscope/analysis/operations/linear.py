"""Matrix products: linear layers, products of batches of matrices, attention."""

from collections.abc import Callable
from math import prod

from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Products,
    Shape,
    SightRule,
    meta,
)
from convscope.analysis.operations.provenance import (
    Provenance,
    constant,
    joined,
    new_dim,
)
from convscope.analysis.operations.rearrange import aligned_batches, made_into, swapped
from convscope.analysis.operations.refusal import Refusal, shape_text
from convscope.arithmetic import linear_multiply_adds


def _matrix_shape(
    first: str, second: str, rank: int
) -> Callable[[Arguments], Tensor | None]:
    def rule(a: Arguments) -> Tensor | None:
        left, right, added = a[first], a[second], a["self"]
        shape = (*left.shape[:-1], *right.shape[-1:])
        fits = (
            left.ndim == right.ndim == rank
            and left.shape[:-2] == right.shape[:-2]
            and left.shape[-1] == right.shape[-2]
            and left.dtype == right.dtype
        )
        if not fits or (added is not left and tuple(added.shape) != shape[-1:]):
            return None
        return meta(left, shape)

    return rule


def _matrix_sees(first: str, second: str) -> SightRule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        left, right = a[first].mixed([-1]), a[second]
        right = right.mixed([-2 if len(right.dims) > 1 else -1])
        batch = len(left.dims) - 2
        if batch > 0:
            right = aligned_batches(left, right, batch)
        dims = [*left.dims[:-1], *right.dims[max(batch, 0) + 1 :]]
        return joined([left, right], dims)

    return rule


def _matrix_costs(
    first: str, second: str
) -> Callable[[Arguments, Shape], Products | None]:
    def rule(a: Arguments, shape: Shape) -> Products:
        left, right = a[first].shape, a[second].shape
        columns = right[-1] if len(right) > 1 else 1
        rows = prod(left[:-1])
        return Products(
            linear_multiply_adds(left[-1], columns, positions=rows), (first, second)
        )

    return rule


def _linear_sees(a: Arguments, shape: Shape) -> Provenance:
    value = a["input"].mixed([-1])
    return made_into(value, len(value.dims) - 1, shape[-1])


def _linear_costs(a: Arguments, shape: Shape) -> Products:
    x = a["input"].shape
    products = linear_multiply_adds(x[-1], shape[-1], positions=prod(x[:-1]))
    return Products(products, ("input", "weight"))


def _bilinear_costs(a: Arguments, shape: Shape) -> Products | None:
    """Each weight once for each position; products of activations are left out."""
    one, weight = a["i1"].shape, a["i2"].shape
    return Products(one[0] * prod(weight), ("i1", "i2"))


def _attention_sees(a: Arguments, shape: Shape) -> Provenance:
    query, key, value = a["query"], a["key"], a["value"]
    everything = [v.mixed(range(len(v.dims))) for v in (key, value)]
    made = joined([query.mixed([-1]), *everything], query.dims)
    return made_into(made, len(shape) - 1, shape[-1])


def _attention_costs(a: Arguments, shape: Shape) -> Products:
    query, key, value = (a[name].shape for name in ("query", "key", "value"))
    scores = prod(query[:-1]) * key[-2]
    return Products(scores * (query[-1] + value[-1]), ("query", "key"))


def _linear_refuses(b: Arguments) -> Refusal | None:
    x, weight = b["input"], b["weight"]
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] == weight.shape[1]:
        return None
    came, wants, shape = x.shape[-1], weight.shape[1], shape_text(x.shape)
    return Refusal(
        shape,
        shape.rpartition(", ")[0] + f", {wants})" if x.ndim > 1 else f"({wants},)",
        f"{came} features reach it, its weight is for {wants}",
        ({"in_features": came},),
        "features",
        {"came": came, "wants": wants},
    )


def _product_refuses(b: Arguments) -> Refusal | None:
    left, right = b.get("input"), b.get("other", b.get("mat2"))
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    if left.ndim == 0 or right.ndim == 0:
        return None
    inner = right.shape[-2] if right.ndim > 1 else right.shape[0]
    if left.shape[-1] == inner:
        return None
    return Refusal(
        f"{tuple(left.shape)} and {tuple(right.shape)}",
        "as many columns on the left as rows on the right",
        f"{left.shape[-1]} columns meet {inner} rows",
        kind="features",
    )


def _read(node: Node) -> Arguments | None:
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        return None
    a = node.attributes
    if node.kind == "MatMulNBits":  # several codes in one byte, in blocks
        return {"self": left, "other": constant((int(a["K"]), int(a["N"])))}
    if a.get("transBatchA") or a.get("transBatchB"):
        return None
    if a.get("transA") and len(left.dims) > 1:
        left = swapped(left, -1, -2)
    if a.get("transB") and len(right.dims) > 1:
        right = swapped(right, -1, -2)
    return {"self": left, "other": right}


def _read_einsum(node: Node) -> Arguments | None:
    """Only products of two tensors, each letter once in a tensor."""
    terms = node.attributes["equation"].replace(" ", "").partition("->")[0].split(",")
    values = [one for one in node.inputs if one is not None]
    if len(terms) != 2 or len(values) != 2 or any("." in term for term in terms):
        return None
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        if len(term) != len(value.dims) or len(set(term)) < len(term):
            return None
        for letter, size in zip(term, value.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return {"self": values[0], "other": values[1], "lengths": list(sizes.values())}


def _read_attention(node: Node) -> Arguments | None:
    """Without what was kept of earlier calls, which would make the keys longer."""
    inputs = [*node.inputs, *[None] * 8]
    query, key, value = inputs[:3]
    before = inputs[4:6] if node.kind == "Attention" else inputs[6:8]
    if query is None or key is None or value is None or any(before):
        return None
    a, ranks = node.attributes, {len(one.dims) for one in (query, key, value)}
    if ranks not in ({3}, {4}) or a.get("q_num_heads") != a.get("kv_num_heads"):
        return None
    return {"query": query, "key": key, "value": value}


def _product_sees(a: Arguments, shape: Shape) -> Provenance:
    """``matmul``, whose batches are broadcast."""
    left, right = a["self"], a["other"]
    both = left.from_input and right.from_input
    left = left.mixed(range(len(left.dims)) if both else [-1])
    right = right.mixed(range(len(right.dims)))
    dims = [*left.dims[: len(shape) - 1]]
    dims += [new_dim(size) for size in shape[len(dims) :]]
    return joined([left, right], dims)


def _product_costs(a: Arguments, shape: Shape) -> Products:
    left, right = a["self"].shape, a["other"].shape
    columns = right[-1] if len(right) > 1 else 1
    rows = prod(shape) // columns
    return Products(
        linear_multiply_adds(left[-1], columns, positions=rows), ("self", "other")
    )


def _matrices(name: str, torch: str, first: str, second: str) -> Operation:
    rank = 3 if "bmm" in torch else 2
    return Operation(
        name,
        torch=(torch,),
        shape=None if torch == "mv" else _matrix_shape(first, second, rank),
        sees=_matrix_sees(first, second),
        costs=_matrix_costs(first, second),
    )


OPERATIONS = (
    Operation(
        "linear",
        torch=("linear",),
        functions={"linear": ("input", "weight", "bias")},
        sees=_linear_sees,
        costs=_linear_costs,
        refuses=_linear_refuses,
    ),
    Operation(
        "matrix product",
        functions={
            "matmul": ("input", "other"),
            "__matmul__": ("input", "other"),
            "mm": ("input", "mat2"),
        },
        onnx=dict.fromkeys(("Gemm", "MatMul", "FusedMatMul", "MatMulNBits"), _read),
        sees=_product_sees,
        costs=_product_costs,
        refuses=_product_refuses,
    ),
    Operation(
        "product by letters",
        onnx={"Einsum": _read_einsum},
        costs=lambda a, shape: Products(prod(a["lengths"]), ("self", "other")),
    ),
    _matrices("product of two matrices", "mm", "self", "mat2"),
    _matrices("products of batches of matrices", "bmm", "self", "mat2"),
    _matrices("product of two matrices, and a sum", "addmm", "mat1", "mat2"),
    _matrices("products of batches, and a sum", "baddbmm", "batch1", "batch2"),
    _matrices("product of a matrix and a vector", "mv", "self", "vec"),
    Operation(
        "product of a matrix and a vector, and a sum",
        torch=("addmv",),
        sees=_matrix_sees("mat", "vec"),
        costs=_matrix_costs("mat", "vec"),
    ),
    Operation(
        "product of two vectors",
        torch=("dot",),
        costs=lambda a, shape: Products(a["self"].shape[0], ("self", "tensor")),
    ),
    Operation("bilinear", torch=("_trilinear",), costs=_bilinear_costs),
    Operation(
        "attention",
        torch=(
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_attention_math",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_cudnn_attention",
        ),
        onnx=dict.fromkeys(("Attention", "MultiHeadAttention"), _read_attention),
        sees=_attention_sees,
        costs=_attention_costs,
    ),
)
