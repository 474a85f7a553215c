"""The page in one file: its size, its policy, and when it is refused."""

import base64
import hashlib
import re

import pytest
from torch import nn

pytest.importorskip("starlette", reason="needs the extra serve")

from tests.browser.static.networks import made, subject

from convscope.serve.portable import page_file
from convscope.serve.portable.program import PortableError


@pytest.fixture(scope="module")
def lenet():
    """The text of LeNet's page."""
    return page_file.page_text(made("lenet_page"))


def test_lenet_is_under_500_kb(lenet):
    assert len(lenet.encode()) < 500_000


def test_its_policy_allows_its_own_script_and_style_and_nothing_from_elsewhere(lenet):
    policy = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', lenet)[1]
    script = re.findall("<script>(.*?)</script>", lenet, re.DOTALL)
    style = re.findall("<style>(.*?)</style>", lenet, re.DOTALL)
    assert len(script) == len(style) == 1
    for kind, (text,) in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert "https:" not in policy


def test_it_loads_nothing(lenet):
    frame = re.sub(r"<(script|style)\b.*?</\1>", "", lenet, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)', frame) == []
    assert "@import" not in lenet
    assert "url(" not in re.search("<style>.*?</style>", lenet, re.DOTALL)[0]


def test_no_name_of_a_class_is_markup():
    name = "</script><script>alert(1)</script>"
    text = page_file.page_text(
        subject(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval(), (1, 8, 8),
                ("a", name), title=name)
    )  # fmt: skip
    assert "alert(1)</script>" not in text


def test_the_file_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    bad = nn.Sequential(nn.FractionalMaxPool2d(2, output_size=2), nn.Flatten()).eval()
    with pytest.raises(PortableError, match="layer '0' uses 'fractional_max_pool2d'"):
        page_file.page_file(subject(bad, (1, 8, 8), "abcd"), path)
    assert path.read_text() == "before"
    good = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    assert page_file.page_file(subject(good, (1, 8, 8), "ab"), path) == path
    assert path.read_text().startswith("<!doctype html>")


def test_a_network_of_too_many_parameters_is_refused_with_its_largest_layer():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 200_000), nn.Linear(200_000, 2))
    with pytest.raises(PortableError) as caught:
        page_file.page_text(subject(net.eval(), (1, 8, 8), "ab"))
    assert str(caught.value) == (
        "play: the network has 13,400,002 parameters, 13,000,000 of them in layer "
        "'1'; one file holds 10,000,000. Use the page with its server."
    )


def test_a_network_that_works_too_much_is_refused_with_its_largest_layer():
    net = nn.Sequential(nn.Conv2d(1, 300, 15, padding=7), nn.ReLU(), nn.Flatten(),
                        nn.AdaptiveAvgPool1d(2))  # fmt: skip
    with pytest.raises(PortableError) as caught:
        page_file.page_text(subject(net.eval(), (1, 180, 180), "ab"))
    assert str(caught.value).startswith(
        "play: the network multiplies 2,187,000,000 times for an input, most in layer "
        "'0'; a page in one file does 2,000,000,000. Use the page with its server"
    )


def test_pictures_of_16_bits_are_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    with pytest.raises(
        PortableError, match="takes pictures of bits=16; one file takes"
    ):
        page_file.page_text(subject(net, (1, 8, 8), "ab", bits=16))
