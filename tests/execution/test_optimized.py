"""A network called in a fast way computes what it does, and is itself to everyone."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from convscope import kernels
from convscope.execution import Optimized, Setting
from convscope.execution.description import describe
from convscope.execution.fusion import fused_steps
from convscope.models import build

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no native kernels")

LAST = Setting(torch.device("cpu"), "float32", True, kernels=True)


class Shortcut(nn.Module):
    """A module of the user's own around a sequence, with dropout as a function."""

    def __init__(self, channels):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels, momentum=None),
            nn.GELU(),
        )

    def forward(self, x):
        y = nn.functional.dropout(self.inner(x), 0.5, training=self.training)
        return x + y


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(12), nn.ReLU(),
        Shortcut(12), nn.BatchNorm2d(12, affine=False), nn.MaxPool2d(3, 2, 1),
        nn.Flatten(), nn.Linear(12 * 4 * 4, 4), nn.BatchNorm1d(4),
    )  # fmt: skip


def images(seed=1):
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def step(net, x=None):
    torch.manual_seed(2)
    net(images() if x is None else x).square().mean().backward()


def test_what_is_joined_is_what_the_kernels_serve():
    layers, joined, at = list(network()), [], 0
    for step in fused_steps(describe(layers), LAST.kinds):
        some = layers[at : at + step.length]
        if step.compute is not None:
            joined.append([type(layer).__name__ for layer in some])
        at += step.length
    assert joined == [
        ["MaxPool2d"], ["BatchNorm2d", "ReLU"], ["BatchNorm2d"], ["MaxPool2d"],
        ["BatchNorm1d"],
    ]  # fmt: skip


def test_a_training_step_is_that_of_float64():
    exact = network().double()
    step(exact, images().double())
    plain = LAST.place(network())
    step(plain)
    fast = Optimized(LAST.place(network()), LAST)
    step(fast)
    found = dict(fast.named_parameters())
    for name, expected in exact.named_parameters():
        apart, usual = (
            (each.grad - expected.grad).abs().max()
            for each in (found[name], plain.get_parameter(name))
        )
        # As near as torch's own float32, of which one more or less may be lucky.
        assert apart <= 4 * usual + 1e-5 * expected.grad.abs().max(), name
    for name, expected in exact.named_buffers():
        torch.testing.assert_close(
            fast.get_buffer(name).double(), expected.double(), rtol=1e-5, atol=1e-6
        )


def test_names_parameters_buffers_and_layers_are_the_networks_own():
    net = LAST.place(network())
    fast = Optimized(net, LAST)
    assert list(fast.state_dict()) == list(net.state_dict())
    for mine, own in zip(fast.parameters(), net.parameters(), strict=True):
        assert mine is own
    for mine, own in zip(fast.buffers(), net.buffers(), strict=True):
        assert mine is own
    assert fast.get_submodule("4.inner.1") is net.get_submodule("4.inner.1")


def test_nothing_is_left_in_the_network_after_a_call():
    net = network()
    before = [(type(module), set(module.__dict__)) for module in net.modules()]
    fast = Optimized(net, LAST)
    fast(images())
    with pytest.raises(RuntimeError):
        fast(torch.zeros(1, 5, 16, 16))
    assert [(type(module), set(module.__dict__)) for module in net.modules()] == before


@pytest.mark.parametrize("switch", ["fast", "net"])
def test_training_and_evaluation_switch_for_both(switch):
    net = LAST.place(network())
    fast = Optimized(net, LAST)
    step(fast)  # so that running statistics are those of data
    (fast if switch == "fast" else net).eval()
    with torch.no_grad():
        torch.testing.assert_close(fast(images()), net(images()), rtol=1e-5, atol=1e-5)
    assert not any(module.training for module in (*net.modules(), *fast.modules()))
    (fast if switch == "fast" else net).train()
    assert all(module.training for module in net.modules())


def test_dropout_in_a_module_that_was_copied_follows_the_switch():
    net = LAST.place(network())
    fast = Optimized(net, LAST)
    net.eval()
    with torch.no_grad():
        assert torch.equal(fast(images()), fast(images()))


@pytest.mark.parametrize("path", ["2", "3", "4.inner.1"])
@pytest.mark.parametrize("register_on", ["fast", "net"])
def test_a_hook_sees_its_own_layers_output(path, register_on):
    net = LAST.place(network())
    fast = Optimized(net, LAST)
    seen = {}
    owner = fast if register_on == "fast" else net
    module = owner.get_submodule(path)
    handle = module.register_forward_hook(lambda m, i, y: seen.update(y=y, x=i[0]))
    torch.manual_seed(0)
    before = fast(images()).detach()
    handle.remove()
    torch.manual_seed(0)
    torch.testing.assert_close(fast(images()), before, rtol=1e-4, atol=1e-4)
    layer = copy.deepcopy(net.get_submodule(path))
    torch.testing.assert_close(seen["y"], layer(seen["x"]), rtol=1e-4, atol=1e-4)


def test_a_copy_is_a_network_of_its_own():
    fast = Optimized(LAST.place(network()), LAST)
    twin = copy.deepcopy(fast)
    step(twin)
    assert all(p.grad is None for p in fast.parameters())
    assert all(p.grad is not None for p in twin.parameters())
    twin.eval()
    assert all(module.training for module in fast.modules())


def test_it_can_be_pickled_and_its_weights_loaded_elsewhere():
    fast = Optimized(LAST.place(network()), LAST)
    step(fast)
    back = pickle.loads(pickle.dumps(fast))
    file = io.BytesIO()
    torch.save(fast.state_dict(), file)
    file.seek(0)
    other = network(seed=5)
    other.load_state_dict(torch.load(file))
    for each in (fast, back, other):
        each.eval()
    with torch.no_grad():
        torch.testing.assert_close(back(images()), fast(images()), rtol=0, atol=0)
        torch.testing.assert_close(
            other(images()), fast(images()), rtol=1e-5, atol=1e-5
        )


def test_a_layer_put_in_later_is_computed():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    fast = Optimized(LAST.place(net), LAST)
    fast(images())
    fast.append(nn.Tanh())
    assert fast(images()).max() < 1


def test_input_that_the_kernels_do_not_serve_goes_to_torch():
    net = network().eval()
    fast = Optimized(net, LAST)
    net.double()
    x = images().double()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=0, atol=0)


def test_a_batch_norm_without_running_statistics_uses_the_batch():
    net = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.ReLU())
    fast = Optimized(net.eval(), LAST)
    torch.testing.assert_close(fast(images()), net(images()), rtol=1e-5, atol=1e-5)


def test_an_exporter_sees_layers():
    fast = Optimized(LAST.place(network()).eval(), LAST)
    graph, _ = torch.jit._get_trace_graph(fast, images())
    assert "aten::batch_norm" in str(graph)


def test_a_compiler_takes_it_whole():
    net = nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU())
    fast = Optimized(net, LAST)
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), net(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet9"])
def test_our_own_models_train_the_same(name):
    torch.manual_seed(0)
    net = LAST.place(build(name, width=8))
    other = Optimized(copy.deepcopy(net), LAST)
    x = torch.randn(16, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    step(net, x)
    step(other, x)
    norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    apart = torch.stack([(a.grad - b.grad).norm() for a, b in pairs]).norm()
    # A winner of two numbers that are nearly equal may be the other one.
    assert apart < 1e-2 * norm
