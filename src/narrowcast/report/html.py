"""A comparison as one self-contained page: no script, no font, no image, no request leaves it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from narrowcast.evaluation.results import Accuracy, Comparison, Row, Score
from narrowcast.report import bars, columns, scatter, views
from narrowcast.report.blocks import Cell
from narrowcast.report.svg import Markup, element, figure
from narrowcast.report.text import (
    DASH,
    amount,
    byte_size,
    duration,
    percent,
    plural,
    points,
    ratio,
    signed,
    spread,
)

__all__ = ["document", "page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The browser is told to load nothing, whatever a name inside the page may try."""

TONES = 3
"""In how many tones of its colour a scheme is drawn, one for each format."""

HUES = frozenset({"source", "float32", "float16", "dynamic_range", "int8", "full_int8", "int16x8", "int8_pow2"})


def page(result: Comparison) -> str:
    """The whole HTML document."""
    title = f"{result.source.name}: narrowcast comparison"
    return document(title, _header(result), element("main", *_sections(result)), _footer(result))


def document(title: str, *body: Markup, styles: Sequence[str] = ()) -> str:
    """A page that loads nothing, in the look of all reports.

    Args:
        title: of the window.
        body: what it shows.
        styles: further style sheets that lie beside this module.
    """
    sheets = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", *styles))
    style = Markup("".join(sheets))
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", style),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body), lang='en')}\n"


def _header(result: Comparison) -> Markup:
    files = plural(len(result.rows) - 1, "file")
    return element(
        "header",
        element("h1", result.source.name),
        element("p", f"{files}, measured on {result.data}; ", result.machine),
    )


def _sections(result: Comparison) -> Iterable[Markup]:
    yield _verdict(result)
    yield element("h2", "Size, accuracy, latency")
    yield element("div", _size_bars(result), _accuracy_bars(result), *_latency_bars(result), class_="charts three")
    scatters = [*_size_scatter(result), *_latency_scatter(result)]
    if scatters:
        yield element("div", *scatters, class_="charts two")
    yield element("h2", "All figures")
    yield _figures_table(result)
    yield element("h2", "Verification")
    yield _verification_table(result)
    yield from _operators(result.rows)
    yield from _notes(result)


def _verdict(result: Comparison) -> Markup:
    chosen = next((row for row in result.rows if row.name == result.recommended), None)
    if chosen is None:
        kicker = element("div", "No recommendation", class_="kicker")
        return element("section", kicker, element("p", result.reason), class_="card verdict none")
    kicker = element("div", "Recommended", class_="kicker")
    return element(
        "section",
        kicker,
        element("div", chosen.path.name, class_="file"),
        element("p", result.reason, class_="soft"),
        element("dl", *_headline(result.rows[0], chosen), class_="figures"),
        class_="card verdict",
    )


def _headline(source: Row, chosen: Row) -> Iterable[Markup]:
    yield _figure_of("file size", byte_size(chosen.bytes), ratio(chosen.bytes, source.bytes))
    before, after = columns.accuracy_of(source, "top1"), columns.accuracy_of(chosen, "top1")
    if before is not None and after is not None:
        yield _figure_of("top-1 accuracy", percent(after), points(after - before))
    agreement = columns.accuracy_of(chosen, "agreement")
    if agreement is not None:
        yield _figure_of("agreement with the source", percent(agreement), "")
    if chosen.score is not None:
        yield _figure_of(chosen.score.metric, amount(chosen.score.value, chosen.score.unit), "")
    if chosen.latencies:
        latency = max(chosen.latencies, key=lambda item: item.threads)
        base = columns.latency_at(source, latency.threads)
        change = "" if base is None else ratio(latency.median_s, base.median_s)
        yield _figure_of(f"latency, {plural(latency.threads, 'thread')}", duration(latency.median_s), change)
    if chosen.peak_memory_bytes is not None:
        yield _figure_of("peak memory", byte_size(chosen.peak_memory_bytes), "")


