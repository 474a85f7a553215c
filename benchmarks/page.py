"""How long the page of `convscope play` takes from a stroke to what is seen of it.

    python benchmarks/page.py               every row
    python benchmarks/page.py lenet5        those of one network
    python benchmarks/page.py --keep        and write results/page.json

Each network is trained for a moment on the digits at 32 x 32 and shown by the command
in a process of its own. *Answer* is from a request with a drawing to the last byte of
its answer, with the maps that fit on a screen; *JSON* is the same if the server wrote
the same numbers as JSON; *painted*, in Chromium if Playwright and Chromium are there,
is from the pointer event to the end of the frame in which the maps were painted, one
event after another. *first paint* is that of the whole page, without a cache. A row
that takes longer than it may is marked, and the exit code is 1 then.
"""

import argparse
import base64
import http.client
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
from PIL import Image, ImageDraw

import convscope as cs
from convscope.bench.machine import machine
from convscope.serve.encoding import decoded, encoded
from convscope.serve.onnx_program import is_installed

RESULTS = Path(__file__).parent / "results" / "page.json"
MOST = {"lenet5": 30.0, "resnet20": 150.0}  # milliseconds, 95 of 100, painted
FIRST_PAINT, BYTES = 1000.0, 300_000.0
SIDE = 280  # of the board
SHOWN = 12  # channels of a card on the screen
PATIENCE = 120  # seconds for the fast path to be there
THREE = np.array(
    [(90, 60), (180, 55), (200, 90), (150, 130), (200, 170), (180, 220), (90, 225)]
)

PROBE = """(() => {
  const found = (window.latencies = []);
  let since = null, answered = false;
  addEventListener("pointermove", event => {
    if (event.buttons && since === null) [since, answered] = [event.timeStamp, false];
  }, true);
  const ask = window.fetch;
  window.fetch = async (...given) => {
    const answer = await ask(...given);
    if (String(given[0]).includes("/run?")) answered = true;
    return answer;
  };
  const own = CanvasRenderingContext2D.prototype, draw = own.drawImage;
  own.drawImage = function (...given) {
    draw.apply(this, given);
    if (since === null || !answered || !this.canvas.closest("[data-card]")) return;
    const began = since, {port1, port2} = new MessageChannel();
    since = null;
    port1.onmessage = () => found.push(performance.now() - began);
    port2.postMessage(0); // its turn comes when the frame is painted
  };
})()"""

READING = """async ([binary, text]) => {
  const {decoded} = await import("/static/encoding.js");
  const bytes = Uint8Array.from(atob(binary), one => one.charCodeAt(0)).buffer;
  const times = [[], []];
  for (let turn = 0; turn < 20; turn++) {
    let began = performance.now();
    decoded(bytes.slice(0));
    times[0].push(performance.now() - began);
    began = performance.now();
    for (const values of Object.values(JSON.parse(text).arrays)) {
      Float32Array.from(values.flat(Infinity));
    }
    times[1].push(performance.now() - began);
  }
  return times.map(all => all.sort((a, b) => a - b)[10]);
}"""

LOADED = """() => {
  const kinds = ["navigation", "resource"];
  const all = kinds.flatMap(kind => performance.getEntriesByType(kind))
    .filter(one => !one.name.includes("/api/"));
  return [performance.getEntriesByName("first-contentful-paint")[0].startTime,
    all.reduce((sum, one) => sum + one.encodedBodySize, 0)];
}"""


