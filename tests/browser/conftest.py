"""A network trained in seconds, and one browser for all tests that need one."""

from pathlib import Path

import pytest
import torch
from torch import nn

import convscope as cs

CHROMIUM = Path("/usr/bin/chromium")


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


@pytest.fixture(scope="session")
def chromium():
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"]
        )
        yield browser
        browser.close()
