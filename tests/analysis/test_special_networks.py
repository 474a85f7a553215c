"""Networks that cannot be copied, or hide what they are, are checked and counted."""

import pytest
import torch
from tests.analysis import special_networks
from tests.analysis.special_networks import ALL, COUNTED, PARAMETERS, PRODUCTS, SIZE
from torch import nn
from torch.nn.parameter import is_lazy

import convscope as cs
from convscope.errors import ArgumentError, ShapeError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's, of these forms
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def state(net):
    """Flags, hooks, and every number that the network can show."""
    flags = [getattr(m, "training", None) for m in net.modules()]
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks))
        for m in net.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]
    tensors = [t for t in (*net.parameters(), *net.buffers()) if not is_lazy(t)]
    return flags, hooks, [t.detach().clone() for t in tensors]


def outputs(net):
    x = torch.linspace(-1, 1, 128).reshape(2, *SIZE)
    with torch.no_grad():
        return net(x)


@pytest.mark.parametrize("form", ALL)
def test_check_and_summary_take_it_and_leave_it_as_it_was(form):
    net, twin = ALL[form](), ALL[form]()
    before = state(net)
    cs.check(net, SIZE)
    record = cs.summary(net, SIZE)
    after = state(net)
    assert before[:2] == after[:2]
    assert all(map(torch.equal, before[2], after[2]))
    assert record.rows[0].output_shape == (10,)
    if form != "lazy":  # whose first numbers are drawn by the first call
        assert torch.equal(outputs(net), outputs(twin))


@pytest.mark.parametrize("form", COUNTED)
def test_it_counts_as_much_as_the_plain_network(form):
    record = cs.summary(COUNTED[form](), SIZE)
    assert (record.parameters, record.multiply_adds) == (PARAMETERS, PRODUCTS)


@pytest.mark.parametrize("form", sorted({*ALL} - {"lazy"}))  # which fits any size
def test_an_input_that_does_not_fit_is_refused_in_words_of_ours(form):
    with pytest.raises(ShapeError, match=r"^check: "):
        cs.check(ALL[form](), (1, 9, 9))


def test_what_is_wrong_inside_of_torchscript_is_said():
    with pytest.raises(ShapeError, match=r"cannot work on .* \[2, 324\] X \[256, 10\]"):
        cs.check(torch.jit.script(special_networks.plain()), (1, 9, 9))


def test_a_network_exported_for_one_size_names_what_it_was_made_for():
    net = special_networks.exported(batch=3)
    with pytest.raises(ShapeError, match="give example_inputs of that size"):
        cs.check(net, SIZE)
    cs.check(net, example_inputs=torch.zeros(3, *SIZE))
    assert cs.summary(net, example_inputs=torch.zeros(3, *SIZE)).multiply_adds == (
        PRODUCTS
    )


REFUSED = {
    "scripted": ("whose layers TorchScript has compiled", "TorchScript"),
    "traced": ("whose layers TorchScript has compiled", "TorchScript"),
    "frozen": ("frozen by torch.jit.freeze", "TorchScript"),
    "exported": ("made by torch.export", "metaclass"),
    "slots": ("state in __slots__ of Slotted", "state in __slots__ of Slotted"),
    "dynamically quantized": (r"net\.4 is a Linear, which is quantized", None),
    "quantized": (r"net\.0 is a Quantize, which is quantized", None),
}  # by fit, and by optimize


@pytest.mark.parametrize("form", ALL)
def test_fit_trains_it_or_says_what_to_give(form):
    net, data = ALL[form](), cs.data.load("digits")
    flags = state(net)[0]
    text = REFUSED.get(form, (None,))[0]
    if text is None:
        run = cs.fit(net, data, epochs=1, listeners=())
        assert run.history[0]["train_loss"] < 2.3  # below that of guessing
        return
    with pytest.raises(ArgumentError, match=f"^fit: .*{text}.*(Give|Train|Remove)"):
        cs.fit(net, data, epochs=1, listeners=())
    assert state(net)[0] == flags


@pytest.mark.parametrize("form", ALL)
def test_optimize_gives_what_the_network_gives_or_says_what_to_give(form):
    net = ALL[form]()
    text = REFUSED.get(form, (None, None))[1]
    if text is not None:
        with pytest.raises(ArgumentError, match=f"^optimize: .*{text}"):
            cs.optimize(net, SIZE, batch_size=2)
        return
    fast = cs.optimize(net, SIZE, batch_size=2, training=False)
    net.eval()
    torch.testing.assert_close(outputs(fast.eval()), outputs(net), rtol=1e-4, atol=1e-5)


def test_scripted_networks_are_trained_as_a_layer_of_another():
    net = nn.Sequential(torch.jit.script(special_networks.plain()))
    run = cs.fit(net, cs.data.load("digits"), epochs=1, listeners=())
    assert run.history[0]["train_loss"] < 2.3


def test_the_test_notices_a_flag_that_is_changed():
    net = special_networks.plain()
    before = state(net)
    net[1].eval()
    assert state(net)[0] != before[0]
