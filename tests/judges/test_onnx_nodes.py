"""ONNX's node tests as the judge: convolution, pooling, normalization and padding.

Each case is one node with its inputs and outputs, written by ONNX's own reference.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from convscope import functional

onnx = pytest.importorskip("onnx")

Attributes = dict[str, Any]


def attributes(node: Any) -> Attributes:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def windows(a: Attributes) -> dict[str, Any]:
    """Padding, stride and dilation in our words."""
    said = {}
    kind = a.get("auto_pad", b"NOTSET").decode()
    names = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    if kind in names:
        said["padding"] = names[kind]
    elif "pads" in a:
        axes = len(a["pads"]) // 2
        said["padding"] = list(zip(a["pads"][:axes], a["pads"][axes:], strict=True))
    if "strides" in a:
        said["stride"] = tuple(a["strides"])
    if a.get("dilations"):
        said["dilation"] = tuple(a["dilations"])
    return said


def pooling(a: Attributes) -> dict[str, Any]:
    # Since version 22 of the operator a window may not begin on the padding behind,
    # which is torch's rule.
    ceil = "torch" if a.get("ceil_mode") else False
    return {"stride": 1, **windows(a), "ceil_mode": ceil}


def conv(a: Attributes, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    groups = a.get("group", 1)
    return functional.conv(x, weight, *bias, groups=groups, **windows(a))


def conv_transpose(a: Attributes, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    said = windows(a)
    if "output_padding" in a:
        said["output_padding"] = tuple(a["output_padding"])
    if "output_shape" in a and "padding" not in said:  # more than windows reach
        reach = (
            (size - 1) * step + kernel
            for size, step, kernel in zip(
                x.shape[2:], a["strides"], weight.shape[2:], strict=True
            )
        )
        said["output_padding"] = tuple(
            wanted - size for wanted, size in zip(a["output_shape"], reach, strict=True)
        )
    return functional.conv_transpose(x, weight, *bias, groups=a.get("group", 1), **said)


def average_pool(a: Attributes, x: Tensor) -> Tensor:
    return functional.avg_pool(
        x,
        tuple(a["kernel_shape"]),
        count_include_pad=bool(a.get("count_include_pad", 0)),
        **pooling(a),
    )


def max_pool(a: Attributes, x: Tensor) -> Tensor:
    return functional.max_pool(x, tuple(a["kernel_shape"]), **pooling(a))


def lp_pool(a: Attributes, x: Tensor) -> Tensor:
    return functional.lp_pool(
        x, a.get("p", 2), tuple(a["kernel_shape"]), signed=False, **pooling(a)
    )


def max_unpool(a: Attributes, x: Tensor, indices: Tensor, *shape: Tensor) -> Tensor:
    size = tuple(shape[0].tolist())[2:] if shape else None
    return functional.max_unpool(
        x,
        indices,
        tuple(a["kernel_shape"]),
        tuple(a.get("strides", a["kernel_shape"])),
        output_size=size,
    )


def response_norm(a: Attributes, x: Tensor) -> Tensor:
    return functional.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    )


def batch_norm(a: Attributes, x: Tensor, *rest: Tensor) -> Tensor:
    from convscope import layers

    layer = getattr(layers, f"BatchNorm{max(1, x.ndim - 2)}d")(
        x.shape[1], eps=a.get("epsilon", 1e-5)
    )
    names = ("weight", "bias", "running_mean", "running_var")
    state = dict(zip(names, rest, strict=True))
    layer.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    return layer.train(bool(a.get("training_mode", 0)))(x)


def pad(a: Attributes, x: Tensor, pads: Tensor, *rest: Tensor) -> Tensor:
    count = pads.numel() // 2
    pairs = list(zip(pads[:count].tolist(), pads[count:].tolist(), strict=True))
    names = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    mode = names.get(a.get("mode", b"constant").decode(), "constant")
    value = rest[0].item() if rest and rest[0].numel() else 0.0
    return functional.pad(x, pairs, mode=mode, value=value, axes=count)


JUDGED: dict[str, Callable[..., Tensor]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "LpPool": lp_pool,
    "MaxUnpool": max_unpool,
    "GlobalAveragePool": lambda _, x: functional.global_avg_pool(x, keepdim=True),
    "GlobalMaxPool": lambda _, x: functional.global_max_pool(x, keepdim=True),
    "LRN": response_norm,
    "BatchNormalization": batch_norm,
    "Pad": pad,
}
# Cases that are not asked, each with the reason.
EXCLUDED = {
    "maxunpool_export_with_output_shape": "its indices count places of the map that "
    "was pooled; ours, as torch's, those of output_size",
}


def has_dilation_that_ours_lacks(node: Any) -> bool:
    """Average and Lp pooling: torch's have none either."""
    dilations = attributes(node).get("dilations", [1])
    return node.op_type in ("AveragePool", "LpPool") and set(dilations) != {1}


def cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    return {
        case.name.removeprefix("test_"): case
        for case in found
        if case.model is not None
        and len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in JUDGED
        and case.name.removeprefix("test_") not in EXCLUDED
        and not has_dilation_that_ours_lacks(case.model.graph.node[0])
    }


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_a_node_gives_what_onnx_says(name):
    case = CASES[name]
    (node,) = case.model.graph.node
    for given, expected in case.data_sets:
        inputs = [torch.tensor(x) for x in given]
        found = JUDGED[node.op_type](attributes(node), *inputs)
        torch.testing.assert_close(
            found, torch.tensor(expected[0]), rtol=case.rtol, atol=case.atol
        )


def test_the_judge_rejects_a_node_that_is_off(monkeypatch):
    monkeypatch.setitem(JUDGED, "Conv", lambda *_: conv(*_) * 1.01)
    with pytest.raises(AssertionError):
        test_a_node_gives_what_onnx_says("basic_conv_with_padding")
