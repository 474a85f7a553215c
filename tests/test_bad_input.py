"""Bad input gets a clear message, and nothing is lost."""

import json
import os
import resource
import shutil
import signal
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from convscope.train.run import Run
from convscope.train.run_folder import RunFolder
from processes import Command, wait_for

QUICK = ("--model", "softmax_regression", "--epochs", "1")
KNOWN = "PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF, JPEG 2000 and 11 others"


def error(text):
    """What a mistake prints: one line and nothing else."""
    return (2, "", f"Error: {text}\n")


def answer(outcome):
    return (outcome.code, outcome.out, outcome.err)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# What is in the folder of images


def test_an_empty_folder(convscope):
    Path("photos").mkdir()
    assert answer(convscope("train", "photos")) == error(
        "load: folder 'photos' holds no images. Put the images of each class into a "
        f"folder with its name; {KNOWN} are read."
    )


def test_one_class(convscope, pictures):
    pictures({"cat": 5}, "photos")
    assert answer(convscope("train", "photos")) == error(
        "load: folder 'photos' has images of one class only, 'cat'; a network needs "
        "two to tell apart. Add a folder for another class."
    )


def test_one_image_in_a_class(convscope, pictures):
    pictures({"cat": 12, "dog": 1}, "photos")
    assert answer(convscope("train", "photos")) == error(
        "load: folder 'photos' has one usable image in class 'dog'; at least 2 are "
        "needed, one to train on and one to judge by. Add images or remove it."
    )


