"""Pages in one file, opened from disk with the network off."""

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("playwright", reason="needs playwright")


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a subject's file; it may not complain, nor ask anybody for anything."""
    from convscope.serve.portable.page_file import page_file

    tabs, troubles = [], []

    def heard(message):
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    def asked(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"asked {request.url}")

    def opens(subject, *, width=1440, height=900, scheme="light"):
        path = page_file(subject, tmp_path / f"page-{len(tabs)}.html")
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme,
            reduced_motion="reduce", offline=True,
        )  # fmt: skip
        tab = context.new_page()
        tabs.append(context)
        tab.on("console", heard)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", asked)
        tab.goto(path.as_uri())
        tab.wait_for_selector(".card")
        return tab

    yield opens
    for context in tabs:
        context.close()
    assert troubles == []
