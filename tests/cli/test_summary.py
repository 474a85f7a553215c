import json

import pytest
import typer
from typer.testing import CliRunner

from convscope.cli.remedies import with_flags
from convscope.cli.summary import summary
from convscope.data import load
from convscope.errors import ArgumentError, UnknownNameError
from convscope.models import find
from convscope.train import fit

app = typer.Typer()
app.command()(summary)


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_our_model_by_name():
    assert "61,706 parameters; 416,520 multiply-adds" in run("lenet5")


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "airbench94"])
def test_counts_are_those_of_the_models_card(name):
    data, card = json.loads(run(name, "--json")), find(name)
    assert (data["parameters"], data["multiply_adds"]) == (
        card.parameters,
        card.multiply_adds,
    )


def test_another_input_size_and_argument_of_the_model():
    data = json.loads(run("lenet5", "--input", "3,28,28", "--arg", "num_classes=7",
                          "--json"))  # fmt: skip
    assert data["input_shapes"] == [[3, 28, 28]]
    assert data["rows"][0]["output_shapes"] == [[7]]


def test_a_factory_of_a_module():
    text = run("torch.nn:Conv2d", "--arg", "in_channels=3", "--arg", "out_channels=8",
               "--arg", "kernel_size=3", "--input", "3x32x32", "--csv")  # fmt: skip
    assert text.splitlines()[1].endswith("3x3,1x1,0x0,3x3")


def test_a_file_beside_the_caller(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef net(width):\n    return nn.Linear(4, width)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert "15 parameters" in run("mine:net", "--arg", "width=3", "--input", "4")


def test_a_run_folder(tmp_path):
    fit("mlp", load("digits"), folder=tmp_path / "run", epochs=1, listeners=[])
    assert run(str(tmp_path / "run"), "--csv") == run(
        "mlp", "--input", "1,8,8", "--csv"
    )


def test_two_networks_side_by_side():
    lines = run("lenet5", "--versus", "mlp", "--input", "1,28,28").splitlines()
    assert lines[0].split() == ["lenet5", "mlp", "ratio"]
    both = json.loads(run("lenet5", "--versus", "mlp", "--input", "1,28,28", "--json"))
    assert [one["name"] for one in both] == ["lenet5", "mlp"]


def test_a_table_for_a_document():
    assert run("lenet5", "--markdown").startswith("**lenet5 on 1x32x32**")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lenet5", "--json", "--csv"], "exclude each other"),
        (["lenet5", "--input", "a,b"], "--input a,b is not a size"),
        (["lenet5", "--input", "5"], "takes one input"),
        (["runs/none"], "runs/none is not there"),
        (["lenet5", "--arg", "x"], "is not key=value"),
        (["torch.nn:Conv2d"], "Give its arguments with --arg"),
        (["torch.nn:Nothing"], "has no 'Nothing'"),
        (["no.such.module:net"], "there is no module"),
        (["torch.nn:ReLU"], "does not say what input it takes"),
        (["fractions:Fraction", "--input", "4"], "makes a Fraction. It must make"),
    ],
)  # fmt: skip
def test_wrong_arguments_say_what_to_do(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        run(*arguments)


def test_a_name_with_a_mistake_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'lenet5'"):
        run("lenet-5")


def open_network(tmp_path):
    onnx = pytest.importorskip("onnx")
    from analysis.onnx_files import node, numbers, saved, value

    code = onnx.TensorProto.INT64
    return saved(
        tmp_path / "two inputs.onnx",
        [node("Conv", ["image", "w"], ["h"]), node("Gather", ["table", "word"], ["t"])],
        {"w": numbers(2, 3, 3, 3), "table": numbers(50, 8)},
        inputs=[value("image", ("N", 3, "H", "W")), value("word", ("N", 4), code)],
        outputs=["h", "t"],
    )


def test_open_sizes_of_a_file_are_asked_for_by_flags_that_work(tmp_path):
    path = str(open_network(tmp_path))
    with pytest.raises(ArgumentError) as asked:
        run(path)
    assert with_flags(asked.value) == (
        "summary: two inputs.onnx: input 'image' leaves axes 2 (H) and 3 (W) open. "
        "Give your size in place of this example (--input image=1,3,224,224)."
    )
    found = json.loads(run(path, "--input", "image=1,3,224,224", "--json"))
    assert (found["parameters"], found["multiply_adds"]) == (454, 54 * 222**2)
    inputs = ("--input", "3,224,224", "--input", "4")
    assert json.loads(run(path, *inputs, "--json")) == found


def test_sizes_are_given_all_by_name_or_all_in_order(tmp_path):
    path = str(open_network(tmp_path))
    text = "--input 4 has no name, and another has one. Give all by name, such as"
    with pytest.raises(ArgumentError, match=text):
        run(path, "--input", "image=3,9,9", "--input", "4")
