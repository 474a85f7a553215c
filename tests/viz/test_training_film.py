import dataclasses
import io
import sys

import pytest
import torch
from PIL import Image
from torch import nn

from convscope.analysis import feature_maps, filters
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.film import EpochLook, TrainingFilm
from convscope.viz import training_film

pytest.importorskip("matplotlib")


def looks(*scales):
    found = []
    for epoch, scale in enumerate(scales):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
        with torch.no_grad():
            net[0].weight.fill_(scale)
        maps = feature_maps(net, torch.ones(1, 1, 6, 6))
        found.append(EpochLook(epoch * 10, (filters(net, "0"),), maps))
    return TrainingFilm(tuple(found))


def test_there_is_a_frame_for_each_look_of_one_size_and_one_scale():
    film = training_film(looks(0.5, 1.0, 4.0), name="run")
    assert [frame.title for frame in film.frames] == [
        "before training", "after epoch 10", "after epoch 20",
    ]  # fmt: skip
    for frame in film.frames:
        weights, maps = frame.picture.pictures
        labels = [t.get_text() for t in weights.axes[1].get_xticklabels()]
        assert labels == ["−4", "0", "+4"]
        ends = {t.get_text() for t in maps.axes[0].texts}
        high = max(layer.largest for layer in film.data.looks[-1].maps.layers)
        assert f"{high:.3g}" in ends
    sizes = {Image.open(io.BytesIO(f.picture.png())).size for f in film.frames}
    assert len(sizes) == 1
    assert film.gif().startswith(b"GIF89a")


def test_long_trainings_are_shown_at_evenly_chosen_epochs(monkeypatch):
    module = sys.modules["convscope.viz.training_film"]  # the function has its name
    monkeypatch.setattr(module, "MOST", 3)
    film = training_film(looks(*range(1, 10)))
    assert [f.title for f in film.frames] == [
        "before training", "after epoch 40", "after epoch 80",
    ]  # fmt: skip


def test_what_was_not_kept_is_refused():
    with pytest.raises(UnknownNameError, match="unknown layer in the film '3'"):
        training_film(looks(1.0), "3")
    with pytest.raises(ArgumentError, match="holds no epoch"):
        training_film(TrainingFilm(()))
    bare = dataclasses.replace(looks(1.0).looks[0], filters=(), maps=None)
    with pytest.raises(ArgumentError, match="neither filters nor maps"):
        training_film(TrainingFilm((bare,)))
