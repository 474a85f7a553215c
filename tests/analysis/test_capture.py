"""`capture` against hooks and autograd of plain torch, and what it leaves behind."""

import copy
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import convscope as cs
from convscope.analysis.capturing import forward
from convscope.errors import ArgumentError, ShapeError, UnknownNameError


class Block(nn.Module):
    """Everything that is awkward: functions, reuse, in-place, branches, a dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(8, 4, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        a = self.act(self.norm(self.conv(x)))
        b = F.relu(self.conv(x), inplace=True)
        c = torch.cat([a, b], 1)
        d = self.act(self.mix(c))
        e = torch.max_pool2d(d + a, 2)
        e += 1
        return {"logits": self.head(self.drop(F.relu(e).mean((2, 3)))), "maps": (d, e)}


def block():
    torch.manual_seed(0)
    net = Block()
    net.norm.running_mean.uniform_(-1, 1)
    return net


def images(n=3):
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


LABELS = [
    "conv", "norm", "act", "conv:2", "relu_1", "cat_1", "mix", "act:2", "add_1",
    "max_pool2d_1", "add_2", "relu_2", "mean_1", "drop", "head",
]  # fmt: skip


def test_every_layer_and_function_has_a_label_of_its_own():
    assert list(cs.capture(block(), images())) == LABELS


def test_the_summary_has_the_same_labels():
    rows = cs.summary(block(), (2, 6, 6)).layers
    assert [row.label for row in rows] == LABELS


def test_values_are_those_before_anything_overwrites_them():
    net, x = block().eval(), images()
    found = cs.capture(net, x)
    with torch.no_grad():
        conv = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
        norm = F.batch_norm(
            conv, net.norm.running_mean, net.norm.running_var, net.norm.weight,
            net.norm.bias,
        )  # fmt: skip
        a, b = norm.relu(), conv.relu()
        mixed = F.conv2d(torch.cat([a, b], 1), net.mix.weight, net.mix.bias)
        d = mixed.relu()
        pooled = F.max_pool2d(d + a, 2)
        features = (pooled + 1).relu().mean((2, 3))
        logits = F.linear(features, net.head.weight, net.head.bias)
    expected = {
        "conv": conv, "norm": norm, "act": a, "conv:2": conv, "relu_1": b,
        "cat_1": torch.cat([a, b], 1), "mix": mixed, "act:2": d, "add_1": d + a,
        "max_pool2d_1": pooled, "add_2": pooled + 1, "relu_2": (pooled + 1).relu(),
        "mean_1": features, "drop": features, "head": logits,
    }  # fmt: skip
    for label, value in expected.items():
        torch.testing.assert_close(found[label].output, value, msg=label)
    torch.testing.assert_close(found.output["logits"], logits)


def test_inputs_are_those_that_a_layer_took_also_where_it_overwrites_them():
    found = cs.capture(block(), images(), layer_inputs=True)
    torch.testing.assert_close(found["act"].inputs[0], found["norm"].output)
    torch.testing.assert_close(found["relu_1"].inputs[0], found["conv:2"].output)
    assert len(found["cat_1"].inputs) == 2
    assert cs.capture(block(), images())["act"].inputs is None


def gradients_by_hand(net, x, loss):
    """Autograd with every value in a name of its own, nothing in place."""
    conv = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
    again = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
    norm = net.norm(conv)
    a, b = norm.relu(), again.relu()
    cat = torch.cat([a, b], 1)
    mixed = net.mix(cat)
    d = mixed.relu()
    added = d + a
    pooled = F.max_pool2d(added, 2)
    head = net.head((pooled + 1).relu().mean((2, 3)))
    values = {
        "conv": conv, "norm": norm, "act": a, "conv:2": again, "relu_1": b,
        "cat_1": cat, "mix": mixed, "act:2": d, "add_1": added,
        "max_pool2d_1": pooled, "head": head,
    }  # fmt: skip
    slopes = torch.autograd.grad(loss(head), list(values.values()))
    return dict(zip(values, slopes, strict=True))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_are_those_of_autograd_also_of_values_overwritten(frozen):
    net, x = block().eval(), images()
    net.drop.p = 0.0
    expected = gradients_by_hand(net, x, lambda y: y[:, 1].sum())
    net.requires_grad_(not frozen)
    found = cs.capture(
        net, x, gradients=True, target=lambda output: output["logits"][:, 1].sum()
    )
    for label, slope in expected.items():
        torch.testing.assert_close(found[label].gradient, slope, msg=label)


def test_targets_are_a_class_a_class_each_an_element_or_a_function():
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.randn(2, 4)
    one = cs.capture(net, x, "1", gradients=True, target=2)["1"].gradient
    assert one.tolist() == [[0, 0, 1], [0, 0, 1]]
    each = cs.capture(net, x, "1", gradients=True, target=torch.tensor([0, 2]))
    assert each["1"].gradient.tolist() == [[1, 0, 0], [0, 0, 1]]
    mean = cs.capture(net, x, "1", gradients=True, target=torch.mean)
    assert mean["1"].gradient.tolist() == [[pytest.approx(1 / 6)] * 3] * 2
    maps = nn.Conv2d(1, 2, 1)
    spot = cs.capture(
        maps, torch.ones(1, 1, 2, 2), "", gradients=True, target=(1, 0, 1)
    )
    assert spot[""].gradient.nonzero().tolist() == [[0, 1, 0, 1]]


def state_of(net):
    """All that a pass could change, as it can be compared."""
    tensors = [*net.parameters(), *net.buffers()]
    slopes = [p.grad for p in net.parameters()]
    generators = (random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "hooks": [[len(vars(m)[kind]) for kind in hooks] for m in net.modules()],
        "modes": [m.training for m in net.modules()],
        "tensors": {n: t.detach().clone() for n, t in net.state_dict().items()},
        "identities": [id(t) for t in tensors],
        "versions": [t._version for t in tensors],
        "gradients": [None if slope is None else slope.clone() for slope in slopes],
        "trainable": [p.requires_grad for p in net.parameters()],
        "attributes": [sorted(m.__dict__) for m in net.modules()],
        "random": (torch.get_rng_state(), *generators),
    }


def same(before, after):
    def equal(a, b):
        if type(a) is not type(b):
            return False
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        if isinstance(a, np.ndarray):
            return np.array_equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(equal, a, b))
        return a == b

    return [name for name in before if not equal(before[name], after[name])]


def in_use():
    """A network in the middle of its work, partly frozen, with gradients and hooks."""
    net = block().train()
    net.mix.eval()
    net.mix.weight.requires_grad_(False)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    net.norm.register_forward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_as_before(training):
    net, x = in_use(), images()
    before, given = state_of(net), x.clone()
    cs.capture(
        net, x, layer_inputs=True, gradients=True, training=training,
        target=lambda output: output["logits"].sum(),
    )  # fmt: skip
    assert same(before, state_of(net)) == []
    assert torch.equal(x, given)
    assert not x.requires_grad


class Failing(nn.Module):
    def forward(self, x):
        torch.rand(3)
        raise KeyError("from the user's code")


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_as_before_after_an_exception(training):
    net = nn.Sequential(in_use().norm, nn.Dropout(), Failing())
    x = torch.randn(2, 4, 3, 3)
    before = state_of(net)
    with pytest.raises(KeyError, match="from the user's code"):
        cs.capture(net, x, training=training)
    with pytest.raises(UnknownNameError):
        cs.capture(net[:2], x, "nothing", training=training)
    assert same(before, state_of(net)) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda net: net.norm.running_mean.add_(1), "tensors"),
        (lambda net: net.act.register_forward_hook(lambda *_: None), "hooks"),
        (lambda net: net.mix.train(), "modes"),
        (lambda net: net.conv.weight.requires_grad_(False), "trainable"),
        (lambda net: setattr(net.head.weight, "grad", None), "gradients"),
        (lambda net: torch.rand(1), "random"),
        (lambda net: setattr(net, "cache", 1), "attributes"),
    ],
)
def test_a_change_would_be_noticed(change, what):
    net = in_use()
    before = state_of(net)
    change(net)
    assert what in same(before, state_of(net))


class Writing(nn.Module):
    """Writes into its own weight, into its input, and into a list of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, -1.0]))
        self.seen = []

    def forward(self, x):
        with torch.no_grad():
            self.weight.clamp_(0, 1)
        self.seen.append(x)
        return x.mul_(2) * self.weight


