"""Training that begins with weights: chosen by rule, head first, held layers."""

import dataclasses
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope import models
from convscope.errors import ArgumentError, DataError, TrainingError, UnknownNameError
from convscope.models.published_weights import is_installed
from convscope.train.choosing.start_choice import may_pay
from convscope.train.planning import plan
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.starting_weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    begin_with,
    find_start,
)
from convscope.train.training import loop
from convscope.train.training.fitting import fit, resume
from convscope.train.training.held_layers import HeldLayers
from convscope.train.training.linear_head import fit_linear_head
from convscope.train.training.optimizer import Optimizer
from train.nets import small_net

needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"),
    reason="the extra 'pretrained' is not installed",
)
COUNTS = {"a": 12, "b": 12, "c": 12}


@needs_weights
def test_a_folder_of_color_pictures_begins_with_weights_and_says_why(pictures):
    made = plan(pictures(COUNTS, channels=3), size=32)
    assert (made.model, made.recipe.start) == ("efficientnet_lite0", "imagenet")
    assert made.why.startswith("efficientnet_lite0 from ImageNet weights, because ")
    known = models.pretrained("efficientnet_lite0")
    found = made.data.preprocessing
    assert (found.mean, found.std) == (known.mean, known.std)
    assert (found.size, found.interpolation) == ((32, 32), "bicubic")
    head = "classifier.weight"
    theirs = models.build("efficientnet_lite0", weights="imagenet").state_dict()
    for name, tensor in made.network().state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(tensor, theirs[name]), name
    assert made.network().state_dict()[head].shape == (3, 1280)


@needs_weights
@pytest.mark.parametrize(
    "asked", [{"start": None}, {"model": "resnet9"}, {"recipe": "photos"}]
)
def test_what_is_asked_for_goes_before_the_rule(pictures, asked):
    assert plan(pictures(COUNTS, channels=3), **asked).recipe.start is None


def test_gray_pictures_and_published_sets_begin_with_random_weights(pictures):
    assert plan(pictures(COUNTS)).recipe.start is None
    assert plan("digits").recipe.start is None


def test_without_the_package_nothing_is_asked(pictures, monkeypatch):
    monkeypatch.setattr(models.pretrained.__module__ + ".PRETRAINED", {})
    data = plan(pictures(COUNTS, channels=3), start=None).data
    assert not may_pay(data)


@needs_weights
def test_the_last_layer_alone_is_a_run_in_seconds(pictures, tmp_path):
    place = pictures(COUNTS, channels=3, size=32)
    run = fit(
        None, place, size=32, head_only=True, folder=tmp_path / "run", listeners=()
    )
    assert run.evaluate(part="train").accuracy == 1.0
    again = Run.load(tmp_path / "run")
    assert again.evaluate(part="train").accuracy == 1.0
    theirs = models.build("efficientnet_lite0", weights="imagenet").state_dict()
    kept = again.net.state_dict()
    assert torch.equal(kept["conv_stem.weight"], theirs["conv_stem.weight"])


@needs_weights
def test_training_begins_with_the_fitted_layer_and_changes_the_others(pictures):
    place = pictures(COUNTS, channels=3, size=32)
    run = fit(None, place, size=32, epochs=1, batch_size=8, ema=0.0, listeners=())
    theirs = models.build("efficientnet_lite0", weights="imagenet").state_dict()
    ours = run.net.state_dict()
    assert not torch.equal(ours["blocks.6.0.conv_pwl.weight"],
                           theirs["blocks.6.0.conv_pwl.weight"])  # fmt: skip
    assert torch.equal(ours["bn1.running_mean"], theirs["bn1.running_mean"])
    assert all(p.requires_grad for p in run.net.parameters())


