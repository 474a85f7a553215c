import json

import pytest

from convscope.models import cards


def test_every_model_is_listed_with_its_counts(convscope):
    outcome = convscope("models")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    for name, card in cards().items():
        size = "x".join(map(str, card.input_shape))
        assert f"{name} {size} {card.num_classes} {card.min_size}x" in text
        assert f"{card.parameters:,} {card.multiply_adds:,}" in text
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_the_table_is_aligned(convscope):
    lines = convscope("models").out.splitlines()[: len(cards()) + 1]
    assert len({len(line) for line in lines}) == 1


def test_one_model_is_told_with_its_source_and_differences(convscope):
    outcome = convscope("models", "vgg16_bn")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    card = cards()["vgg16_bn"]
    assert f"{card.name}: {card.summary} source: {card.source}" in text
    assert all(phrase in text for phrase in card.differs)
    assert "options: width=64, hidden=4096, dropout=0.5, padding_mode=zeros" in text
    assert "lenet5" not in text


def test_a_model_that_is_not_there_gets_a_suggestion(convscope):
    outcome = convscope("models", "lenet-5")
    assert outcome.code == 2
    assert outcome.err == "Error: unknown model 'lenet-5'. Did you mean 'lenet5'?\n"


def test_json_is_one_object_of_cards(convscope):
    found = json.loads(convscope("models", "--json").out)
    assert set(found) == set(cards())
    assert found["lenet5"]["parameters"] == 61_706


@pytest.mark.parametrize("arguments", [["--jsn"], ["--json", "--jon"]])
def test_a_typo_is_refused(convscope, arguments):
    outcome = convscope("models", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("Did you mean '--json'?\n")
