"""One real browser for all pages, how they are watched, and a network to look at."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import convscope as cs


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A small network that reads digits."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "digits-small"
    cs.fit(net, "digits", epochs=8, folder=folder, listeners=(), seed=0)
    return cs.Run.load(folder, net)


CAMERA = (  # one that films a test picture, and needs no asking
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def missing():
    """What is not there for looking at pages, and how to get it; empty if all is."""
    for package in ("playwright", "axe_playwright_python"):
        try:
            __import__(package)
        except ImportError:
            return f"needs {package}: pip install {package.replace('_', '-')}"
    if program() is None:
        return "needs chromium: apt-get install chromium"
    return ""


def program():
    """Where Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def chromium():
    """A browser without a window; where there is none, a skip at home, a failure in CI.

    CI says that it is CI by the variable ``CI``.
    """
    if lacks := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lacks)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program(),
            args=["--no-sandbox", *CAMERA],
        )
        yield opened
        opened.close()


@pytest.fixture
def page_at(chromium):
    """Opens a file or an address; the page may not complain, nor ask anybody else.

    A file has no network at all. What was complained of is in ``troubles``.
    """
    contexts, troubles = [], []

    def opens(
        place, width=1440, scheme="light", height=900, touch=False, motion="reduce"
    ):
        address = str(place)
        is_file = "://" not in address
        if is_file:
            address = Path(address).resolve().as_uri()
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme,
            reduced_motion=motion, offline=is_file, has_touch=touch,
        )  # fmt: skip
        contexts.append(context)
        tab = context.new_page()
        watch(tab, address if is_file else origin(address), troubles)
        tab.goto(address)
        return tab

    opens.troubles = troubles
    yield opens
    for context in contexts:
        context.close()
    assert troubles == []


def origin(address):
    """Scheme and host of an address, with the slash after them."""
    return "/".join(address.split("/")[:3]) + "/"


def watch(tab, own, troubles):
    """Collects what a page complains of, and whom it asks that is not its ``own``."""

    def heard(message):
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    def asked(request):
        if not request.url.startswith((own, "data:", "blob:")):
            troubles.append(f"asked {request.url}")

    tab.on("console", heard)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("request", asked)


@pytest.fixture(scope="session")
def violations(chromium):
    """What axe-core finds on a page that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    def found(tab):
        return [
            (each["id"], [node["html"][:160] for node in each["nodes"]][:3])
            for each in Axe().run(tab).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]

    return found
