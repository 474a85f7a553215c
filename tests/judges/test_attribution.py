"""Quantus and torch-cam judge maps and what is said of them; ``make judges``."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.analysis import attribute
from convscope.analysis.attribution.trust import STEPS, areas
from convscope.models import build

SEED = 5


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        return pytest.importorskip("quantus")


class Shuffling:
    """Weights are shuffled where Quantus would draw them anew, as ours are."""

    generator = torch.Generator()

    def reset_parameters(self):
        if not getattr(self, "is_made", False):
            super().reset_parameters()
            self.is_made = True
            return
        with torch.no_grad():
            for weight in self.parameters(recurse=False):
                order = torch.randperm(weight.numel(), generator=self.generator)
                weight.copy_(weight.flatten()[order].view_as(weight))


class Conv(Shuffling, nn.Conv2d):
    pass


class Linear(Shuffling, nn.Linear):
    pass


def network(channels):
    torch.manual_seed(0)
    return nn.Sequential(
        Conv(channels, 8, 3, padding=1), nn.ReLU(), Conv(8, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(8, 4),
    ).eval()  # fmt: skip


def samples(channels, side=16):
    torch.manual_seed(1)
    return torch.randn(3, channels, side, side), np.array([1, 2, 0])


def test_quantus_finds_the_same_deletion_area(quantus):
    net, (x, classes) = network(1), samples(1)
    maps = attribute(net, x, torch.tensor(classes), method="saliency").maps
    judge = quantus.PixelFlipping(
        features_in_step=x[0].numel() // STEPS, perturb_baseline=0.0, abs=False,
        normalise=False, disable_warnings=True,
    )  # fmt: skip
    curves = judge(
        model=net, x_batch=x.numpy(), y_batch=classes, a_batch=maps[:, None],
        device="cpu", softmax=True,
    )  # fmt: skip
    for number, label in enumerate(classes):

        def scores(copies, label=label):
            return net(copies).softmax(1)[:, label].detach()

        ((_, deletion),) = areas(scores, x[number], maps[number].astype(np.float64))
        whole = [float(scores(x[number : number + 1])), *curves[number]]
        assert deletion == pytest.approx(np.trapezoid(whole) / STEPS, abs=1e-6)


def test_quantus_finds_the_same_rank_correlations_with_shuffled_weights(quantus):
    net, (x, classes) = network(3), samples(3)
    ours = attribute(
        net, x, torch.tensor(classes), method="saliency", trust=True, seed=SEED
    )

    def explain(model, inputs, targets, **_):
        found = attribute(
            model, torch.as_tensor(inputs), torch.as_tensor(targets), method="saliency"
        )
        return found.maps[:, None]

    Shuffling.generator.manual_seed(SEED)
    judge = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        layer_order="top_down", normalise=False, abs=True, disable_warnings=True,
    )  # fmt: skip
    theirs = judge(
        model=net, x_batch=x.numpy(), y_batch=classes, a_batch=ours.maps[:, None],
        device="cpu", explain_func=explain,
    )  # fmt: skip
    for number, trust in enumerate(ours.trust):
        for path, correlation in trust.randomized:
            assert correlation == pytest.approx(theirs[path][number], abs=1e-4)


@pytest.mark.parametrize("layer", ["layer2", "layer3.1.conv2", "layer4"])
def test_torch_cam_finds_the_same_grad_cam_in_a_residual_network(layer):
    methods = pytest.importorskip("torchcam.methods")
    torch.manual_seed(0)
    net, x = build("resnet18", num_classes=5).eval(), torch.randn(2, 3, 64, 64)
    classes = torch.tensor([3, 1])
    ours = attribute(net, x, classes, layer=layer).maps
    with methods.GradCAM(net, net.get_submodule(layer)) as judge:
        (theirs,) = judge(classes.tolist(), net(x))
    large = F.interpolate(theirs[:, None], (64, 64), mode="bilinear")[:, 0].numpy()
    for one, other in zip(ours, large, strict=True):
        # Theirs are brought to 0 to 1: equal up to a scale and a shift.
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 1 - 1e-5
