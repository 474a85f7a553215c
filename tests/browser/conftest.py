"""One real browser for everything that is looked at: Debian's Chromium."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def browser():
    """A browser without a window; where there is none, a skip at home, a failure in CI.

    CI says that it is CI by the variable ``CI``.
    """
    missing = None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "playwright is not installed: pip install playwright"
    if chromium is None:
        missing = "there is no chromium: apt-get install chromium"
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page_at(browser):
    """Opens a file or an address; the page may not complain nor ask others.

    The page has no network if a file is opened.
    """
    contexts, troubles = [], []

    def opens(place, width=1440, scheme="light", height=900):
        address = str(place)
        is_file = "://" not in address
        if is_file:
            address = Path(address).resolve().as_uri()
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme,
            reduced_motion="reduce", offline=is_file,
        )  # fmt: skip
        contexts.append(context)
        tab = context.new_page()
        own = address if is_file else "/".join(address.split("/")[:3])

        def heard(message):
            if message.type in ("error", "warning"):
                troubles.append(message.text)

        def asked(request):
            if not request.url.startswith((own, "data:", "blob:")):
                troubles.append(f"asked {request.url}")

        tab.on("console", heard)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", asked)
        tab.goto(address)
        return tab

    yield opens
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="session")
def violations():
    """What axe-core finds on a page that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    def found(tab):
        return [
            (each["id"], [node["html"][:160] for node in each["nodes"]][:3])
            for each in Axe().run(tab).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]

    return found