def _figure_of(name: str, value: str, change: str) -> Markup:
    small = element("small", change, class_="muted") if change and change != DASH else ""
    return element("div", element("dt", name), element("dd", value, small))


def _hue(row: Row, result: Comparison) -> str:
    """The colour of a scheme, in another tone for each format after the first."""
    scheme = row.name if row.trial is None else row.trial.scheme
    hue = f"hue-{scheme}" if scheme in HUES else "hue-other"
    formats = list(dict.fromkeys(other.trial.target for other in result.rows if other.trial is not None))
    tone = 0 if row.trial is None else formats.index(row.trial.target) % TONES
    return f"{hue} tone-{tone}" if tone else hue


def _group(row: Row, result: Comparison, drawn: Iterable[bars.Bar]) -> bars.Group:
    if row.failure:
        return bars.Group(row.name, _hue(row, result), (), absent="failed")
    return bars.Group(row.name, _hue(row, result), tuple(drawn), row.name == result.recommended)


def _size_bars(result: Comparison) -> Markup:
    source = result.rows[0]
    groups = [
        _group(
            row,
            result,
            [
                bars.Bar(
                    row.bytes,
                    byte_size(row.bytes),
                    (f"{row.bytes:,} bytes", f"{ratio(row.bytes, source.bytes)} of the source's size"),
                )
            ],
        )
        for row in result.rows
    ]
    return figure("File size", "shorter is better", bars.chart("File size of each file", groups))


def _accuracy_bars(result: Comparison) -> Markup:
    judged = result.rows[0].score
    if judged is not None:
        return _score_bars(result, judged)
    source = columns.accuracy_of(result.rows[0], "top1")
    if source is None:
        groups = [_group(row, result, _accuracy_pair(row.accuracy)) for row in result.rows[1:]]
        chart = bars.chart("Agreement of each file with the source", groups, limit=1.0)
        return figure("Agreement with the source", "longer is better", chart)
    groups = [_group(row, result, _accuracy_pair(row.accuracy)) for row in result.rows]
    chart = bars.chart("Accuracy of each file", groups, limit=1.0, mark=source - result.max_drop)
    legend = [_swatch("top-1"), _swatch("top-5", "light"), _swatch("budget", "dashed")]
    return figure("Accuracy", "longer is better", chart, legend)


def _score_bars(result: Comparison, source: Score) -> Markup:
    """A metric's bars: of shares all of the same length at most; of ratios to noise the files' alone."""
    groups = []
    for row in result.rows:
        held = row.score
        drawn = held is not None and math.isfinite(held.value)
        value = amount(held.value, held.unit) if held is not None else ""
        shown = [bars.Bar(held.value, value, (value, plural(held.samples, "sample")))] if drawn and held else []
        if row is not result.rows[0] or drawn:
            groups.append(_group(row, result, shown))
    share = source.unit == "share"
    mark = source.value - result.max_drop if share else None
    chart = bars.chart(f"{source.metric} of each file", groups, limit=1.0 if share else None, mark=mark)
    return figure(source.metric, "longer is better", chart, [_swatch("budget", "dashed")] if share else ())


def _accuracy_pair(accuracy: Accuracy | None) -> Iterable[bars.Bar]:
    if accuracy is None:
        return
    samples = plural(accuracy.samples, "sample")
    if accuracy.top1 is None:
        if accuracy.agreement is not None:
            hint = (f"same first class as the source on {percent(accuracy.agreement)}", samples)
            yield bars.Bar(accuracy.agreement, percent(accuracy.agreement), hint)
        return
    yield bars.Bar(accuracy.top1, percent(accuracy.top1), (f"top-1 {percent(accuracy.top1)}", samples))
    if accuracy.top5 is not None:
        yield bars.Bar(accuracy.top5, percent(accuracy.top5), (f"top-5 {percent(accuracy.top5)}", samples), light=True)


