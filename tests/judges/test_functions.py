"""PyTorch's OpInfo as the judge: its samples of every function that has a namesake.

Pooling functions are one here for any number of axes; `adapted` calls them in torch's
way.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from convscope import functional
from judges.samples import fresh, op_infos, outcome, require_same

pytest.importorskip("expecttest", reason="PyTorch's own tests need it")

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths"  # torch, of its own result
)
OF_AXES = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
OF_AXES += ("max_unpool", "fractional_max_pool", "lp_pool")
FUNCTIONS = sorted(
    name
    for name in op_infos()
    if (name[-1] == "d" and name[:-2] in OF_AXES) or name in functional.__all__
)
NOT_JUDGED = {
    "pad": "its padding is given by axis, first to last, where torch's is flat and "
    "last to first",
}
EVERY = {"max_pool1d": 11, "max_pool2d": 11, "max_pool3d": 11}  # of thousands

# Samples that we refuse where torch answers, each with the reason and our own words.
REFUSED = {
    "avg_pool2d": {
        "divisor_override=-2": "a negative divisor turns every sign",
    },
    "avg_pool3d": {"divisor_override=-2": "the same"},
}


def adapted(name: str) -> Callable[..., Any]:
    """Our function with torch's arguments; a single image is a batch of one."""
    if name in functional.__all__:
        return getattr(functional, name)
    family, axes = name[:-2], int(name[-2])

    def call(x: Tensor, *args: Any, **named: Any) -> Any:
        indices = named.pop("return_indices", False)
        if family == "adaptive_max_pool" and len(args) == 2:
            *args, indices = args  # type: ignore[assignment]
        if family == "fractional_max_pool":
            size = (1 if x.ndim == axes + 1 else x.shape[0], x.shape[-1 - axes], axes)
            drawn = named.pop("_random_samples", None)
            if drawn is None:  # as torch draws them
                drawn = torch.rand(size, dtype=x.dtype)
            named["random_samples"] = drawn
        function = getattr(functional, family + "_with_indices" * bool(indices))
        single = x.ndim == axes + 1 and family != "max_unpool"
        result = function(x.unsqueeze(0) if single else x, *args, **named)
        if single:
            return tree_map_only(Tensor, lambda y: y.squeeze(0), result)
        return result

    return call


def judge(name: str, dtype: torch.dtype, ours: Callable[..., Any]) -> tuple[int, set]:
    """How many samples agree, and our words about those that we refuse on purpose."""
    op, agreed, refused = op_infos()[name], 0, set()
    torch.manual_seed(0)
    given = op.sample_inputs("cpu", dtype, requires_grad=True)
    for sample in itertools.islice(given, 0, None, EVERY.get(name, 1)):

        def inputs(sample=sample):
            given = ((sample.input, *sample.args), dict(sample.kwargs))
            return tree_map_only(Tensor, fresh, given)

        try:
            found = outcome(ours, inputs(), [])
        except ValueError as error:
            words = [w for w in REFUSED.get(name, {}) if w in str(error)]
            if not words:
                raise
            refused.update(words)
            continue
        theirs = getattr(torch.nn.functional, name)
        require_same(found, outcome(theirs, inputs(), []), dtype)
        agreed += 1
    return agreed, refused


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in NOT_JUDGED])
def test_a_function_gives_what_its_namesake_in_torch_gives(name, dtype):
    agreed, refused = judge(name, dtype, adapted(name))
    assert agreed > 0
    assert refused == set(REFUSED.get(name, {}))  # none is listed that is not needed


def test_the_judge_rejects_a_function_that_is_off():
    def off(*args, **named):
        return functional.conv2d(*args, **named) * 1.001

    with pytest.raises(AssertionError):
        judge("conv2d", torch.float64, off)
