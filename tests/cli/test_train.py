"""``convscope train``: data in, a trained and judged network out."""

import json
import re

import pytest

from convscope.data.batching.augmentation import Augmentation
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.training.events import Stepped
from processes import Command

QUICK = ("--model", "softmax_regression", "--epochs", "2")
NOT_FLAGS = {"augmentation", "model_options"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name", sorted({*Recipe.model_fields, *Augmentation.model_fields} - NOT_FLAGS)
)
def test_every_field_of_the_recipe_is_a_flag_with_help(convscope, name):
    text = " ".join(convscope("train", "--help").out.split())
    field = Recipe.model_fields.get(name) or Augmentation.model_fields[name]
    flag = {"start": "weights"}.get(name, name).replace("_", "-")
    assert f" --{flag} " in text
    assert " ".join(field.description.split()) in text


def test_help_shows_defaults_and_an_example(convscope):
    text = convscope("train", "--help").out
    assert "  Example: convscope train photos/ --minutes 5\n" in text
    assert "Usage: convscope train [OPTIONS] [DATA]\n" in text
    assert (
        "--epochs <int>                  Passes over the training images. [20]" in text
    )
    assert "\\" not in text


GIVEN = {
    "epochs": 3, "batch_size": 17, "optimizer": "adamw", "learning_rate": 0.003,
    "nesterov": False, "step_at": (0.2, 0.9), "clip_norm": 2.5, "ema": 0.5,
    "balance": "sampling", "seed": 7,
}  # fmt: skip


def test_flags_arrive_in_the_recipe_of_the_run(convscope):
    flags = []
    for name, value in GIVEN.items():
        flag = f"--{name.replace('_', '-')}"
        if value is False:
            flags.append(f"--no-{name}")
        elif isinstance(value, tuple):
            flags += [part for each in value for part in (flag, each)]
        else:
            flags += [flag, value]
    outcome = convscope(
        "train", "digits", "--model", "mlp", "--model-option", "hidden=9",
        "--flip", "--cutout", 2, "--run", "run", *flags,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    spec = Run.load("run").spec
    assert {name: getattr(spec.recipe, name) for name in GIVEN} == GIVEN
    assert (spec.recipe.augmentation.flip, spec.recipe.augmentation.cutout) == (True, 2)
    assert spec.model.options == {"hidden": 9}
    assert "model: mlp hidden=9\n" in outcome.err
    assert spec.recipe.model == "mlp"


def test_a_recipe_from_a_file_and_flags_above_it(convscope, tmp_path):
    recipe = Recipe(model="mlp", epochs=5, batch_size=50, seed=2)
    (tmp_path / "mine.toml").write_text(recipe.to_toml())
    outcome = convscope(
        "train", "digits", "--recipe", "mine.toml", "--epochs", 1, "--run", "run"
    )
    assert outcome.code == 0, outcome.err
    expected = recipe.with_changes({"epochs": 1})
    assert Run.load("run").spec.recipe == expected


def test_it_says_data_model_and_recipe_then_result_and_next_steps(convscope):
    outcome = convscope("train", "digits", *QUICK)
    assert outcome.code == 0
    said = outcome.err.splitlines()
    assert said[0] == (
        "digits: 1,259 train, 179 val, 359 test images of 8 x 8 x 1, 10 classes"
    )
    assert "model: softmax_regression" in said
    assert "recipe: 2 epochs, batch 64, sgd at 0.05, onecycle, seed 0" in said
    assert "training 650 parameters on 1,259 images (cpu, float32)" in said
    assert re.fullmatch(r"done after 0:\d\d: all 2 epochs are done", said[-1])
    run = "runs/digits-softmax_regression-1"
    for command in ("evaluate", "predict", "summary"):
        assert f"convscope {command} {run}" in outcome.out
    assert "95% interval" in outcome.out
    assert max(map(len, outcome.out.splitlines() + said)) <= 80


def test_runs_get_numbers_and_none_is_lost(convscope):
    for number in (1, 2):
        assert convscope("train", "digits", *QUICK).code == 0
        assert Run.load(f"runs/digits-softmax_regression-{number}")


def test_json_is_one_object_and_nothing_else_on_standard_output(convscope):
    outcome = convscope("train", "digits", *QUICK, "--run", "run", "--json")
    found = json.loads(outcome.out)
    assert set(found) == {"run", "model", "epochs", "evaluation", "report"}
    assert (found["run"], found["epochs"]) == ("run", 2)
    judged = json.loads(convscope("evaluate", "run", "--json").out)
    assert found["evaluation"]["accuracy"] == judged["accuracy"]


def test_without_a_model_one_is_chosen_and_it_is_said_why(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "photos", size=20)
    outcome = convscope("train", "photos", "--epochs", 1, "--run", "run")
    assert outcome.code == 0, outcome.err
    (said,) = [x for x in outcome.err.splitlines() if x.startswith("model: ")]
    name = Run.load("run").spec.model.name
    assert said.startswith(f"model: {name}")
    assert len(said) > len(f"model: {name}") + 10


def test_images_too_small_for_the_model_are_enlarged_and_it_is_said(convscope):
    outcome = convscope("train", "digits", "--model", "lenet5", "--epochs", 1,
                        "--run", "run")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "8 x 8 images are enlarged to 32 x 32" in outcome.err
    assert Run.load("run").spec.input_shape == (1, 32, 32)
    assert convscope("evaluate", "run").code == 0


def test_a_time_budget_is_kept(convscope):
    outcome = convscope("train", "digits", "--model", "softmax_regression",
                        "--minutes", 0.005, "--run", "run")  # fmt: skip
    assert outcome.code == 0
    assert re.search(r"done after 0:\d\d: 0.005 minutes are over", outcome.err)
    assert 0.3 <= Run.load("run").history[-1]["seconds"] < 30


@pytest.mark.parametrize(
    "others",
    [["digits"], ["--model", "mlp"], ["--seed", "3"], ["--run", "x"], ["--force"],
     ["--find-lr"], ["--recipe", "mnist"], ["--size", "9"], ["--strict"],
     ["--model-option", "a=1"], ["--no-flip"]],
    ids=" ".join,
)  # fmt: skip
def test_resume_takes_nothing_that_would_change_the_run(convscope, finished, others):
    outcome = convscope("train", "--resume", finished, *others)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: train: --resume goes on with the run's own data, model and recipe. "
        "Leave the other arguments out, or train a new run.\n"
    )


