"""Draws the picture and the film of ``convscope play`` for the README.

Usage: python docs/film_page.py    (needs the extra serve, Playwright and Chromium)
"""

import io
import shutil
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

import convscope as cs
from convscope.serve.running import serve

PICTURES = Path(__file__).parent / "images"
SCREEN = (1440, 900)
FILM = (960, 600)
COLORS = 64
THREE = (
    (90, 60), (135, 57), (180, 55), (192, 72), (200, 90), (178, 112), (150, 130),
    (178, 148), (200, 170), (192, 196), (180, 220), (136, 224), (90, 225),
)  # fmt: skip
SHOWN = (  # a card and the share of its width and height where the mouse goes
    (1, 0.30, 0.05), (1, 0.50, 0.06), (2, 0.40, 0.06), (2, 0.55, 0.12),
    (3, 0.30, 0.05), (3, 0.50, 0.05), (3, 0.55, 0.38), (3, 0.45, 0.39),
)  # fmt: skip


def address_of_page(folder: Path) -> str:
    """LeNet-5, trained on the built-in digits, and its page."""
    digits = cs.data.load("digits", size=32)
    run = cs.fit("lenet5", digits, epochs=8, folder=folder, listeners=[], seed=0)
    said: list[str] = []
    threading.Thread(
        target=serve, args=(run,), daemon=True,
        kwargs={"browser": False, "say": said.append},
    ).start()  # fmt: skip
    while not said:
        time.sleep(0.1)
    return said[0]


class Film:
    """Screenshots of a page, the mouse in them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def look(self, mouse: tuple[float, float], milliseconds: int) -> None:
        """One frame, once the page rests."""
        self.page.wait_for_timeout(200)
        self.page.wait_for_selector("body:not([data-busy=true])")
        self.page.wait_for_timeout(100)
        frame = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        x, y = mouse
        arrow = [(0, 0), (0, 22), (5, 17), (9, 26), (13, 24), (9, 16), (16, 16)]
        ImageDraw.Draw(frame).polygon(
            [(x + a, y + b) for a, b in arrow], fill="black", outline="white"
        )
        self.frames.append(frame.resize(FILM, Image.Resampling.LANCZOS))
        self.milliseconds.append(milliseconds)

    def save(self, place: Path) -> None:
        """A GIF whose frames share their colors."""
        few = self.frames[-1].quantize(COLORS, kmeans=1)
        pictures = [
            frame.quantize(palette=few, dither=Image.Dither.NONE)
            for frame in self.frames
        ]
        pictures[0].save(
            place, save_all=True, append_images=pictures[1:], loop=0,
            duration=self.milliseconds, optimize=True,
        )  # fmt: skip


def box_of(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element."""
    box = page.locator(selector).bounding_box()
    if box is None:
        raise SystemExit(f"{selector} is not on the page")
    return box["x"], box["y"], box["width"], box["height"]


def act(page: Page, film: Film) -> None:
    """Draws a 3, points at units, and opens the explanation of one."""
    left, top, *_ = box_of(page, "canvas.board")
    for number, (a, b) in enumerate(THREE):
        x, y = left + a, top + b
        page.mouse.move(x, y, steps=6)
        if not number:
            page.mouse.down()
        film.look((x, y), 160)
    page.mouse.up()
    film.milliseconds[-1] = 900
    for card, right, down in SHOWN:
        left, top, width, height = box_of(page, f'[data-card="{card}"] .maps')
        x, y = left + right * width, top + down * height
        page.mouse.move(x, y, steps=4)
        film.look((x, y), 500)
    page.mouse.click(x, y)
    page.wait_for_selector(".result data")
    film.look((x, y), 3000)
    for part in (0.2, 0.5, 0.8, 1.0):
        page.locator(".scroller").evaluate(
            "(row, part) => { row.scrollLeft = part * row.scrollWidth; }", part
        )
        film.look((x, y), 300 if part < 1 else 2500)
    page.locator(".scroller").evaluate("row => { row.scrollLeft = 0; }")
    page.wait_for_timeout(300)


def main() -> None:
    """Both pictures."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        address = address_of_page(Path(folder, "digits-lenet5"))
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        page = browser.new_page(
            viewport={"width": SCREEN[0], "height": SCREEN[1]}, color_scheme="light"
        )
        page.goto(address)
        page.wait_for_selector(".card")
        film = Film(page)
        act(page, film)
        still = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        few = still.quantize(256, kmeans=1, dither=Image.Dither.NONE)
        few.save(PICTURES / "play.png", optimize=True)
        film.save(PICTURES / "play.gif")
        browser.close()


if __name__ == "__main__":
    main()
