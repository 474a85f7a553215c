"""Whatever is changed on a network or on its optimized view, both compute the same.

Every change is made on the one or on the other, before and after the first call; then
the fast outputs and gradients are compared with those of the plain network.
"""

import copy
import pickle
import re
import threading
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from convscope import kernels
from convscope.errors import ArgumentError
from convscope.execution import (
    Inputs,
    Optimized,
    Setting,
    compare_settings,
    optimize,
    optimized,
)

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


def test_another_thread_that_calls_the_network_gets_the_plain_way(monkeypatch):
    net = made("row").eval()
    expected = net(images())
    main, inside, go_on = threading.current_thread(), threading.Event(), []
    joined, done, real = set(), threading.Event(), optimized.compute_row

    def noting(*arguments):
        joined.add(threading.current_thread())
        return real(*arguments)

    def wait(module, arguments):
        if threading.current_thread() is main:
            inside.set()
            assert done.wait(30)

    def other():
        assert inside.wait(30)
        go_on.append(net(images()))
        done.set()

    monkeypatch.setattr(optimized, "compute_row", noting)
    net[6].register_forward_pre_hook(wait)
    thread = threading.Thread(target=other)
    thread.start()
    y = Optimized(net, WAYS["chains"])(images())
    thread.join()
    assert joined == {main}
    assert "forward" not in net.__dict__
    assert torch.equal(go_on[0], expected)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


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


@dataclass
class Found:
    maps: torch.Tensor
    scores: dict
    best: torch.Tensor | None = None


