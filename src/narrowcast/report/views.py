"""From results to blocks: one function for each command's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from narrowcast.evaluation.results import (
    Benchmark,
    Comparison,
    Inspection,
    Parity,
    Prediction,
    Row,
    TensorFacts,
    WrittenFile,
)
from narrowcast.report import columns, networks
from narrowcast.report.blocks import Block, Cell, Column, Facts, Note, Table, Tone
from narrowcast.report.networks import shape
from narrowcast.report.text import DASH, byte_size, decibels, duration, percent, plural, printable

if TYPE_CHECKING:
    from narrowcast.editing.parameters import Extraction
    from narrowcast.editing.reduction import Reduction

__all__ = ["benchmark", "comparison", "inspection", "loss", "prediction", "translation", "verification", "written"]

STAR = "★"
BAR_WIDTH = 24
MOST_PARTS = 3
"""Lost parts of an output that are named."""
LISTS: Mapping[str, Callable[..., Iterator[Block]]] = {"tree": networks.tree, "table": networks.table}
"""How operators are listed."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def comparison(result: Comparison) -> tuple[Block, ...]:
    """The table, source first; the recommendation; what failed or deserves a warning."""
    source, files = result.rows[0], result.rows[1:]
    measures = columns.comparison(result)
    context = columns.Context(source, result.max_drop)
    heads = [_head(row, source, result.recommended) for row in result.rows]
    title = f"{printable(result.source.name)} on {printable(result.data)}"
    table = _measured(title, result.rows, files, heads, measures, context, ruled_after=1)
    if result.recommended is None:
        verdict = Note(printable(result.reason), "no recommendation", "warn")
    else:
        chosen = next(row for row in files if row.name == result.recommended)
        verdict = Note(f"{printable(chosen.path.name)}: {printable(result.reason)}", f"{STAR} recommended", "good")
    notes = [Note(printable(note), "note", "muted") for note in result.notes]
    proofs = [row.written.parity for row in files if row.written is not None and row.written.parity is not None]
    beside = "; ".join(sorted({f"compared with {parity.reference}" for parity in proofs})) or "not verified"
    context_line = f"{result.machine}; calibrated on {result.calibration}; {beside}; {duration(result.seconds)}"
    return (table, verdict, *_remarks(files), *notes, Note(printable(context_line), "", "muted"))


def benchmark(result: Benchmark) -> tuple[Block, ...]:
    """One line a file, in the order given."""
    heads = [Cell(printable(row.path.name)) for row in result.rows]
    context = columns.Context(None, 0.0)
    measures = columns.benchmark(result.rows)
    table = _measured("Latency", result.rows, result.rows, heads, measures, context, ruled_after=0)
    return (table, *_remarks(result.rows), Note(printable(result.machine), "", "muted"))


def written(file: WrittenFile, *, operators: int | None = None) -> tuple[Block, ...]:
    """The panel of a written file: what it is and how it was proven."""
    size = byte_size(file.bytes)
    pairs = [
        ("scheme", Cell(file.scheme)),
        ("size", Cell(size if operators is None else f"{size}, {plural(operators, 'operator')}")),
        *verification(file),
    ]
    notes = [Note(printable(note), "note", "muted") for note in file.notes]
    return (Facts(printable(file.path), tuple(pairs)), *notes)


def verification(file: WrittenFile) -> tuple[tuple[str, Cell], ...]:
    """The proof of a written file: both legs, what was run, and what the file cannot do without."""
    parity = file.parity
    if parity is None:
        return (("verified", Cell(f"no: {printable(file.unverified_because) or 'not asked for'}", "warn")),)
    unrun = [("verified", Cell(f"read back only: {printable(file.unverified_because)}", "warn"))]
    kind = "random sample" if parity.random_samples else "sample"
    against = f"{printable(parity.runtime)} beside {printable(parity.reference)}, {plural(parity.samples, kind)}"
    needs = [("needs", Cell(f"more than its runtime's own kernels: {printable(parity.needs)}", "warn"))]
    return (
        *(unrun if file.unverified_because else ()),
        ("translation", translation(parity)),
        ("source", loss(parity)),
        *(needs if parity.needs else ()),
        ("", Cell(against, "muted")),
    )


def translation(parity: Parity) -> Cell:
    """Whether a file computes what its graph says."""
    figure = decibels(min(leg.sqnr_db for leg in parity.translations))
    least = parity.translation.required_db
    if parity.translated and least is not None and min(leg.sqnr_db for leg in parity.translations) < least:
        return Cell(f"right but for roundings, which leave {figure} at the end beside its own graph", "good")
    if parity.translated:
        return Cell(f"{figure} beside its own graph", "good")
    layers = [f"{printable(layer.name)} is wrong" for layer in parity.wrong_layers[:1]]
    return Cell(", ".join([f"FAILED: {figure} beside its own graph", *layers]), "bad")


