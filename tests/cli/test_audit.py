import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convscope.cli.data import app


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        path = tmp_path / "set" / ["cat", "big [dog]"][i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return tmp_path / "set"


def audited(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_a_sound_folder_exits_with_0(folder):
    result = audited(folder)
    assert result.exit_code == 0, result.output
    assert "Nothing to fix." in result.stdout
    assert "big [dog]" in result.stdout
    assert "Sizes: 32x32 (6)" in result.stdout


def test_what_must_be_fixed_exits_with_1(folder):
    (folder / "cat" / "bad.jpg").write_text("hello")
    result = audited(folder)
    assert result.exit_code == 1
    assert "must fix: unreadable. 1 file that cannot be read." in result.stdout
    assert "cat/bad.jpg" in result.stdout


def test_json_is_one_object(folder):
    (folder / "cat" / "bad.jpg").write_text("hello")
    result = audited(folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["must_fix"] is True


def test_usage_errors_exit_with_2(folder):
    assert audited(folder, "--near", "99").exit_code == 2
    assert audited().exit_code == 2


def test_names_that_are_no_unicode_can_be_printed(folder):
    (folder / "cat" / "\udcff\x1b[2J.png").write_text("hello")
    result = audited(folder)
    assert result.exit_code == 1
    assert "\x1b[2J" not in result.stdout
    assert json.loads(audited(folder, "--json").stdout)["images"] == 7


def test_folders_named_like_parts_can_be_classes(convscope, pictures):
    for part in ("train", "valid", "sample"):
        root = pictures({"cat": 2, "dog": 2}, f"pets/{part}").parent
    outcome = convscope("data", "audit", root)
    assert outcome.code == 2
    assert outcome.err.endswith("say that 'train' is a class (--layout classes).\n")
    assert "12 images" in convscope("data", "audit", root, "--layout", "classes").out
