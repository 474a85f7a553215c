"""A plan says what training will do; the library and the command line decide alike."""

import json

import numpy as np
import pytest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convscope import models
from convscope.data import load
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train import Recipe, Run, fit, plan
from convscope.train.recipes import RECIPES


def test_without_a_model_one_is_chosen_and_the_plan_says_why(set_of):
    made = plan(set_of(size=20))
    assert made.why.startswith(f"{made.model}, because 20 x 20 gray images ")
    assert (made.recipe.model, made.recipe.model_options) == (made.model, made.options)
    assert made.network().built_from.name == made.model


def test_the_model_of_a_recipe_goes_before_what_suits(set_of):
    made = plan(set_of(), recipe=Recipe(model="mlp", model_options={"hidden": 7}))
    assert (made.model, made.why, made.options) == (
        "mlp",
        "mlp hidden=7",
        {"hidden": 7},
    )


def test_a_model_asked_for_goes_before_the_recipes_and_takes_no_options_of_it(set_of):
    recipe = Recipe(model="mlp", model_options={"hidden": 7})
    made = plan(set_of(), "softmax_regression", recipe)
    assert (made.model, made.options) == ("softmax_regression", {})
    made = plan(set_of(), "mlp", recipe, model_options={"hidden": 8})
    assert made.options == {"hidden": 8}


def test_a_recipe_may_be_named_or_lie_in_a_file(tiny, tmp_path):
    assert plan(tiny, "mlp", "mnist").recipe.epochs == RECIPES["mnist"].epochs
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\n")
    assert plan(tiny, "mlp", path).recipe.epochs == 3
    assert plan(tiny, "mlp", str(path), epochs=4).recipe.epochs == 4


@pytest.mark.parametrize("data", ["digits", load("digits")], ids=["by name", "loaded"])
def test_images_too_small_for_the_model_are_enlarged_and_it_is_said(data):
    made = plan(data, "resnet18")
    assert made.data.input_shape == (1, 32, 32)
    least = models.find("resnet18").min_size
    assert made.notes == (
        "8 x 8 images are enlarged to 32 x 32: resnet18 takes no less than "
        f"{least} x {least}",
    )
    same = plan(load("digits"), "resnet18").data
    assert same.fingerprint() == made.data.fingerprint()


def test_a_size_asked_for_is_left_alone():
    made = plan("digits", "mlp", size=9)
    assert (made.data.input_shape, made.notes) == ((1, 9, 9), ())


def test_a_network_of_ones_own_is_trained_as_it_is(tiny):
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    made = plan(tiny, net, epochs=2)
    assert made.network() is net
    assert (made.model, made.recipe.epochs, made.notes) == ("Sequential", 2, ())


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"model": "lenet-5"}, UnknownNameError,
         "unknown model 'lenet-5'. Did you mean 'lenet5'?"),
        ({"recipe": "mnst"}, UnknownNameError,
         "unknown recipe 'mnst'. Did you mean 'mnist'?"),
        ({"epocs": 3}, UnknownNameError,
         "unknown recipe key 'epocs'. Did you mean 'epochs'?"),
        ({"model": "mlp", "model_options": {"hiden": 3}}, UnknownNameError,
         "unknown option of model mlp 'hiden'. Did you mean 'hidden'?"),
        ({"recipe": Recipe(model="mlp", model_options={"hiden": 3})}, UnknownNameError,
         "unknown option of model mlp 'hiden'. Did you mean 'hidden'?"),
        ({"device": "gpu"}, ArgumentError,
         "device='gpu' is not one of auto, cpu, cuda, mps. Take 'auto', which uses a "
         "GPU where there is one, or 'cpu'."),
        ({"device": "meta"}, ArgumentError,
         "device='meta' is not one of auto, cpu, cuda, mps. Take 'auto', which uses a "
         "GPU where there is one, or 'cpu'."),
        ({"model": nn.Linear(1, 1), "model_options": {"a": 3}}, ArgumentError,
         "plan: model_options={'a': 3} are for models by name. Build the network with "
         "them."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_before_data_are_read(
    arguments, kind, text, monkeypatch
):
    def read(*_arguments, **_options):
        raise AssertionError("read")

    monkeypatch.setattr("convscope.train.planning.load", read)
    with pytest.raises(kind) as error:
        plan("digits", **arguments)
    assert str(error.value) == text


def test_how_to_load_is_not_said_of_data_that_are_loaded(tiny):
    with pytest.raises(ArgumentError) as error:
        plan(tiny, "mlp", size=9, test=0)
    assert str(error.value) == (
        "plan: test=0: the data are loaded already. Give that to data.load."
    )


def test_fit_and_the_command_do_the_same(convscope, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ("--model", "lenet5", "--epochs", 1, "--test", 0.3, "--run", "told")
    outcome = convscope("train", "digits", *flags, "--json")
    assert outcome.code == 0, outcome.err
    run = fit("lenet5", "digits", epochs=1, test=0.3, listeners=(), folder="called")
    told, called = Run.load("told").spec, Run.load("called").spec
    varies = {"created", "files"}  # metrics.jsonl holds seconds
    assert told.model_dump(exclude=varies) == called.model_dump(exclude=varies)
    weights = [(tmp_path / n / "weights.safetensors").read_bytes()
               for n in ("told", "called")]  # fmt: skip
    assert weights[0] == weights[1]
    found = json.loads(outcome.out)["evaluation"]["accuracy"]
    assert run.evaluate().accuracy == found


def test_a_note_of_the_plan_is_a_warning_in_training():
    heard = []
    fit("lenet5", "digits", epochs=1, listeners=[heard.append])
    assert [e.text for e in heard if type(e).__name__ == "Warned"] == [
        "8 x 8 images are enlarged to 32 x 32: lenet5 takes no less than 12 x 12"
    ]


def test_a_pair_of_arrays_is_a_data_set():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8), np.uint8)
    made = plan((images, ["cat", "dog"] * 30), "resnet18", test=0)
    assert made.data.classes == ("cat", "dog")
    assert (len(made.data.test), made.data.input_shape) == (0, (1, 32, 32))


def test_a_loader_is_gone_through_once(tiny):
    loader = DataLoader(TensorDataset(tiny.train.pixels, tiny.train.labels))
    made = plan(loader, "mlp", test=0)
    assert sum(map(len, made.data.parts.values())) == len(tiny.train)


def test_what_is_no_data_is_refused_with_what_is_taken():
    with pytest.raises(ArgumentError, match=r"^load: source is of type float\. Give "):
        fit("mlp", 3.5)
