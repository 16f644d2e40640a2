"""`diff`: where a quantised network loses what its float one says."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast import targets
from narrowcast.api.models import dequantize, load, quantize
from narrowcast.api.options import (
    Data,
    DiffOptions,
    LoadOptions,
    Progress,
    QuantizeOptions,
    pick,
    refuse_unknown,
    silent,
)
from narrowcast.api.samples import open_samples, preprocessing_of
from narrowcast.errors import UsageError
from narrowcast.evaluation.diagnosis.diagnose import COMPARING, losses_of
from narrowcast.evaluation.diagnosis.records import Diagnosis
from narrowcast.evaluation.diagnosis.twins import scores_of
from narrowcast.evaluation.results import Score
from narrowcast.evaluation.task_metrics import metric_of
from narrowcast.model import Feeds, Model
from narrowcast.passes.canonicalize import DECOMPOSED
from narrowcast.passes.prepare import adapt
from narrowcast.schemas.transcripts import family
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import is_quantizer
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["diff"]

SECONDS = 60.0
"""For measuring single blocks, where nothing else is said."""

SAMPLES = 32
"""On how many samples the two are compared, where nothing else is said."""


def diff(
    first: str | Path | Model,
    second: str | Path | Model | None = None,
    *,
    data: Data,
    scheme: str | None = None,
    fmt: str | None = None,
    calibrate: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[DiffOptions],
) -> Diagnosis:
    """Says block by block where a quantised network loses what its float one says, why, and what to do.

    Both run side by side on ONNX Runtime, the quantised one by the scales that its file has. What a block loses falls
    into three parts: what its weights lose, what its own roundings do, and what came from above. Blocks are ranked by
    the share of the noise of the network's outputs that arises in them.

    Args:
        first: the float network: a file, or a model from `load`.
        second: the quantised one: a file, ours or another's, or a model from `quantize`; None to quantise the first.
        data: samples to compare on.
        scheme: how to quantise the first, where there is no second.
        fmt: the format whose rules that follows; TFLite if None.
        calibrate: samples to calibrate on; a part of `data` that is not compared on, where there are enough, if None.
        progress: is told how far the work has come.
        options: see `DiffOptions`.

    Raises:
        UsageError: neither a second network nor a scheme is given, or both; the two are not of one network.
        ModelFileError: a file is missing, damaged, or contradicts itself.
        UnsupportedError: one holds something that cannot be expressed.
        DataError: the data is missing, damaged, or does not fit the network.
    """
    refuse_unknown(DiffOptions, options)
    if (second is None) == (scheme is None):
        raise UsageError(
            "there is nothing to compare with" if scheme is None else "a second network, and a scheme too",
            hint="give a quantised file, or --scheme int8",
        )
    source = first if isinstance(first, Model) else load(first, progress=progress, **pick(LoadOptions, options))
    notes: list[str] = []
    if source.scheme != "float32":
        notes.append(f"the first network is {source.scheme}: it is compared as the floats that it stands for")
        source = dequantize(source)
    if scheme is not None:
        quantized = quantize(
            source,
            scheme,
            fmt=fmt or "tflite",
            data=data if calibrate is None else calibrate,
            progress=progress,
            **pick(QuantizeOptions, options),
        )
    elif isinstance(second, Model):
        quantized = second
    else:
        assert second is not None
        quantized = _opened(second, source, options, progress)
    if source.scheme == quantized.scheme:
        notes.append("neither network is quantised")
    target = _target_of(quantized)
    floats = replace(source.clone(), scheme=quantized.scheme)
    adapt(floats, target, keep_recurrent=any(map(is_quantizer, quantized.graph)))
    source = replace(source, preprocessing=preprocessing_of(options, source.preprocessing))
    samples = open_samples(data, source, options)
    count, seed = options.get("compared", SAMPLES), options.get("seed", 0)
    fresh = scheme is not None and calibrate is None
    samples = samples.last(count, seed) if fresh else samples.subset(count, seed)

    def opened(most: int | None) -> Feeds:
        return islice(samples.feeds(), most)

    total = len(samples)

    def tally(stage: str, done: int) -> None:
        progress(stage, done, total if stage == COMPARING else None)

    seconds = options.get("seconds", SECONDS) if options.get("sensitivity") else 0.0
    found = losses_of(floats, quantized, target, opened, tally, seconds)
    if found.left_out:
        notes.append(f"there was no time to measure {found.left_out} blocks by themselves: --seconds gives more")
    metric = options.get("metric")
    scores: tuple[Score, ...] = ()
    if metric is not None:
        progress("measuring by the metric", 0, None)
        scores = scores_of(source, quantized, metric_of(metric), samples)
    return Diagnosis(
        first=_named(first),
        second=_named(second) if isinstance(second, str | Path) else f"itself in {quantized.scheme}",
        scheme=quantized.scheme,
        samples=found.samples,
        data=samples.description,
        outputs=found.outputs,
        blocks=found.blocks,
        worst=found.worst,
        unmatched=found.pairing.alone,
        notes=(*notes, *samples.remarks),
        scores=scores,
    )


def _opened(path: str | Path, first: Model, options: DiffOptions, progress: Progress) -> Model:
    """The quantised network, read with the options of the first where it is a file of the same format."""
    from narrowcast.readers import formats as sources

    row = sources.find(Path(path))
    same = family(row.name) == family(first.provenance.format)
    return load(path, progress=progress, **(pick(LoadOptions, {**options, "source_format": None}) if same else {}))


def _target_of(model: Model) -> Target:
    """Whose operators a quantised network has: those of its format's runtime, where it was not quantised here."""
    made_for = model.graph.meta.get(DECOMPOSED)
    if model.source is None or made_for not in targets.NAMES:
        written = {row.name: row.target for row in destinations.FORMATS}
        made_for = written.get(family(model.provenance.format), written["tflite"])
    return targets.find(made_for)


def _named(network: str | Path | Model) -> str:
    if isinstance(network, Model):
        path = network.provenance.path
        return path.name if path is not None else "the network"
    return Path(network).name
