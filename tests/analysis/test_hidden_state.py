"""After ``check`` and ``summary`` a network computes what it did, wherever it hides."""

import functools
import random
import types
import weakref
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import check, exact_ranges, summary
from convscope.analysis.tracing.trace import trace
from convscope.errors import ShapeError

SIZE = (3, 8, 8)
KEPT = {}  # a global that a forward writes into
LAST = None
STORE = types.SimpleNamespace(last=None)


class Hiding(nn.Module):
    """A convolution whose forward keeps its output somewhere and adds the last one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.setup()

    def setup(self):
        pass

    def forward(self, x):
        last, now = self.take(), self.conv(x)
        self.keep(now)
        return now if last is None or last.shape != now.shape else now + last


class InHelper(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(last=None)

    def take(self):
        return self.helper.last

    def keep(self, now):
        self.helper.last = now


class Slotted:
    __slots__ = ("last",)


class InSlots(InHelper):
    def setup(self):
        self.helper = Slotted()
        self.helper.last = None


class InListOfHelper(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(seen=[], queue=deque(maxlen=2))

    def take(self):
        return self.helper.seen[-1] if self.helper.seen else None

    def keep(self, now):
        self.helper.seen.append(now)
        self.helper.queue.append(now)


class InClosure(Hiding):
    def setup(self):
        last = None

        def swap(new=None):
            nonlocal last
            if new is not None:
                last = new
            return last

        self.take = self.keep = swap


class InHook(Hiding):
    def setup(self):
        cache = {}
        self.conv.register_forward_hook(lambda m, a, out: cache.update(last=out))
        self.take = lambda: cache.get("last")

    def forward(self, x):
        last, now = self.take(), self.conv(x)
        return now if last is None or last.shape != now.shape else now + last


class InGlobalDict(Hiding):
    def take(self):
        return KEPT.get(id(type(self)))

    def keep(self, now):
        KEPT[id(type(self))] = now


class InGlobalName(Hiding):
    def take(self):
        return LAST

    def keep(self, now):
        global LAST
        LAST = now


class InGlobalObject(Hiding):
    def take(self):
        return STORE.last

    def keep(self, now):
        STORE.last = now


class InClass(Hiding):
    last = None

    def take(self):
        return type(self).last

    def keep(self, now):
        type(self).last = now


class InDefault(Hiding):
    def take(self, held=[None]):  # noqa: B006  # what is tried
        return held[0]

    def keep(self, now):
        type(self).take.__defaults__[0][0] = now


class InCache(Hiding):
    def setup(self):
        @functools.lru_cache
        def grid(length, device):
            return torch.ones(length, device=device)

        self.grid = grid

    def forward(self, x):
        out = self.conv(x)
        return out * self.grid(out.shape[-1], x.device)


class InTensor(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(total=torch.zeros(4, 6, 6))

    def forward(self, x):
        self.helper.total += 1
        self.helper.total.add_(self.conv(x)[0])
        return self.conv(x) * self.helper.total.detach()


class InWeights(Hiding):
    """Writes its own weights in place, and needs values."""

    def forward(self, x):
        with torch.no_grad():
            self.conv.weight.mul_(0.5)
        return self.conv(x) * float(self.conv.weight.sum().item() != 0)


class InModuleOutside(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(norm=nn.BatchNorm2d(4))

    def forward(self, x):
        return self.helper.norm(self.conv(x))


class InGenerators(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(
            numbers=np.random.default_rng(0), seed=torch.Generator(), python=random
        )

    def forward(self, x):
        drawn = self.helper.numbers.random() + random.random()
        noise = torch.rand(1, generator=self.helper.seed)
        return self.conv(x) * drawn + noise.to(x.device)


class InArray(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(counts=np.zeros(3))

    def forward(self, x):
        self.helper.counts += 1
        return self.conv(x) * float(self.helper.counts[0])


class InWeakTable(Hiding):
    def setup(self):
        self.helper = types.SimpleNamespace(table=weakref.WeakKeyDictionary())

    def take(self):
        return self.helper.table.get(self.conv)

    def keep(self, now):
        self.helper.table[self.conv] = now


class InItself(Hiding):
    """Reaches the module through an object that knows it."""

    def setup(self):
        self.last = None
        self.helper = types.SimpleNamespace(owner=[self])

    def take(self):
        return self.helper.owner[0].last

    def keep(self, now):
        self.helper.owner[0].last = now


WAYS = [
    InHelper, InSlots, InListOfHelper, InClosure, InHook, InGlobalDict, InGlobalName,
    InGlobalObject, InClass, InDefault, InCache, InTensor, InWeights, InModuleOutside,
    InGenerators, InArray, InWeakTable, InItself,
]  # fmt: skip


def outputs(way, ask, times=3):
    """What a network says when it is called, each time after ``ask`` of another."""
    global LAST
    KEPT.clear()
    LAST = STORE.last = InClass.last = None
    InDefault.take.__defaults__[0][0] = None
    torch.manual_seed(0)
    random.seed(0)
    net, said = way(), []
    x = torch.rand(2, *SIZE)
    for _ in range(times):
        ask(net)
        said.append(net(x).detach().clone())
    ask(net)
    return torch.stack(said)


ASKED = {
    "check": lambda net: check(net, SIZE),
    "summary": lambda net: summary(net, SIZE, training=net.training),
    "ranges": lambda net: exact_ranges(net, SIZE),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ASKED)
def test_a_network_computes_what_it_did(way, name):
    assert torch.equal(outputs(way, ASKED[name]), outputs(way, lambda net: None))


def test_the_pass_with_values_writes_nothing():
    net = InWeights()
    before, version = net.conv.weight.detach().clone(), net.conv.weight._version
    trace(net, _inputs(), values=True)
    assert torch.equal(net.conv.weight, before)
    assert net.conv.weight._version == version


def test_gradients_modes_and_hooks_stay():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[1].eval()
    net(torch.rand(2, *SIZE)).sum().backward()
    grads = [p.grad.clone() for p in net.parameters()]
    states = {k: v.clone() for k, v in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    check(net, SIZE)
    summary(net, SIZE)
    assert all(
        torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True)
    )
    assert all(torch.equal(v, states[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_the_test_rejects_a_pass_that_leaves_its_state(monkeypatch):
    from convscope.analysis.tracing.preserve import Snapshot

    monkeypatch.setattr(Snapshot, "restore", lambda self: None)
    with pytest.raises((RuntimeError, AssertionError, ShapeError)):
        test_a_network_computes_what_it_did(InHelper, "check")


def _inputs():
    from convscope.analysis.inputs import sized_inputs

    return sized_inputs(SIZE, where="test")


class Number:
    __slots__ = ("digits",)


class Constant(Number):
    """A slot with a property before it that only gives, as mpmath's constants have."""

    @property
    def digits(self):
        return tuple(range(3, 5))  # another one each time


class Measured(nn.Conv2d):
    number = Constant()

    def forward(self, x):
        return super().forward(x) * self.number.digits[0]


def test_a_property_before_a_slot_is_not_written_to():
    assert summary(Measured(3, 4, 3), SIZE).multiply_adds == 27 * 4 * 36
