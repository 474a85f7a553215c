"""The contract of every model; its card's numbers are recounted.

Counts are those of the network as published, on torch's meta device, where nothing is
allocated. What must be computed is computed with few channels on the smallest input.
"""

import copy
import functools
import pickle
import re

import pytest
import torch

from convscope.analysis import summary
from convscope.errors import ShapeError
from convscope.models import build, cards, find, options

NAMES = list(cards())
FEW = {"width": 4, "hidden": 8}  # where a model has such an option
OWN = {  # models whose options are of another kind
    "nielsen": {"hidden": (8, 8), "padding": 2},
    "jarrett": {"maps": (20, 8), "padding": 1},
    "mobilenet_v2": {"multiplier": 0.25},
}
BY_AXES = [(name, axes) for name in NAMES for axes in find(name).axes if axes != 2]
PADDED = [name for name in NAMES if "padding_mode" in options(name)]


def few(name):
    """Options that keep every layer of a model and leave it few channels."""
    return OWN.get(name, {key: FEW[key] for key in options(name) if key in FEW})


def small(name, *, num_classes=3, size=None, **more):
    card = find(name)
    size = size or (card.min_size,) * 2
    return build(
        name,
        num_classes=num_classes,
        in_channels=2,
        input_size=size,
        **few(name) | more,
    )


@functools.cache
def shared(name):
    """One small network for all tests that only look, with an input and the output."""
    torch.manual_seed(1)
    net = stirred(small(name)).eval()
    x = torch.randn(2, 2, *(find(name).min_size,) * 2)
    with torch.no_grad():
        return net, x, net(x)


@torch.no_grad()
def stirred(net):
    """Some papers begin with layers of zeros: nothing would go through them."""
    for parameter in net.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
    return net


def expected_shape(name, size):
    return (2, 3, *size) if find(name).task == "segmentation" else (2, 3)


@pytest.mark.parametrize("name", NAMES)
class TestEveryModel:
    def test_counts_are_what_the_card_says(self, name):
        card = find(name)
        with torch.device("meta"):
            net = build(name, num_classes=card.num_classes)
        found = summary(net, card.input_shape)
        assert found.parameters == card.parameters
        assert found.multiply_adds == card.multiply_adds
        assert not found.unreached
        assert not found.uncalled

    def test_one_output_for_each_class(self, name):
        _, x, out = shared(name)
        assert out.shape == expected_shape(name, x.shape[2:])
        assert torch.isfinite(out).all()

    @pytest.mark.parametrize("extra", [(1, 2), (9, 18)])
    def test_it_takes_sizes_from_its_smallest_on(self, name, extra):
        size = tuple(find(name).min_size + more for more in extra)
        net = small(name, size=size).eval()
        with torch.no_grad():
            assert net(torch.zeros(2, 2, *size)).shape == expected_shape(name, size)

    def test_every_weight_gets_a_finite_gradient(self, name):
        torch.manual_seed(2)
        net = stirred(small(name))
        x = torch.randn(4, 2, *(find(name).min_size,) * 2)
        net(x).square().sum().backward()
        trained = [p for p in net.named_parameters() if p[1].requires_grad]
        for path, parameter in trained:
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path
            assert parameter.ndim == 1 or parameter.grad.any(), path

    def test_an_input_below_its_smallest_is_refused(self, name):
        card = find(name)
        if card.min_size == 1:
            return  # there is nothing smaller
        size = (card.min_size - 1, card.min_size + 8)
        better = card.size_for_small
        text = (
            f"{name}: input_size={size} is too small; this model takes images from "
            f"{card.min_size} x {card.min_size} pixels. Resize the images to {better} "
            f"x {better} (size={better}), or take another model."
        )
        with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
            build(name, input_size=size)

    def test_copies_and_loaded_states_compute_the_same(self, name):
        net, x, out = shared(name)
        loaded = small(name)
        loaded.load_state_dict(net.state_dict())
        again = pickle.loads(pickle.dumps(net))
        for other in (copy.deepcopy(net), again, loaded.eval()):
            with torch.no_grad():
                assert torch.equal(other(x), out)
        assert again.built_from == net.built_from

    def test_evaluation_gives_the_same_twice_and_alone(self, name):
        net, x, out = shared(name)
        with torch.no_grad():
            assert torch.equal(net(x), out)
            # another batch size may add in another order, layer after layer
            torch.testing.assert_close(net(x[:1]), out[:1], rtol=1e-3, atol=1e-4)

    def test_channels_last_computes_the_same(self, name):
        net, x, out = shared(name)
        other = copy.deepcopy(net).to(memory_format=torch.channels_last)
        with torch.no_grad():
            found = other(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, out, rtol=1e-3, atol=1e-4)

    def test_the_same_seed_gives_the_same_weights(self, name):
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(small(name).state_dict())
        for key, tensor in states[0].items():
            assert torch.equal(tensor, states[1][key])

    def test_it_knows_what_it_was_built_from(self, name):
        built = shared(name)[0].built_from
        least = find(name).min_size
        assert (built.name, built.input_shape) == (name, (2, least, least))
        assert (built.num_classes, built.options) == (3, few(name))


@pytest.mark.parametrize(("name", "axes"), BY_AXES)
def test_it_is_built_for_signals_and_volumes_too(name, axes):
    card = find(name)
    size = (card.min_size,) * axes
    net = small(name, size=size).eval()
    with torch.no_grad():
        out = net(torch.zeros(2, 2, *size))
    assert out.shape == expected_shape(name, size)
    with torch.device("meta"):
        assert build(name, axes=axes).built_from.input_shape == (
            card.input_shape[0],
            *[card.input_shape[1]] * axes,
        )


@pytest.mark.parametrize("name", PADDED)
def test_other_paddings_change_the_border_and_no_weight(name):
    net, x, out = shared(name)
    other = small(name, padding_mode="partial").eval()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        found = other(x)
    assert found.shape == out.shape
    assert torch.isfinite(found).all()
    assert not torch.equal(found, out)
