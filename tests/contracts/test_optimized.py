"""Whatever is changed on a network or on its optimized view, both compute the same.

Every change is made on the one or on the other, before and after the first call; then
the fast outputs and gradients are compared with those of the plain network.
"""

import copy
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from convscope import kernels
from convscope.execution import Optimized, Setting

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no native kernels")

CPU = torch.device("cpu")
WAYS = {
    "chains": Setting(CPU, "float32", False, kernels=True),
    "layers": Setting(CPU, "float32", True, kernels=True),
}


class Net(nn.Module):
    """Rows of layers, used whole, in slices and one by one."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, padding=1), nn.GELU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(16, 5))
        self.temperature, self.calls = 1.0, 0

    def forward(self, x):
        self.calls += 1
        x = self.features[:4](x)
        for layer in self.features[4:7]:
            x = layer(x)
        x = self.features[7:](x)
        return self.head(x) / self.temperature


class Row(nn.Sequential):
    """The same layers, called in a row, of a class of its own without more."""

    def __init__(self):
        net = Net()
        super().__init__(*net.features, *net.head)


def row():
    return nn.Sequential(*Row())


def made(kind):
    torch.manual_seed(0)
    return {"user": Net, "row": row, "subclass": Row}[kind]()


def images(seed=1, n=4):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def layers_of(net):
    """All leaves in order, whatever the network is."""
    return [m for m in net.modules() if not m._modules]


def holder(net, leaf):
    """The container of a leaf, and its name there."""
    for module in net.modules():
        for name, child in module._modules.items():
            if child is leaf:
                return module, name
    raise LookupError


def put(net, place, new):
    owner, name = holder(net, layers_of(net)[place])
    setattr(owner, name, new)


def differs(fast, plain, x):
    """Largest difference of outputs and of gradients, of their largest number.

    A tensor may be all rounding, as the gradient of a bias before batch norm: none is
    taken for smaller than a hundredth of the largest.
    """
    found = []
    for net in (fast, plain):
        net.zero_grad()
        torch.manual_seed(3)
        y = net(x)
        y.square().sum().backward()
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        found.append([y.detach(), *(g.clone() for g in grads)])
    if [t.shape for t in found[0]] != [t.shape for t in found[1]]:
        return float("inf")
    size = max(float(b.abs().max()) for b in found[1]) / 100
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=size))
        for a, b in zip(*found, strict=True)
    )


def weights_in_place(net):
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.1)


def new_weights(net):
    for layer in layers_of(net):
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(layer.weight.detach() * 0.9)


def wider(net):
    conv = layers_of(net)[3]
    conv.weight = nn.Parameter(torch.randn(8, 3, 3, 3) / 5)
    conv.groups = 2


def old_weight_norm(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(layers_of(net)[0])


def old_spectral_norm(net):
    nn.utils.spectral_norm(layers_of(net)[3])


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def scaled(net):
    parametrize.register_parametrization(layers_of(net)[3], "weight", Doubled())


CHANGES = {
    "nothing": lambda net: None,
    "a layer is replaced": lambda net: put(net, 2, nn.AvgPool2d(2)),
    "an activation is replaced": lambda net: put(net, 1, nn.Tanh()),
    "the head is replaced": lambda net: put(net, -1, nn.Linear(16, 9)),
    "padding_mode": lambda net: setattr(layers_of(net)[3], "padding_mode", "circular"),
    "padding_mode and what it needs": lambda net: put(
        net, 3, nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect")
    ),
    "dilation": lambda net: vars(layers_of(net)[3]).update(
        dilation=(2, 2), padding=(2, 2)
    ),
    "stride": lambda net: (
        vars(layers_of(net)[0]).update(stride=(2, 2)),
        vars(layers_of(net)[2]).update(kernel_size=1, stride=1),
    ),
    "padding": lambda net: (
        vars(layers_of(net)[0]).update(padding=(2, 2)),
        vars(layers_of(net)[2]).update(kernel_size=3),
    ),
    "stride as a list": lambda net: setattr(layers_of(net)[0], "stride", [1, 1]),
    "groups": wider,
    "the bias is removed": lambda net: setattr(layers_of(net)[0], "bias", None),
    "the bias is frozen": lambda net: layers_of(net)[0].bias.requires_grad_(False),
    "a bias is given": lambda net: setattr(
        layers_of(net)[3], "bias", nn.Parameter(torch.ones(8))
    ),
    "pooling": lambda net: vars(layers_of(net)[2]).update(kernel_size=3, padding=1),
    "pooling rounds up": lambda net: vars(layers_of(net)[2]).update(
        kernel_size=3, stride=2, ceil_mode=True
    ),
    "gelu": lambda net: setattr(layers_of(net)[8], "approximate", "tanh"),
    "evaluation": lambda net: net.eval(),
    "batch norm evaluates": lambda net: layers_of(net)[4].eval(),
    "batch norm does not track": lambda net: setattr(
        layers_of(net)[4], "track_running_stats", False
    ),
    "batch norm's momentum": lambda net: setattr(layers_of(net)[4], "momentum", None),
    "batch norm's epsilon": lambda net: setattr(layers_of(net)[4], "eps", 0.5),
    "batch norm's statistics": lambda net: (
        net.eval(), layers_of(net)[4].running_var.fill_(3.0),
    ),
    "weights in place": weights_in_place,
    "new weights": new_weights,
    "weights loaded": lambda net: net.load_state_dict(
        {name: 0.5 * x if x.is_floating_point() else x
         for name, x in net.state_dict().items()}
    ),
    "weights assigned": lambda net: net.load_state_dict(
        {name: 0.5 * x if x.is_floating_point() else x
         for name, x in net.state_dict().items()}, assign=True
    ),
    "old weight norm": old_weight_norm,
    "old spectral norm": old_spectral_norm,
    "weight norm": lambda net: parametrizations.weight_norm(layers_of(net)[0]),
    "a parametrization": scaled,
    "pruning": lambda net: prune.l1_unstructured(layers_of(net)[3], "weight", 0.5),
    "a hook that changes": lambda net: layers_of(net)[1].register_forward_hook(
        lambda module, inputs, y: 2 * y
    ),
    "a hook that changes the input": lambda net: layers_of(
        net
    )[3].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,)),
    "a forward of its own": lambda net: setattr(
        layers_of(net)[1], "forward", lambda x: x.sin()
    ),
    "channels last": lambda net: net.to(memory_format=torch.channels_last),
    "another class": lambda net: setattr(layers_of(net)[1], "__class__", nn.Tanh),
}  # fmt: skip


@pytest.mark.parametrize("when", ["before the first call", "after it"])
@pytest.mark.parametrize("on", ["net", "fast"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_holds_for_both(change, way, on, when):
    for kind in ("user", "row"):
        net = made(kind)
        fast = Optimized(net, WAYS[way])
        if when == "after it":
            fast(images())
            fast(images()).sum().backward()
        CHANGES[change](net if on == "net" else fast)
        # Two settings may not compare the same statistics: start from the same ones.
        plain = made(kind)
        CHANGES[change](plain)
        plain.load_state_dict(net.state_dict())
        assert differs(fast, plain, images()) < 1e-3, kind
        for name, buffer in plain.named_buffers():
            if buffer.is_floating_point() and "weight_u" not in name:
                torch.testing.assert_close(
                    net.get_buffer(name), buffer, rtol=1e-4, atol=1e-5
                )


def test_a_plan_that_goes_stale_is_noticed():
    net = made("row")
    stale = copy.deepcopy(net)
    net[3].padding_mode = "circular"
    assert differs(stale, net, images()) > 1e-3


@pytest.mark.parametrize("on", ["net", "fast"])
def test_containers_are_the_same_ones(on):
    net = made("row")
    fast = Optimized(net, WAYS["chains"])
    fast(images())
    one = net if on == "net" else fast
    one[1] = nn.Tanh()
    one.append(nn.Softmax(1))
    del one[4]
    one.insert(0, nn.Dropout(0.0))
    assert [*fast] == [*net]
    assert len(fast) == len(net) == 13
    assert fast[2] is net[2]
    assert differs(fast, copy.deepcopy(net), images()) < 1e-3
    part = fast[:3]
    assert type(part) is nn.Sequential
    assert part[1] is net[1]


def test_attributes_go_both_ways():
    net = made("user")
    fast = Optimized(net, WAYS["chains"])
    fast.temperature = 10
    y = fast(images())
    torch.testing.assert_close(y, net(images()), rtol=1e-4, atol=1e-5)
    net.temperature = 2
    assert fast.temperature == 2
    assert (net.calls, fast.calls) == (2, 2)
    fast.register_buffer("more", torch.ones(1))
    fast.extra = nn.Linear(1, 1)
    assert list(net.state_dict()) == list(fast.state_dict())
    assert net.extra is fast.extra
    del net.extra
    assert not hasattr(fast, "extra")
    assert isinstance(fast, Net)
    assert fast.training is net.training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in fast.parameters())


@pytest.mark.parametrize("on", ["net", "fast"])
@pytest.mark.parametrize("path", ["", "features", "features.3", "features.6", "head"])
def test_hooks_are_called_as_torch_calls_them(path, on):
    def told(view):
        net = made("user")
        fast = Optimized(net, WAYS["layers"])
        called, noted = (fast, fast) if view else (net, net)
        noted = net if on == "net" else noted
        seen = []
        module = noted.get_submodule(path)
        module.register_forward_pre_hook(
            lambda m, args, named: seen.append((type(m).__name__, args[0])),
            with_kwargs=True,
        )
        module.register_forward_hook(lambda m, args, y: seen.append((m is net, y)))
        module.register_full_backward_pre_hook(lambda m, g: seen.append(("pre", g[0])))
        module.register_full_backward_hook(
            lambda m, into, out: seen.append(("full", into[0], out[0]))
        )
        called(images().requires_grad_()).square().sum().backward()
        return seen

    found, expected = told(True), told(False)
    assert len(found) == len(expected)
    for mine, torchs in zip(found, expected, strict=True):
        assert mine[0] == torchs[0]
        for a, b in zip(mine[1:], torchs[1:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
def test_hooks_of_the_old_kind_get_what_torch_gives_them():
    def told(view):
        net = made("row")
        net.pop(1)  # the hook is of the last operation, a linear layer
        seen = []
        net.register_backward_hook(lambda m, into, out: seen.append((into, out)))
        called = Optimized(net, WAYS["chains"]) if view else net
        called(images()).sum().backward()
        return seen

    ((into, out),), ((wanted_into, wanted_out),) = told(True), told(False)
    assert [None if g is None else g.shape for g in into] == [
        None if g is None else g.shape for g in wanted_into
    ]
    torch.testing.assert_close(out, wanted_out)


def test_a_hook_on_every_module_of_the_process_is_called():
    net = made("row")
    fast = Optimized(net, WAYS["chains"])
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, y: seen.append(module)
    )
    try:
        fast(images())
    finally:
        handle.remove()
    assert set(seen) == set(net.modules())


def test_another_thread_that_calls_the_network_gets_the_plain_way():
    net = made("row")
    inside, go_on, done = threading.Event(), threading.Event(), []

    def wait(module, inputs):
        if threading.current_thread() is not main:
            return
        inside.set()
        go_on.wait(5)

    main = threading.current_thread()
    net[-1].register_forward_pre_hook(wait)
    fast = Optimized(net, WAYS["chains"])

    def other():
        inside.wait(5)
        done.append(net(images()).grad_fn.next_functions)
        go_on.set()

    expected = copy.deepcopy(net)
    thread = threading.Thread(target=other)
    thread.start()
    y = fast(images())
    thread.join()
    assert len(done) == 1
    assert "forward" not in net.__dict__
    torch.testing.assert_close(y, expected(images()), rtol=1e-4, atol=1e-5)


def test_many_threads_at_once_compute_the_same_and_leave_nothing():
    net = made("user").eval()
    fast, wrong = Optimized(net, WAYS["layers"]), []
    with torch.no_grad():
        expected = net(images())

    def work(call):
        for _ in range(20):
            with torch.no_grad():
                y = call(images())
            if not torch.allclose(y, expected, rtol=1e-4, atol=1e-5):
                wrong.append(y)

    threads = [threading.Thread(target=work, args=(c,)) for c in (fast, net) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not any("forward" in module.__dict__ for module in net.modules())
