"""All that looks inside, on networks as users write them, against hooks and autograd.

Every answer is right, or refused in words; the network is as before.
"""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from analysis.users_networks import (
    NETWORKS,
    Base,
    Checkpointed,
    ComplexWeights,
    called,
    first,
    made,
    plain,
    uncompiled,
)
from convscope import analysis
from convscope.errors import ArgumentError, ExplanationError, UnknownNameError

COMPLEX = ("complex numbers within", "complex weights")
NO_CLASSES = (
    "a dict comes out", "a tuple comes out", "a named tuple comes out",
    "a map for each class",
)  # fmt: skip
ONE_INPUT = [name for name in NETWORKS if name != "several inputs"]


def loss(output):
    values = first(output)
    places = torch.arange(values.numel(), dtype=values.dtype).view_as(values)
    return (values * (places + 1)).sum()


def seen_by_hooks(name):
    """What each module without modules in it gives, by label, copied at once."""
    net, x = uncompiled(name), made(name)[1]
    found, counts = {}, {}

    def keep(path):
        def hook(_, __, out):
            counts[path] = counts.get(path, 0) + 1
            label = path if counts[path] == 1 else f"{path}:{counts[path]}"
            found[label] = first(out).detach().clone()

        return hook

    for path, module in net.named_modules():
        if not list(module.children()) and path:
            module.register_forward_hook(keep(path))
    with torch.no_grad():
        called(net, x)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_those_that_hooks_see(name):
    net, x = made(name)
    found = cs.capture(net, x)
    inside = ("parametrizations", "attend.")  # parts of one layer
    for label, value in seen_by_hooks(name).items():
        if not any(part in label for part in inside):
            torch.testing.assert_close(first(found[label].output), value, msg=label)
    torch.testing.assert_close(first(found.output), first(called(uncompiled(name), x)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_is_explained_as_it_is(name):
    net, x = made(name)
    chosen = random.Random(0)
    for label, each in cs.capture(net, x).items():
        value = first(each.output)
        if value.is_complex() or value.dtype == torch.bool:
            continue
        index = tuple(chosen.randrange(size) for size in value.shape)
        image, *rest = index or (0,)
        why = cs.explain_unit(
            net, x, label, rest[0] if rest else None, rest[1:], image=image
        )
        assert why.value == pytest.approx(value[index].item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_is_that_of_autograd(name):
    net, x = made(name)
    chosen = random.Random(0)
    theirs = uncompiled(name)
    weights = dict(theirs.named_parameters())
    slopes = torch.autograd.grad(
        loss(called(theirs, x)), list(weights.values()), allow_unused=True
    )
    for (path, weight), slope in zip(weights.items(), slopes, strict=True):
        if weight.is_complex():
            continue
        index = tuple(chosen.randrange(size) for size in weight.shape)
        why = cs.explain_gradient(net, x, loss, path, index)
        expected = 0.0 if slope is None else slope[index].item()
        assert why.value == pytest.approx(expected, rel=1e-9, abs=1e-12), path


def target_of(name):
    """Of the first class, where maps can be made of such an output."""
    if name in NO_CLASSES:
        return lambda output: first(output)[:, 1].sum()
    return 1


@pytest.mark.parametrize("name", ONE_INPUT)
def test_saliency_is_the_gradient_at_the_input(name):
    net, x = made(name)
    found = analysis.attribute(net, x, target_of(name), method="saliency")
    leaf = x.clone().requires_grad_()
    value = first(uncompiled(name)(leaf.clone()))[:, 1].sum()
    (slope,) = torch.autograd.grad(value, leaf)
    expected = slope.abs().amax(1).float().numpy()
    np.testing.assert_allclose(found.maps, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in ONE_INPUT if n not in COMPLEX])
def test_grad_cam_is_the_maps_weighed_by_their_mean_gradients(name):
    net, x = made(name)
    theirs = uncompiled(name)
    layers = [p for p, m in theirs.named_modules() if type(m) in CONVOLUTIONS]
    if not layers:
        pytest.skip("it has no module with a map")
    kept = []

    def keep(_, __, out):
        kept.append(out)
        return out.clone()  # what follows may write into it

    theirs.get_submodule(layers[0]).register_forward_hook(keep)
    value = first(called(theirs, x))[:, 1].sum()
    (slope,) = torch.autograd.grad(value, kept[0])
    space = tuple(range(2, slope.ndim))
    small = (slope.mean(space, keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    large = F.interpolate(small.float(), x.shape[2:], mode=mode, align_corners=False)
    found = analysis.attribute(net, x, target_of(name), layer=layers[0])
    np.testing.assert_allclose(
        found.maps, large[:, 0].detach().numpy(), rtol=1e-5, atol=1e-7
    )


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@pytest.mark.parametrize("name", ONE_INPUT)
def test_what_a_first_convolution_uses_is_its_kernel_squared(name):
    net, x = made(name)
    layers = [p for p, m in net.named_modules() if isinstance(m, CONVOLUTIONS)]
    if not layers or net.get_submodule(layers[0]).weight.is_complex():
        pytest.skip("its first convolution is no module, or complex")
    found = analysis.effective_receptive_field(
        net, tuple(x.shape[1:]), layer=layers[0], samples=2
    )
    layer = net.get_submodule(layers[0])
    energy = layer.weight.detach().square().sum((0, 1)).numpy()
    middle = tuple(
        slice(at * stride - pad, at * stride - pad + size)
        for at, stride, pad, size in zip(
            found.output_index, layer.stride, layer.padding, energy.shape, strict=True
        )
    )
    np.testing.assert_allclose(found.energy[middle], energy / energy.sum(), rtol=1e-9)
    assert found.energy.sum() == pytest.approx(found.energy[middle].sum())


@pytest.mark.parametrize("name", ONE_INPUT)
def test_health_is_that_of_what_hooks_see(name):
    net, x = made(name)
    labels = torch.tensor([0, 3])
    found = analysis.health(net, [(x, labels)])
    rows = {row.label: row for row in found.layers}
    for label, value in seen_by_hooks(name).items():
        if label not in rows or value.is_complex():
            continue
        assert rows[label].mean == pytest.approx(value.mean().item(), abs=1e-6)
        zeros = (value == 0).double().mean().item()
        assert rows[label].zeros == pytest.approx(zeros)
    if name in NO_CLASSES:
        assert found.loss is None
        return
    theirs = uncompiled(name)
    weights = dict(theirs.named_parameters())
    error = F.cross_entropy(called(theirs, x).float(), labels)
    slopes = torch.autograd.grad(error, list(weights.values()), allow_unused=True)
    assert found.loss == pytest.approx(error.item(), rel=1e-5)
    norms = {row.path: row.gradient for row in found.weights}
    for path, slope in zip(weights, slopes, strict=True):
        if slope is not None:
            norm = slope.norm().item()
            assert norms[path] == pytest.approx(norm, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "layer"), [("attention", "attend"), ("an LSTM", "lstm")]
)
def test_health_has_the_gradient_at_layers_that_give_several_tensors(name, layer):
    (net, x), theirs, labels = made(name), uncompiled(name), torch.tensor([0, 3])
    kept = []
    theirs.get_submodule(layer).register_forward_hook(
        lambda _, __, out: kept.append(out[0])
    )
    error = F.cross_entropy(called(theirs, x), labels, reduction="sum")
    slope = torch.autograd.grad(error, kept[0])[0].square().mean().sqrt().item()
    rows = {row.label: row for row in analysis.health(net, [(x, labels)]).layers}
    assert rows[layer].gradient == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_leaves_the_network_and_its_inputs_as_they_were(name):
    net, x = made(name)
    inputs = x if isinstance(x, dict) else {"": x}
    kept = {key: value.clone() for key, value in inputs.items()}
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modules = list(net.modules())
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]
    buffers = [id(b) for b in net.buffers()]
    before = torch.get_rng_state()
    cs.capture(net, x, gradients=True, target=loss)
    label = list(cs.capture(net, x))[-1]
    cs.explain_unit(net, x, label, 1, (0, 0) if name == "a map for each class" else ())
    path, weight = list(net.named_parameters())[-1]
    cs.explain_gradient(net, x, loss, path, (1,) * weight.ndim)
    if name in ONE_INPUT:
        analysis.attribute(net, x, target_of(name), method="saliency")
        analysis.attribute(net, x, target_of(name))
        analysis.health(net, [(x, torch.tensor([0, 3]))])
        if name not in NO_CLASSES:
            analysis.effective_receptive_field(net, tuple(x.shape[1:]), samples=1)
        analysis.feature_maps(net, x[:1])
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(inputs[key], kept[key]) for key in kept)
    assert all(torch.equal(net.state_dict()[key], state[key]) for key in state)
    assert [id(b) for b in net.buffers()] == buffers
    assert list(net.modules()) == modules
    after = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]
    assert after == hooks
    assert not any(m.training for m in modules)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert getattr(net, "seen", []) == []


