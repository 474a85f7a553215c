"""The page of a network on a server of its own."""

import threading
import time

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")


@pytest.fixture(scope="session")
def address(chromium, digits_run):
    """Where the page of that run is."""
    from convscope.serve.running import serve

    said = []
    threading.Thread(
        target=serve, args=(digits_run,), daemon=True,
        kwargs={"browser": False, "say": said.append},
    ).start()  # fmt: skip
    for _ in range(200):
        if said:
            return said[0]
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


class Page:
    """An open page, and what one does on it."""

    def __init__(self, tab):
        self.tab = tab

    def draw(self, points):
        """A stroke with the mouse; waits for the answer."""
        box = self.tab.locator("canvas.board").bounding_box()
        scale = box["width"] / 280
        for number, (a, b) in enumerate(points):
            self.tab.mouse.move(box["x"] + scale * a, box["y"] + scale * b, steps=8)
            if not number:
                self.tab.mouse.down()
        self.tab.mouse.up()
        self.tab.wait_for_timeout(250)

    @property
    def first_guess(self):
        """As the page says it."""
        return self.tab.locator(".guess-name").first.inner_text()

    def maps(self, card):
        """The focusable part of a card."""
        return self.tab.locator(f'[data-card="{card}"] .maps')


@pytest.fixture
def opened(page_at, address):
    """Opens the page, as often as one likes."""

    def opens(**how):
        tab = page_at(address, **how)
        tab.wait_for_selector(".card")
        return Page(tab)

    return opens
