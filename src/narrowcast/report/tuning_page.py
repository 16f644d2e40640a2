"""The picture of a search: what it tried, between size, latency and accuracy. One page, without a script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from narrowcast.report import html, scatter, tuning
from narrowcast.report.svg import Markup, element, figure
from narrowcast.report.text import byte_size, duration, plural
from narrowcast.tuning.records import Figures, Tuning

__all__ = ["page"]

HUES = {"start": "hue-source", "kept": "hue-int8", "refused": "hue-other", "failed": "hue-full_int8"}


def page(result: Tuning) -> str:
    """The whole HTML document."""
    title = f"{result.written.path.name}: narrowcast tune"
    return html.document(title, _header(result), element("main", *_sections(result)), _footer(result))


def _header(result: Tuning) -> Markup:
    tried = f"{plural(len(result.tried), 'trial')} of {result.source.name}, judged by {plural(result.held, 'sample')}"
    return element("header", element("h1", result.written.path.name), element("p", tried))


def _sections(result: Tuning) -> Iterator[Markup]:
    yield _verdict(result)
    yield element("h2", "Accuracy against size and latency")
    yield element("div", *_scatters(result), class_="charts two")
    if result.finalists:
        yield element("h2", "Files, on their own runtime")
        yield _files(result)
    yield element("h2", "All that was tried")
    yield _trials(result)


def _verdict(result: Tuning) -> Markup:
    reached = "reached" if result.reached else "not reached"
    asked = f"Goal: {tuning.goal(result)}{f', {reached}' if result.goal.asked else ''}."
    return element(
        "section",
        element("div", "Chosen", class_="kicker"),
        element("div", result.chosen, class_="file"),
        element("p", f"{asked} The search ended as {result.reason}.", class_="soft"),
        class_="card verdict" if result.reached or not result.goal.asked else "card verdict none",
    )


def _scatters(result: Tuning) -> Iterator[Markup]:
    points = [
        _point(tried.label, tried.figures, tried.figures.bytes / 1e6, HUES[tried.verdict], tried.label == result.chosen)
        for tried in sorted(result.tried, key=lambda tried: tried.verdict != "refused")  # what was kept lies on top
        if tried.figures is not None
    ]
    yield _scatter("SQNR against size", points, "size of the constants, MB", result)
    timed = [
        _point(final.label, final.figures, final.latency.median_s * 1e3, "hue-int8", final.label == result.chosen)
        for final in result.finalists
        if final.latency is not None
    ]
    if timed:
        yield _scatter("SQNR against latency", timed, "latency on 1 thread, ms", result)


def _point(label: str, found: Figures, x: float, hue: str, chosen: bool) -> scatter.Point:
    metric = () if found.metric is None else (f"metric {found.metric:.4g}",)
    shown = label if hue != HUES["refused"] else ""
    hints = (f"{found.mean:.1f} dB", *metric)
    return scatter.Point(x, found.mean, shown[:36], hue, hints, starred=chosen, hollow=hue == HUES["start"])


def _scatter(title: str, points: Sequence[scatter.Point], x_title: str, result: Tuning) -> Markup:
    drawing = scatter.chart(
        title, points, x_title=x_title, y_title="SQNR of the outputs, dB", floor=result.goal.min_sqnr
    )
    return figure(title, "up and to the left is better", drawing)


def _files(result: Tuning) -> Markup:
    rows = []
    for final in result.finalists:
        time = "" if final.latency is None else duration(final.latency.median_s)
        rows.append(
            _row(final.label, final.figures, (time,), final.label == result.chosen, "hue-int8", estimated=False)
        )
    return _table(("", *tuning.HEADS, "latency"), rows)


def _trials(result: Tuning) -> Markup:
    rows = []
    for tried in result.tried:
        hue, chosen = HUES[tried.verdict], tried.label == result.chosen and tried.verdict == "kept"
        if tried.figures is None:
            failure = element("td", tried.error, colspan=len(tuning.HEADS) + 2, class_="failure")
            rows.append(element("tr", element("th", tried.label, scope="row"), failure, class_=hue))
        else:
            more = (duration(tried.seconds), tried.verdict)
            rows.append(_row(tried.label, tried.figures, more, chosen, hue, estimated=True))
    return _table(("", *tuning.HEADS, "took", ""), rows)


def _row(label: str, found: Figures, more: Sequence[str], chosen: bool, hue: str, *, estimated: bool) -> Markup:
    cells = [element("td", text) for text in (*tuning.figures(found, estimated=estimated), *more)]
    head = element("th", f"{label} ★" if chosen else label, scope="row")
    return element("tr", head, *cells, class_=f"{hue} recommended" if chosen else hue)


def _table(heads: Sequence[str], rows: Sequence[Markup]) -> Markup:
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    return element("div", element("table", head, element("tbody", *rows)), class_="card wide")


def _footer(result: Tuning) -> Markup:
    size = byte_size(result.written.bytes)
    facts = f"Source {result.source}. {size}, made by {plural(result.fitted, 'sample')}. Written by narrowcast."
    return element("footer", facts)
