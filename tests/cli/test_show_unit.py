"""``convscope show unit`` prints what `explain_unit` finds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs

UNIT = ("--layer", "2", "--channel", "4", "--position", "3,5")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png", torch.from_numpy(pixels)[None, None] / 255


def test_the_lines_are_those_of_the_library(convscope, picture):
    file, x = picture
    outcome = convscope("show", "unit", "lenet5", *UNIT, "--image", file)
    assert outcome.code == 0
    torch.manual_seed(0)
    why = cs.explain_unit(cs.models.build("lenet5"), x, "2", 4, (3, 5))
    assert outcome.out == f"lenet5 with random weights\n{why}\n"


def test_json_holds_the_whole_record(convscope, picture):
    file, x = picture
    outcome = convscope("show", "unit", "lenet5", *UNIT, "--image", file, "--json")
    record = json.loads(outcome.out)
    torch.manual_seed(0)
    why = cs.explain_unit(cs.models.build("lenet5"), x, "2", 4, (3, 5))
    assert record == json.loads(json.dumps(why.to_dict()))


def test_without_a_picture_the_input_is_always_the_same(convscope):
    first, second = (convscope("show", "unit", "resnet20", "--layer", "stage1.0.relu:2",
                               "--channel", "1", "--position", "7,7")
                     for _ in range(2))  # fmt: skip
    assert first.out == second.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lenet5", "--layer", "3x", "--channel", "1"], "unknown layer '3x'."),
        (["lenet5", "--layer", "2", "--channel", "99", "--position", "0,0"],
         "explain_unit: channel=99 is not in the layer's output of shape "
         "(1, 6, 14, 14). Use 0 to 5."),
        (["lenet5", "--layer", "2", "--channel", "1", "--position", "a"],
         "show unit: --position a is not a place. Give numbers, one for each axis, "
         "such as --position 3,5."),
        (["lenet5", *UNIT, "--image", "none.png"], "none.png"),
        (["torch.nn:ReLU", "--layer", ""],
         "show unit: ReLU does not say what input it takes. Give --input, such as "
         "--input 3,224,224."),
        (["torch.nn:ReLU", "--layer", "", "--input", "4,8", "--image", "a.png"],
         "show unit: a picture is no input of ReLU, which takes (4, 8). Leave it out, "
         "or give --input 3,224,224."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(convscope, arguments, text):
    outcome = convscope("show", "unit", *arguments)
    assert outcome.code == 2
    assert text in outcome.err
    assert outcome.err.count("\n") == 1