def write_huge_png(path, side=20_000):
    """A valid picture of 20,000 x 20,000: 50 MB unpacked, 50 kB on disk."""

    def chunk(kind, content):
        body = kind + content
        return (
            struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
        )

    rows = bytes((side // 8 + 1) * side)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def spoil(folder):
    """A text, a truncated JPEG and a bomb among the pictures of class cat."""
    cat = folder / "cat"
    (cat / "text.jpg").write_text("hello, this is no picture")
    Image.linear_gradient("L").save(cat / "cut.jpg")
    content = (cat / "cut.jpg").read_bytes()
    (cat / "cut.jpg").write_bytes(content[: len(content) // 2])
    write_huge_png(cat / "bomb.png")


REASONS = {
    "cat/bomb.png": "20,000 x 20,000 pixels are 400,000,000, more than the limit of "
    "134,217,728. Scale it down first.",
    "cat/cut.jpg": "the file is truncated (image file is truncated (0 bytes not "
    "processed)).",
    "cat/text.jpg": "is not a picture in a known format (it begins with b'hello, t'). "
    f"Known: {KNOWN}.",
}


def test_files_that_cannot_be_read_are_set_aside_and_training_goes_on(
    convscope, pictures
):
    spoil(pictures({"cat": 20, "dog": 20}, "photos"))
    outcome = convscope("train", "photos", *QUICK, "--run", "run")
    assert outcome.code == 0
    assert "3 files could not be used; the list is in run/set_aside.json" in outcome.err
    listed = json.loads(Path("run/set_aside.json").read_text())
    assert listed == [
        {"path": f"photos/{path}", "reason": reason} for path, reason in REASONS.items()
    ]
    assert len(Run.load("run").set_aside) == 3


def test_strict_stops_at_files_that_cannot_be_read(convscope, pictures):
    spoil(pictures({"cat": 20, "dog": 20}, "photos"))
    outcome = convscope("train", "photos", *QUICK, "--run", "run", "--strict")
    assert outcome.code == 2
    assert outcome.out == ""
    first, *files = outcome.err.splitlines()
    assert first == (
        "Error: load: folder 'photos' has 3 files that cannot be used. Fix or remove "
        "them, or leave out strict:"
    )
    assert files == [f"  {path}: {reason}" for path, reason in REASONS.items()]
    assert not Path("run").exists()


NAMES = ("a b", "Größe ∕ size", "猫", "[red]", "x; rm -rf")


def test_class_names_with_spaces_unicode_and_markup_come_through(convscope, pictures):
    pictures(dict.fromkeys(NAMES, 12), "my photos")
    outcome = convscope("train", "my photos", *QUICK, "--run", "a run")
    assert outcome.code == 0, outcome.err
    assert "convscope predict 'a run' IMAGE..." in outcome.out
    assert set(Run.load("a run").spec.classes) == set(NAMES)
    assert json.loads(Path("a run/spec.json").read_text())["classes"] == sorted(NAMES)
    judged = json.loads(convscope("evaluate", "a run", "--json").out)
    assert sorted(NAMES) == sorted(judged["classes"])
    table = convscope("evaluate", "a run").out
    assert all(name in table for name in NAMES)
    picture = next(Path("my photos", "[red]").iterdir())
    rows = json.loads(convscope("predict", "a run", picture, "--json").out)
    assert rows["predictions"][0]["class"] in NAMES


def test_class_names_with_slashes_come_through(set_of, tmp_path):
    from convscope.train.training.fitting import fit

    data = set_of().replace(classes=("a/b", "../up", "/"))
    fit("softmax_regression", data, folder="run", listeners=(), epochs=1)
    run = Run.load("run")
    assert run.spec.classes == ("a/b", "../up", "/")
    assert len(run.evaluate(data).confusion) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_pictures_of_other_channels_are_converted_and_it_is_said(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "gray")
    pictures({"cat": 12, "dog": 12}, "color", channels=3)
    for own, other in (("gray", "color"), ("color", "gray")):
        assert convscope("train", own, *QUICK, "--run", f"{own}-run").code == 0
        outcome = convscope("evaluate", f"{own}-run", other)
        assert outcome.code == 0, outcome.err
        made = "in color; made gray" if own == "gray" else "gray; "
        assert made in outcome.out
        picture = next(Path(other, "cat").iterdir())
        assert convscope("predict", f"{own}-run", picture).code == 0


def test_labels_that_the_run_never_saw(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "photos")
    pictures({"cat": 3, "emu": 3}, "more")
    assert convscope("train", "photos", *QUICK, "--run", "run").code == 0
    assert answer(convscope("evaluate", "run", "more")) == error(
        "evaluate: more holds 'emu', which this run never saw; it knows 'cat', 'dog'. "
        "Rename or remove those classes, or train on data that holds them."
    )


# Names that are misspelled


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["train", "digitz"],
            "unknown data set or folder 'digitz'. Did you mean 'digits'?",
        ),
        (
            ["train", "--model", "lenet-5"],
            "unknown model 'lenet-5'. Did you mean 'lenet5'?",
        ),
        (
            ["train", "--recipe", "mnst"],
            "unknown recipe 'mnst'. Did you mean 'mnist'?",
        ),
        (
            ["train", "--epocs", "3"],
            "unknown option '--epocs'. Did you mean '--epochs'?",
        ),
        (
            ["train", "--no-nesterof"],
            "unknown option '--no-nesterof'. Did you mean '--no-nesterov'?",
        ),
        (
            ["evaluate", "run", "--jsn"],
            "unknown option '--jsn'. Did you mean '--json'?",
        ),
        (
            ["train", "--recipe", "mine.toml"],
            "unknown recipe key 'epocs'. Did you mean 'epochs'?",
        ),
        (
            ["train", "--model", "mlp", "--model-option", "hiden=8"],
            "unknown option of model mlp 'hiden'. Did you mean 'hidden'?",
        ),
        (
            ["train", "--model-option", "hidden"],
            "--model-option='hidden' is not KEY=VALUE.",
        ),
        (
            ["train", "--epochs", "0"],
            "recipe: epochs=0 must be greater than or equal to 1.",
        ),
        (
            ["train", "--learning-rate", "inf"],
            "recipe: learning_rate=inf must be a finite number.",
        ),
        (
            ["train", "--recipe", "absent.toml"],
            "recipe: cannot read absent.toml: [Errno 2] No such file or directory: "
            "'absent.toml'.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_typo_gets_a_suggestion(convscope, arguments, text):
    Path("mine.toml").write_text("epocs = 3\n")
    outcome = convscope(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.splitlines()[-1] == f"Error: {text}"
    assert not Path("runs").exists()


def test_a_misspelled_command_gets_a_suggestion(convscope):
    outcome = convscope("evalute", "run")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        "Error: No such command 'evalute'. Did you mean 'evaluate'?"
    )


def test_a_value_outside_a_choice_names_the_choices(convscope):
    outcome = convscope("train", "--optimizer", "sdg")
    assert outcome.code == 2
    assert "'sdg' is not one of 'sgd', 'adamw', 'muon'" in outcome.err


# Run folders


def test_a_run_of_another_version(convscope, finished):
    run = Path(shutil.copytree(finished, "run"))
    spec = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(
        json.dumps({**spec, "format": 2, "convscope": "9.1.0"})
    )
    text = (
        "run/spec.json: format=2 is not 1, the one this version reads (written by "
        "convscope 9.1.0). Use that version, or train again."
    )
    assert answer(convscope("evaluate", "run")) == error(text)
    assert answer(convscope("train", "--resume", "run")) == error(text)


def test_a_spec_with_a_missing_key(convscope, finished):
    run = Path(shutil.copytree(finished, "run"))
    spec = json.loads((run / "spec.json").read_text())
    del spec["preprocessing"]["mean"]
    (run / "spec.json").write_text(json.dumps(spec))
    assert answer(convscope("evaluate", "run")) == error(
        "run/spec.json: key 'preprocessing.mean': field required. Put the original "
        "back, or train again."
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "run/spec.json cannot be read: Expecting property name enclosed in "
              "double quotes: line 1 column 2 (char 1)."),
        ("[]", "run/spec.json holds no JSON object; it is not a run's spec."),
        (None, "run/spec.json is missing, so run is not a run folder. Give a folder "
               "that `convscope train` made."),
    ],
)  # fmt: skip
def test_a_spec_that_is_damaged_or_absent(convscope, finished, content, text):
    run = Path(shutil.copytree(finished, "run"))
    (run / "spec.json").unlink()
    if content is not None:
        (run / "spec.json").write_text(content)
    assert answer(convscope("evaluate", "run")) == error(text)


def test_a_run_that_is_not_there(convscope):
    assert answer(convscope("evaluate", "runs/nothing")) == error(
        "run runs/nothing does not exist. Give a folder that `train` made."
    )


def test_a_second_run_on_top_of_the_first(convscope, finished):
    shutil.copytree(finished, "run")
    before = contents("run")
    assert answer(convscope("train", "digits", *QUICK, "--run", "run")) == error(
        "run holds a run already. Go on with it (convscope train --resume run), "
        "replace it (--force), or choose another place (--run)."
    )
    assert contents("run") == before
    outcome = convscope("train", "digits", *QUICK, "--run", "run", "--force")
    assert outcome.code == 0, outcome.err
    assert Run.load("run").spec.recipe.epochs == 1


def contents(folder):
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in files}


@pytest.mark.parametrize("name", ["letter.txt", "spec.json"])
def test_force_never_deletes_what_is_not_a_run(convscope, name):
    Path("thesis").mkdir()
    Path("thesis", name).write_text('{"openapi": "3.1.0"}')
    before = contents("thesis")
    assert answer(
        convscope("train", "digits", *QUICK, "--run", "thesis", "--force")
    ) == error(
        "thesis exists and is not a run folder; it will not be overwritten. Choose "
        "another place (--run)."
    )
    assert contents("thesis") == before


def test_a_place_that_cannot_be_made(convscope):
    Path("file").write_text("")
    outcome = convscope("train", "digits", *QUICK, "--run", "file/run")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        "Error: cannot make file/run: File exists. Choose another place (--run)."
    )


