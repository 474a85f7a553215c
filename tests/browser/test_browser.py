"""How pages are watched: what a page does wrong does not go unseen."""

import pytest
from tests.browser import conftest

PLANTED = {
    "an error": "<script>throw new Error('planted')</script>",
    "a warning": "<script>console.warn('planted')</script>",
    "a request": "<img alt='' src='https://planted.invalid/pixel.png'>",
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_a_page_does_wrong_is_seen(chromium, tmp_path, what):
    place = tmp_path / "page.html"
    place.write_text(f"<!doctype html><title>planted</title>{PLANTED[what]}")
    context, troubles = chromium.new_context(offline=True), []
    tab = context.new_page()
    conftest.watch(tab, place.as_uri(), troubles)
    tab.goto(place.as_uri())
    context.close()
    assert "planted" in " ".join(troubles)


def test_what_is_missing_is_said_with_how_to_get_it(chromium, monkeypatch):
    assert conftest.missing() == ""
    monkeypatch.setattr(conftest, "program", lambda: None)
    assert conftest.missing() == "needs chromium: apt-get install chromium"
