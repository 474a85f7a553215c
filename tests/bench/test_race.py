import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from convscope.bench import ENTRANTS, Entrant, Job, Result, race, record, table
from convscope.bench.networks import build, plain_layers, work
from convscope.bench.process import AbsentError, Worker
from convscope.bench.race import distance, exclude_those_that_differ
from convscope.errors import ArgumentError

JOB = Job("lenet_page", (1, 32, 32), batch=2)
PYTORCH = Entrant("PyTorch", "torch")


class Planted:
    """A worker that answers what it was given."""

    def __init__(self, folder, name, gradient, losses, precision="float32"):
        self.entrant = Entrant(name, "torch", precision=precision)
        self.gradient_file = folder / f"{name}.npz"
        np.savez(self.gradient_file, weight=np.asarray(gradient))
        self.answers = {"gradients": {"loss": losses[0]}, "losses": {"losses": losses}}

    def ask(self, command):
        return self.answers[command if isinstance(command, str) else command[0]]


def held(folder, *workers):
    everybody = {worker.entrant.name: worker for worker in workers}
    results = {name: Result(name) for name in everybody}
    exclude_those_that_differ(JOB, everybody, results, lambda _: None)
    return everybody, results


def test_who_computes_other_gradients_is_excluded(tmp_path):
    honest = Planted(tmp_path, "PyTorch", [1.0, 2.0], [0.5, 0.4])
    same = Planted(tmp_path, "same", [1.0, 2.0], [0.5, 0.4])
    wrong = Planted(tmp_path, "wrong", [1.0, 2.1], [0.5, 0.4])
    stays, results = held(tmp_path, wrong, same, honest)
    assert set(stays) == {"PyTorch", "same"}
    assert results["wrong"].absent == "differs from PyTorch by 4.5e-02"


def test_who_trains_otherwise_is_excluded(tmp_path):
    honest = Planted(tmp_path, "PyTorch", [1.0], [0.5, 0.4])
    wrong = Planted(tmp_path, "wrong", [1.0], [0.5, 0.42])
    broken = Planted(tmp_path, "broken", [np.nan], [0.5, 0.4])
    stays, _ = held(tmp_path, wrong, broken, honest)
    assert set(stays) == {"PyTorch"}


def test_bfloat16_may_differ_more(tmp_path):
    honest = Planted(tmp_path, "PyTorch", [1.0, 2.0], [0.5, 0.4])
    rough = Planted(tmp_path, "rough", [1.0, 2.1], [0.5, 0.4], precision="bfloat16")
    assert set(held(tmp_path, honest, rough)[0]) == {"PyTorch", "rough"}


def test_the_distance_is_a_share_of_what_was_expected():
    assert distance(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)


@pytest.fixture(scope="module")
def raced():
    entrants = [PYTORCH, Entrant("last", "torch", ("channels_last", "fused"))]
    entrants.append(Entrant("JAX, jitted", "jax"))
    return race(JOB, entrants, repeats=2, seconds=0.01)


def test_everybody_is_timed_as_often_and_compared(raced):
    for result in raced[:2]:
        assert not result.absent
        assert len(result.seconds) == len(result.cpu_seconds) == 2
        assert min(result.seconds) > 0
        assert result.memory_bytes > 0
    # another order of summing, four steps on
    assert 0 < raced[1].difference < 1e-4


def test_who_lacks_a_library_says_so(raced):
    try:
        import jax  # noqa: F401
    except ImportError:
        assert raced[2].absent == "ModuleNotFoundError: No module named 'jax'"
    else:
        assert not raced[2].absent


def test_a_record_can_be_kept_and_shown(raced):
    kept = json.loads(json.dumps(record(JOB, raced)))
    base = kept["results"][0]
    assert base["ratio"] == 1
    assert 0 < base["share_of_limit"] < 1
    lines = table(kept).splitlines()
    assert len(lines) == 1 + len(raced)
    timed = [line for line in lines if "±" in line]
    assert len({line.index("±") for line in timed}) == 1


def test_onnx_runtime_takes_part_in_the_forward_pass():
    pytest.importorskip("onnxruntime")
    forward = Job("lenet_page", (1, 32, 32), batch=2, task="forward")
    entrants = [e for e in ENTRANTS if e.name in ("PyTorch", "ONNX Runtime")]
    results = race(forward, entrants, repeats=1, seconds=0.01)
    assert [result.absent for result in results] == ["", ""]
    assert results[1].difference < 1e-5


def test_work_counts_two_operations_a_product_and_no_gradient_for_the_image():
    forward = 418_600  # from the model's card
    first = 6 * 28 * 28 * 25
    operations, _ = work(JOB)
    assert operations == 2 * 2 * (3 * forward - first)


def test_a_plain_chain_is_read_and_another_is_not():
    kinds = [layer["kind"] for layer in plain_layers(build("lenet_page", (1, 32, 32)))]
    assert kinds == [
        *("conv", "relu", "max", "conv", "relu", "max", "flatten"),
        *("linear", "relu", "linear", "relu", "linear"),
    ]
    assert plain_layers(build("resnet9", (3, 32, 32))) is None
    assert plain_layers(nn.Sequential(nn.Conv2d(2, 2, 3, groups=2))) is None
    assert plain_layers(nn.Sequential(nn.Conv2d(2, 2, 3, dilation=2))) is None
    assert plain_layers(nn.Sequential(nn.Softplus())) is None


def test_a_process_that_dies_leaves_its_last_words(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "silent").write_text("")
    worker = Worker(PYTORCH, JOB, tmp_path, sys.executable)
    try:
        with pytest.raises(AbsentError, match=r"arrays\.npz"):
            worker.versions()
    finally:
        worker.close()


def test_there_is_no_race_without_the_one_to_compare_with():
    with pytest.raises(ArgumentError) as caught:
        race(JOB, [Entrant("last", "torch", ("channels_last",))])
    text = "bench: entrants lack 'PyTorch', which all are held to."
    assert str(caught.value) == text


def test_nobody_races_on_no_threads():
    with pytest.raises(ArgumentError, match=r"^bench: threads=0 must be at least 1\.$"):
        Job("lenet_page", (1, 32, 32), 64, threads=0)


def test_the_machine_is_left_with_as_many_threads_as_before():
    from convscope.bench.limits import matrix_product_limit

    before = torch.get_num_threads()
    assert matrix_product_limit(torch.float32, 1) > 1e8
    assert torch.get_num_threads() == before