def test_filters_are_the_weights_that_are_applied():
    for name in ("modules are shared", "weights made of others", "compiled"):
        net, _ = made(name)
        found = analysis.filters(net)
        weight = net.get_submodule(
            next(p for p, m in net.named_modules() if isinstance(m, nn.Conv2d))
        ).weight
        np.testing.assert_allclose(found.weight, weight.detach().float(), rtol=1e-6)


def test_half_precision_is_looked_into_within_its_rounding():
    torch.manual_seed(0)
    net, x = plain().bfloat16().eval(), torch.rand(2, 3, 8, 8).bfloat16()
    found = cs.capture(net, x)
    torch.testing.assert_close(found.output, net(x))
    for label, each in found.items():
        rest = (2, (1, 1)) if each.output.ndim == 4 else (2, ())
        why = cs.explain_unit(net, x, label, *rest)
        index = (0, rest[0], *rest[1])
        assert why.value == pytest.approx(each.output[index].item(), abs=why.tolerance)
    slope = torch.autograd.grad(loss(net(x)), net[5].weight)[0][1, 2].item()
    why = cs.explain_gradient(net, x, loss, "5.weight", (1, 2))
    assert why.value == pytest.approx(slope, rel=2**-7)


def test_names_with_what_the_compiler_adds_are_understood():
    net, x = made("compiled")
    assert list(cs.capture(net, x, "_orig_mod.2")) == ["2"]
    for path in ("0.weight", "_orig_mod.0.weight"):
        assert cs.explain_gradient(net, x, loss, path, (0, 0, 0, 0)).of == "0.weight"
    assert analysis.filters(net, "_orig_mod.0").path == "0"
    assert analysis.effective_receptive_field(net, (3, 8, 8), layer="_orig_mod.0")


