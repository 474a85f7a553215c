import json

import platformdirs
import pytest
from typer.testing import CliRunner

from convscope.cli.data import app
from convscope.data import names
from data.files import write_cifar, write_idx_set


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name: tmp_path / "cache"
    )
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_json_says_where_each_set_is(machine):
    write_idx_set(machine / "data" / "mnist", suffix=".gz")
    write_cifar(machine / "cache" / "cifar10", "binary")
    listed = json.loads(run("list", "--json"))
    assert listed["looked_in"] == {
        "data": str(machine / "data"),
        "cache": str(machine / "cache"),
    }
    sets = {record["name"]: record for record in listed["data_sets"]}
    assert tuple(sets) == names()
    where = {name: (record["where"], record["form"]) for name, record in sets.items()}
    assert where == {
        "digits": ("built in", "built in"),
        "mnist": (str(machine / "data" / "mnist"), "idx"),
        "fashion-mnist": (None, None),
        "cifar10": (str(machine / "cache" / "cifar10"), "binary"),
    }
    assert sets["cifar10"]["shape"] == [3, 32, 32]
    assert sets["fashion-mnist"]["classes"][9] == "Ankle boot"
    assert sets["mnist"]["download_bytes"] == 11_594_722


def test_the_table_fits_80_columns_and_names_every_set(machine):
    write_idx_set(machine / "data" / "mnist")
    text = run("list")
    table = text.split("\nmnist: ")[0].splitlines()
    assert max(map(len, table)) <= 80
    for name in names():
        assert any(line.split()[:1] == [name] for line in table)
    assert f"\nmnist: {machine / 'data' / 'mnist'}\n" in text
    assert "no, 170 MB" in text
    assert f"$CONVSCOPE_DATA is {machine / 'data'}; " in text
