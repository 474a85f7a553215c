"""The page of a network on a server of its own."""

import re
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")


def served(run):
    """Where the page of a run is; its server ends with this process."""
    from convscope.serve.running import serve

    said = []
    threading.Thread(
        target=serve, args=(run,), daemon=True,
        kwargs={"browser": False, "say": said.append},
    ).start()  # fmt: skip
    for _ in range(400):
        if said:
            return said[0]
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


@pytest.fixture(scope="session")
def address(chromium, digits_run):
    """Where the page of the small network is that reads digits."""
    return served(digits_run)


class Page:
    """An open page, and what one does on it."""

    def __init__(self, tab, troubles):
        self.tab = tab
        self.troubles = troubles

    def settle(self):
        """Waits until what was done is answered and painted."""
        self.tab.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => "
            "requestAnimationFrame(done)))"
        )
        self.tab.wait_for_selector("body:not([data-busy=true])")
        self.tab.evaluate("() => new Promise(done => requestAnimationFrame(done))")

    def draw(self, points, steps=8):
        """A stroke with the mouse; waits for the answer."""
        box = self.tab.locator("canvas.board").bounding_box()
        scale = box["width"] / 280
        for number, (a, b) in enumerate(points):
            x, y = box["x"] + scale * a, box["y"] + scale * b
            self.tab.mouse.move(x, y, steps=steps)
            if not number:
                self.tab.mouse.down()
        self.tab.mouse.up()
        self.settle()

    @property
    def first_guess(self):
        """As the page says it."""
        return self.tab.locator(".guess-name").first.inner_text()

    @property
    def probabilities(self):
        """All of them, in the order of the classes, with every digit."""
        return self.tab.locator(".probabilities .bar-share").evaluate_all(
            "all => all.map(one => Number(one.title))"
        )

    @property
    def pixels(self):
        """Gray values of the board, row by row."""
        return self.tab.locator("canvas.board").evaluate("""board => {
          const {data} = board.getContext("2d").getImageData(0, 0, 280, 280);
          return Array.from({length: 280 * 280}, (_, i) => data[4 * i]);
        }""")

    def maps(self, card):
        """The focusable part of a card."""
        return self.tab.locator(f'[data-card="{card}"] .maps')

    def hover(self, card, shape, channel, position=()):
        """The mouse onto one unit of a card of that shape."""
        maps = self.maps(card)
        tiles = maps.get_attribute("data-tiles")
        if tiles is None:
            height = maps.locator(".spacer").bounding_box()["height"] - 4
            x, y = 20, 2 + (channel + 0.5) * height / shape[0]
        else:
            across, wide, tall = map(int, re.findall(r"\d+", tiles))
            row, column = position
            x = 2 + (channel % across) * (wide + 4) + (column + 0.5) / shape[2] * wide
            y = 2 + channel // across * (tall + 4) + (row + 0.5) / shape[1] * tall
        maps.hover(position={"x": x, "y": y - maps.evaluate("one => one.scrollTop")})
        self.settle()

    @property
    def readout(self):
        """What the page says of the unit under the pointer: its name, its value."""
        name, _, value = self.tab.locator(".readout").inner_text().rpartition(" = ")
        return name.replace("\u00a0", " "), float(value.replace("\u2212", "-"))

    def explain(self, card):
        """Opens the explanation of the unit in the middle of a card's first map."""
        self.maps(card).press("Enter")
        self.tab.wait_for_selector(f'.explain[data-unit^="{card}:0:"] .result data')

    def value(self, locator):
        """The number that an element stands for, with every digit."""
        return float(self.tab.locator(locator).first.get_attribute("value"))

    def tab_to(self, selector, most=200):
        """Presses Tab until something of that kind has the focus."""
        for _ in range(most):
            if self.tab.evaluate(f"document.activeElement.matches({selector!r})"):
                return
            self.tab.keyboard.press("Tab")
        raise AssertionError(f"no way by keys to {selector}")


@pytest.fixture
def opened(page_at, address):
    """Opens a page, as often as one likes; by default that of the small network."""

    def opens(at=None, **how):
        tab = page_at(at or address, **how)
        tab.wait_for_selector(".card")
        return Page(tab, page_at.troubles)

    return opens
