"""Results of folds are kept whole, and what is no result is refused."""

import pytest
import torch

from convscope.errors import RunError
from convscope.train.checkpoint import read_tensors, write_tensors
from convscope.train.fold_results import (
    FoldResult,
    is_result,
    read_results,
    require_complete,
    write_result,
)

LABELS = torch.tensor([0, 1, 1])
P = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])


def result(repeat=1, fold=1):
    return FoldResult(repeat, fold, 6, 1.5, ("a/\udcff.png", "b", "c"), LABELS, P)


def test_what_is_written_is_read(tmp_path):
    for each in (result(2, 1), result(1, 2), result(0, 0)):
        write_result(tmp_path, each)
    found = read_results(tmp_path, 2)
    assert [(each.repeat, each.fold) for each in found] == [(0, 0), (1, 2), (2, 1)]
    assert found[1].names == result().names
    assert torch.equal(found[1].probabilities, P)
    assert found[1].correct == 2
    assert sorted(p.name for p in (tmp_path / "folds").iterdir()) == [
        "1-2.safetensors", "2-1.safetensors", "test.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["folds/0-1.safetensors", "folds/1-1.pth", "1-1.safetensors",
     "folds/../folds/1-1.safetensors", "folds/1-1.safetensors\n", "/folds/test"],
)  # fmt: skip
def test_other_names_are_no_results(name):
    assert not is_result(name)


@pytest.mark.parametrize(
    ("values", "tensors"),
    [
        ({"names": ["a"]}, {}),
        ({"names": "abc"}, {}),
        ({"names": [1, 2, 3]}, {}),
        ({"fold": -1}, {}),
        ({"fold": True}, {}),
        ({"fold": 2}, {}),  # not what its name says
        ({"trained_on": None}, {}),
        ({"seconds": "long"}, {}),
        ({}, {"labels": torch.tensor([0, 1, 2])}),
        ({}, {"labels": torch.tensor([0.0, 1.0, 1.0])}),
        ({}, {"labels": torch.tensor(1)}),
        ({}, {"probabilities": P[:2]}),
        ({}, {"probabilities": P.double()}),
        ({}, {"probabilities": P * float("nan")}),
        ({}, {"probabilities": -P}),
        ({}, {"probabilities": 2 * P}),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, values, tensors):
    write_result(tmp_path, result())
    path = tmp_path / "folds" / "1-1.safetensors"
    good = read_tensors(path)
    write_tensors(path, {**good.tensors, **tensors}, {**good.values, **values})
    with pytest.raises(RunError, match=r"1-1\.safetensors"):
        read_results(tmp_path, 2)


def test_a_fold_that_is_missing_or_too_many_is_noticed():
    four = [result(r, f) for r in (1, 2) for f in (1, 2)]
    require_complete([*four, result(0, 0)], 2, 2, "run")
    for wrong in (four[:3], [*four, result(1, 3)], [result(3, 1), *four[1:]]):
        with pytest.raises(RunError, match=r"run run has results of [34] of 4 folds"):
            require_complete(wrong, 2, 2, "run")