def test_a_rate_far_too_high_names_the_checkpoint_that_is_kept(convscope):
    outcome = convscope("train", "digits", "--model", "mlp", "--learning-rate", 1e6,
                        "--run", "run")  # fmt: skip
    assert (outcome.code, outcome.out) == (2, "")
    last = outcome.err.splitlines()[-1]
    assert last.startswith("Error: the loss became ")
    assert last.endswith(
        "Lower learning_rate=1e+06, or set clip_norm=1. The last good checkpoint is "
        "run/checkpoint/state.safetensors."
    )


def test_ctrl_c_before_the_first_step_promises_nothing(convscope, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("convscope.cli.train.fit", interrupt)
    outcome = convscope("train", "digits", *QUICK, "--run", "run")
    assert outcome.code == 130
    assert outcome.err.endswith("\nstopped before training\n")


def test_a_name_is_refused_before_data_are_read(convscope, monkeypatch):
    def load(*_arguments, **_options):
        raise AssertionError("read")

    monkeypatch.setattr("convscope.train.planning.load", load)
    for wrong in (
        ["--model", "x"],
        ["--recipe", "x"],
        ["--epochs", "0"],
        ["--device", "gpu"],
        ["--device", "meta"],
        ["--model", "mlp", "--model-option", "hiden=3"],
    ):
        assert convscope("train", "digits", *wrong).code == 2


def show_a_terminal():
    """In the process: its standard error is a terminal of 80 columns."""
    import sys

    sys.stderr.isatty = lambda: True


def test_a_terminal_gets_the_bar_and_standard_output_only_json(tmp_path):
    code, out, err = Command(
        tmp_path, "train", "digits", *QUICK, "--json", prepare=show_a_terminal
    ).ended()
    assert code == 0, err
    assert json.loads(out)["epochs"] == 2
    assert " img/s " in err
    assert " left" in err


def test_events_of_a_step_know_speed_and_time_left(tiny):
    from convscope.train.training.fitting import fit

    heard = []
    fit("mlp", tiny, listeners=[heard.append], epochs=2, batch_size=16)
    steps = [e for e in heard if isinstance(e, Stepped)]
    assert all(step.images_per_second > 0 for step in steps)
    assert steps[-1].seconds_left == 0
    assert steps[0].seconds_left > 0


@pytest.mark.parametrize("size", [0, -5, 100_000])
def test_a_size_out_of_range_is_one_line(convscope, pictures, size):
    folder = pictures({"cat": 12, "dog": 12}, "photos")
    outcome = convscope("train", folder, "--size", size)
    text = f"Error: load: size={size} must be from 1 to 16,384 pixels.\n"
    assert (outcome.code, outcome.err) == (2, text)


@pytest.mark.parametrize(
    "flag",
    ["--size", "--batch-size", "--learning-rate", "--epochs", "--minutes", "--patience",
     "--clip-norm", "--step-factor", "--elastic-sigma"],
)  # fmt: skip
def test_zero_is_a_value_and_refused_where_it_makes_no_sense(convscope, flag):
    done = convscope("train", "digits", flag, "0")
    assert done.code == 2
    assert flag.strip("-").replace("-", "_") in done.err.replace("-", "_")


@pytest.mark.parametrize("flag", ["--test", "--validation"])
def test_zero_is_a_value_and_taken_where_it_makes_sense(convscope, flag):
    done = convscope(
        "train", "digits", "--model", "softmax_regression", "--epochs", "1", flag, "0"
    )
    assert done.code == 0, done.err
    part = {"--test": "0 test images", "--validation": "0 val"}[flag]
    assert part in done.err
