"""Where a quantised network loses, as one self-contained page: no script, no font, no image, no request leaves it."""

from __future__ import annotations

from collections.abc import Iterable

from narrowcast.evaluation.diagnosis.records import BlockLoss, Diagnosis, TensorLoss
from narrowcast.report import curve
from narrowcast.report.html import document
from narrowcast.report.losses import WORST, decibel_text, ratio_cell
from narrowcast.report.svg import Markup, element, figure
from narrowcast.report.text import amount, percent, plural

__all__ = ["page"]

SHOWN = 2
"""Histograms of a block: of the tensors that lose most by their own rounding."""


def page(result: Diagnosis) -> str:
    """The whole HTML document."""
    title = f"{result.first}: where {result.scheme} loses"
    head = element(
        "header",
        element("h1", f"{result.first} beside {result.second}"),
        element("p", f"{result.scheme}, compared block by block on {plural(result.samples, 'sample')}: {result.data}"),
    )
    return document(title, head, element("main", *_sections(result)), _footer(), styles=("losses.css",))


def _sections(result: Diagnosis) -> Iterable[Markup]:
    yield _verdict(result)
    if result.blocks:
        yield element("h2", "Along the network")
        legend = [_key("signal to noise", "line"), _key("of the block's own error alone", "line own")]
        legend += [_key(told, f"part {name}") for name, told in curve.PARTS.items()]
        told = "higher is better; below, what the noise of each block is made of"
        drawing = curve.along(result.blocks, result.worst[:WORST])
        yield element("div", figure("Signal to noise, block by block", told, drawing, legend), class_="along")
    if result.worst:
        yield element("h2", "Where the noise arises")
        for rank, at in enumerate(result.worst[:WORST], start=1):
            yield _card(rank, result.blocks[at])
        yield element("h2", "All blocks")
        yield element("details", element("summary", plural(len(result.blocks), "block")), _table(result), class_="card")
    notes = list(result.notes)
    if result.unmatched:
        notes.append(f"without a counterpart in the second network: {', '.join(result.unmatched[:20])}")
    if notes:
        yield element("h2", "Notes")
        yield element("div", element("ul", *(element("li", note) for note in notes)), class_="card")


def _verdict(result: Diagnosis) -> Markup:
    outputs = [
        _figure_of(f"ratio at {output.name}", ratio_cell(output.sqnr_db).text, ratio_cell(output.sqnr_db).tone)
        for output in result.outputs
    ]
    outputs += [
        _figure_of(f"{score.metric}, {which}", amount(score.value, score.unit), "")
        for which, score in zip(("float", "quantised"), result.scores, strict=False)
    ]
    if not result.worst:
        kicker = element("div", "No block loses anything", class_="kicker")
        return element("section", kicker, element("dl", *outputs, class_="figures"), class_="card verdict")
    block = result.blocks[result.worst[0]]
    return element(
        "section",
        element("div", "Most of the noise arises in", class_="kicker"),
        element("div", block.name, class_="file"),
        *(element("p", sentence, class_="soft") for sentence in [_because(block)] if sentence),
        element("dl", _figure_of("of the outputs' noise", percent(block.share), ""), *outputs, class_="figures"),
        class_="card verdict",
    )


def _because(block: BlockLoss) -> str:
    return f"{block.kind}: {block.causes[0].why}" if block.causes else block.kind


def _figure_of(name: str, value: str, tone: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, class_=tone or None))


def _key(name: str, kind: str) -> Markup:
    return element("span", element("span", class_=f"swatch {kind}"), name, class_="key")


def _card(rank: int, block: BlockLoss) -> Markup:
    """One of the worst: its figures, its causes, and its tensors before and after."""
    head = element(
        "div",
        element("span", str(rank), class_="rank"),
        element("div", element("h3", block.name), element("p", block.kind, class_="soft")),
        element("div", element("b", percent(block.share)), element("small", "of the noise"), class_="share"),
        class_="head",
    )
    ratios = {
        "ratio": block.sqnr_db,
        "weights": block.weights_db,
        "rounding": block.rounding_db,
        "from above": block.above_db,
        **({"only it quantised": block.only_db} if block.only_db is not None else {}),
        **({"all but it": block.without_db} if block.without_db is not None else {}),
    }
    figures = element("dl", *(_figure_of(name, *_shown(ratio)) for name, ratio in ratios.items()), class_="ratios")
    causes = element(
        "ol",
        *(
            element("li", element("p", cause.why), element("p", "try ", element("code", cause.action)))
            for cause in block.causes
        ),
        class_="causes",
    )
    left = element("div", curve.split(block), figures, causes, class_="told")
    return element("section", head, element("div", left, *_histograms(block), class_="body"), class_="card block")


def _shown(ratio: float | None) -> tuple[str, str]:
    cell = ratio_cell(ratio)
    return cell.text, cell.tone


def _histograms(block: BlockLoss) -> Iterable[Markup]:
    drawn = [tensor for tensor in block.tensors if tensor.histogram is not None]
    ranked = sorted(drawn, key=lambda tensor: tensor.rounding_db if tensor.rounding_db is not None else 1e3)
    for tensor in [tensor for tensor in drawn if tensor in ranked[:SHOWN]]:
        assert tensor.histogram is not None
        keys = [_key("float", "before"), _key("quantised", "after"), _key("range of the integers", "ground")]
        yield figure(tensor.name, _stored(tensor), curve.histogram(tensor.name, tensor.histogram), keys)


def _stored(tensor: TensorLoss) -> str:
    seen = "" if tensor.low is None or tensor.high is None else f", values {tensor.low:.3g}..{tensor.high:.3g}"
    return f"{tensor.dtype}, step {tensor.scale:.3g}{seen}, rounding alone {decibel_text(tensor.rounding_db)} dB"


def _table(result: Diagnosis) -> Markup:
    titles = ("operators", "of the noise", "ratio, dB", "weights", "rounding", "from above", "stored")
    heads = element("tr", element("th", "block", scope="col"), *(element("th", title, scope="col") for title in titles))
    rows = [
        element(
            "tr",
            element("th", block.name, scope="row"),
            element("td", block.kind, class_="muted"),
            element("td", percent(block.share)),
            *(
                element("td", decibel_text(ratio), class_=ratio_cell(ratio).tone or None)
                for ratio in (block.sqnr_db, block.weights_db, block.rounding_db, block.above_db)
            ),
            element("td", block.tensors[0].dtype if block.tensors else "", class_="muted"),
        )
        for block in result.blocks
    ]
    return element("div", element("table", element("thead", heads), element("tbody", *rows)), class_="wide")


def _footer() -> Markup:
    return element(
        "footer",
        "Ratios are signal to noise in dB, beside the float network. What a block loses falls into what its weights "
        "lose and what its roundings do, both from float inputs, and what came from above. Its share of the outputs' "
        "noise is told backwards from the outputs. Counts of histograms are logarithmic. Written by narrowcast.",
    )
