"""The page in headless Chromium: sorting, filtering, moving by keyboard, contrast, no network."""

import json

import pytest

from salvit.__main__ import main
from tests.browser import CHROMIUM, Browser, browser
from tests.report.conftest import checkpoint_of, keep

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on the PATH"),
]

# Of every visible text: the ratio of WCAG 2.1 between its colour and that of what is behind it. Text over a picture is
# on a background of its own everywhere on the page.
CONTRAST = """
(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
    if (!text || !node.getClientRects().length || node.closest("script, style, option")) continue;
    const style = getComputedStyle(node), mark = node.closest(".mark");
    const back = mark ? parse(getComputedStyle(mark.querySelector("circle")).fill) : behind(node);
    const [a, b] = [parse(node.closest("svg") ? style.fill : style.color), back].map(light);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), large ? 3 : 4.5, text]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def page_in_browser():
    with browser() as one:
        yield one


@pytest.fixture
def page(tmp_path, make_fit, make_test, make_explanations):
    """The page of two models, a sweep's worth of methods, maps and attention."""
    fit = make_fit("a")
    maps = [[1.0, 2.0, 0.5], [3.0, 4.0, 0.1]]
    keep(
        make_test("a", scores=(0.5, 0.7), **checkpoint_of(fit)),
        {f"image{i}": {"tiny · a": maps} for i in range(2)},
        True,
    )
    make_test("b", scores=(0.4, 0.9))
    methods = {"rollout": [(0.5, 0.2, 0.1), (0.7, 0.3, 0.2)], "agcam": [(0.25, 0.4, 0.3), (0.3, 0.9, 0.4)]}
    keep(
        make_explanations("c", methods),
        {f"image{i}": {"rollout": maps, "agcam": maps[::-1]} for i in range(2)},
    )
    main(["report", str(tmp_path), "-q"])
    return tmp_path / "report/index.html"


def texts(one: Browser, selector: str) -> list[str]:
    return one.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


