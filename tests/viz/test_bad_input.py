"""Picture functions say what is wrong with a record, and draw what is not finite."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import analysis, viz
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

pytest.importorskip("matplotlib")
SEVERAL = ("attribution", "equivariance", "filters", "race", "roofline")
OTHERS = {"Diagram", "Film", "Frame", "Picture"} | {
    name for name in viz.__all__ if name.startswith("save_")
}
FUNCTIONS = sorted(set(viz.__all__) - OTHERS)


def arguments(name, found):
    return (found, np.zeros((1, 1, 4, 4))) if name == "attribution" else (found,)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("wrong", [nn.ReLU(), None, np.zeros(2), "a.png", 3])
def test_what_is_no_record_is_refused_with_what_makes_one(name, wrong):
    with pytest.raises(ArgumentError) as caught:
        getattr(viz, name)(*arguments(name, wrong))
    said = str(caught.value)
    kind = type(wrong).__name__
    assert said.startswith(f"{name}: found is of class {kind}, not ")
    maker = said.removesuffix(" returns.").rpartition("Give what cs.")[2]
    place = cs
    for part in maker.split("."):  # the function of which it tells is there
        if part == "bench":
            from convscope import bench as place
        else:
            place = getattr(place, part)
    assert callable(place)


@pytest.mark.parametrize("name", SEVERAL)
def test_no_record_at_all_is_refused(name):
    with pytest.raises(ArgumentError, match=rf"^{name}: found is empty\. Give at"):
        getattr(viz, name)(*arguments(name, []))


def net(bad=None):
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    )
    if bad is not None:
        with torch.no_grad():
            made[0].weight[0, 0, 0, 0] = bad
    return made.eval()


X = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
DRAWN = {
    "feature_maps": lambda n, x: viz.feature_maps(analysis.feature_maps(n, x)),
    "filters": lambda n, x: viz.filters(analysis.filters(n)),
    "own scale": lambda n, x: viz.filters(analysis.filters(n), scale="own"),
    "pooling_winners": lambda n, x: viz.pooling_winners(
        analysis.pooling_winners(n, x, target=0)
    ),
    "attribution": lambda n, x: viz.attribution(cs.attribute(n, x), x.numpy()),
    "unit_field": lambda n, x: viz.unit_field(
        analysis.unit_field(n, (1, 8, 8), "0", samples=1), x[0, 0].numpy()
    ),
    "receptive_field": lambda n, x: viz.receptive_field(
        analysis.effective_receptive_field(n, (1, 8, 8), layer="0", samples=1)
    ),
    "top_patches": lambda n, x: viz.top_patches(analysis.top_patches(n, x, "0", top=1)),
    "structure": lambda n, x: viz.structure(analysis.network_graph(n, (1, 8, 8))),
    "health": lambda n, x: viz.health(
        analysis.health(n, [(x.repeat(2, 1, 1, 1), torch.tensor([0, 1]))])
    ),
    "equivariance": lambda n, x: viz.equivariance(
        [analysis.equivariance(n[:3], x, shifts=(1, 2))]
    ),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_drawn_without_a_warning(name, bad):
    draw = DRAWN[name]
    for found in (draw(net(bad), X), draw(net(), torch.full_like(X, bad))):
        drawn = found.svg() if name == "structure" else found.encoded("png", 20)
        assert len(drawn) > 100


@pytest.mark.parametrize("name", DRAWN)
def test_a_theme_that_there_is_not_is_refused(name):
    found = DRAWN[name](net(), X)
    with pytest.raises(UnknownNameError, match="Did you mean 'dark'"):
        found.themed("drak")


def test_arithmetic_takes_finite_numbers_alone():
    with pytest.raises(ArgumentError, match="holds numbers that are not finite"):
        analysis.convolution_steps([math.nan, 1.0], [1.0])


@pytest.mark.parametrize("place", ["none/a.png", "a.xyz", "a", "."])
def test_a_place_that_takes_no_file_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=r"^Picture\.save: path="):
        DRAWN["filters"](net(), X).save(place)
    with pytest.raises(ArgumentError, match=r"^Diagram\.save: path="):
        DRAWN["structure"](net(), X).save(place)
    assert list(tmp_path.iterdir()) == []


def test_an_input_of_another_size_is_refused():
    with pytest.raises(ShapeError):
        analysis.feature_maps(net(), torch.rand(1, 1, 3, 3))
    with pytest.raises(ShapeError):
        analysis.pooling_winners(net(), torch.rand(1, 3, 8, 8))
