"""What cards show, by each of the ways in which it can be computed."""

import functools

import numpy as np
import pytest
import torch
from tests.serve import networks
from torch import nn

import convscope as cs
from convscope.serve import onnx_program
from convscope.serve.cards import cards_of
from convscope.serve.edits import Bias, Tap, changed
from convscope.serve.forward import ONNX, PYTORCH, TOLERANCE, Forward

needs_onnx = pytest.mark.skipif(
    not onnx_program.is_installed(), reason="needs the extra onnx"
)


def made(name):
    subject = networks.subject(name)
    cards = cards_of(subject)
    return subject, cards, Forward(subject, cards)


@functools.cache
def prepared(name):
    """The same with its program, which takes seconds."""
    found = made(name)
    found[-1].prepare()
    return found


def check(values, subject, cards, net, x, tolerance):
    """Every card holds what `capture` finds there."""
    wanted = cs.capture(net, x)
    for card in cards.cards[1:]:
        if not card.label:
            continue
        theirs = wanted[card.label].outputs[0][0].numpy()
        assert values.maps[card.id].shape == theirs.shape
        apart = np.abs(values.maps[card.id] - theirs).max()
        assert apart <= tolerance * np.abs(theirs).max(), card
    rows = torch.softmax(wanted.output[0].double() / subject.temperature, 0).numpy()
    np.testing.assert_allclose(values.probabilities, rows, atol=1e-6 + tolerance)
    assert values.probabilities.dtype == np.float32


@pytest.mark.parametrize("name", networks.MADE)
def test_the_module_gives_what_capture_gives(name):
    subject, cards, forward = made(name)
    assert forward._can_watch
    for seed in (7, 8):
        x = torch.rand(1, *subject.input_shape, generator=torch.manual_seed(seed))
        values = forward.values(subject.net, x)
        assert values.by == PYTORCH
        check(values, subject, cards, subject.net, x, 0.0)


@needs_onnx
@pytest.mark.parametrize("name", networks.MADE)
def test_onnx_runtime_gives_what_capture_gives(name):
    subject, cards, forward = prepared(name)
    assert forward.notes == ()
    for seed in (7, 8):
        x = torch.rand(1, *subject.input_shape, generator=torch.manual_seed(seed))
        values = forward.values(subject.net, x)
        assert values.by == ONNX
        check(values, subject, cards, subject.net, x, TOLERANCE)


@needs_onnx
def test_values_follow_a_change_of_a_kernel_by_the_module():
    subject, cards, forward = prepared("lenet")
    card = next(card for card in cards.cards if card.has_filters)
    changes = (
        Tap(kind="tap", card=card.id, channel=1, input=0, at=(2, 2), value=3.0),
        Bias(kind="bias", card=card.id, channel=1, value=-1.0),
    )
    x = torch.rand(1, *subject.input_shape)
    for count in (1, 2):
        net = changed(subject.net, cards, changes[:count])
        values = forward.values(net, x)
        assert values.by == PYTORCH
        check(values, subject, cards, net, x, 0.0)
    again = forward.values(subject.net, x)
    assert again.by == ONNX
    check(again, subject, cards, subject.net, x, TOLERANCE)


def tampered(net, labels, x, of=onnx_program.exported):
    """The network with one number of its first kernel changed a little."""
    import onnx

    model = onnx.load_from_string(of(net, labels, x))
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return model.SerializeToString()


@needs_onnx
def test_a_program_that_differs_is_not_used_and_the_page_says_so(monkeypatch):
    monkeypatch.setattr(onnx_program, "exported", tampered)
    subject, cards, forward = made("averages")
    forward.prepare()
    (note,) = forward.notes
    assert note.startswith("ONNX Runtime is not used: it differs from PyTorch by ")
    assert note.endswith(" at 0. Values come from PyTorch.")
    x = torch.rand(1, *subject.input_shape)
    values = forward.values(subject.net, x)
    assert values.by == PYTORCH
    check(values, subject, cards, subject.net, x, 0.0)


@needs_onnx
@pytest.mark.parametrize("answer", [b"no graph", None])
def test_a_network_without_a_program_is_computed_by_the_module(monkeypatch, answer):
    def exported(*_):
        if answer is None:
            raise ValueError("the network has no form in ONNX")
        return answer

    monkeypatch.setattr(onnx_program, "exported", exported)
    subject, _, forward = made("averages")
    forward.prepare()
    (note,) = forward.notes
    assert "could not be written for it" in note
    x = torch.rand(1, *subject.input_shape)
    assert forward.values(subject.net, x).by == PYTORCH


def test_a_program_that_fails_later_is_given_up():
    subject, cards, forward = made("averages")

    def fails(_):
        raise RuntimeError("out of memory")

    forward._program = fails
    x = torch.rand(1, *subject.input_shape)
    values = forward.values(subject.net, x)
    check(values, subject, cards, subject.net, x, 0.0)
    assert "it failed (RuntimeError)" in forward.notes[0]


def test_without_the_extra_or_for_a_large_network_nothing_is_prepared(monkeypatch):
    for name, value in (("MOST_BYTES", 10), ("is_installed", lambda: False)):
        with monkeypatch.context() as changed:
            changed.setattr(onnx_program, name, value)
            subject, _, forward = made("averages")
            forward.prepare()
        assert forward.values(subject.net, torch.zeros(1, 1, 12, 12)).by == PYTORCH
    assert forward.notes == ()


class Counting(nn.Module):
    """A network whose forward keeps something: each pass gives more."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.conv = nn.Conv2d(1, 10, 12)

    def forward(self, x):
        self.passes += 1
        return (self.conv(x) + self.passes).flatten(1)


def test_a_network_that_keeps_something_is_captured_anew_each_time(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setitem(networks.MADE, "counting", lambda: (Counting(), (1, 12, 12)))
    subject, cards, forward = made("counting")
    assert not forward._can_watch
    x = torch.rand(1, *subject.input_shape)
    for _ in range(2):
        values = forward.values(subject.net, x)
        check(values, subject, cards, subject.net, x, 0.0)
    assert subject.net.passes == 0


@needs_onnx
def test_what_is_exported_is_a_copy(monkeypatch):
    found = []

    def program(net, *_):
        found.append(net)
        raise RuntimeError

    monkeypatch.setattr(onnx_program, "Program", program)
    subject, _, forward = made(next(iter(networks.MADE)))
    forward.prepare()
    (net,) = found
    assert net is not subject.net
    assert all(map(torch.equal, net.parameters(), subject.net.parameters()))
