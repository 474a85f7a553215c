"""Every name of torch that torch does not publish, in one place.

Other files take them from here, so that a new torch is a matter of one file. The
dictionaries of a module (``_modules``, ``_parameters``, ``_forward_hooks`` ...) do not
count: every class derived from ``torch.nn.Module`` may look at them.

Tools, without which this package does not run; what could stand in for each:

=====================  ============================================================
`AnyBatchNorm`         what all batch norms have in common; the public ones by name
`AnyConv`              what all convolutions have in common; the public ones by name
`tree_leaves`          tensors in nested arguments; a walk of our own
`tree_map_only`        the same, changed; a walk of our own
`DispatchMode`         sees each operation of a traced network; `torch.fx`, in part
`WithoutFunctionMode`  looks at tensors without tracing that; a flag in the tracer
`foreach_add` ...      one call for many tensors; a loop over them
=====================  ============================================================

Questions, each with what is assumed where torch no longer answers it. That is always
that somebody is watching: torch's own operations then compute, and only time is lost.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import _foreach_add as foreach_add
from torch import _foreach_add_ as foreach_add_
from torch import _foreach_copy_ as foreach_copy_
from torch import _foreach_lerp_ as foreach_lerp_
from torch import _foreach_mul_ as foreach_mul_
from torch._C import DisableTorchFunction as WithoutFunctionMode
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm
from torch.nn.modules.conv import _ConvNd as AnyConv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = [
    "AnyBatchNorm",
    "AnyConv",
    "DispatchMode",
    "WithoutFunctionMode",
    "foreach_add",
    "foreach_add_",
    "foreach_copy_",
    "foreach_lerp_",
    "foreach_mul_",
    "has_dispatch_mode",
    "has_forward_gradients",
    "has_function_mode",
    "has_global_hooks",
    "has_matrix_unit",
    "has_saved_tensor_hooks",
    "is_batch_of_gradients",
    "is_traced",
    "is_transformed",
    "tree_leaves",
    "tree_map_only",
]


class DispatchMode(TorchDispatchMode):
    """Sees each operation, without importing all of torch._dynamo: 1.4 s, 100 MB."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would guard each mode by an import of it


def _question(name: str) -> Callable[..., Any]:
    """A function of torch by the path of its name; where it is gone, the answer "gone".

    >>> _question("_C._no_such_name")()
    'gone'
    """
    try:
        return attrgetter(name)(torch)  # type: ignore[no-any-return]
    except AttributeError:
        return lambda *_: "gone"


_tracing_state = _question("_C._get_tracing_state")
_level = _question("_C._functorch.maybe_current_level")
_dispatch_modes = _question("_C._len_torch_dispatch_stack")
_function_modes = _question("_C._len_torch_function_stack")
_saving_hooks = _question("_C._autograd._top_saved_tensors_default_hooks")
_any_global_hook = _question("nn.modules.module._has_any_global_hook")
_old_batch = _question("_C._functorch.is_legacy_batchedtensor")
_amx = _question("cpu._is_amx_tile_supported")


def is_traced() -> bool:
    """Whether `torch.jit.trace` records this call; if unknown, yes."""
    return _tracing_state() is not None


def is_transformed() -> bool:
    """Whether `torch.func` transforms this call (vmap, grad, jvp); if unknown, yes.

    Of the functions that know it, this is one that torch.compile can follow.
    """
    return _level() is not None


def is_batch_of_gradients(x: torch.Tensor) -> bool:
    """Whether ``x`` is many gradients (``is_grads_batched=True``); if unknown, yes."""
    return bool(_old_batch(x))


def has_forward_gradients() -> bool:
    """Whether forward-mode gradients are being computed; if unknown, yes."""
    return bool(getattr(forward_ad, "_current_level", 0) >= 0)


def has_dispatch_mode() -> bool:
    """Whether somebody sees each operation of this thread; if unknown, yes."""
    return bool(_dispatch_modes() != 0)


def has_function_mode() -> bool:
    """Whether somebody sees each function of torch that is called; if unknown, yes."""
    return bool(_function_modes() != 0)


def has_saved_tensor_hooks() -> bool:
    """Whether somebody takes what is kept for backward, as checkpointing does.

    If unknown, yes.
    """
    return _saving_hooks(False) is not None


def has_global_hooks() -> bool:
    """Whether hooks are set for all modules at once; if unknown, yes."""
    return bool(_any_global_hook())


def has_matrix_unit() -> bool:
    """Whether the CPU multiplies bfloat16 matrices itself (AMX); if unknown, no."""
    return _amx() is True
