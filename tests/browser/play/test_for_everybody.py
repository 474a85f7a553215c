"""Whether everybody can use the page: axe-core, in every view, light and dark."""

import pytest
from tests.browser.play.strokes import THREE

VIEWS = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(opened, violations, view, scheme):
    width, height = VIEWS[view]
    page = opened(width=width, height=height, scheme=scheme, touch=width < 500)
    page.draw(THREE)
    assert violations(page.tab) == []
    page.maps(1).press("Enter")
    for tab in page.tab.locator("[role=tab]:visible").all():
        tab.click()
        page.tab.wait_for_timeout(150)
        assert violations(page.tab) == []


def test_a_planted_mistake_is_found(opened, violations):
    page = opened()
    page.tab.evaluate("document.querySelector('main').append("
                      "document.createElement('button'))")  # fmt: skip
    assert [name for name, _ in violations(page.tab)] == ["button-name"]