def _latency_bars(result: Comparison) -> Iterable[Markup]:
    threads = _threads(result)
    if not threads:
        return
    groups = [
        _group(
            row,
            result,
            [
                bars.Bar(
                    latency.median_s,
                    duration(latency.median_s),
                    (
                        f"{plural(latency.threads, 'thread')}: median of {plural(latency.runs, 'run')}",
                        spread(latency.median_s, latency.q1_s, latency.q3_s),
                    ),
                    light=latency.threads != threads[-1],
                    whisker=(latency.q1_s, latency.q3_s),
                )
                for latency in sorted(row.latencies, key=lambda latency: latency.threads)
            ],
        )
        for row in result.rows
    ]
    legend = [_swatch(plural(count, "thread"), "light" if count != threads[-1] else "") for count in threads]
    chart = bars.chart("Median latency of one inference of each file", groups)
    yield figure("Latency", "shorter is better", chart, legend if len(threads) > 1 else ())


def _swatch(name: str, kind: str = "") -> Markup:
    return element("span", element("span", class_=f"swatch {kind}".rstrip()), name, class_="key")


def _quality(row: Row) -> float | None:
    """What a scatter's vertical axis shows: the metric, else top-1, or without labels the agreement with the source.

    Shares are in percent.
    """
    if row.score is not None:
        figure = row.score.value * (100 if row.score.unit == "share" else 1)
        return figure if math.isfinite(figure) else None
    if row.accuracy is None or row.failure:
        return None
    value = row.accuracy.top1 if row.accuracy.top1 is not None else row.accuracy.agreement
    return None if value is None else value * 100


def _scatter(result: Comparison, against: str, unit: str, xs: Sequence[float | None]) -> Iterable[Markup]:
    source, judged = columns.accuracy_of(result.rows[0], "top1"), result.rows[0].score
    axis = "top-1 accuracy, %" if source is not None else "agreement with the source, %"
    quality, unit_of_y, share = "Accuracy" if source is not None else "Agreement", " %", True
    if judged is not None:
        source, share = judged.value if math.isfinite(judged.value) else None, judged.unit == "share"
        quality, unit_of_y = judged.metric, " %" if share else " dB" if judged.unit else ""
        axis = f"{judged.metric},{unit_of_y}".rstrip(",")
    shown = [
        scatter.Point(
            x,
            y,
            row.name,
            _hue(row, result),
            (f"{quality.lower()} {y:.4g}{unit_of_y}", f"{against} {x:.3g} {unit}"),
            starred=row.name == result.recommended,
            hollow=row is result.rows[0],
        )
        for row, x in zip(result.rows, xs, strict=True)
        if x is not None and (y := _quality(row)) is not None
    ]
    if len(shown) < 2:
        return
    title = f"{quality} against {against.split()[0]}"
    drawing = scatter.chart(
        title,
        shown,
        x_title=f"{against}, {unit}",
        y_title=axis,
        floor=None if source is None else (source - result.max_drop) * (100 if share else 1),
        ceiling=100.0 if share else math.inf,
    )
    yield figure(title, "up and to the left is better", drawing)


def _size_scatter(result: Comparison) -> Iterable[Markup]:
    scale, unit = (1e6, "MB") if max(row.bytes for row in result.rows) >= 1e6 else (1e3, "kB")
    return _scatter(result, "size", unit, [None if row.failure else row.bytes / scale for row in result.rows])


def _latency_scatter(result: Comparison) -> Iterable[Markup]:
    threads = _threads(result)
    if not threads:
        return ()
    latencies = [columns.latency_at(row, threads[-1]) for row in result.rows]
    values = [None if latency is None else latency.median_s * 1e3 for latency in latencies]
    return _scatter(result, f"latency on {plural(threads[-1], 'thread')}", "ms", values)


def _threads(result: Comparison) -> list[int]:
    return sorted({latency.threads for row in result.rows for latency in row.latencies})


