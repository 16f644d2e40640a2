import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.report import bars, html, scatter, svg

from . import samples

HOSTILE = '</title><script>alert(1)</script><img src="http://example.invalid/x" onerror=alert(2)>"\'&\x1b[2J'
VOID = {"meta"}


class Outline(HTMLParser):
    """Checks that elements nest, and gathers tags, attributes and texts."""

    def __init__(self, document):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_the_page_is_well_formed_and_asks_for_nothing(failing, labelled):
    outline = Outline(html.page(samples.comparison(failing=failing, labelled=labelled)))
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(outline.tags)
    assert not {"src", "href", "xlink:href", "onerror", "onload", "action"} & {name for name, _ in outline.attributes}
    styles = Path(html.__file__).with_name("page.css").read_text()
    assert "url(" not in styles
    assert "@import" not in styles


@pytest.mark.parametrize("unit", ["share", "", "dB"])
def test_a_metric_has_its_charts_and_its_budget(unit):
    outline = Outline(html.page(samples.judged(unit)))
    labels = [value for name, value in outline.attributes if name == "aria-label"]
    assert labels[1] == "near of each file"
    assert labels[3] == "near against size"
    axis = {"share": "near, %", "dB": "near, dB", "": "near"}[unit]
    assert axis in outline.text
    drawn = {"share": "97.0 %", "dB": "42.0 dB", "": "-0.6"}[unit]
    assert drawn in outline.text
    budget = {"share": "near budget −2.0 pp.", "dB": "", "": "near budget −0.02."}[unit]  # noqa: RUF001
    assert any(f"images. {budget}" in text for text in outline.text)
    assert not any("top-1 accuracy" in text or "agreement" in text.lower() for text in outline.text)


def test_five_charts_with_a_name_each():
    outline = Outline(html.page(samples.comparison()))
    assert outline.tags.count("svg") == 5
    labels = [value for name, value in outline.attributes if name == "aria-label"]
    assert labels == [
        "File size of each file",
        "Accuracy of each file",
        "Median latency of one inference of each file",
        "Accuracy against size",
        "Accuracy against latency",
    ]


def test_without_labels_agreement_takes_the_place_of_accuracy():
    labels = [value for name, value in Outline(html.page(samples.comparison(labelled=False))).attributes]
    assert "Agreement of each file with the source" in labels
    assert "Agreement against size" in labels


def test_without_latency_and_accuracy_the_page_stands():
    result = samples.comparison()
    rows = tuple(replace(row, accuracy=None, latencies=(), operators=None, written=None) for row in result.rows)
    outline = Outline(html.page(replace(result, rows=rows, recommended=None, reason="nothing was measured", notes=())))
    assert "No recommendation" in outline.text
    assert outline.tags.count("svg") == 2


def hostile_comparison():
    result = samples.comparison()
    rows = [replace(row, path=Path(HOSTILE), failure=row.failure and HOSTILE) for row in result.rows]
    rows[1] = replace(rows[1], name=HOSTILE, written=samples.written(notes=(HOSTILE,)))
    return replace(result, source=Path(HOSTILE), rows=tuple(rows), data=HOSTILE, reason=HOSTILE, notes=(HOSTILE,))


def test_hostile_names_stay_text():
    document = html.page(hostile_comparison())
    outline = Outline(document)
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    assert "<script" not in document
    assert "\x1b" not in document
    assert any("<script>alert(1)</script>" in text for text in outline.text)


@given(st.text(), st.text())
def test_elements_escape_texts_and_attributes(text, attribute):
    outline = Outline(svg.element("p", text, title=attribute))
    assert outline.tags == ["p"]
    assert [name for name, _ in outline.attributes] == ["title"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, (0, 2, 4, 6, 8, 10)), (84.6, 86.2, (84.5, 85, 85.5, 86, 86.5)), (0, 0.7, (0, 0.2, 0.4, 0.6, 0.8))],
)
def test_linear_ticks_are_round(low, high, ticks):
    assert svg.linear(low, high, 0, 100).ticks == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_linear_scales_keep_values_inside(low, span):
    scale = svg.linear(low, low + span, 10, 110)
    assert 10 - 1e-6 <= scale.position(low) <= scale.position(low + span) <= 110 + 1e-6
    assert scale.position(scale.ticks[0]) == pytest.approx(10)
    assert scale.position(scale.ticks[-1]) == pytest.approx(110)


@given(st.floats(1e-6, 1e6), st.floats(12, 1e4))
def test_logarithmic_scales_keep_values_inside(low, factor):
    high = min(low * factor, 1e7)
    scale = svg.logarithmic(low, high, 0, 100)
    assert -1e-6 <= scale.position(low) <= scale.position(high) <= 100 + 1e-6


def test_a_bar_out_of_all_proportion_is_torn():
    def group(value):
        return bars.Group("g", "hue-int8", (bars.Bar(value, "text", ()),))

    chart = bars.chart("c", [group(value) for value in (10, 11, 12, 900)])
    assert chart.count('class="tear"') == 1
    assert bars.chart("c", [group(value) for value in (10, 11, 12, 13)]).count('class="tear"') == 0
    lengths = [float(width) for width in re.findall(r'width="([0-9.]+)"', chart)]
    assert lengths[0] / lengths[2] == pytest.approx(10 / 12, rel=0.01)