def reentrant():
    torch.manual_seed(0)
    return Checkpointed(reentrant=True).eval(), torch.rand(2, 3, 8, 8)


CHECKPOINT = (
    ": the network calls torch.utils.checkpoint with use_reentrant=True, which hides "
    "the gradients within. Call it with use_reentrant=False."
)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpoints_that_hide_gradients_are_refused_and_values_are_not():
    net, x = reentrant()
    found = cs.capture(net, x)["rest.2"].output
    torch.testing.assert_close(found, net.rest(net.conv(x)))
    for where, call in {
        "capture": lambda: cs.capture(net, x, gradients=True, target=0),
        "explain_gradient": lambda: cs.explain_gradient(
            net, x, loss, "rest.2.weight", (0, 0, 0, 0)
        ),
        "attribute": lambda: analysis.attribute(net, x, method="saliency"),
        "effective_receptive_field": lambda: analysis.effective_receptive_field(
            net, (3, 8, 8)
        ),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert str(caught.value) == where + CHECKPOINT


def exported():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 8)
    return torch.export.export(Base().eval(), (x,)).module(), x


def test_a_program_of_torch_export_is_refused():
    net, x = exported()
    for where, call in {
        "capture": lambda: cs.capture(net, x),
        "explain_unit": lambda: cs.explain_unit(net, x, "conv", 0, (0, 0)),
        "attribute": lambda: analysis.attribute(net, x),
        "filters": lambda: analysis.filters(net),
        "effective_receptive_field": lambda: analysis.effective_receptive_field(
            net, (3, 8, 8)
        ),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert str(caught.value) == (
            f"{where}: net is a program of torch.export, which has operations in place "
            "of layers. Give the network that it was made from."
        )


@pytest.mark.filterwarnings("ignore")  # torch's own: this way of it will go
def test_quantized_layers_have_values_and_no_gradients():
    torch.manual_seed(0)
    net = torch.ao.quantization.quantize_dynamic(plain().eval(), {nn.Linear})
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(cs.capture(net, x).output, net(x))
    for call in (
        lambda: analysis.attribute(net, x, 0, method="saliency"),
        lambda: cs.explain_gradient(net, x, 0, "0.bias", (0,)),
    ):
        with pytest.raises(ArgumentError, match="an operation that has no gradient in"):
            call()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_part_is_refused_by_its_path():
    net, x = Base().eval(), torch.rand(2, 3, 8, 8)
    net.conv = torch.jit.script(net.conv)
    for call in (
        lambda: cs.explain_unit(net, x, "head", 0),
        lambda: cs.explain_gradient(net, x, 0, "head.bias", (0,)),
        lambda: analysis.attribute(net, x),
        lambda: analysis.health(net, [(x, torch.tensor([0, 1]))]),
    ):
        with pytest.raises(ArgumentError, match=r"net\.conv is compiled by Torch"):
            call()


def test_complex_numbers_are_refused_where_there_is_no_answer():
    net, x = ComplexWeights().double().eval(), torch.rand(1, 3, 8, 8).double()
    for call, text in (
        (lambda: cs.explain_unit(net, x, "conv", 0, (1, 1)),
         "explain_unit: 'conv' gives complex numbers, which are not explained. Choose "
         "a layer of real ones."),
        (lambda: cs.explain_gradient(net, x, 0, "conv.bias", (0,)),
         "explain_gradient: 'conv.bias' holds complex numbers, whose gradients are not "
         "explained. Choose a parameter or layer of real ones."),
        (lambda: cs.capture(net.conv, x.to(torch.complex128), gradients=True,
                            target=lambda y: y.sum()),
         "capture: the target is a complex number, which has no one gradient. Give a "
         "function of the output that takes its real part or absolute value."),
        (lambda: analysis.effective_receptive_field(net, (3, 8, 8), layer="conv"),
         "effective_receptive_field: layer='conv' gives complex numbers, which have no "
         "one gradient. Choose a layer of real ones."),
        (lambda: analysis.maximize(net, (3, 8, 8), "conv", 0, steps=1),
         "maximize: layer='conv' gives complex numbers, of which none is the largest. "
         "Choose a layer of real ones."),
    ):  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            call()
        assert str(caught.value) == text


def test_what_hooks_change_is_said_to_be_theirs():
    net, x = Base().eval(), torch.rand(1, 3, 8, 8)
    net.conv.register_forward_hook(lambda _, __, out: out * 2)
    cause = re.escape("Hooks of 'conv' (register_forward_hook) change what it takes or")
    with pytest.raises(ExplanationError, match=cause):
        cs.explain_unit(net, x, "conv", 0, (1, 1))
    with pytest.raises(ExplanationError, match=cause):
        cs.explain_gradient(net, x, 0, "conv.bias", (0,))


def test_inputs_of_a_kind_that_is_not_looked_at_are_refused():
    net, inputs = made("several inputs")
    with pytest.raises(ArgumentError, match="attribute: inputs is of type dict"):
        analysis.attribute(net, inputs)
    with pytest.raises(ArgumentError, match="feature_maps: inputs is of type dict"):
        analysis.feature_maps(net, inputs)
    with pytest.raises(ArgumentError, match="health: a batch holds dict and Tensor"):
        analysis.health(net, [(inputs, torch.tensor([0, 1]))])
    with pytest.raises(ArgumentError, match="missing 1 required keyword-only argument"):
        analysis.effective_receptive_field(net, (3, 8, 8), layer="conv")


def test_a_parameter_that_is_not_there_is_refused_with_the_nearest():
    net, x = made("modules are shared")
    with pytest.raises(UnknownNameError) as caught:
        cs.explain_gradient(net, x, 0, "second.wieght", (0, 0, 0, 0))
    assert str(caught.value) == (
        "unknown parameter or layer 'second.wieght'. Did you mean 'second.weight'?"
    )
