"""Run folders that somebody else made or damaged: each is refused by RunError.

Checksums are taken out where what lies behind them is to be reached.
"""

import json
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from convscope.errors import RunError
from convscope.train import Run, resume
from convscope.train.checkpoint import read_tensors, write_tensors
from convscope.train.training.events import EpochEnded
from convscope.train.training.fitting import fit

SPARE_BYTES = 4 * 2**30  # beyond what the process has; width=20000 asks for 29 GB


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A finished run and one that was interrupted."""
    place = tmp_path_factory.mktemp("good")
    options = {"width": 4}
    fit("resnet9", "digits", folder=place / "finished", listeners=(), epochs=1,
        model_options=options, optimize=False, batch_size=256)  # fmt: skip

    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("resnet9", "digits", folder=place / "stopped", listeners=[stop], epochs=2,
            model_options=options, optimize=False, batch_size=256,
            checkpoint_seconds=0)  # fmt: skip
    Image.new("L", (8, 8), 99).save(place / "picture.png")
    return place


@pytest.fixture
def _no_more_memory():
    """Whoever takes what a hostile file asks for runs out of memory here."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def use(run, picture):
    """All that is done with a finished run; the folder is taken at its word."""
    loaded = Run.load(run)
    assert "Run(" in repr(loaded)
    assert loaded._repr_html_()
    loaded.evaluate()
    assert list(loaded.predict(picture))


def unsealed(run):
    """The spec without what notices that it was changed."""
    spec = json.loads((run / "spec.json").read_text())
    del spec["sha256"]
    return {**spec, "files": {}}


def edited(spec, where, value):
    *path, last = where.split(".")
    part = spec
    for key in path:
        part = part[key]
    part[last] = value
    return spec


def deep(levels=100_000):
    return "[" * levels + "]" * levels


SPEC_VALUES = [
    ("model.options", {"width": 20000}),
    ("model.options", {"width": 10**12}),
    ("model.options", {"width": -1}),
    ("model.options", {"width": 0}),
    ("model.options", {"width": "4"}),
    ("model.options", {"width": None}),
    ("model.options", {"width": [4]}),
    ("model.options", {"width": 1e300}),
    ("model.options", {"depth": 3}),
    ("model.options", {"num_classes": 3}),
    ("model.options", {"weights": "/etc/passwd"}),
    ("model.options", {"weights": "imagenet"}),
    ("model.options", {"input_size": [8, 8]}),
    ("model.options", 3),
    ("model.name", "resnet18"),
    ("model.name", "unet"),
    ("model.name", "no such model"),
    ("model.name", "../../etc/passwd"),
    ("model.name", 3),
    ("model.name", None),
    ("model.parameters", 3),
    ("model.parameters", 10**30),
    ("model.parameters", "many"),
    ("model.input_shape", [1, 10**9, 10**9]),
    ("model.input_shape", [1, 0, 0]),
    ("model.input_shape", [1, -8, -8]),
    ("model.input_shape", [3, 8, 8]),
    ("model.input_shape", [1, 8]),
    ("model.input_shape", "8 x 8"),
    ("preprocessing.size", [16, 16]),
    ("preprocessing.size", [16384, 16384]),
    ("preprocessing.size", [0, 0]),
    ("preprocessing.channels", 3),
    ("preprocessing.channels", 2),
    ("preprocessing.mean", [float("nan")]),
    ("preprocessing.mean", [float("inf")]),
    ("preprocessing.mean", [1e308]),
    ("preprocessing.mean", []),
    ("preprocessing.mean", ["0.5"] * 2),
    ("preprocessing.std", [0.0]),
    ("preprocessing.std", [-1.0]),
    ("preprocessing.std", [float("nan")]),
    ("preprocessing.std", [1e-300]),
    ("preprocessing.bits", 12),
    ("preprocessing.resize", "stretch"),
    ("classes", []),
    ("classes", ["a"]),
    ("classes", ["0"] * 10),
    ("classes", "0123456789"),
    ("classes", {"a": 1}),
    ("classes", [str(i) for i in range(100_000)]),
    ("recipe.device", "meta"),
    ("recipe.device", "gpu"),
    ("recipe.device", "cuda:77"),
    ("recipe.device", ""),
    ("recipe.device", 3),
    ("recipe.seed", 10**30),
    ("recipe.seed", -1),
    ("recipe.epochs", 0),
    ("recipe.learning_rate", float("inf")),
    ("recipe.tta", "twice"),
    ("recipe.unknown", 3),
    ("data.options", {"cache_dir": "/etc"}),
    ("data.options", {"progress": 3}),
    ("data.options", [1]),
    ("data.train", "all"),
    ("versions", [1]),
    ("format", 2),
    ("format", "1"),
    ("files", {"../../secret": "0" * 64}),
    ("files", {"weights.safetensors": "0" * 64}),
    ("files", {"weights.safetensors": 3}),
]


