"""The explorer on the page, with the keyboard alone: order of focus, messages, pin, reload."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FIRST = ".reclab-explorer >> nth=0"
# Where the focus is: what a screen reader would say of it.
FOCUS = """() => {
  const e = document.activeElement, label = e.labels && e.labels[0];
  return e.getAttribute('aria-label') || e.title || (label && (label.textContent || label.title))
    || e.innerText || e.tagName;
}"""


@pytest.fixture(scope="module")
def page(reader: Any, notebooks: Path) -> Iterator[Any]:
    """The demonstration notebook, run, its first explorer in view. Saving changes a copy."""
    saved = (notebooks / "demo" / "demo.ipynb").read_bytes()
    reader.open("demo/demo.ipynb")
    assert reader.run_all(120)
    reader.page.locator(FIRST).scroll_into_view_if_needed()
    yield reader.page
    reader.close_kernel()
    (notebooks / "demo" / "demo.ipynb").write_bytes(saved)


def handle(page: Any, words: str) -> Any:
    """The slider of this label in the first explorer."""
    return page.locator(FIRST).get_by_role("slider", name=words)


def bars(page: Any) -> list[list[float]]:
    """Heights of the bars now and pinned, as the page drew them."""
    return page.locator(f"{FIRST} >> .js-plotly-plot").evaluate(
        "plot => plot._fullData.slice(0, 2).map(trace => Array.from(trace.y))"
    )


def becomes(page: Any, wanted: Any, read: Callable[[], Any]) -> bool:
    """Whether ``read()`` gives what is wanted within ten seconds: the round trip to the kernel and
    the drawing take a busy machine their time."""
    for _ in range(100):
        if read() == wanted:
            return True
        page.wait_for_timeout(100)
    return False


def test_tab_goes_through_every_control_in_order(page: Any) -> None:
    handle(page, "after retrieval").focus()
    said = [page.evaluate(FOCUS)]
    for _ in range(12):
        page.keyboard.press("Tab")
        said.append(page.evaluate(FOCUS).strip())
    sliders = ["after retrieval (items)", "after ranking (items)", "λ of MMR", "items on a page"]
    expected = [words for words in sliders for _ in ("slider", "number box")]
    expected += ["ranking model", "popular items", "item-to-item", "Pin as baseline", "Reset"]
    assert said == expected


def test_a_slider_says_its_value_and_not_the_number_of_its_place(page: Any) -> None:
    assert handle(page, "after retrieval").get_attribute("aria-valuetext") == "1,000 items"


def test_a_typed_number_moves_the_slider_and_the_plot(page: Any) -> None:
    box = page.locator(FIRST).get_by_role("spinbutton", name="after retrieval")
    box.fill("490")
    box.press("Enter")
    assert becomes(page, 500, lambda: bars(page)[0][0]) and box.input_value() == "500"
    assert handle(page, "after retrieval").get_attribute("aria-valuetext") == "500 items"


def test_pin_and_reset_by_keyboard(page: Any) -> None:
    page.locator(f"{FIRST} >> .reclab-pin").press("Enter")
    handle(page, "after ranking").press("ArrowLeft")
    assert becomes(page, [[500, 50, 10], [500, 100, 10]], lambda: bars(page))
    page.locator(f"{FIRST} >> .reclab-reset").press("Enter")
    assert becomes(page, [[1000, 100, 10], [1000, 100, 10]], lambda: bars(page))


def test_sizes_that_grow_are_said_beside_the_controls(page: Any) -> None:
    handle(page, "after retrieval").press("Home")
    handle(page, "after ranking").press("End")
    assert becomes(page, [100, 100, 10], lambda: bars(page)[0])
    alert = page.locator(FIRST).get_by_role("alert")
    assert "must not be larger than “after retrieval” (100)" in alert.inner_text()
    page.locator(f"{FIRST} >> .reclab-reset").press("Enter")
    assert becomes(page, 0, alert.count)


def test_an_exception_in_a_callback_is_shown_to_the_reader(page: Any) -> None:
    ticks = page.locator(FIRST).get_by_role("checkbox")
    for place in range(2):
        ticks.nth(place).press("Space")
        page.wait_for_timeout(700)
    alert = page.locator(FIRST).get_by_role("alert")
    assert "ZeroDivisionError: no <channel> left" in alert.inner_text()
    page.locator(f"{FIRST} >> .reclab-reset").press("Enter")
    assert becomes(page, 0, alert.count)


def test_scores_of_a_card_open_with_the_keyboard(page: Any) -> None:
    fold = page.locator("details", has_text="because you watched").first
    scores = fold.get_by_text("score 1.000")
    assert not scores.is_visible()
    fold.locator("summary").press("Enter")
    assert scores.is_visible()


def test_a_page_loaded_again_shows_the_explorer_as_it_was_left(page: Any, reader: Any) -> None:
    handle(page, "after retrieval").press("ArrowRight")
    assert becomes(page, 2000, lambda: bars(page)[0][0])
    page.wait_for_timeout(700)  # the kernel's last message has come, and is saved too
    before = bars(page)
    reader.command("docmanager:save")
    page.wait_for_timeout(1500)
    reader.open("demo/demo.ipynb")
    page.wait_for_selector(".reclab-explorer .js-plotly-plot .main-svg", timeout=60_000)
    assert becomes(page, before, lambda: bars(page))