class Outputs(nn.Module):
    """Several inputs, and everything that a network may give."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(512, 3)

    def forward(self, x, *more, scale=1.0, form="tensor"):
        maps = self.body(x) * scale
        scores = self.head(maps.flatten(1))
        for each in more:
            scores = scores + each
        best, spectrum = scores.argmax(1), torch.fft.fft(scores.float())
        return {
            "tensor": scores, "maps": maps, "none": None, "number": 3,
            "integers": best, "complex": spectrum, "double": scores.double(),
            "tuple": (scores, best), "list": [maps, None, "word"],
            "dict": {"scores": scores, "deep": {"maps": maps}},
            "dataclass": Found(maps, {"scores": scores}, best),
            "named tuple": torch.max(scores, 1),
            "distribution": torch.distributions.Categorical(logits=scores.float()),
        }[form]  # fmt: skip


FORMS = (
    "tensor", "maps", "none", "number", "integers", "complex", "double", "tuple",
    "list", "dict", "dataclass", "named tuple", "distribution",
)  # fmt: skip


def same_structure(found, expected, path=""):
    """Types, number formats, layouts and values, within bfloat16."""
    assert type(found) is type(expected), path
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype, path
        assert found.stride() == expected.stride(), path
        if expected.is_floating_point() or expected.is_complex():
            size = expected.abs().max().item()
            torch.testing.assert_close(found, expected, rtol=0, atol=0.1 * size + 1e-6)
    elif isinstance(expected, dict):
        for key in expected:
            same_structure(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, tuple | list):
        for i, pair in enumerate(zip(found, expected, strict=True)):
            same_structure(*pair, f"{path}[{i}]")
    elif hasattr(expected, "__dict__"):
        for key in vars(expected):
            same_structure(vars(found)[key], vars(expected)[key], f"{path}.{key}")
    else:
        assert found == expected, path


HALF = Setting(CPU, "bfloat16", True, kernels=True)


@pytest.mark.parametrize("setting", [*WAYS.values(), HALF], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_of_the_networks_own_kind(form, setting):
    torch.manual_seed(0)
    net = Outputs()
    more = {"scale": 2.0, "form": form}
    found = Optimized(net, setting)(images(), torch.ones(3), **more)
    same_structure(found, net(images(), torch.ones(3), **more))


def test_a_structure_with_another_number_format_is_noticed():
    with pytest.raises(AssertionError):
        same_structure([torch.ones(2).bfloat16()], [torch.ones(2)])


@pytest.mark.parametrize("form", FORMS)
def test_any_network_can_be_measured(form):
    class One(Outputs):
        def forward(self, x):
            return super().forward(x, form=form)

    fast = optimize(One(), (2, 8, 8), batch_size=4)
    y = fast(images())
    assert (y is None) == (form == "none")


@pytest.mark.parametrize("setting", [*WAYS.values(), HALF], ids=str)
def test_a_network_in_its_own_number_format_keeps_it(setting):
    for dtype in (torch.float64, torch.bfloat16):
        net = made("row").to(dtype)
        y = Optimized(net, setting)(images().to(dtype))
        assert y.dtype == dtype


@pytest.mark.parametrize("setting", [*WAYS.values(), HALF], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_outer_autocast_is_respected(dtype, setting):
    net = made("row")
    seen = []
    net[3].register_forward_hook(lambda module, inputs, y: seen.append(y.dtype))
    with torch.autocast("cpu", dtype):
        y = Optimized(net, setting)(images())
        expected = net(images())
    assert seen == [dtype, dtype]
    assert y.dtype == expected.dtype


def test_weights_stay_in_their_layout():
    safetensors = pytest.importorskip("safetensors.torch")
    net = made("user")
    before = {name: x.stride() for name, x in net.state_dict().items()}
    fast = optimize(net, (2, 8, 8), batch_size=4)
    for view in (fast, Optimized(net, HALF)):
        view(images()).sum().backward()
    assert {name: x.stride() for name, x in net.state_dict().items()} == before
    assert safetensors.save(net.state_dict())
    vector = nn.utils.parameters_to_vector(fast.parameters())
    nn.utils.vector_to_parameters(vector, net.parameters())


def test_an_optimizer_with_a_closure_ends_where_it_does_without():
    ends = []
    for view in (False, True):
        net = made("row")
        net.eval()
        call = Optimized(net, WAYS["chains"]) if view else net
        optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)

        def closure(call=call, optimizer=optimizer):
            optimizer.zero_grad()
            loss = call(images()).square().mean()
            loss.backward()
            return loss

        ends.append(optimizer.step(closure).item())
        ends.append(closure().item())
    assert ends[:2] == pytest.approx(ends[2:], rel=1e-3)


@pytest.mark.parametrize("kind", ["user", "row", "subclass"])
@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_and_its_network_share_one_state(kind, again):
    global Net, Row
    fast = Optimized(made(kind), WAYS["layers"])
    other = again(fast)
    assert isinstance(other, Optimized)
    assert other.setting == fast.setting
    torch.testing.assert_close(other.eval()(images()), fast.eval()(images()))
    other.zero_grad()
    other(images()).sum().backward()
    assert all(p.grad is None for p in fast.parameters())
    both = {"net": made(kind)}
    both["fast"] = Optimized(both["net"], WAYS["layers"])
    both = again(both)
    assert both["fast"].__dict__ is both["net"].__dict__


def test_a_view_of_a_view_is_one_of_the_network():
    net = made("row")
    fast = Optimized(Optimized(net, WAYS["layers"]), WAYS["chains"])
    assert type(fast).__mro__.count(Optimized) == 1
    torch.testing.assert_close(fast(images()), net(images()), rtol=1e-4, atol=1e-5)


def test_the_networks_own_class_may_change():
    """A parametrization of the root gives it another class."""
    for on in ("net", "fast"):
        net = nn.Conv2d(2, 4, 3)
        fast = Optimized(net, WAYS["layers"])
        one = net if on == "net" else fast
        parametrize.register_parametrization(one, "weight", Doubled())
        torch.testing.assert_close(fast.weight, net.weight)
        torch.testing.assert_close(fast(images()), net(images()))
        parametrize.remove_parametrizations(one, "weight")
        torch.testing.assert_close(fast(images()), net(images()))
        assert type(net) is nn.Conv2d


def test_functional_call_takes_other_weights_and_buffers():
    net = made("user")
    fast = Optimized(net, WAYS["chains"])
    other = {name: 0.5 * p.detach() for name, p in net.named_parameters()}
    found = torch.func.functional_call(fast, other, (images(),))
    expected = torch.func.functional_call(net, other, (images(),))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
def test_what_cannot_be_shared_is_refused_by_name():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ArgumentError, match="RecursiveScriptModule, whose layers"):
        optimize(scripted, (2,))

    class Slotted(nn.Module):
        __slots__ = ("hidden",)

    with pytest.raises(ArgumentError, match=r"in __slots__ of Slotted, which cannot"):
        optimize(Slotted(), (2,))

    class Meta(type):
        pass

    class Unusual(nn.Module, metaclass=Meta):
        pass

    with pytest.raises(ArgumentError, match=r"Unusual has the metaclass Meta, so"):
        optimize(Unusual(), (2,))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
def test_scripting_takes_the_network_itself():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    scripted = torch.jit.script(Optimized(net, WAYS["chains"]))
    torch.testing.assert_close(scripted(images()), net(images()))
    traced = torch.jit.trace(Optimized(net, WAYS["chains"]), images())
    torch.testing.assert_close(traced(images()), net(images()))


def test_exporters_and_symbolic_tracing_see_layers():
    net = made("row").eval()
    fast = Optimized(net, WAYS["layers"])
    expected = net(images())
    graph = torch.fx.symbolic_trace(fast)
    torch.testing.assert_close(graph(images()), expected)
    refast = Optimized(graph, WAYS["layers"])
    torch.testing.assert_close(refast(images()), expected)
    exported = torch.export.export(fast, (images(),)).module()
    torch.testing.assert_close(exported(images()), expected)


def test_lazy_layers_get_their_sizes():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3)
    )
    fast = optimize(net, (2, 8, 8), batch_size=4)
    assert net[3].weight.shape == (3, 144)
    assert net[1].num_batches_tracked == 0
    assert differs(fast, copy.deepcopy(net), images()) < 1e-3


def test_networks_that_cannot_be_copied_are_measured_or_run_plainly():
    net = made("row")
    old_weight_norm(net)
    old_spectral_norm(net)
    net(images())
    fast = optimize(net, (2, 8, 8), batch_size=4)
    torch.testing.assert_close(fast(images()), net(images()), rtol=1e-3, atol=1e-4)

    class Locked(Net):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    found = compare_settings(Locked(), (2, 8, 8), batch_size=4, device="cpu")
    assert found.why.startswith("the network cannot be copied to be measured: Type")
    assert not found.setting.kernels


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_computes_what_it_computes_without(reentrant):
    class Checkpointed(Net):
        def forward(self, x):
            x = torch.utils.checkpoint.checkpoint(
                self.features, x, use_reentrant=reentrant
            )
            return self.head(x)

    torch.manual_seed(0)
    net = Checkpointed()
    net.features[5] = nn.ReLU()
    fast = Optimized(net, WAYS["layers"])
    x = images().requires_grad_()
    assert differs(fast, copy.deepcopy(net), x) < 1e-3


def rng():
    return torch.Generator().manual_seed(5)


def smooth(kind):
    """A network without kinks, in evaluation: derivatives of any order exist."""
    net = made(kind).eval()
    for module in list(net.modules()):
        for name, child in module._modules.items():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.GELU())
    return net


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_penalty_trains_as_it_does_with_torch(way, training):
    grads = []
    for view in (True, False):
        net = smooth("row").train(training)
        call = Optimized(net, WAYS[way]) if view else net
        x = images().requires_grad_()
        (slope,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
        (slope.square().sum(1).add(1e-6).sqrt() - 1).square().mean().backward()
        grads.append([p.grad for p in net.parameters() if p.grad is not None])
    size = max(float(g.abs().max()) for g in grads[1])
    for mine, torchs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-3, atol=1e-4 * size)


@pytest.mark.parametrize("way", WAYS)
def test_products_with_the_hessian_are_torchs(way):
    found = []
    for view in (True, False):
        net = smooth("row")
        call = Optimized(net, WAYS[way]) if view else net
        loss = call(images()).square().sum()
        parameters = list(net.parameters())
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        along = sum((g * torch.randn(g.shape, generator=rng())).sum() for g in first)
        found.append(torch.autograd.grad(along, parameters))
    size = max(float(g.abs().max()) for g in found[1])
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-3, atol=1e-4 * size)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
def test_transforms_of_functions_get_torchs_own_operations(way):
    net = smooth("row")
    fast = Optimized(net, WAYS[way])
    weights = {name: p.detach() for name, p in net.named_parameters()}
    tangent = torch.randn(images().shape, generator=rng())

    def loss(call):
        def one(weights, x):
            return torch.func.functional_call(call, weights, (x[None],)).square().sum()

        return one

    for call in (
        lambda f: torch.func.jvp(f, (images(),), (tangent,)),
        lambda f: torch.func.vjp(f, images())[1](torch.ones(4, 5)),
        lambda f: torch.func.jvp(
            torch.func.grad(lambda x: f(x).square().sum()), (images(),), (tangent,)
        ),
        lambda f: torch.func.vmap(f)(images()[:, None]),
        lambda f: torch.func.hessian(lambda x: f(x).sum())(images(n=1)),
        lambda f: torch.func.vmap(torch.func.grad(loss(f)), (None, 0))(
            weights, images()
        ),
    ):
        torch.testing.assert_close(call(fast), call(net), rtol=1e-4, atol=1e-5)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(images(), tangent)
        found, expected = (
            torch.autograd.forward_ad.unpack_dual(f(dual)) for f in (fast, net)
        )
    torch.testing.assert_close(found.tangent, expected.tangent, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_numbers_and_derivatives_agree_to_the_second_order(way):
    fast = Optimized(smooth("row").double()[:6], WAYS[way])
    x = images(n=1)[..., :4, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(fast, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(fast, (x,))


class Asks(nn.Module):
    """Takes whatever it is given."""

    def __init__(self, form):
        super().__init__()
        self.form, self.words = form, nn.Embedding(9, 4)
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(144, 4)

    def forward(self, *inputs, mask=None, times=1):
        if self.form == "dict":
            x, words = inputs[0]["x"], inputs[0]["words"]
        elif self.form == "list":
            x, words = inputs[0]
        else:
            x, words = inputs
        y = self.head(self.body(x)) + self.words(words)
        return times * (y if mask is None else y * mask)


WORDS = torch.arange(4)
ASKED = {
    "dict": {"x": images(), "words": WORDS},
    "list": [images(), WORDS],
    "tuple": (images(), WORDS),
    "named": Inputs((images(), WORDS), {"mask": torch.ones(4), "times": 2}),
}


@pytest.mark.parametrize("form", ASKED)
def test_inputs_of_any_structure_are_taken(form):
    net = Asks(form)
    given = ASKED[form]
    fast = optimize(net, example_inputs=given)
    args = given if form == "tuple" else (given,)
    named = {}
    if form == "named":
        args, named = given
    torch.testing.assert_close(
        fast(*args, **named), net(*args, **named), rtol=1e-4, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_inputs_are_drawn_in_the_networks_own_number_format(dtype):
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 3)).to(dtype)
    found = compare_settings(net, (2, 8, 8), batch_size=4, device="cpu", seconds=0.1)
    assert found.why in ("measured", "nothing to choose")
    assert optimize(net, (2, 8, 8), batch_size=4)(images().to(dtype)).dtype == dtype


def test_without_anything_to_measure_with_it_says_what_to_give():
    text = (
        "optimize: there is neither input_shape nor example_inputs to measure with. "
        "Give input_shape=(C, H, W) of one image."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        optimize(nn.Linear(2, 2))


def test_training_leaves_weights_in_torchs_own_order():
    from convscope.execution import give_back, whole_step

    net = made("row")
    WAYS["layers"].place(net)
    assert not net[3].weight.is_contiguous()
    give_back(net)
    assert all(x.is_contiguous() for x in net.state_dict().values())
    whole = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    values = copy.deepcopy(whole.state_dict())
    step = whole_step(whole, WAYS["chains"], (1, 8, 8))
    step(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    assert step.serves()
    whole[0].stride = (2, 2)
    assert not step.serves()
    step.give_back()
    for name, x in whole.state_dict().items():
        assert torch.equal(x, values[name])
        assert x.untyped_storage().nbytes() == x.nbytes
