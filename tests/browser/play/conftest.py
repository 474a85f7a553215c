"""The page of a network on a server of its own."""

import threading
import time

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("playwright", reason="needs playwright")


@pytest.fixture(scope="session")
def address(digits_run):
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
        self.troubles = []
        tab.on("console", self._heard)
        tab.on("pageerror", lambda error: self.troubles.append(str(error)))
        tab.on("request", self._asked)

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def _asked(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.troubles.append(f"asked {request.url}")

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
def opened(chromium, address):
    """Opens pages; none of them may complain, or ask anybody but their server."""
    pages = []

    def opens(*, width=1440, height=900, scheme="light", touch=False):
        tab = chromium.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme,
            has_touch=touch, reduced_motion="reduce",
        )  # fmt: skip
        page = Page(tab)
        pages.append(page)
        tab.goto(address)
        tab.wait_for_selector(".card")
        return page

    yield opens
    for page in pages:
        page.tab.close()
        assert page.troubles == []
