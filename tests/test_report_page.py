"""The report in a real browser: no complaint, no request, every width and colour, keyboard alone, script off, paper."""

import pytest
from chromium import Browser, chromium
from report_runs import write_run

from segbench.report.run import report

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def browser():
    program = chromium()
    if program is None:
        pytest.skip("SKIPPED LOUDLY: no Chromium here; install it, or set SEGBENCH_CHROMIUM")
    found = Browser(program)
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two runs side by side and one apart, with a hostile name among the domains."""
    folder = tmp_path_factory.mktemp("page")
    domains = ("E35", "Tesla", HOSTILE)
    twin = {"samples": 0, "model_hash": "cd" * 32}
    runs = [
        write_run(folder / "a", domains, warnings=(HOSTILE,)),
        write_run(folder / "b", domains, wrong=0.12, facts=twin, **twin),
        write_run(folder / "c", ("x",), cases=2, shape=(6, 40, 120), classes=("p", "q", "r"), truth=False, data="mine"),
    ]
    report(runs, folder / "page.html")
    return folder / "page.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_opens_quietly_at_every_width_in_both_schemes(browser, page, width, dark):
    browser.size(width, 800, dark=dark, touch=width < 600)
    browser.open(page)
    assert browser.complaints() == []
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.run("document.title").startswith("vnet-battery on battery16")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.scripts.length") == 1
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back[4:-1].split(","))) < 384) == dark
    # nothing but what scrolls by itself reaches beyond the window
    beyond = """[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, nav, svg, .frame')
      && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 200))"""
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert browser.run(beyond) == []
    assert browser.run("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { canvas.fillStyle = '#000'; canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return rgb(c); } return rgb('#fff'); };
  const bad = [];
  const kinds = 'p, li, td, th, td small, figcaption, dt, dd, a, h1, h3, h4, text, summary, label';
  for (const e of document.querySelectorAll(kinds)) {
    if (!e.textContent.trim() || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), fore = e.tagName === 'text' ? style.fill : style.color;
    const [a, b] = [light(rgb(fore)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${e.tagName} ${fore} ${e.textContent.slice(0, 40)}`);
  }
  return bad;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(browser, page, dark):
    browser.size(1280, 800, dark=dark)
    browser.open(page)
    assert browser.run(CONTRAST) == []


SHOWN = """[...document.querySelector('.case').querySelectorAll('img')].map((image) => {
  const frame = image.parentElement.getBoundingClientRect();
  return Math.round((frame.top - image.getBoundingClientRect().top) / frame.height); })"""


def test_the_keyboard_moves_the_slices(browser, page):
    browser.size(1280, 800)
    browser.open(page)
    browser.run("document.querySelector('.case input[type=range]').focus()")
    state = "(({ value, ariaValueText }) => [value, ariaValueText])(document.activeElement)"
    planes = browser.run("document.activeElement.dataset.z").split(" ")
    assert browser.run(state) == ["5", f"z {planes[5]}"]
    assert set(browser.run(SHOWN)) == {5}
    browser.press("ArrowRight")
    assert browser.run(state) == ["6", f"z {planes[6]}"]
    assert browser.run("document.querySelector('.case output').textContent") == f"z {planes[6]} of 0 to 23"
    shown = browser.run(SHOWN)
    assert set(shown) == {6}  # all layers of the volume, and both runs'
    assert len(shown) == 9
    browser.press("End")
    assert browser.run(state)[0] == str(len(planes) - 1)
    assert browser.run("document.querySelectorAll('.case input[type=range]')[1].value") == "5"
    browser.run("document.querySelector('.together').click()")
    browser.press("Home")
    assert (
        browser.run(
            "[...document.querySelectorAll('.cases')].map((c) => c.querySelectorAll('input[type=range]')[1].value)"
        )[0]
        == "0"
    )
    assert browser.complaints() == []


def test_the_keyboard_reaches_everything_and_chooses_layers(browser, page):
    browser.size(1280, 800)
    browser.open(page)
    seen = []
    for _ in range(400):
        browser.press("Tab")
        told = browser.run(
            "(({ tagName, className, type, value, textContent }) => [tagName, className, type, value, textContent])"
            "(document.activeElement)"
        )
        if told[0] == "BODY":
            break
        seen.append(told)
        if told[0] == "INPUT" and told[3] == "uncertainty":
            shown = "getComputedStyle(document.activeElement.closest('.part').querySelector('.l-uncertainty')).display"
            assert browser.run(shown) == "block"
            browser.press(" ")
            assert browser.run(shown) == "none"
            browser.press(" ")
            assert browser.run(shown) == "block"
    assert seen[0][4] == "Skip to the content"
    kinds = {told[0] for told in seen}
    assert {"A", "BUTTON", "INPUT", "SUMMARY", "DIV"} <= kinds  # DIV: tables that scroll
    assert any(told[2] == "range" for told in seen)


def test_the_keyboard_sorts_tables(browser, page):
    browser.size(1280, 800)
    browser.open(page)
    table = "[...document.querySelectorAll('table.sortable')].find((t) => t.tFoot)"
    head = f"[...{table}.tHead.rows[0].cells].find((c) => c.textContent.startsWith('accuracy, truth'))"
    column = f"[...{table}.tBodies[0].rows].map((row) => Number(row.cells[{head}.cellIndex].dataset.v))"
    browser.run(f"{head}.firstChild.focus()")
    browser.press("Enter")
    assert browser.run(f"{head}.ariaSort") == "descending"
    values = browser.run(column)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3
    browser.press("Enter")
    assert browser.run(f"{head}.ariaSort") == "ascending"
    assert browser.run(column) == sorted(values)
    browser.run(f"{table}.tBodies[0].rows[0].cells[{head}.cellIndex].dataset.v = ''")  # an undefined one is last
    browser.press("Enter")
    assert browser.run(f"{table}.tBodies[0].rows[2].cells[{head}.cellIndex].dataset.v") == ""
    browser.press("Enter")
    assert browser.run(f"{table}.tBodies[0].rows[2].cells[{head}.cellIndex].dataset.v") == ""


def test_everything_has_a_name(browser, page):
    browser.size(1280, 800)
    browser.open(page)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"slider", "checkbox", "button", "link", "image", "img", "region", "navigation"}
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    assert [role for role, name in named if role in roles and not name.strip()] == []
    assert {"slider", "checkbox", "button", "image"} <= {role for role, _ in named}


def test_without_its_script_tables_and_figures_are_there(browser, page):
    browser.size(1280, 800)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        root = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]

        def found(selector):
            return browser.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]

        def box(node):
            x1, y1, x2, *_, y4 = browser.call("DOM.getBoxModel", nodeId=node)["model"]["border"]
            return x2 - x1, y4 - y1

        for selector in ("table.sortable", "svg.chart", ".case .frame", ".places img"):
            wide, high = box(found(selector)[0])
            assert wide > 50
            assert high > 30
        frame, image = box(found(".case .frame")[0]), box(found(".case img")[0])
        assert image[1] == pytest.approx(11 * frame[1], rel=0.02)
        with pytest.raises(AssertionError, match="box model"):
            box(found(".slide")[0])  # what would do nothing is not shown
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_it_prints(browser, page):
    browser.size(1280, 800)
    browser.open(page)
    data = browser.pdf()
    assert data.startswith(b"%PDF")
    assert len(data) > 100_000
    assert browser.complaints() == []


def test_a_page_that_asks_or_complains_would_be_seen(browser, tmp_path):
    """The net above has no hole: a page that does both is caught."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><title>x</title><img src='http://127.0.0.1:9/x.png'><script>console.log(1); nothing()</script>"
    )
    browser.size(800, 600)
    browser.open(bad)
    assert len(browser.complaints()) >= 2
    assert any("127.0.0.1:9" in url for url in browser.requests())
