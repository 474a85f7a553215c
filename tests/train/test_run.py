"""A run: kept, loaded and shown as it was trained."""

import re

import pytest
import torch
from torch import nn

from convscope.errors import ArgumentError, RunError, RunExistsError
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.run_folder import RunFolder
from convscope.train.training.fitting import fit

QUICK = Recipe(epochs=2, batch_size=16, learning_rate=0.02)


def own_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 3))


@pytest.fixture(scope="module")
def run(tiny):
    return fit("mlp", tiny, QUICK, listeners=())


def test_a_run_saved_and_loaded_is_the_same(run, tiny, tmp_path):
    assert run.save(tmp_path / "run") == tmp_path / "run"
    again = Run.load(tmp_path / "run")
    assert again.spec == run.spec
    assert again.history == run.history
    assert not again.net.training
    for name, tensor in run.net.state_dict().items():
        assert torch.equal(tensor, again.net.state_dict()[name]), name
    assert again.evaluate(tiny).to_dict() == run.evaluate(tiny).to_dict()


def test_saving_never_overwrites_unasked(run, tmp_path):
    run.save(tmp_path / "run")
    with pytest.raises(RunExistsError):
        run.save(tmp_path / "run")
    run.save(tmp_path / "run", force=True)
    assert Run.load(tmp_path / "run").history == run.history


def test_a_network_of_ones_own_is_passed_to_load(tiny, tmp_path):
    fit(own_network(), tiny, QUICK, folder=tmp_path / "run", listeners=())
    with pytest.raises(RunError) as error:
        Run.load(tmp_path / "run")
    assert str(error.value) == (
        "this run's network is not one of convscope's models. Build it and pass it: "
        "Run.load(folder, net=your_network)."
    )
    again = Run.load(tmp_path / "run", net=own_network())
    assert again.spec.model.name is None
    assert again.evaluate(tiny).accuracy > 0.5


def test_weights_that_do_not_fit_the_network_are_refused(tiny, tmp_path):
    fit(own_network(), tiny, QUICK, folder=tmp_path / "run", listeners=())
    with pytest.raises(RunError) as error:
        Run.load(tmp_path / "run", net=nn.Sequential(nn.Flatten(), nn.Linear(144, 4)))
    assert str(error.value).startswith(
        f"the weights in {tmp_path}/run do not fit the network Sequential: size "
        "mismatch for 1.weight"
    )


def test_a_run_that_is_not_through_is_not_loaded(run, tmp_path):
    RunFolder.create(tmp_path / "run", run.spec)
    with pytest.raises(RunError, match="its training is not through"):
        Run.load(tmp_path / "run")


def test_data_from_arrays_must_be_passed_again(run, tiny, tmp_path):
    run.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    with pytest.raises(ArgumentError) as error:
        again.evaluate()
    assert str(error.value) == (
        f"run {tmp_path}/run: its data were arrays, which are not stored. Pass the "
        "data to evaluate on."
    )
    assert run.data() is tiny


def test_named_data_are_found_again(finished):
    run = Run.load(finished)
    assert run.data().fingerprint() == run.spec.data.fingerprint


def test_it_shows_itself_as_text_and_in_a_notebook(run):
    accuracy = run.history[-1]["val_accuracy"]
    assert repr(run) == f"Run(mlp on tiny, 2 epochs, val accuracy {accuracy:.2%})"
    text = run._repr_html_()
    assert text.count("<tr>") == 3
    assert re.search(r"<th>val accuracy</th>", text)


def test_a_notebook_never_takes_names_for_markup(run):
    spec = run.spec.model_copy(
        update={"data": run.spec.data.model_copy(update={"name": "<b>x"})}
    )
    assert "<b>x" not in Run(run.net, spec, run.history)._repr_html_()
