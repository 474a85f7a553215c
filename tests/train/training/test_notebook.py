"""A real notebook, run by a real kernel, shows progress and results."""

import nbformat
import pytest
from nbclient import NotebookClient

CODE = """
import convscope as cs
run = cs.fit("mlp", cs.data.load("digits"), epochs=2)
run
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    NotebookClient(notebook, timeout=120, resources=place).execute()
    return notebook.cells[0].outputs


@pytest.mark.filterwarnings("ignore")  # the kernel's client warns about event loops
def test_a_notebook_shows_one_bar_that_ends_with_the_result(outputs):
    drawn = [o for o in outputs if o.output_type == "display_data"]
    assert len(drawn) == 1  # redrawn in place, not once per step
    text = drawn[0].data["text/html"]
    assert "done after" in text
    assert "epoch 2/2" in text


def test_a_run_is_shown_as_a_table(outputs):
    (result,) = [o for o in outputs if o.output_type == "execute_result"]
    text = result.data["text/html"]
    assert text.startswith("<p><b>Run(mlp on digits, 2 epochs, val accuracy ")
    assert text.count("<tr>") == 3  # head and two epochs


def test_nothing_is_written_beside_the_bar(outputs):
    assert [o for o in outputs if o.output_type == "stream"] == []
