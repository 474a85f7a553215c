import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.analysis.operations.registry import meta_result


class Compare(TorchDispatchMode):
    """Asks torch what it returns, and compares the meta results."""

    compared = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        real = func(*args, **(kwargs or {}))
        meta = meta_result(func, args, kwargs or {})
        if meta is not None:
            type(self).compared += 1
            ours = meta if isinstance(meta, tuple) else (meta,)
            theirs = real if isinstance(real, tuple) else (real,)
            assert [t.shape for t in ours] == [t.shape for t in theirs], func
            assert [t.dtype for t in ours] == [t.dtype for t in theirs], func
        return real


def weight(*shape):
    return torch.ones(shape)


X1, X2, X3 = torch.ones(2, 4, 11), torch.ones(2, 4, 9, 12), torch.ones(2, 4, 6, 7, 8)
CALLS = {
    "conv1d": lambda: F.conv1d(X1, weight(6, 2, 3), stride=2, padding=1, groups=2),
    "conv2d": lambda: F.conv2d(X2, weight(3, 4, 3, 2), weight(3), (2, 1), 1, 2),
    "conv3d": lambda: F.conv3d(X3, weight(3, 4, 1, 3, 3), padding="same"),
    "transposed": lambda: F.conv_transpose2d(
        X2, weight(4, 3, 3, 2), None, 2, 1, 1, 2, 2
    ),
    "max pooling": lambda: F.max_pool2d(X2, 3, 2, 1, ceil_mode=True),
    "max pooling 3-D": lambda: F.max_pool3d(X3, 2),
    "average pooling": lambda: F.avg_pool2d(X2, (2, 3), ceil_mode=True),
    "average pooling 3-D": lambda: F.avg_pool3d(X3, 2, padding=1),
    "adaptive": lambda: F.adaptive_avg_pool2d(X2, (3, 5)),
    "batch norm": lambda: F.batch_norm(X2, weight(4), weight(4), training=True),
    "batch norm in evaluation": lambda: F.batch_norm(X2, weight(4), weight(4)),
    "group norm": lambda: F.group_norm(X2, 2, weight(4), weight(4)),
    "layer norm": lambda: F.layer_norm(X2, (9, 12)),
    "linear": lambda: F.linear(X2, weight(5, 12), weight(5)),
    "batches of matrices": lambda: X1 @ X1.transpose(1, 2),
    "addition": lambda: X2 + X2[:, :1, :1],
    "number": lambda: X2 * 2,
    "in place": lambda: X2.clone().add_(X2).relu_(),
    "mean": lambda: (X2.mean((2, -1)), X2.mean(1, keepdim=True)),
    "concatenation": lambda: torch.cat([X2, X2], -2),
    "padding": lambda: F.pad(X2, (1, 2, 0, -1)),
    "softmax": lambda: (X2.softmax(1), F.log_softmax(X2, 1), F.gelu(X2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_meta_results_have_torchs_shapes_and_types(name):
    before = Compare.compared
    with Compare():
        CALLS[name]()
    assert Compare.compared > before
