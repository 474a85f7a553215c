"""Pictures in color, dropped, pasted, chosen, filmed; and threes all over the board."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.browser.play import oracle
from tests.browser.play.conftest import served
from tests.browser.play.strokes import THREE
from torch import nn

import convscope as cs

COLORS = {"red": (210, 40, 30), "green": (40, 190, 60), "blue": (30, 60, 200)}
CHANNELS = 512
SHAPE = (CHANNELS, 8, 8)
GIVE = """([bytes, how]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
  dispatchEvent(how === "drop" ? new DragEvent(how, {dataTransfer: given})
    : new ClipboardEvent(how, {clipboardData: given}));
}"""


def png(color, size=(40, 40)):
    """A picture of one color, a little darker to the right."""
    ramp = np.linspace(1, 0.7, size[0])[None, :, None]
    pixels = (np.array(COLORS[color])[None, None] * ramp).repeat(size[1], 0)
    made = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(made, "png")
    return made.getvalue()


@pytest.fixture(scope="module")
def color_run(tmp_path_factory):
    """A network of 512 channels that tells colors apart."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 240)
    base = np.array(list(COLORS.values()))[labels][:, None, None]
    noise = generator.integers(-30, 30, (240, 16, 16, 3))
    pixels = np.clip(base + noise, 0, 255).astype(np.uint8)
    data = cs.data.from_arrays(pixels, labels, classes=tuple(COLORS))
    net = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 3),
    )  # fmt: skip
    return cs.fit(net, data, epochs=2, batch_size=32, listeners=(), seed=0)


@pytest.fixture(scope="module")
def colors(chromium, color_run):
    return served(color_run)


def give(page, how, content):
    """A file comes onto the page."""
    if how == "choose":
        page.tab.locator("input[type=file]").set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": content}
        )
    else:
        page.tab.evaluate(GIVE, [list(content), how])
    page.settle()


def test_a_picture_is_dropped_pasted_and_chosen(opened, colors, color_run):
    page = opened(colors)
    for how, color in (("drop", "red"), ("paste", "blue"), ("choose", "green")):
        give(page, how, png(color))
        page.tab.wait_for_selector(f'.guess-name:text-is("{color}")')
        x = oracle.picture(color_run, Image.open(io.BytesIO(png(color))))
        shares = oracle.steps(color_run, x)[-1]
        np.testing.assert_allclose(page.probabilities, shares, atol=1e-5)


def test_what_is_no_picture_is_refused_where_it_belongs(opened, colors):
    page = opened(colors)
    give(page, "choose", b"not a picture")
    page.tab.wait_for_selector("#input .failure")
    assert page.troubles.pop().startswith("Failed to load resource")


def test_the_camera_gives_one_picture(opened, colors):
    page = opened(colors)
    page.tab.get_by_role("button", name="Camera").click()
    page.tab.wait_for_selector(".best .bar-share[title]")
    page.settle()
    assert sum(page.probabilities) == pytest.approx(1)
    seen = page.tab.locator("canvas.seen").evaluate("""seen => {
      const {data} = seen.getContext("2d").getImageData(0, 0, seen.width, seen.height);
      return new Set(data).size;
    }""")
    assert seen > 10  # the test picture is no plain color


def test_where_a_browser_lends_no_camera_the_page_says_why(opened, colors):
    page = opened(colors)
    page.tab.evaluate(
        "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
    )
    page.tab.get_by_role("button", name="Camera").click()
    assert page.tab.locator("#input .failure p").inner_text() == (
        "Browsers lend the camera only to pages of this machine (127.0.0.1) or over "
        "https, and this page is neither. Open it on the machine that runs it, or "
        "choose a file."
    )


def test_only_the_page_itself_may_ask_for_the_camera(opened, colors):
    page = opened(colors)
    policy = page.tab.evaluate(
        "fetch(location.href).then(it => it.headers.get('permissions-policy'))"
    )
    assert "camera=(self)" in policy
    assert "microphone=()" in policy


def test_512_channels_are_fetched_in_pages_and_scroll(opened, colors, color_run):
    page = opened(colors)
    asked = []
    page.tab.on("request", lambda one: asked.append(one.url))
    give(page, "choose", png("red"))
    frames = page.maps(1).evaluate("""async maps => {
      let frames = 0;
      const far = maps.scrollHeight - maps.clientHeight;
      for (let step = 1; step <= 40; step++) {
        maps.scrollTop = far * step / 40;
        await new Promise(done => requestAnimationFrame(done));
        frames += 1;
      }
      return frames;
    }""")
    assert frames == 40
    page.settle()
    pages = [url for url in asked if "/api/values?" in url]
    assert pages
    assert not any("0-512" in url for url in asked)
    x = oracle.picture(color_run, Image.open(io.BytesIO(png("red"))))
    wanted = oracle.steps(color_run, x)[1]
    page.hover(1, SHAPE, CHANNELS - 1, (3, 4))
    name, shown = page.readout
    assert name == "convolution 0, channel 511 at (3, 4)"
    np.testing.assert_allclose(shown, wanted[CHANNELS - 1, 3, 4], rtol=2**-9)


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """As ``make demo`` trains it."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return cs.fit(None, "digits", folder=folder, listeners=(), seed=0)


def test_a_three_is_read_wherever_and_however_large_it_is_drawn(opened, demo_run):
    page = opened(served(demo_run))
    read = []
    for size in (0.35, 0.5, 0.65, 0.8, 1.0):
        for right, down in ((0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)):
            reach = (0.9 * (126 - 55 * size) * right, 0.9 * (126 - 85 * size) * down)
            points = [
                (140 + reach[0] + size * (x - 145), 140 + reach[1] + size * (y - 140))
                for x, y in THREE
            ]
            page.tab.get_by_role("button", name="Clear").click()
            page.draw(points, steps=2)
            read.append(page.first_guess)
    assert len(read) == 25
    assert read.count("3") >= 24
