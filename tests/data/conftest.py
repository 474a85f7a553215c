import os
from pathlib import Path

import platformdirs
import pytest


@pytest.fixture
def real_data():
    """The folder with the published data sets; skips where there is none."""
    folder = os.environ.get("CONVSCOPE_DATA")
    if not folder:
        pytest.skip("CONVSCOPE_DATA is not set")
    return Path(folder)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an empty data folder and cache, and no network."""
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CONVSCOPE_OFFLINE", "1")
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name: tmp_path / "cache"
    )
    return tmp_path