def loss(parity: Parity) -> Cell:
    """What is left of the source, what is lost of it, and where most."""
    kept = parity.quantization
    figures = f"{decibels(kept.sqnr_db)}, largest error {kept.max_abs_error:.2g}"
    if parity.identical:
        return Cell("the same, bit by bit", "good")
    if kept.agreement is not None:
        figures += f", same first class {percent(kept.agreement)}"
    if parity.reading is not None and not parity.read:
        read = f"{decibels(parity.reading.sqnr_db)} before it was quantised"
        return Cell(f"FAILED: {read}; {parity.reading.required_db:g} dB are asked for", "bad")
    parts = [
        f"only {decibels(part.sqnr_db)} are left of {printable(part.name)} of {printable(output.name)}"
        for output in kept.outputs
        for part in output.parts[:MOST_PARTS]
    ]
    where = [f"most is lost at {printable(parity.weakest_layer)}"] if parity.weakest_layer else []
    if not kept.passed:
        asked = f"{kept.required_db:g} dB are asked for"
    elif not parity.kept:
        asked = f"{percent(1 - (parity.max_drop or 0))} are asked for"
    elif parity.doubtful:
        low = kept.usual_db is not None and kept.sqnr_db < kept.usual_db
        asked = f"doubtful, usually above {kept.usual_db:g} dB" if low else "doubtful"
        return Cell("; ".join([figures, asked, *parts, *where]), "warn")
    else:
        return Cell(figures, "good")
    return Cell("; ".join([f"FAILED: {figures}", asked, *parts, *where]), "bad")


def inspection(result: Inspection, operators: str | None = "tree", *, attributes: bool = False) -> tuple[Block, ...]:
    """Facts, ports, the histogram of operators, and the operators themselves where the result has them.

    Args:
        result: what a file holds.
        operators: "tree" or "table"; None for their counts only.
        attributes: whether operators are told with their attributes.
    """
    producer = f", written by {printable(result.producer)}" if result.producer else ""
    constants = ", ".join(f"{byte_size(count)} {printable(name)}" for name, count in result.parameter_types)
    counted = result.operators
    undelegated = f", {counted.undelegated:,} un-delegated" if counted.undelegated is not None else ""
    facts = Facts(
        printable(result.path),
        (
            ("format", Cell(f"{result.format}{producer}")),
            ("size", Cell(byte_size(result.bytes))),
            ("quantisation", Cell(printable(result.quantization))),
            ("parameters", Cell(f"{result.parameters:,}" + (f" ({constants})" if constants else ""))),
            ("operators", Cell(f"{counted.total:,}, {plural(counted.transposes, 'transpose')}{undelegated}")),
        ),
    )
    if result.members:
        return (facts, _members(result))
    most = max((count for _, count in counted.by_type), default=0)
    histogram = Table(
        "operators",
        (Column("type", "left"), Column("count"), Column("", "left")),
        tuple((Cell(printable(name)), Cell(f"{n:,}"), Cell(bar(n / most), "muted")) for name, n in counted.by_type),
    )
    refusals = [
        Note(f"{printable(item.reason)} ({', '.join(map(printable, item.nodes))})", printable(item.rule), "warn")
        for item in result.refusals
    ]
    notes = [Note(printable(note), "note", "muted") for note in result.notes]
    ports = (_ports("inputs", result.inputs), _ports("outputs", result.outputs))
    listed: Iterable[Block] = ()
    if result.network is not None and operators is not None:
        listed = LISTS[operators](result.network, attributes=attributes)
    return (facts, *ports, histogram, *listed, *_lacking(result), *refusals, *notes)


def extraction(result: Extraction) -> tuple[Block, ...]:
    """The weights in a folder: what each is, and which file holds it."""
    heads = [Column(title, "left") for title in ("file", "role", "of", "shape", "type")]
    rows = (
        (
            Cell(printable(item.file)),
            Cell(printable(item.role)),
            Cell(printable(item.node), "muted"),
            Cell(shape(item.shape)),
            Cell(item.dtype),
        )
        for item in result.parameters
    )
    size = f"{plural(len(result.parameters), 'array')}, {byte_size(result.bytes)}, and index.json"
    return (Facts(printable(result.path), (("weights", Cell(size)),)), Table("", tuple(heads), tuple(rows)))


def reduction(result: Reduction) -> tuple[Block, ...]:
    """What is left of a network, and how a command fails on it."""
    operators = ", ".join(f"{count} {printable(name)}" for name, count in result.operators)
    tone: Tone = "good" if result.is_minimal else "warn"
    smallest = "no node can be taken out" if result.is_minimal else "perhaps not the smallest: the runs were used up"
    weights = "random, names are numbers" if result.random_weights else "the network's own"
    ports = [
        (kind, Cell(", ".join(f"{printable(name)} {shape(dims)}" for name, dims in found)))
        for kind, found in (("inputs", result.inputs), ("outputs", result.outputs))
    ]
    facts = (
        ("nodes", Cell(f"{result.nodes:,} of {result.source_nodes:,}; {smallest}", tone)),
        ("operators", Cell(operators)),
        *ports,
        ("fails by", Cell(f"{result.outcome}, after {plural(result.runs, 'run')}")),
        ("weights", Cell(weights)),
        ("size", Cell(byte_size(result.bytes))),
    )
    return (Facts(printable(result.path), facts),)


