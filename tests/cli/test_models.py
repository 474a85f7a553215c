import json

import pytest

from convscope.models import cards


def test_every_model_is_listed_with_counts_source_and_differences(convscope):
    outcome = convscope("models")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    for name, card in cards().items():
        assert f"{name} {'x'.join(map(str, card.input_shape))} " in text
        assert f"{card.parameters:,} {card.multiply_adds:,}" in text
        assert f"{name}: {card.summary} {card.source}" in text
        assert all(" ".join(phrase.split()) in text for phrase in card.differs)
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_json_is_one_object_of_cards(convscope):
    found = json.loads(convscope("models", "--json").out)
    assert set(found) == set(cards())
    assert found["lenet5"]["parameters"] == 61_706


@pytest.mark.parametrize("arguments", [["--jsn"], ["--json", "--jon"]])
def test_a_typo_is_refused(convscope, arguments):
    outcome = convscope("models", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("Did you mean '--json'?\n")
