"""In a window of 40 columns every table can be read: nothing is cut or upright."""

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner

from convscope.cli import summary as summary_command
from convscope.cli.main import app
from convscope.data import load
from convscope.train import fit

WIDTH = 40
NAMES = ("arrow pointing to the left", "arrow pointing to the right", "stop")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images with long class names, and a run on it."""
    folder = tmp_path_factory.mktemp("narrow")
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        (folder / "signs" / name).mkdir(parents=True)
        for index in range(24):
            pixels = rng.integers(0, 100 + 70 * number, (12, 12), np.uint8)
            Image.fromarray(pixels).save(folder / "signs" / name / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("mlp", load(folder / "signs"), folder="run", listeners=(), epochs=1)
    return folder


COMMANDS = {
    "data list": ["data", "list"],
    "data audit": ["data", "audit", "signs"],
    "models": ["models"],
    "one model": ["models", "vgg16"],
    "summary": ["summary", "resnet9"],
    "summary of volumes": ["summary", "torch.nn:Conv3d", "--arg", "in_channels=1",
                           "--arg", "out_channels=2", "--arg", "kernel_size=3",
                           "--input", "1,128,120,112"],
    "two networks": ["summary", "lenet5", "--versus", "mlp", "--input", "1,28,28"],
    "evaluate": ["evaluate", "run"],
    "predict": ["predict", "run", "signs/stop/1.png", "signs/stop/2.png"],
    "verify": ["verify", "run"],
    "a search for a rate": ["train", "signs", "--model", "mlp", "--find-lr"],
}  # fmt: skip


def printed(command, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(summary_command, "columns", lambda: WIDTH)
    runner = CliRunner(env={"COLUMNS": str(WIDTH)})
    result = runner.invoke(app, COMMANDS[command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def stands_upright(lines):
    """Whether a text goes down the page, a few letters in each line."""
    short = [0 < len(line.strip()) <= 3 and line.strip()[0].isalpha() for line in lines]
    return any(all(short[i : i + 4]) for i in range(len(short) - 3))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_window_and_no_name_stands_upright(
    command, place, monkeypatch
):
    lines = printed(command, place, monkeypatch)
    assert len(lines) > 1 or command == "verify"
    wide = [line for line in lines if cell_len(line.rstrip()) > WIDTH]
    assert [line for line in wide if "/" not in line] == []  # paths are never folded
    assert not stands_upright(lines)


@pytest.mark.parametrize("command", ["evaluate", "data audit"])
def test_names_of_classes_are_whole(command, place, monkeypatch):
    text = " ".join(" ".join(printed(command, place, monkeypatch)).split())
    assert all(name in text for name in NAMES)


def test_counts_are_where_their_layer_is(place, monkeypatch):
    lines = printed("summary", place, monkeypatch)
    at = lines.index("  1 BatchNorm2d(32)")
    assert lines[at + 1].split() == ["32x32x32", "64", "params", "(<1", "%)"]


def test_the_helpers_reject_a_name_stood_on_end():
    assert stands_upright(["arr", "ow", "to", "the", "left"])
    assert not stands_upright(["an arrow", "to", "the left"])