def test_what_a_forward_writes_into_is_put_back():
    net, x = Writing(), torch.ones(1, 2)
    found = cs.capture(net, x)
    assert found["mul_2"].output.tolist() == [[2, 0]]
    assert net.weight.tolist() == [3, -1]
    assert net.seen == []
    assert x.tolist() == [[1, 1]]


def test_in_training_it_draws_what_the_network_would_draw():
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(20)).train()
    x = torch.randn(6, 20)
    found = cs.capture(net, x, training=True)
    torch.testing.assert_close(found["1"].output, net(x))
    assert torch.equal(cs.capture(net, x)["0"].output, x)


def test_memory_is_that_of_what_was_asked_for(monkeypatch):
    copied, kept = [], forward._kept
    monkeypatch.setattr(forward, "_kept", lambda t: copied.append(t.shape) or kept(t))
    cs.capture(block(), images(), "head")
    assert copied == [(3, 3)]
    cs.capture(block(), images(), "head", layer_inputs=True)
    assert copied == [(3, 3), (3, 4), (3, 3)]


def test_paths_globs_types_modules_and_labels_choose():
    net, x = block(), images()
    convs = ["conv", "conv:2", "mix"]
    assert list(cs.capture(net, x, nn.Conv2d)) == convs
    assert list(cs.capture(net, x, "conv")) == ["conv", "conv:2"]
    assert list(cs.capture(net, x, "conv:2")) == ["conv:2"]
    assert list(cs.capture(net, x, net.mix)) == ["mix"]
    assert list(cs.capture(net, x, ["relu_*", nn.Linear])) == [
        "relu_1",
        "relu_2",
        "head",
    ]
    assert list(cs.capture(net, x, "")) == [""]
    resnet = cs.models.build("resnet18", num_classes=2)
    maps = torch.randn(1, 3, 32, 32)
    assert list(cs.capture(resnet, maps, "layer?")) == [
        f"layer{i}" for i in range(1, 5)
    ]
    adds = list(cs.capture(resnet, maps, "*.add_1"))
    assert adds == [f"layer{i}.{j}.add_1" for i in range(1, 5) for j in range(2)]
    inner = list(cs.capture(resnet, maps, "layer1.0.*"))
    assert inner[0] == "layer1.0.conv1"
    assert "layer1.0" not in inner