def _members(result: Inspection) -> Table:
    """The models of a bundle, by their names in it."""
    rows = [
        (
            Cell(printable(member.path.relative_to(result.path).as_posix())),
            Cell(byte_size(member.bytes)),
            Cell(printable(member.quantization)),
            Cell(f"{member.operators.total:,}"),
            *(Cell(", ".join(shape(port.shape) for port in ports)) for ports in (member.inputs, member.outputs)),
        )
        for member in result.members
    ]
    left = Column("name", "left"), Column("size"), Column("quantisation", "left"), Column("operators")
    return Table("models", (*left, Column("inputs", "left"), Column("outputs", "left")), tuple(rows))


def _lacking(result: Inspection) -> Iterator[Block]:
    """What a target cannot run as it is, where one was asked about."""
    if not result.target:
        return
    if not result.lacking:
        yield Note(f"{result.target} runs every operator as it is", "", "good")
        return
    heads = (Column("node", "left"), Column("operator", "left"), Column(result.target, "left"), Column("", "left"))
    rows = (
        (
            Cell(printable(item.node)),
            Cell(printable(item.operator)),
            Cell(printable(item.why)),
            Cell("is replaced", "good") if item.replaced else Cell("is refused", "warn"),
        )
        for item in result.lacking
    )
    yield Table(f"what {result.target} lacks", heads, tuple(rows))


def prediction(result: Prediction) -> tuple[Block, ...]:
    """The best classes with a bar each; bars are drawn for probabilities only."""
    probable = all(0.0 <= guess.score <= 1.0 for guess in result.guesses)
    rows = tuple(
        (
            Cell(printable(guess.label) or f"class {guess.index}", "best" if rank == 0 else ""),
            Cell(str(guess.index), "muted"),
            Cell(percent(guess.score) if probable else f"{guess.score:.4g}"),
            Cell(bar(guess.score) if probable else "", "good" if rank == 0 else "muted"),
        )
        for rank, guess in enumerate(result.guesses)
    )
    heads = (Column("class", "left"), Column("index"), Column("score"), Column("", "left"))
    where = f"{result.runtime}, {duration(result.seconds)}; input {result.preprocessing}"
    return (Table(printable(result.image.name), heads, rows), Note(printable(where), "", "muted"))


def bar(fraction: float, width: int = BAR_WIDTH) -> str:
    """A horizontal bar of block characters, in eighths of a character."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _head(row: Row, source: Row, recommended: str | None) -> Cell:
    if row is source:
        return Cell("source", "title")
    return Cell(f"{row.name} {STAR}", "good") if row.name == recommended else Cell(row.name)


def _measured(
    title: str,
    rows: Sequence[Row],
    contenders: Sequence[Row],
    heads: Sequence[Cell],
    measures: Sequence[columns.Measure],
    context: columns.Context,
    ruled_after: int,
) -> Table:
    """A table of measures, the best of each column marked among the contenders that did not fail."""
    standing = [row for row in contenders if not row.failure]
    best = [columns.best_value(measure, standing) for measure in measures]

    def cells(row: Row) -> Iterable[Cell]:
        for measure, value in zip(measures, best, strict=True):
            cell = Cell(DASH, "muted") if row.failure else measure.cell(row, context)
            yield Cell(cell.text, "best") if columns.is_best(measure, row, standing, value) else cell

    body = tuple(
        (Cell(f"{head.text} failed", "bad") if row.failure else head, *cells(row))
        for row, head in zip(rows, heads, strict=True)
    )
    return Table(title, (Column("", "left"), *(Column(measure.title) for measure in measures)), body, ruled_after)


def _remarks(rows: Iterable[Row]) -> Iterable[Note]:
    """What failed and what is doubtful."""
    for row in rows:
        if row.failure:
            yield Note(printable(row.failure), f"{row.name} failed", "bad")
        elif row.written is not None and row.written.parity is not None:
            parity = row.written.parity
            for cell in (translation(parity), loss(parity)):
                if cell.tone in ("bad", "warn"):
                    yield Note(cell.text, row.name, "warn")


def _ports(title: str, ports: Sequence[TensorFacts]) -> Table:
    rows = tuple(
        (
            Cell(printable(port.name)),
            Cell(shape(port.shape)),
            Cell(port.dtype),
            Cell("" if port.scale is None else f"scale {port.scale:.6g}, zero point {port.zero_point}", "muted"),
        )
        for port in ports
    )
    heads = (Column("name", "left"), Column("shape", "left"), Column("dtype", "left"), Column("", "left"))
    return Table(title, heads, rows)
