"""What torch is asked is answered, and safely so where torch no longer does."""

import contextlib

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from convscope import private_torch

QUESTIONS = [
    "is_traced",
    "is_transformed",
    "has_forward_gradients",
    "has_dispatch_mode",
    "has_function_mode",
    "has_saved_tensor_hooks",
    "has_global_hooks",
]
ASKED_BY = [
    "_tracing_state",
    "_level",
    "_dispatch_modes",
    "_function_modes",
    "_saving_hooks",
    "_any_global_hook",
]


def answers():
    return {name for name in QUESTIONS if getattr(private_torch, name)()}


def test_nobody_is_watching_at_first():
    assert answers() == set()


@contextlib.contextmanager
def global_hook():
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    yield
    handle.remove()


class DispatchMode(private_torch.DispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("situation", "answer"),
    [
        (forward_ad.dual_level, "has_forward_gradients"),
        (DispatchMode, "has_dispatch_mode"),
        (torch.overrides.BaseTorchFunctionMode, "has_function_mode"),
        (torch.autograd.graph.save_on_cpu, "has_saved_tensor_hooks"),
        (global_hook, "has_global_hooks"),
    ],
)
def test_somebody_who_watches_is_noticed(situation, answer):
    with situation():
        assert answers() == {answer}
    assert answers() == set()


def test_traces_and_transforms_are_noticed():
    seen = []

    def look(x):
        seen.append(answers())
        return x * 2

    torch.func.vmap(look)(torch.zeros(2))
    assert seen == [{"is_transformed"}]
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.trace(look, torch.zeros(2), check_trace=False)
    assert seen[1:] == [{"is_traced"}]


@pytest.mark.parametrize("asked", ASKED_BY)
def test_a_question_that_torch_no_longer_answers_is_answered_with_yes(
    asked, monkeypatch
):
    monkeypatch.setattr(private_torch, asked, private_torch._question("gone.away"))
    assert len(answers()) == 1


def test_a_processor_that_nobody_knows_has_no_matrix_unit(monkeypatch):
    monkeypatch.setattr(private_torch, "_amx", private_torch._question("gone.away"))
    assert private_torch.has_matrix_unit() is False
