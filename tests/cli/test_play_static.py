"""``convscope play RUN --static FILE`` writes the page and ends."""

import pytest
from typer.testing import CliRunner

pytest.importorskip("starlette", reason="needs the extra serve")

from convscope.cli.main import app
from convscope.errors import ConvscopeError
from convscope.train.training.fitting import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits, trained as little as possible."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    fit("softmax_regression", "digits", folder=path, listeners=(), epochs=1)
    return path


def test_it_writes_the_page_with_some_test_pictures_and_says_its_size(run, tmp_path):
    file = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["play", str(run), "--static", str(file)])
    assert result.exit_code == 0, result.output
    size = file.stat().st_size
    assert 100_000 < size < 500_000
    assert result.output.replace("\n", "") == f"{file}: {size / 1000:,.0f} kB"


def test_a_file_that_cannot_be_written_is_refused_before_anything_is(run, tmp_path):
    result = CliRunner().invoke(
        app, ["play", str(run), "--static", str(tmp_path / "no" / "page.html")]
    )
    assert result.exit_code != 0
    assert isinstance(result.exception, ConvscopeError | SystemExit)
    assert "page.html" in f"{result.exception}{result.output}"
    assert list(tmp_path.iterdir()) == []