@dataclass(frozen=True)
class Row:
    """What was measured, of how many, and what it may be.

    Attributes:
        network: Of which network.
        what: What was measured.
        by: Which program computed the values; empty where that does not matter.
        middle: 50 of 100 are no larger.
        high: 95 of 100 are no larger.
        unit: Of both.
        most: What ``high`` may be; None without a promise.
    """

    network: str
    what: str
    by: str
    middle: float
    high: float
    unit: str = "ms"
    most: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether a promise is broken."""
        return self.most is not None and self.high > self.most

    def print(self) -> None:
        """As one line."""
        most = "" if self.most is None else f"{self.most:,.0f}"
        mark = "  too much" if self.is_late else ""
        print(
            f"{self.network:<10}{self.what:<34}{self.by:<14}{self.middle:>10,.1f}"
            f"{self.high:>10,.1f} {self.unit:<6}{most:>8}{mark}",
            flush=True,
        )


def row(network: str, what: str, by: str, values: list[float], **more: Any) -> Row:
    """A row of many measurements."""
    middle, high = np.percentile(values, (50, 95))
    return Row(network, what, by, float(middle), float(high), **more)


class Page:
    """An open page without a browser.

    Args:
        address: As the command printed it.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.address = address
        self.http = http.client.HTTPConnection(parts.netloc, timeout=120)
        self.headers = {"x-convscope-token": parse_qs(parts.query)["token"][0]}
        self.headers["x-session"] = json.loads(self.ask("POST", "session"))["session"]
        self.cards = json.loads(self.ask("GET", "page"))["cards"]
        self.sequence = 0
        self.wanted = ",".join(
            f"{card['id']}:0-{min(card['shape'][0], SHOWN)}" for card in self.cards
        )

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer to a request, on the connection that stays open."""
        self.http.request(method, f"/api/{path}", body, self.headers)
        answer = self.http.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {found[:300]!r}")
        return found

    def draw(self, pixels: bytes) -> bytes:
        """The answer to a drawing, as the page asks for it."""
        self.sequence += 1
        named = {"kind": "drawing", "sequence": self.sequence, "wanted": self.wanted,
                 "height": SIDE, "width": SIDE, "centering": "true"}  # fmt: skip
        return self.ask("POST", f"run?{urlencode(named)}", pixels)

    def by(self) -> str:
        """Which program computes the values now."""
        return str(decoded(self.draw(next(drawings(1))))[0]["by"])

    def change(self) -> None:
        """Switches a channel off, so that the module computes the values."""
        card = next(card["id"] for card in self.cards if card["has_filters"])
        self.http.close()  # the server has closed it while the browser was busy
        change = {"kind": "channel", "card": card, "channel": 0, "off": True}
        self.headers["content-type"] = "application/json"
        self.ask("POST", "edit", json.dumps({"change": change}).encode())
        del self.headers["content-type"]


def drawings(count: int) -> Iterator[bytes]:
    """A 3 as it grows, again and again, each time at another place."""
    draw = np.random.default_rng(0)
    for number in range(count):
        share = number % 20 / 20
        if not number % 20:
            moved = THREE * draw.uniform(0.5, 1.0) + draw.uniform(0, 40, 2)
        board = Image.new("L", (SIDE, SIDE), 255)
        upto = 2 + int(share * (len(moved) - 1))
        points = [tuple(map(float, point)) for point in moved[:upto]]
        ImageDraw.Draw(board).line(points, 17, 22, "curve")
        yield board.tobytes()


@contextmanager
def shown(folder: Path) -> Iterator[str]:
    """The address at which a run is shown, by a process of its own."""
    words = [sys.executable, "-m", "convscope", "play", str(folder), "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def answers(network: str, page: Page, count: int) -> Iterator[Row]:
    """From request to answer, and what JSON would add."""
    took, took_json, sizes, answer = [], [], (0, 0), b""
    for pixels in drawings(count):
        began = time.perf_counter()
        answer = page.draw(pixels)
        took.append(1000 * (time.perf_counter() - began))
        header, arrays = decoded(answer)
        began = time.perf_counter()
        encoded(header, arrays, exact=frozenset({"probabilities"}))
        middle = time.perf_counter()
        text = as_json(header, arrays)
        more = (time.perf_counter() - middle) - (middle - began)
        took_json.append(took[-1] + 1000 * more)
        sizes = (len(answer), len(text))
    by = str(decoded(answer)[0]["by"])
    most = MOST.get(network)
    yield row(network, f"answer, {sizes[0] / 1000:,.0f} kB", by, took, most=most)
    yield row(network, f"answer as JSON, {sizes[1] / 1000:,.0f} kB", by, took_json)


def as_json(header: dict[str, Any], arrays: dict[str, Any]) -> str:
    """The same answer as text."""
    lists = {name: array.tolist() for name, array in arrays.items()}
    return json.dumps({**header, "arrays": lists})


def in_browser(network: str, page: Page, by: str, program: str, count: int
               ) -> Iterator[Row]:  # fmt: skip
    """From pointer event to painted maps, and the page as it opens."""
    from playwright.sync_api import sync_playwright

    answer = page.draw(list(drawings(20))[-1])
    pair = [base64.b64encode(answer).decode(), as_json(*decoded(answer))]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.add_init_script(PROBE)
        tab.goto(page.address)
        tab.wait_for_selector(".card")
        tab.wait_for_timeout(500)
        first, size = tab.evaluate(LOADED)
        read = tab.evaluate(READING, pair)
        box = tab.locator("canvas.board").bounding_box()
        assert box is not None
        scale = box["width"] / SIDE
        turns = np.linspace(0, len(THREE) - 1.001, count + 1)
        for number, turn in enumerate(turns):
            begin, part = THREE[int(turn)], turn % 1
            x, y = begin + part * (THREE[int(turn) + 1] - begin)
            tab.mouse.move(box["x"] + scale * x, box["y"] + scale * y)
            if number:
                tab.wait_for_function(
                    "count => latencies.length >= count", arg=number, polling=20
                )
            else:
                tab.mouse.down()
            tab.wait_for_timeout(500 if not number else 30)
        took = tab.evaluate("latencies")
        browser.close()
    most = MOST.get(network)
    yield row(network, "pointer event to painted maps", by, took, most=most)
    yield Row(network, "answer read by the browser", "", read[0], read[0])
    yield Row(network, "answer as JSON read", "", read[1], read[1])
    yield Row(network, "first paint", "", first, first, most=FIRST_PAINT)
    yield Row(network, "page without values", "", size, size, "bytes", BYTES)


def rows(network: str, folder: Path, count: int) -> Iterator[Row]:
    """Everything about one network."""
    cs.fit(network, cs.data.load("digits", size=32), epochs=1, folder=folder,
           listeners=())  # fmt: skip
    with shown(folder) as address:
        page = Page(address)
        end = time.monotonic() + (PATIENCE if is_installed() else 0)
        while (by := page.by()) == "PyTorch" and time.monotonic() < end:
            time.sleep(0.5)
        yield from answers(network, page, count)
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program and importlib.util.find_spec("playwright"):
            yield from in_browser(network, page, by, program, min(count, 60))
        else:
            print("no Chromium with Playwright: nothing is painted", flush=True)
        page.change()
        yield from answers(network, page, count)


def main() -> int:
    """Prints the table; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "networks", nargs="*", default=list(MOST), help="names of our models"
    )
    parser.add_argument("--drawings", type=int, default=200, help="how many")
    parser.add_argument("--keep", action="store_true", help="write the results")
    given = parser.parse_args()
    print(f"{'':<58}{'50 %':>10}{'95 %':>10} {'':<6}{'at most':>8}")
    made = []
    with tempfile.TemporaryDirectory() as place:
        for network in given.networks:
            for one in rows(network, Path(place) / network, given.drawings):
                one.print()
                made.append(one)
    if given.keep:
        record = {"machine": machine(), "rows": [asdict(one) for one in made]}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return int(any(one.is_late for one in made))


if __name__ == "__main__":
    sys.exit(main())