def test_of_many_images_the_first_layer_fit_takes_some_of_each_class(
    tiny, tmp_path, monkeypatch
):
    seen = []

    def fitted(found, labels, classes, **kept):
        seen.append((len(found), kept["calibrate"], set(labels.tolist())))
        return fit_linear_head(found, labels, classes, **kept)

    fit("mlp", tiny, epochs=1, listeners=()).save(tmp_path / "first")
    monkeypatch.setattr(loop, "fit_linear_head", fitted)
    monkeypatch.setattr(loop, "BEGINS_ON", len(tiny.train) // 2)
    start = {"start": str(tmp_path / "first"), "epochs": 1, "listeners": ()}
    fit(None, tiny, **start)
    fit(None, tiny, **start, head_only=True)
    half, whole = len(tiny.train) // 2, len(tiny.train)
    assert seen == [(half, False, {0, 1, 2}), (whole, True, {0, 1, 2})]


def test_a_run_is_begun_with_as_weights(tiny, tmp_path):
    first = fit(models.build("mlp", in_channels=1, input_size=(12, 12), num_classes=3),
                tiny, epochs=2, listeners=())  # fmt: skip
    first.save(tmp_path / "first")
    start = find_start(str(tmp_path / "first"), None)
    assert start.model == "mlp"
    made = plan(tiny, start=str(tmp_path / "first"), epochs=1, head_only=True)
    ours, theirs = made.network().state_dict(), first.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(ArgumentError, match="is a run of mlp, not of lenet5"):
        find_start(str(tmp_path / "first"), "lenet5")


@pytest.mark.parametrize("start", ["runs/mine-1", "nowhere.pth"])
@pytest.mark.parametrize("model", [None, "mlp"])
def test_a_path_that_is_not_there_is_not_taken_for_a_name(start, model):
    with pytest.raises(DataError) as caught:
        find_start(start, model)
    assert str(caught.value) == (
        f"start='{start}' is not there. Give a weights file, a run folder, or the name "
        "of published weights, imagenet."
    )


def test_of_a_run_it_is_not_said_what_nobody_can_doubt(tmp_path):
    net = models.build("efficientnet_lite0", num_classes=3, input_size=(32, 32))
    for folder in ("run", "other"):
        (tmp_path / folder).mkdir()
        save_file(net.state_dict(), tmp_path / folder / "weights.safetensors")
    (tmp_path / "run" / "spec.json").write_text('{"format": 1, "convscope": "0.1"}')
    start = find_start(str(tmp_path / "other/weights.safetensors"), net.built_from.name)
    assert "taken for weights of origin='tensorflow'" in begin_with(net, start).notes[0]
    own = dataclasses.replace(start, path=tmp_path / "run/weights.safetensors")
    assert begin_with(net, own).notes == ()


def test_the_plan_keeps_the_weights_that_a_recipe_names(tiny, tmp_path):
    fit("mlp", tiny, epochs=1, listeners=()).save(tmp_path / "first")
    asked = Recipe(model="mlp", start=str(tmp_path / "first"))
    assert plan(tiny, recipe=asked).recipe.start == asked.start
    assert plan(tiny, start=asked.start).recipe.start == asked.start


def test_a_file_of_timm_is_scaled_as_in_its_own_training(tmp_path):
    path = tmp_path / "lite.pth"
    torch.save({}, path)
    published = models.pretrained("efficientnet_lite0")
    assert find_start(str(path), "efficientnet_lite0").mean == published.mean
    other = find_start(str(path), "efficientnet_lite0", {"origin": "timm"})
    assert (other.mean, other.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_file_is_begun_with(tiny, tmp_path):
    net = models.build("mlp", in_channels=1, input_size=(12, 12), num_classes=3)
    torch.save(net.state_dict(), tmp_path / "mlp.pth")
    with pytest.raises(ArgumentError) as caught:
        plan(tiny, start=str(tmp_path / "mlp.pth"))
    assert str(caught.value) == (
        f"start='{tmp_path}/mlp.pth' is a file, which does not say what network it is "
        "for. Its names are those of mlp. Name the model too (model='mlp')."
    )
    torch.save({"my.own": torch.ones(2)}, tmp_path / "own.pth")
    with pytest.raises(ArgumentError, match=r"it is for\. Name the model too \(model="):
        plan(tiny, start=str(tmp_path / "own.pth"))
    with pytest.raises(DataError, match="is not there"):
        plan(tiny, "mlp", start="nowhere.pth").network()


def test_a_killed_run_without_a_checkpoint_begins_with_the_weights_again(
    tiny, tmp_path
):
    first = fit("mlp", tiny, epochs=1, listeners=())
    first.save(tmp_path / "first")
    options = {"start": str(tmp_path / "first"), "epochs": 2, "listeners": ()}
    whole = fit("mlp", tiny, **options)

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("mlp", tiny, folder=tmp_path / "cut", **{**options, "listeners": [stop]})
    again = resume(tmp_path / "cut", data=whole.data(), listeners=())
    for name, tensor in again.net.state_dict().items():
        assert torch.equal(tensor, whole.net.state_dict()[name]), name


def test_frozen_layers_keep_their_weights_and_statistics(set_of):
    net = small_net(3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fit(net, set_of(), freeze=("0", "1"), epochs=1, batch_size=8, listeners=())
    changed = {
        name.split(".")[0]
        for name, tensor in net.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {"6"}
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("featuers", "unknown layer to freeze 'featuers'. Did you mean 'features'?"),
        ("featurs.*", "unknown layer to freeze 'featurs.*'. Did you mean 'features'?"),
        ("head", "unknown layer to freeze 'head'. Known: classifier, features."),
        ("features.9", "unknown layer to freeze 'features.9'. Did you mean 'features."),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest_name(pattern, text):
    body = nn.Sequential(*(nn.Linear(2, 2) for _ in range(8)))
    net = nn.Sequential(OrderedDict(features=body, classifier=nn.Linear(2, 2)))
    with pytest.raises(UnknownNameError) as error:
        HeldLayers(net, Recipe(freeze=("features.?", pattern)))
    assert str(error.value).startswith(text)
    assert len(str(error.value)) < 100
    assert all(p.requires_grad for p in net.parameters())


def test_a_network_that_is_frozen_as_a_whole_is_refused(set_of, tmp_path):
    with pytest.raises(TrainingError) as error:
        fit(small_net(3), set_of(), freeze=("*.*", "6"), folder=tmp_path / "run")
    assert str(error.value) == (
        "fit: freeze=('*.*', '6') holds all 6 parameters of the network, so nothing is "
        "trained. Leave some layers out of it."
    )
    assert not (tmp_path / "run").exists()
    frozen = small_net(3).requires_grad_(False)
    with pytest.raises(TrainingError, match=r"all 6 parameters are frozen\. Let some"):
        fit(frozen, set_of())


def test_rates_fall_from_the_last_layer_to_the_first():
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    optimizer = Optimizer(net, Recipe(layer_decay=0.5, learning_rate=1.0))
    optimizer.set_rate(1.0)
    rates = {
        id(p): group["lr"]
        for part in optimizer.parts
        for group in part.param_groups
        for p in group["params"]
    }
    found = [rates[id(layer.weight)] for layer in net]
    assert found == [0.5**9, 0.5**6, 0.5**3, 1.0]
    assert [rates[id(layer.bias)] for layer in net] == found


def test_without_decay_the_groups_are_as_before():
    net = small_net()
    assert [
        len(g["params"]) for g in Optimizer(net, Recipe()).parts[0].param_groups
    ] == [
        2,
        4,
    ]