@pytest.mark.parametrize(
    ("where", "value"), SPEC_VALUES, ids=[f"{k}={str(v)[:30]}" for k, v in SPEC_VALUES]
)
@pytest.mark.usefixtures("_no_more_memory")
def test_a_spec_that_asks_for_something_else_is_refused(good, tmp_path, where, value):
    run = shutil.copytree(good / "finished", tmp_path / "run")
    (run / "spec.json").write_text(json.dumps(edited(unsealed(run), where, value)))
    with pytest.raises(RunError):
        use(run, good / "picture.png")


def text(content):
    return lambda path: path.write_text(content)


def binary(content):
    return lambda path: path.write_bytes(content)


def link(target):
    return lambda path: path.symlink_to(target)


def tensors(change):
    def write(path):
        one = change({k: v.clone() for k, v in load_file(path.with_name("w")).items()})
        save_file(one, path)

    return write


def first(value):
    """The same tensors, the first of them changed by ``value``."""

    def change(one):
        name = sorted(one)[0]
        return {**one, name: value(one[name])}

    return change


def sealed(change):
    """Written with a checksum of what it holds."""
    return lambda path: write_tensors(path, change(load_file(path.with_name("w"))))


FILES = [
    ("spec.json", "a pipe", os.mkfifo),
    ("spec.json", "a device", link("/dev/zero")),
    ("spec.json", "a loop", link("spec.json")),
    ("spec.json", "a folder", os.mkdir),
    ("spec.json", "deep", text(deep())),
    ("spec.json", "deep objects", text('{"a":' * 5000 + "1" + "}" * 5000)),
    ("spec.json", "long", text("9" * 20_000_000)),
    ("spec.json", "a number of 10,000 digits", text("9" * 10_000)),
    ("spec.json", "no UTF-8", binary(b"\xff\xfe{}")),
    ("spec.json", "null bytes", binary(b"\0" * 100)),
    ("spec.json", "empty", text("")),
    ("weights.safetensors", "a pipe", os.mkfifo),
    ("weights.safetensors", "a device", link("/dev/zero")),
    ("weights.safetensors", "a folder", os.mkdir),
    ("weights.safetensors", "missing", lambda path: None),
    ("weights.safetensors", "empty", binary(b"")),
    ("weights.safetensors", "a header of 2**63 bytes", binary(b"\xff" * 7 + b"\x7f")),
    ("weights.safetensors", "a pickle", lambda path: torch.save({"w": 1}, path)),
    ("weights.safetensors", "no tensors", sealed(lambda one: {})),
    ("weights.safetensors", "more", sealed(lambda one: {**one, "x": torch.ones(1)})),
    ("weights.safetensors", "NaN", sealed(first(lambda t: t * float("nan")))),
    ("weights.safetensors", "infinite", sealed(first(lambda t: t + float("inf")))),
    ("weights.safetensors", "too large", sealed(first(lambda t: t * 0 + 3e38))),
    ("weights.safetensors", "other shape", sealed(first(lambda t: t[None]))),
    ("metrics.jsonl", "a pipe", os.mkfifo),
    ("metrics.jsonl", "a device", link("/dev/zero")),
    ("metrics.jsonl", "deep", text(deep())),
    ("metrics.jsonl", "NaN", text('{"epoch": NaN}')),
    ("metrics.jsonl", "a list", text("[1]\n")),
    ("metrics.jsonl", "words", text('{"val_accuracy": "good"}\n')),
    ("set_aside.json", "a pipe", os.mkfifo),
    ("set_aside.json", "deep", text(deep())),
    ("set_aside.json", "a number", text("3")),
    ("set_aside.json", "numbers", text('[{"path": 1, "reason": 2}]')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make"),
    [(name, make) for name, _, make in FILES],
    ids=[f"{name} {what}" for name, what, _ in FILES],
)
def test_a_file_that_is_something_else_is_refused(good, tmp_path, name, make):
    run = shutil.copytree(good / "finished", tmp_path / "run")
    (run / "spec.json").write_text(json.dumps(unsealed(run)))
    shutil.copy(run / "weights.safetensors", run / "w")
    (run / name).unlink(missing_ok=True)
    make(run / name)
    with pytest.raises(RunError):
        use(run, good / "picture.png")


POSITIONS = [
    ("epoch", "one"),
    ("step", None),
    ("seconds", [1]),
    ("history", 3),
    ("history", ["x"]),
    ("more", 3),
]


@pytest.mark.parametrize(("key", "value"), POSITIONS, ids=str)
def test_a_checkpoint_at_no_place_is_refused(good, tmp_path, key, value):
    run = shutil.copytree(good / "stopped", tmp_path / "run")
    path = run / "checkpoint" / "state.safetensors"
    state = read_tensors(path)
    position = {**state.values["position"], key: value}
    write_tensors(path, state.tensors, {**state.values, "position": position})
    with pytest.raises(RunError):
        resume(run, listeners=())


def without_values(path):
    write_tensors(path, read_tensors(path.with_name("s")).tensors)


CHECKPOINTS = [
    ("a pipe", os.mkfifo),
    ("a device", link("/dev/zero")),
    ("a folder", os.mkdir),
    ("empty", binary(b"")),
    ("other tensors", lambda path: write_tensors(path, {"net/x": torch.ones(1)}, {})),
    ("no tensors", lambda path: write_tensors(path, {}, {})),
    ("no values", without_values),
]  # fmt: skip


@pytest.mark.parametrize(
    "make", [make for _, make in CHECKPOINTS], ids=[what for what, _ in CHECKPOINTS]
)
def test_a_checkpoint_that_is_something_else_is_refused(good, tmp_path, make):
    run = shutil.copytree(good / "stopped", tmp_path / "run")
    place = run / "checkpoint"
    (place / "state.safetensors").rename(place / "s")
    (place / "state.previous.safetensors").unlink(missing_ok=True)
    make(place / "state.safetensors")
    with pytest.raises(RunError):
        resume(run, listeners=())


@pytest.mark.parametrize(
    ("where", "value"),
    [("model.options", {"width": 20000}), ("recipe.device", "meta"),
     ("data.options", {"cache_dir": "/etc"}), ("model.name", "unet")],
    ids=str,
)  # fmt: skip
@pytest.mark.usefixtures("_no_more_memory")
@pytest.mark.parametrize("begun", [True, False], ids=["checkpoint", "none"])
def test_an_interrupted_run_with_another_spec_is_refused(
    good, tmp_path, where, value, begun
):
    run = shutil.copytree(good / "stopped", tmp_path / "run")
    (run / "spec.json").write_text(json.dumps(edited(unsealed(run), where, value)))
    if not begun:
        shutil.rmtree(run / "checkpoint")
    with pytest.raises(RunError):
        resume(run, listeners=())


def test_a_link_in_the_place_of_a_draft_is_not_written_through(good, tmp_path):
    run = shutil.copytree(good / "stopped", tmp_path / "run")
    (tmp_path / "mine").write_text("mine")
    for name in (".weights.safetensors.part", ".metrics.jsonl.part"):
        (run / name).symlink_to(tmp_path / "mine")
    resume(run, listeners=())
    assert (tmp_path / "mine").read_text() == "mine"


def test_the_runs_themselves_are_good(good, tmp_path):
    use(good / "finished", good / "picture.png")
    run = shutil.copytree(good / "stopped", tmp_path / "run")
    assert len(resume(run, listeners=()).history) == 2
    loose = shutil.copytree(good / "finished", tmp_path / "loose")
    (loose / "spec.json").write_text(json.dumps(unsealed(loose)))
    use(loose, good / "picture.png")  # what the tests above change is all that is wrong