def choose(one: Browser, selector: str, value: str) -> None:
    one.run(
        f"(() => {{ const node = document.querySelector({json.dumps(selector)}); node.value = {json.dumps(value)};"
        "node.dispatchEvent(new Event(node.tagName === 'INPUT' ? 'input' : 'change', {bubbles: true})); })()"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_text_can_be_read_nothing_overflows_and_nothing_is_asked_for(
    page_in_browser, page, scheme, width
):
    one = page_in_browser
    one.requests.clear()
    one.open(page, width=width, scheme=scheme)
    one.run("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    found = one.run(CONTRAST)
    assert len(found) > 100
    assert [(round(ratio, 2), text) for ratio, least, text in found if ratio < least] == []
    dark = one.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 25)"
    assert dark == (scheme == "dark")
    assert one.run("document.documentElement.scrollWidth") <= width
    assert [address for address in one.requests if not address.startswith(("file:", "data:"))] == []
    assert one.errors == []


def test_a_heading_sorts_its_table_by_keyboard_best_first(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    one.run(
        "document.querySelectorAll('table.scores')[0].tHead.rows[0].cells[1].querySelector('button').focus()"
    )
    names = "table.scores:first-of-type tbody th"
    before = texts(one, names)[:4]
    assert [name.removesuffix("mean density of the train split") for name in before[:3]] == [
        "tiny · a",
        "tiny · b",
        "center prior",
    ]
    one.press("Enter")
    first = "document.querySelectorAll('table.scores')[0]"
    order = f"[...{first}.tBodies[0].rows].map((row) => Number(row.cells[1].dataset.v))"
    assert one.run(order) == [0.65, 0.6, 0.3, 0.05]
    assert one.run(f"{first}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
    one.press("Enter")
    assert one.run(order) == [0.05, 0.3, 0.6, 0.65]


def test_differences_are_those_to_the_row_that_is_chosen(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    place = "[data-differences='0']"
    choose(one, f"{place} select", "1")
    assert texts(one, f"{place} thead th")[0] == "minus tiny · b"
    assert texts(one, f"{place} tbody tr:first-child td")[0].startswith("-0.050[")
    choose(one, f"{place} select", "0")
    assert texts(one, f"{place} tbody tr:first-child td")[0].startswith("+0.050[")


def test_the_gallery_shows_the_worst_first_and_filters(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    choose(one, "#gallery label:nth-of-type(1) select", "1")
    assert texts(one, "#gallery .card") == ["CC 0.500image0", "CC 0.700image1"]
    choose(one, "#gallery label:nth-of-type(3) select", "0")
    choose(one, "#gallery label:nth-of-type(4) select", "2")
    assert texts(one, "#gallery .card b") == ["ABPC 0.100", "ABPC 0.200", "ABPC 0.300", "ABPC 0.400"]
    choose(one, "#gallery label:nth-of-type(5) select", "best")
    choose(one, "#gallery input", "IMAGE1")
    assert texts(one, "#gallery .card") == ["ABPC 0.400 · agcamimage1", "ABPC 0.200 · rolloutimage1"]
    one.run("document.querySelector('#gallery .card').focus()")
    one.press("Enter")
    assert one.run("document.querySelector('dialog').open")
    assert texts(one, "dialog figcaption") == ["photograph ", "rollout ABPC 0.200", "agcam ABPC 0.400"]
    one.press("Escape")


def test_the_explorer_moves_by_keyboard_and_says_where_a_patch_attends(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    status = "document.querySelector('#attention .status').textContent"
    one.run(
        f"new Promise((done) => {{ const look = () => {status} ? done() : setTimeout(look, 20); look(); }})"
    )
    assert one.run(status).startswith("The patch in row 2, column 2 attends most")
    one.run("document.querySelector('#attention .pad').focus()")
    said = []
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "c"):
        one.press(key)
        one.run("new Promise((done) => setTimeout(done, 50))")
        said.append(one.run(status).partition(" attends")[0])
    assert said == [
        "The patch in row 1, column 2",
        "The patch in row 1, column 1",
        "The patch in row 1, column 1",
        "The class token",
    ]
    expected = one.run(
        "(() => { const e = data.explorers[0], i = e.images[0]; return inflated(i.attention).then((shares) => {"
        "const largest = new Float32Array(bytes(i.largest).buffer); const n = 7; const at = (1 * 3 + 2) * n;"
        "return Math.max(...[1, 2, 3, 4, 5, 6].map((k) => shares[at * n + k] / 255 * largest[at])); }); })()"
    )
    one.run("document.querySelectorAll('#attention .heads button')[3].click()")
    one.run("new Promise((done) => setTimeout(done, 50))")
    assert f": {100 * expected:.1f} % (block 1, head 2)." in one.run(status)
    one.run("document.querySelector('#attention input').focus()")
    one.press("ArrowLeft")
    one.run("new Promise((done) => setTimeout(done, 50))")
    assert "(block 0, head 2)" in one.run(status)


def test_all_that_can_be_pressed_is_reached_by_tab_with_a_name(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    controls = "[...document.querySelectorAll('button, select, input, [tabindex], summary, a')]"
    visible = f"{controls}.filter((node) => node.getClientRects().length)"
    assert one.run(f"{visible}.filter((node) => node.tabIndex < 0).length") == 0
    unnamed = (
        f"{visible}.filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))"
        ".map((node) => node.outerHTML)"
    )
    assert one.run(unnamed) == []
    one.press("Tab")
    assert one.run("document.activeElement.className") == "skip"


def test_charts_show_every_row_and_line_and_scores_can_be_chosen(page_in_browser, page):
    one = page_in_browser
    one.open(page)
    assert sorted(texts(one, "#scatter .mark text")) == ["1", "2", "3", "4"]
    assert texts(one, "#scatter li")[0] == "1tiny · a 0.600, 0.600, 0.600"
    choose(one, "#scatter label:nth-of-type(1) select", "1")
    assert texts(one, "#scatter li") == ["1rollout 0.600, 0.150, 0.250", "2agcam 0.275, 0.350, 0.650"]
    choose(one, "#scatter label:nth-of-type(2) select", "2")
    assert texts(one, "#scatter li")[0] == "1rollout 0.150, 0.150, 0.250"
    assert texts(one, "#curves figcaption") == ["train/loss ↓", "val/CC ↑", "val/NSS ↑"]
    assert one.run("document.querySelectorAll('#curves path.line').length") == 3 + 1  # and the legend's
