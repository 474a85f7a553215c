"""Pages in one file, opened from disk with the network off."""

import itertools

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")


@pytest.fixture
def opened(page_at, tmp_path):
    """Opens a subject's file."""
    from convscope.serve.portable.page_file import page_file

    numbers = itertools.count()

    def opens(subject, **how):
        tab = page_at(
            page_file(subject, tmp_path / f"page-{next(numbers)}.html"), **how
        )
        tab.wait_for_selector(".card")
        return tab

    return opens