def test_a_function_does_not_take_the_label_of_a_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu_1 = nn.ReLU()

        def forward(self, x):
            return torch.relu(self.relu_1(x))

    assert list(cs.capture(Net(), torch.ones(1, 2))) == ["relu_1", "relu_2"]


def test_a_layer_reachable_by_two_paths_is_found_by_both():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = nn.Linear(2, 2)

        def forward(self, x):
            return self.b(self.a(x))

    found = cs.capture(Tied(), torch.ones(1, 2), "b")
    assert list(found) == ["a", "a:2"]


def test_several_inputs_come_in_order_or_by_name():
    class Two(nn.Module):
        def forward(self, left, right):
            return left - right

    left, right = torch.ones(1, 3), torch.zeros(1, 3)
    for inputs in ((left, right), [left, right], {"right": right, "left": left}):
        assert cs.capture(Two(), inputs)["sub_1"].output.tolist() == [[1, 1, 1]]
    array = np.ones((1, 3), dtype=np.float32)
    assert cs.capture(nn.ReLU(), array)[""].shape == (1, 3)


def test_gradients_are_there_also_within_inference_mode():
    net, x = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), torch.ones(3, 2)
    with torch.inference_mode():
        found = cs.capture(net, x, gradients=True, target=1)
        assert torch.is_inference_mode_enabled()
    assert found["1"].gradient.tolist() == [[0, 1]] * 3


def test_a_checkpointed_layer_is_captured_once_and_has_its_gradient():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.out(checkpoint(self.fc, x, use_reentrant=False).tanh())

    net, x = Net(), torch.randn(2, 3)
    found = cs.capture(net, x, gradients=True, target=0)
    hidden = net.fc(x)
    (slope,) = torch.autograd.grad(net.out(hidden.tanh())[:, 0].sum(), hidden)
    torch.testing.assert_close(found["fc"].gradient, slope)
    assert list(found) == ["fc", "tanh_1", "out"]


def test_what_has_no_graph_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fixed, self.fc = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            with torch.no_grad():
                y = self.fixed(x)
            return self.fc(y)

    found = cs.capture(Net(), torch.ones(1, 3), gradients=True, target=0)
    assert found["fixed"].gradient is None
    assert found.notes == ("computed without a graph, hence without a gradient: fixed",)


def test_an_optimized_network_gives_the_same_layers():
    net, x = cs.models.build("lenet5"), torch.randn(2, 1, 32, 32)
    fast = cs.optimize(net, (1, 32, 32), batch_size=2)
    found, plain = cs.capture(fast, x), cs.capture(net, x)
    assert list(found) == list(plain)
    torch.testing.assert_close(found["11"].output, fast.eval()(x), rtol=1e-4, atol=1e-5)
    assert "layer by layer" in found.notes[0]


def test_an_optimized_network_whose_class_has_arguments_is_looked_into_too():
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(1, width, 3)

        def forward(self, x):
            return self.conv(x)

    fast = cs.optimize(Net(3), (1, 8, 8), batch_size=2)
    assert cs.summary(fast, (1, 8, 8)).parameters == 30
    assert list(cs.capture(nn.Sequential(fast), torch.ones(1, 1, 8, 8))) == ["0.conv"]


