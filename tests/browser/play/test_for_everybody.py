"""Whether everybody can use the page: axe-core, in every view; motion; size."""

import pytest
from tests.browser.play.strokes import THREE

SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_serious(opened, violations, screen, scheme):
    width, height = SCREENS[screen]
    page = opened(width=width, height=height, scheme=scheme, touch=width < 500)
    page.draw(THREE)
    page.tab.get_by_role("button", name="Test images").click()
    page.tab.wait_for_selector(".thumbnail")
    assert violations(page.tab) == []
    page.tab.get_by_role("button", name="Mistakes").click()
    page.tab.wait_for_selector(".thumbnail.wrong")
    page.explain(1)
    for name in ("unit", "filters", "why", "changes"):
        page.tab.click(f"#tab-{name}")
        if name == "filters":
            page.tab.get_by_role("button", name="Channel off").click()
            page.tab.wait_for_selector('#tab-changes:text-is("Changes (1)")')
        if name == "why":
            page.tab.get_by_role("button", name="Grad-CAM").click()
            page.tab.wait_for_selector(".verdict")
        assert violations(page.tab) == [], name
    page.tab.keyboard.press("Escape")
    page.tab.get_by_role("button", name="Keys").click()
    assert violations(page.tab) == []


def test_a_planted_mistake_is_found(opened, violations):
    page = opened()
    page.tab.evaluate("document.querySelector('main').append("
                      "document.createElement('button'))")  # fmt: skip
    assert [name for name, _ in violations(page.tab)] == ["button-name"]


def test_nothing_moves_for_those_who_ask_for_that(opened):
    page = opened(width=1024)
    page.draw(THREE)
    page.explain(1)
    assert page.tab.locator("text=Step through").count() == 1
    assert not page.tab.locator("text=Step through").is_visible()
    moving = page.tab.evaluate("""() => [...document.querySelectorAll("*")]
      .map(one => getComputedStyle(one))
      .filter(({transitionDuration, animationName}) =>
        transitionDuration !== "0s" || animationName !== "none")
      .length""")
    assert moving == 0


def test_a_window_is_stepped_through_for_others(opened):
    page = opened(motion="no-preference")
    page.draw(THREE)
    page.explain(1)
    page.tab.evaluate("""() => {
      window.marked = [];
      const products = document.querySelector(".products");
      new MutationObserver(() => {
        const one = products.querySelector("td.marked");
        if (one) window.marked.push(Number(one.dataset.at));
      }).observe(products, {attributes: true, subtree: true});
    }""")
    step = page.tab.get_by_role("button", name="Step through")
    step.click()
    page.tab.get_by_role("button", name="Stop").wait_for()
    step.wait_for()  # it is through
    assert list(dict.fromkeys(page.tab.evaluate("window.marked"))) == list(range(9))
    assert page.tab.locator(".products td.marked").count() == 0


def test_the_page_is_small(opened):
    page = opened()
    sizes = page.tab.evaluate("""() => performance.getEntriesByType("resource")
      .concat(performance.getEntriesByType("navigation"))
      .filter(one => !one.name.includes("/api/"))
      .map(one => one.decodedBodySize)""")
    assert len(sizes) > 20
    assert sum(sizes) < 300_000
