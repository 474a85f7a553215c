"""Pages in one file, opened from disk with the network off."""

import pytest
from tests.browser.play.conftest import Page
from tests.browser.static.networks import made

pytest.importorskip("starlette", reason="needs the extra serve")


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Writes a subject's page, that of a named network once."""
    from convscope.serve.portable.page_file import page_file

    folder, paths = tmp_path_factory.mktemp("pages"), {}

    def writes(which):
        if which not in paths:
            subject = made(which) if isinstance(which, str) else which
            paths[which] = page_file(subject, folder / f"{len(paths)}.html")
        return paths[which]

    return writes


@pytest.fixture
def opened(page_at, written):
    """Opens the page of a subject, or of a network by name."""

    def opens(which, **how):
        tab = page_at(written(which), **how)
        tab.wait_for_selector(".card")
        return Page(tab, page_at.troubles)

    return opens
