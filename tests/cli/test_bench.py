import json

import pytest


def test_a_race_prints_a_table_and_keeps_record_and_pictures(convscope, tmp_path):
    pytest.importorskip("matplotlib")
    outcome = convscope(
        "bench", "lenet5", "--batch", "4", "--threads", "1", "--repeats", "1",
        "--seconds", "0.01", "--only", "channels", "--save", str(tmp_path / "kept"),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("lenet5, batch 4, 1 thread:\n")
    (kept,) = json.loads((tmp_path / "kept" / "race.json").read_text())
    assert {row["name"] for row in kept["results"]} >= {"PyTorch"}
    assert "<svg" in (tmp_path / "kept" / "roofline.svg").read_text()


def test_a_typo_is_refused_before_anything_runs(convscope):
    outcome = convscope("bench", "lenet-5")
    assert outcome.code == 2
    assert outcome.err == "Error: unknown model 'lenet-5'. Did you mean 'lenet5'?\n"
    outcome = convscope("bench", "--python", "nowhere/python")
    assert outcome.err == "Error: bench: --python nowhere/python is not a program.\n"
