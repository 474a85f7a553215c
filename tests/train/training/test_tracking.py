"""TensorBoard and MLflow, read back by their own libraries."""

import json
import subprocess
import sys
import warnings

import pytest

from convscope.errors import MissingExtraError, TrainingError
from convscope.train.recipe import Recipe
from convscope.train.training.events import EpochEnded, Started, Stepped
from convscope.train.training.fitting import fit
from convscope.train.training.tracking import MLflow, TensorBoard, scalars

TRACKED = (
    "train_loss", "val_loss", "val_accuracy", "learning_rate", "images_per_second",
)  # fmt: skip
SMALL = Recipe(epochs=3, batch_size=16, augmentation={"shift": 1})


def epoch(number, **changes):
    values = {
        "epoch": number, "step": 4, "train_loss": 0.5, "val_loss": 0.25,
        "val_accuracy": 0.75, "learning_rate": 0.1, "images_per_second": 9.0,
        "seconds": 1.0, "seconds_left": 2.0,
    }  # fmt: skip
    return EpochEnded(**{**values, **changes})


def read_tensorboard(folder):
    """{scalar: [(epoch, value), ...]}"""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    names = events.Tags()["scalars"]
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in names}


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """MLflow with a store of files, the only kind its small package can write."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, on import
        import mlflow

    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    yield mlflow
    mlflow.end_run()


def only_run(mlflow):
    client = mlflow.MlflowClient()
    (found,) = client.search_runs(["0"])
    return client, found


def test_what_was_not_measured_is_not_tracked():
    assert scalars(epoch(1, val_loss=None, val_accuracy=None)) == {
        "train_loss": 0.5, "learning_rate": 0.1, "images_per_second": 9.0,
    }  # fmt: skip


def test_tensorboard_reads_back_every_epoch(tiny, tmp_path):
    run = fit("mlp", tiny, SMALL, listeners=[TensorBoard(tmp_path / "tb")])
    found = read_tensorboard(tmp_path / "tb")
    assert set(found) == set(TRACKED)
    for name in TRACKED:
        expected = [(row["epoch"], row[name]) for row in run.history]
        assert found[name] == [(s, pytest.approx(v, rel=1e-6)) for s, v in expected]


def test_tensorboard_drops_what_a_killed_process_wrote_too_much(tmp_path):
    killed, rest = TensorBoard(tmp_path), TensorBoard(tmp_path)
    killed(Started(1, 1, 1, 1, 3, None, "cpu", epoch=1, batch=0))
    killed(epoch(1, train_loss=0.9))
    killed(epoch(2, train_loss=0.8))
    rest(Started(1, 1, 1, 1, 3, None, "cpu", epoch=2, batch=0))
    rest(epoch(2, train_loss=0.7))
    losses = read_tensorboard(tmp_path)["train_loss"]
    assert losses == [(1, pytest.approx(0.9)), (2, pytest.approx(0.7))]


def test_mlflow_reads_back_recipe_and_every_epoch(tiny, mlflow):
    run = fit("mlp", tiny, SMALL, listeners=[MLflow("my run", SMALL)])
    client, found = only_run(mlflow)
    assert found.info.run_name == "my run"
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "3"
    assert found.data.params["shift"] == "1"
    for name in TRACKED:
        metrics = client.get_metric_history(found.info.run_id, name)
        expected = [(row["epoch"], row[name]) for row in run.history]
        assert [(m.step, m.value) for m in metrics] == expected
    assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("raised", "status"), [(KeyboardInterrupt, "KILLED"), (OSError, "FAILED")]
)
def test_an_mlflow_run_is_ended_also_when_training_is_not_through(
    tiny, mlflow, raised, status
):
    def stop(event):
        if isinstance(event, Stepped) and event.step == 4:
            raise raised

    with pytest.raises(raised):
        fit("mlp", tiny, SMALL, listeners=[MLflow("my run", SMALL), stop])
    assert only_run(mlflow)[1].info.status == status
    assert mlflow.active_run() is None


def test_a_tracker_that_fails_costs_a_warning_and_not_the_run(tiny, mlflow, tmp_path):
    (tmp_path / "file").write_text("")
    tensorboard = TensorBoard(tmp_path / "file" / "tb")
    tracker = MLflow("my run", SMALL)

    def unplug(event):
        if isinstance(event, EpochEnded) and event.epoch == 1:
            tracker._mlflow = None

    with pytest.warns(RuntimeWarning) as heard:
        run = fit("mlp", tiny, SMALL, listeners=[tensorboard, tracker, unplug])
    assert len(run.history) == 3
    first, second = (str(w.message) for w in heard)
    assert first.startswith("TensorBoard failed ([Errno 20] Not a directory")
    assert first.endswith("); training goes on without it")
    assert second == (
        "MLflow failed ('NoneType' object has no attribute 'log_metrics'); training "
        "goes on without it"
    )


def test_a_store_that_mlflow_cannot_write_is_refused_before_training(
    mlflow, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere/x")
    with pytest.raises(TrainingError) as error:
        MLflow("my run", SMALL)
    text = str(error.value)
    assert text.startswith("MLflow cannot log to ftp://nowhere/x: ")
    assert text.endswith(
        ". Set MLFLOW_TRACKING_URI to a server, or install all of mlflow to log to a "
        "file."
    )
    assert "\n" not in text


@pytest.mark.parametrize(
    ("library", "module", "make"),
    [
        ("tensorboard", "torch.utils.tensorboard", lambda: TensorBoard("x")),
        ("mlflow", "mlflow", lambda: MLflow("x", SMALL)),
    ],
)
def test_a_library_that_is_not_installed_is_named(monkeypatch, library, module, make):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as error:
        make()
    assert str(error.value) == (
        f"{library} is not installed. Run: pip install 'convscope[tracking]'"
    )


def test_both_flags_work_on_the_command_line(convscope, mlflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = convscope(
        "train", "digits", "--model", "softmax_regression", "--epochs", "2",
        "--run", "my run", "--tensorboard", "--mlflow", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["epochs"] == 2
    found = read_tensorboard(tmp_path / "my run" / "tensorboard")
    assert [step for step, _ in found["val_loss"]] == [1, 2]
    _, logged = only_run(mlflow)
    assert (logged.info.run_name, logged.info.status) == ("my run", "FINISHED")


@pytest.mark.filterwarnings("default")
def test_a_failing_tracker_is_one_line_on_the_command_line(
    convscope, tmp_path, monkeypatch
):
    def fail(*_arguments, **_options):
        raise OSError("the disk is on fire")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", fail)
    outcome = convscope(
        "train", "digits", "--model", "softmax_regression", "--epochs", "2",
        "--run", "run", "--tensorboard",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    lines = [x for x in outcome.err.splitlines() if x.startswith("warning: ")]
    assert lines == [
        "warning: TensorBoard failed (the disk is on fire); training goes on without it"
    ]


def test_neither_library_is_imported_unless_it_is_asked_for():
    code = (
        "import sys, convscope.cli.main; "
        "sys.exit('mlflow' in sys.modules or 'tensorboard' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