def test_two_processes_on_one_run(convscope, finished):
    run = Path(shutil.copytree(finished, "run"))
    (run / "weights.safetensors").unlink()
    text = (
        "another process is training in run. Wait for it, or choose another place "
        "(--run)."
    )
    with RunFolder(run).locked():
        assert answer(convscope("train", "--resume", "run")) == error(text)
        forced = convscope("train", "digits", *QUICK, "--run", "run", "--force")
    assert forced.code == 2
    assert forced.err.splitlines()[-1] == f"Error: {text}"
    assert (run / "spec.json").exists()


# In processes of their own

STEPS = (
    "train", "digits", "--model", "mlp", "--model-option", "hidden=24", "--epochs", "3",
    "--run", "run",
)  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The weights that nothing interfered with."""
    place = tmp_path_factory.mktemp("expected")
    code, _, err = Command(place, *STEPS).ended()
    assert code == 0, err
    return (place / "run" / "weights.safetensors").read_bytes()


def allow_files_of_15_kilobytes():
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))


def test_a_disk_that_is_full_when_a_checkpoint_is_written(expected, tmp_path):
    """The first checkpoint fits, the later ones, with momentum, do not."""
    code, out, err = Command(
        tmp_path, *STEPS, "--checkpoint-seconds", "0",
        prepare=allow_files_of_15_kilobytes,
    ).ended()  # fmt: skip
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "Error: cannot write run/checkpoint/state.safetensors: File too large. What "
        "was there before is unchanged. Free some space, or make the folder writable. "
        "Then go on with: convscope train --resume run"
    )
    assert "Traceback" not in err
    code, _, err = Command(tmp_path, "train", "--resume", "run").ended()
    assert code == 0, err
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == expected


def interrupted(tmp_path):
    """A run of which two checkpoints are on disk."""
    process = Command(tmp_path, *STEPS, "--checkpoint-seconds", "0")
    kept = tmp_path / "run" / "checkpoint"
    wait_for((kept / "state.previous.safetensors").exists)
    process.send(signal.SIGINT)
    assert process.ended()[0] == 130
    return kept


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_a_checkpoint_cut_short_falls_back_to_the_one_before(expected, tmp_path):
    kept = interrupted(tmp_path)
    cut(kept / "state.safetensors")
    code, _, err = Command(tmp_path, "train", "--resume", "run").ended()
    assert code == 0, err
    assert (
        "warning: run/checkpoint/state.safetensors cannot be read, it may be cut "
        "short: Error while deserializing header: incomplete metadata, file not fully "
        "covered. Going on from the checkpoint before it.\n"
    ) in err
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == expected


def test_two_checkpoints_cut_short_are_not_guessed_at(convscope, tmp_path):
    kept = interrupted(tmp_path)
    cut(kept / "state.safetensors")
    cut(kept / "state.previous.safetensors")
    before = contents("run")
    assert answer(convscope("train", "--resume", "run")) == error(
        "run/checkpoint/state.safetensors cannot be read, it may be cut short: Error "
        "while deserializing header: incomplete metadata, file not fully covered. "
        "There is no older checkpoint to fall back on. Start again (--force)."
    )
    assert contents("run") == before


def test_weights_cut_short(convscope, finished):
    run = Path(shutil.copytree(finished, "run"))
    cut(run / "weights.safetensors")
    assert answer(convscope("evaluate", "run")) == error(
        "run/weights.safetensors cannot be read, it may be cut short: Error while "
        "deserializing header: incomplete metadata, file not fully covered. Train "
        "again (--force)."
    )


@pytest.fixture
def open_place(monkeypatch):
    """A folder that any user may enter, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="convscope-test-"))
    place.chmod(0o755)
    yield place
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(place)


def become_nobody():
    """Permissions do not hold for root."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def test_a_run_folder_that_is_read_only(finished, open_place):
    run = Path(shutil.copytree(finished, open_place / "run"))
    unfinished = Path(shutil.copytree(finished, open_place / "unfinished"))
    (unfinished / "weights.safetensors").unlink()
    for path in (run, unfinished, open_place):
        path.chmod(0o555)

    def ask(*arguments):
        return Command(open_place, *arguments, prepare=become_nobody).ended()

    code, out, err = ask("evaluate", "run")
    assert code == 0, err
    assert "accuracy" in out
    assert ask("train", "--resume", "unfinished") == error(
        "cannot write in unfinished: Permission denied. Training needs a run folder "
        "that it may write to."
    )
    code, out, err = ask("train", "digits", *QUICK, "--run", "new")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "Error: cannot make new: Permission denied. Choose another place (--run)."
    )