def _figures_table(result: Comparison) -> Markup:
    measures = columns.comparison(result)
    context = columns.Context(result.rows[0], result.max_drop)
    standing = [row for row in result.rows[1:] if not row.failure]
    best = [columns.best_value(measure, standing) for measure in measures]
    heads = [element("th", measure.title, title=measure.hint or None, scope="col") for measure in measures]
    body = []
    for row in result.rows:
        head = element("th", f"{row.name} ★" if row.name == result.recommended else row.name, scope="row")
        if row.failure:
            cells = [element("td", row.failure, colspan=len(measures), class_="failure")]
        else:
            cells = [
                _cell(measure.cell(row, context), best=columns.is_best(measure, row, standing, value))
                for measure, value in zip(measures, best, strict=True)
            ]
        body.append(element("tr", head, *cells, class_=" ".join(_row_classes(row, result))))
    table = element("table", element("thead", element("tr", element("th"), *heads)), element("tbody", *body))
    return element("div", table, class_="card wide")


def _row_classes(row: Row, result: Comparison) -> Iterable[str]:
    yield _hue(row, result)
    if row is result.rows[0]:
        yield "source"
    if row.name == result.recommended:
        yield "recommended"


def _cell(cell: Cell, *, best: bool) -> Markup:
    return element("td", cell.text, class_="best" if best else cell.tone or None)


def _verification_table(result: Comparison) -> Markup:
    heads = ("", "translation", "source", "samples", "compared")
    body = []
    for row in result.rows[1:]:
        parity = row.written.parity if row.written is not None else None
        because = row.written.unverified_because if row.written is not None else "no file"
        head = element("th", row.name, scope="row")
        if parity is None:
            why = because or "not asked for"
            cells = [element("td", why, colspan=len(heads) - 1, class_="note muted")]
        else:
            beside = f"{because}; " if because else ""
            cells = [
                _cell(views.translation(parity), best=False),
                _cell(views.loss(parity), best=False),
                element("td", f"{parity.samples} random" if parity.random_samples else f"{parity.samples}"),
                element("td", f"{beside}{parity.runtime} beside {parity.reference}", class_="note muted"),
            ]
        body.append(element("tr", head, *cells, class_=_hue(row, result)))
    head_row = element("tr", *(element("th", head, scope="col") for head in heads[:-1]), _left_head(heads[-1]))
    return element("div", element("table", element("thead", head_row), element("tbody", *body)), class_="card wide")


def _left_head(title: str) -> Markup:
    return element("th", title, scope="col", class_="left")


def _operators(rows: Sequence[Row]) -> Iterable[Markup]:
    counted = [(row, row.operators) for row in rows if row.operators is not None]
    if not counted:
        return
    yield element("h2", "Operators")
    parts = []
    for row, operators in counted:
        kinds = [element("li", element("b", f"{count:,}"), name) for name, count in operators.by_type]
        summary = f"{row.name}: {plural(operators.total, 'operator')}, {plural(operators.transposes, 'transpose')}"
        if operators.undelegated is not None:
            summary += f", {operators.undelegated:,} un-delegated"
        parts.append(element("details", element("summary", summary), element("ul", *kinds, class_="kinds")))
    yield element("div", *parts, class_="card")


def _notes(result: Comparison) -> Iterable[Markup]:
    files_by_note: dict[str, list[str]] = {}
    for row in result.rows:
        own = () if row.written is None else (note for note in row.written.notes if note not in result.notes)
        for note in own:
            files_by_note.setdefault(note, []).append(row.name)
    notes = [*result.notes, *(f"{', '.join(names)}: {note}" for note, names in files_by_note.items())]
    if notes:
        yield element("h2", "Notes")
        yield element("div", element("ul", *(element("li", note) for note in notes)), class_="card")


def _footer(result: Comparison) -> Markup:
    judged = result.rows[0].score
    budget = f"Accuracy budget {points(-result.max_drop)}. "
    if judged is not None:
        finite = math.isfinite(judged.value)
        budget = f"{judged.metric} budget {signed(-result.max_drop, judged.unit)}. " if finite else ""
    facts = (
        f"Source {result.source}. Calibrated on {result.calibration}. {budget}"
        f"Measured in {duration(result.seconds)} on {result.machine}. Written by narrowcast."
    )
    return element("footer", facts)