def test_labels_of_a_scatter_do_not_cover_each_other():
    places = [(1, 86), (1.05, 86), (1.1, 86), (4, 86), (4, 86.01), (4.1, 85.9)]
    points = [scatter.Point(x, y, f"name_{i}", "hue-int8", ()) for i, (x, y) in enumerate(places)]
    chart = scatter.chart("c", points, x_title="x", y_title="y")
    texts = re.findall(r'<text x="([0-9.]+)" y="([0-9.]+)" class="label middle">(name_\d)</text>', chart)
    assert len(texts) == len(points)
    boxes = [(float(x), float(y), svg.text_width(name, 12)) for x, y, name in texts]
    for index, (x, y, width) in enumerate(boxes):
        for other_x, other_y, other_width in boxes[:index]:
            assert abs(x - other_x) >= (width + other_width) / 2 - 0.1 or abs(y - other_y) >= 12


def test_a_wide_range_of_latencies_is_logarithmic():
    points = [scatter.Point(x, 80 + x % 3, f"n{x}", "hue-int8", ()) for x in (5, 10, 400)]
    assert "logarithmic" in scatter.chart("c", points, x_title="ms", y_title="y")
    assert "logarithmic" not in scatter.chart("c", points[:2], x_title="ms", y_title="y")


@pytest.fixture
def shown(chrome, tmp_path):
    def show(result, *, width=1280, scheme="light"):
        page = tmp_path / "report.html"
        page.write_text(html.page(result), encoding="utf-8")
        chrome.resize(width, 900)
        chrome.media(scheme=scheme)
        chrome.console()
        chrome.requests()
        chrome.open(page)
        return chrome, page

    return show


BOXES = """
return [...document.querySelectorAll(arguments[0] || %s)].map(e => {
  const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height, e.textContent];
});
"""


def boxes(chrome, selector):
    return chrome.evaluate(BOXES % repr(selector))


def test_a_browser_draws_every_bar_with_its_value(shown):
    chrome, _page = shown(samples.comparison(failing=False))
    drawn = boxes(chrome, "svg.bars rect.bar")
    assert len(drawn) == 7 * (1 + 2 + 2)
    assert all(width > 0.5 and height > 5 for _, _, width, height, _ in drawn)
    sizes = [width for *_, width, _, _ in drawn[:7]]
    wanted = [row.bytes for row in samples.comparison(failing=False).rows]
    assert [size / sizes[0] for size in sizes] == pytest.approx([count / wanted[0] for count in wanted], rel=0.02)
    texts = {text for *_, text in boxes(chrome, "svg.bars text.value")}
    assert {"14.3 MB", "4.00 MB", "85.4 %", "96.4 %", "5.98 ms", "431 ms"} <= texts


def test_a_browser_keeps_every_text_inside_its_chart(shown):
    chrome, _page = shown(samples.comparison(failing=False))
    outside = chrome.evaluate(
        "return [...document.querySelectorAll('svg')].flatMap(s => { const f = s.getBoundingClientRect();"
        " return [...s.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();"
        " return b.left < f.left - 1 || b.right > f.right + 1 || b.top < f.top - 1 || b.bottom > f.bottom + 1; })"
        " .map(t => t.textContent); });"
    )
    assert outside == []


def test_a_browser_shows_tooltips(shown):
    chrome, _page = shown(samples.comparison())
    titles = [text for *_, text in boxes(chrome, "svg .datum > title")]
    assert any(title.startswith("int8\n2 threads: median of 50 runs\n6.02 ±0.15 ms") for title in titles)


@pytest.mark.parametrize("result", ["plain", "hostile"])
def test_a_browser_finds_no_errors_and_asks_for_nothing(shown, result):
    chrome, page = shown(samples.comparison() if result == "plain" else hostile_comparison())
    assert chrome.console() == []
    assert chrome.requests() == [page.as_uri()]
    assert chrome.evaluate("return document.scripts.length + document.images.length") == 0


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_the_page_never_scrolls_sideways(shown, width):
    chrome, _page = shown(hostile_comparison(), width=width)
    assert chrome.evaluate("return document.documentElement.scrollWidth") <= width


CONTRAST = """
const rgb = (c) => c.match(/[0-9.]+/g).slice(0, 3).map(Number);
const light = (c) => rgb(c).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = light(getComputedStyle(document.querySelector('.card')).backgroundColor);
return ['.soft', '.kicker', 'td.best', '.good', '.warn', 'td.failure', 'h1', 'figcaption p'].map(s => {
  const ink = light(getComputedStyle(document.querySelector(s)).color);
  return [s, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
});
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(shown, scheme):
    chrome, _page = shown(samples.comparison(), scheme=scheme)
    too_faint = [(selector, ratio) for selector, ratio in chrome.evaluate(CONTRAST) if ratio < 4.5]
    assert too_faint == []


def test_a_scheme_has_one_colour_and_each_format_a_tone():
    result = samples.formats()
    outline = Outline(html.page(result))
    classes = [value.split() for name, value in outline.attributes if name == "class" and value and "hue-" in value]
    found = {tuple(word for word in words if word.startswith(("hue-", "tone-"))) for words in classes}
    schemes = ("hue-float32", "hue-dynamic_range", "hue-full_int8")
    assert found == {("hue-source",), *((hue, *tone) for hue in schemes for tone in ((), ("tone-1",), ("tone-2",)))}
    assert "needs macOS" in " ".join(outline.text)


def test_long_labels_have_room():
    groups = [bars.Group(label, "hue-int8", (bars.Bar(1.0, "1 B", ()),)) for label in ("a", "dynamic_range tensorrt")]
    drawn = str(bars.chart("sizes", groups))
    (left,) = {float(x) for x in re.findall(r'class="axis" x1="([\d.]+)"', drawn)}
    assert left >= svg.text_width("dynamic_range tensorrt", bars.FONT) + 8
