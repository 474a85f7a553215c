"""What the README shows is what happens."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convscope.cli.main import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "explanation" / "results.md").read_text()


def blocks(text, language):
    """Contents of the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """The convscope commands in the console blocks, as lists of words."""
    lines = "".join(blocks(text, "console")).splitlines()
    shown = [line.removeprefix("$ ").split("#")[0].split() for line in lines]
    return [words[1:] for words in shown if words[:1] == ["convscope"]]


@pytest.mark.filterwarnings("default")  # readers run it without -W error
def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(README, "python")
    assert len(code) >= 3
    namespace = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102
    assert (tmp_path / "runs" / "first" / "weights.safetensors").exists()
    assert "61,706" in capsys.readouterr().out


GALLERY = ROOT / "docs" / "gallery" / "index.md"  # tests/test_gallery.py runs its lines
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page != GALLERY and blocks(page.read_text(), "python")
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(page.read_text(), "python"):
        exec(compile(block, page.name, "exec"), namespace)  # noqa: S102


def test_every_command_on_a_page_exists():
    texts = [path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))]
    found = [words for text in [README, *texts] for words in commands(text)]
    assert ["data", "audit", "photos/"] in found
    assert len(found) > 10
    for words in found:
        path = [word for word in words if re.fullmatch(r"[a-z]+", word)][:2]
        path = path if path[0] == "data" else path[:1]
        flags = [word for word in words if word.startswith("--")]
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*path, "--help"])
        assert shown.exit_code == 0, words
        assert all(flag in shown.output for flag in flags), words


def test_a_command_that_does_not_exist_is_noticed():
    assert CliRunner().invoke(app, ["trian", "--help"]).exit_code == 2


def test_the_table_of_commands_is_complete():
    rows = set(re.findall(r"^\| `convscope ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE))
    known = {command.callback.__name__ for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert known | groups == {row.split()[0] for row in rows}


def benchmark(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[name] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize(
    "name",
    [
        "figures",
        "plain_transfer",
        "planted_faults",
        "race",
        "time_to_accuracy",
        "transfer",
    ],
)
def test_the_figures_are_those_that_were_measured(name):
    script = benchmark(name)
    table = script.table(json.loads(script.RESULTS.read_text()))
    shown = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", RESULTS, re.DOTALL)
    assert shown.group(1) == table


COUNTING = (ROOT / "docs" / "explanation" / "counting.md").read_text()


def test_the_counts_are_those_that_were_counted():
    counts, families = benchmark("counts"), benchmark("families")
    record = json.loads((ROOT / "benchmarks" / "results" / "counts.json").read_text())
    shown = {"table": counts.as_markdown(record["multiply_adds"])}
    record = json.loads(families.RESULTS.read_text())
    families.require_explained(record["families"])
    assert set(record["families"]) == set(families.FAMILIES)
    shown["families"] = families.as_markdown(record)
    for name, text in shown.items():
        assert f"<!-- {name}: begin -->\n{text}\n<!-- {name}: end -->" in COUNTING


def test_a_count_without_an_explanation_is_noticed():
    families = benchmark("families")
    rows = json.loads(families.RESULTS.read_text())["families"]
    rows["vgg"]["torch"] += 1
    with pytest.raises(SystemExit, match="vgg: -1 products, without an explanation"):
        families.require_explained(rows)


def test_every_command_shows_an_example_in_its_help():
    names = [[command.callback.__name__] for command in app.registered_commands]
    for path in [*names, ["data", "list"], ["data", "audit"]]:
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*path, "--help"])
        assert f"Example: convscope {' '.join(path)}" in shown.output, path


def broken_links(text, folder):
    """Files that a page links to and that are not there."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", text)
    files = [first or second for first, second in targets]
    return [f for f in files if "://" not in f and not (folder / f).exists()]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_is_linked_to_is_there(name):
    assert broken_links((ROOT / name).read_text(), ROOT) == []


def test_a_broken_link_is_noticed():
    assert broken_links("[a](nowhere.md#part) [b](README.md)", ROOT) == ["nowhere.md"]
    assert broken_links('<img src="docs/none.svg">', ROOT) == ["docs/none.svg"]