def test_a_compiled_network_is_captured_as_it_was_before():
    net, x = block(), images()
    compiled = nn.Sequential()
    compiled.add_module("body", torch.compile(net, backend="eager"))
    found = cs.capture(compiled, x, ["body.conv", net.mix])
    assert list(found) == ["body.conv", "body.conv:2", "body.mix"]
    assert "torch.compile" in found.notes[0]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_network_is_refused_by_name():
    net = nn.Sequential(nn.ReLU(), torch.jit.script(nn.ReLU()))
    text = (
        "capture: net.1 is compiled by TorchScript, which hides its layers. Give the "
        "network that it was made from."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        cs.capture(net, torch.ones(1))


def refused(text, *args, kind=ArgumentError, **kwargs):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        cs.capture(*args, **kwargs)


def test_a_layer_that_is_not_there_is_refused_with_the_nearest():
    refused(
        "unknown layer 'cnov'. Did you mean 'conv'?", block(), images(), "cnov",
        kind=UnknownNameError,
    )  # fmt: skip
    with pytest.raises(UnknownNameError, match="Did you mean 'relu_1'"):
        cs.capture(block(), images(), "relu_11")


def test_a_glob_or_type_that_matches_nothing_is_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    called = "Called are '0', '1'."
    refused(f"capture: layers='features.*' matches no layer. {called}", net, torch.ones(1, 2), "features.*")  # fmt: skip  # noqa: E501
    refused(f"capture: layers='Conv2d' matches no layer. {called}", net, torch.ones(1, 2), nn.Conv2d)  # fmt: skip  # noqa: E501


def test_a_layer_that_is_never_called_is_refused():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].unused = nn.ReLU()
    refused(
        "capture: layers='0.unused' is a module that forward does not call here. "
        "Called are '0'.",
        net, torch.ones(1, 2), "0.unused",
    )  # fmt: skip


def test_a_wrong_input_size_is_refused_in_the_words_of_check():
    net = cs.models.build("lenet5")
    with pytest.raises(ShapeError) as theirs:
        cs.check(net, (1, 30, 30))
    refused(str(theirs.value), net, torch.zeros(2, 1, 30, 30), kind=ShapeError)


def test_inputs_without_a_batch_axis_or_of_another_type_are_refused():
    net = cs.models.build("lenet5")
    refused(
        "capture: inputs of shape (1, 32, 32) have no batch axis. Give "
        "inputs.unsqueeze(0).",
        net, torch.zeros(1, 32, 32), kind=ShapeError,
    )  # fmt: skip
    refused(
        "capture: inputs are of type torch.float64, the network's weights "
        "torch.float32. Give inputs.to(torch.float32).",
        net, torch.zeros(1, 1, 32, 32).double(),
    )  # fmt: skip
    refused(
        "capture: inputs hold str. Give a tensor (N, C, ...), a tuple of them for "
        "several inputs, or a dict for inputs by name.",
        net, "photo.png",
    )  # fmt: skip


def test_targets_outside_the_output_are_refused():
    net, x = nn.Sequential(nn.Linear(2, 3)), torch.ones(2, 2)
    refused(
        "capture: target=3 is outside the output of shape (3,). Use 0 to 2.",
        net, x, gradients=True, target=3,
    )  # fmt: skip
    refused(
        "capture: target=None is not clear: the output has shape (2, 3). Give a class, "
        "such as target=0, or a function of the output that gives one number.",
        net, x, gradients=True,
    )  # fmt: skip
    refused("capture: target=1 is for gradients. Add gradients=True.", net, x, target=1)
    refused(
        "capture: the network returns 3 tensors. Give as target a function of its "
        "output that gives one number.",
        block(), images(), gradients=True, target=0,
    )  # fmt: skip


def test_the_record_is_json_and_a_table():
    found = cs.capture(block(), images(), layer_inputs=True, gradients=True,
                       target=lambda output: output["logits"].sum())  # fmt: skip
    record = found.to_dict(arrays=True)
    assert record["layers"][0]["outputs"][0]["shape"] == [3, 4, 6, 6]
    values = torch.tensor(record["layers"][0]["outputs"][0]["values"])
    torch.testing.assert_close(values, found["conv"].output)
    assert "values" not in found.to_dict()["layers"][0]["outputs"][0]
    lines = str(found).splitlines()
    assert lines[0] == "Block in evaluation: 15 calls"
    assert lines[1].split() == ["layer", "kind", "shape", "min", "mean", "max", "zeros", "gradient"]  # fmt: skip  # noqa: E501
    with pytest.raises(UnknownNameError):
        found["nothing"]
    assert found.get("nothing") is None


def test_a_network_without_weights_is_refused():
    with torch.device("meta"):
        net = nn.Linear(2, 2)
    refused(
        "capture: the network has layers without weights. Build it on a device, and "
        "call it once if it has lazy layers.",
        net, torch.ones(1, 2),
    )  # fmt: skip
    lazy = nn.LazyLinear(2)
    with pytest.raises(ArgumentError, match="lazy layers"):
        cs.capture(lazy, torch.ones(1, 2))
    assert copy.deepcopy(lazy).has_uninitialized_params()
