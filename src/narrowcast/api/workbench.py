"""Where the trials of one source are carried out: each becomes a file, and what several need is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from narrowcast import quantization, runtimes, targets
from narrowcast.api.choosing import CANDIDATES, Watched, choose, mended, ranges_of, watched
from narrowcast.api.options import Progress
from narrowcast.api.proof import Proof, write
from narrowcast.errors import NarrowcastError, OutputError, UsageError, VerificationError
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.latency import File
from narrowcast.evaluation.results import WrittenFile
from narrowcast.evaluation.trials import Trial, unusual
from narrowcast.model import Feeds, Model
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import Overrides, Ranges
from narrowcast.quantization.repairs import Evidence, repair_named, repaired
from narrowcast.targets.rules import Target
from narrowcast.writers import formats as destinations

__all__ = ["Attempt", "Step", "Workbench"]

Step = Callable[[Model, Evidence], Model]
"""From a quantised model, and what it was made from, to a better one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A trial's file with its ports, or why there is none.

    Attributes:
        trial: what was tried.
        name: tells the attempts of one comparison apart.
        path: where the file is to be.
        file: the file, which lies elsewhere where it failed its verification.
        ports: what its writer said of it, where it stands.
        error: why it does not.
    """

    trial: Trial
    name: str
    path: Path
    file: WrittenFile | None = None
    ports: destinations.Written | None = None
    error: NarrowcastError | None = None

    @property
    def runnable(self) -> File | None:
        """The file with its runtime; None where it does not stand, or nothing here runs it."""
        if self.ports is None or isinstance(runtimes.find(self.ports.runtime), runtimes.NoRuntime):
            return None
        return File(self.path, self.ports.runtime)


class Workbench:
    """Makes files of one model; a graph is adapted once for a target, and calibrated once for an observer."""

    def __init__(
        self,
        model: Model,
        samples: Callable[[int, int], DataSet],
        progress: Progress,
        *,
        recorded: bool = False,
        given: bool = True,
        keep: int = 0,
        then: Step | None = None,
    ) -> None:
        """Takes a model and its samples.

        Args:
            model: float, canonical, from `load`; it is not changed.
            samples: opens so many samples, chosen by a seed, when the first scheme asks for ranges.
            progress: is told how far the work has come.
            recorded: whether ranges are those that the model's file said, and no samples are asked for.
            given: whether there are samples for schemes that can do without.
            keep: how many quantised graphs to keep, so that one that was measured is written without being made again.
            then: what becomes of each quantised graph after its repairs.
        """
        self.model, self.samples, self.progress, self.recorded = model, samples, progress, recorded
        self.given, self.then = given, then
        self._keep, self._kept = keep, dict[str, Model]()
        self._adapted: dict[tuple[object, ...], Model] = {}
        self._opened: dict[tuple[int, int], DataSet] = {}
        self._watched: dict[tuple[object, ...], Watched] = {}
        self._chosen: dict[tuple[object, ...], str] = {}

    def make(self, trial: Trial, name: str, path: Path, proof: Proof | None) -> Attempt:
        """Carries a trial out; an error of ours is caught and kept, unless nothing can be written there at all."""
        settings = trial.settings
        try:
            quantized = self.quantized(trial)
            self.progress(f"writing {name}", 0, None)
            row, options = (
                destinations.named(trial.target),
                destinations.WriteOptions(settings.opset, settings.inline_limit),
            )
            file, ports = write(quantized, path, row, settings.io_layout, proof, options)
        except VerificationError as error:
            return Attempt(trial, name, path, error.written, error=error)
        except OutputError:
            raise
        except NarrowcastError as error:
            return Attempt(trial, name, path, error=error)
        return Attempt(trial, name, path, file, ports)

    def quantized(self, trial: Trial) -> Model:
        """The model in a trial's scheme, for its target; it is not to be changed.

        Raises:
            UsageError: the scheme or an option is unknown, or the target lacks it.
            DataError: the samples do not fit the model.
        """
        made = (
            self._at_hand(f"{trial.to_json()}, mended", lambda: self._mended(trial))
            if self._mends(trial)
            else self._made(trial)
        )
        if self.then is None:
            return made
        last = self.then(made, self._evidence(self._floats(trial), self._form(trial)[1], trial))
        return replace(last, source=self.model, variants={}, provenance=made.provenance)

    def _made(self, trial: Trial) -> Model:
        """A trial's graph with its repairs, kept or made."""
        return self._at_hand(trial.to_json(), lambda: self._quantized(trial))

    def _mends(self, trial: Trial) -> bool:
        """Whether the outputs of samples held back decide on repairs, as nobody asked for any."""
        settings, (_, target, _) = trial.settings, self._form(trial)
        storage = target.storage[quantization.scheme_named(trial.scheme).name]
        asked = settings.repairs or settings.observer != "auto" or settings.global_scale is not None or self.recorded
        return not asked and not storage.powers and storage.activations in ("int8", "uint8")

    def _mended(self, trial: Trial) -> Model:
        made, floats = self._made(trial), self._floats(trial)
        _, target, form = self._form(trial)
        seen, _ = self._seen(form, floats, target, trial)
        told = self._counting("correcting biases")
        return mended(seen, made, replace(self._evidence(floats, target, trial), progress=told))

    def _counting(self, stage: str) -> Callable[[int], None]:
        """Tells how many samples of a stage are done."""
        return lambda done: self.progress(stage, done, None)

    def _at_hand(self, key: str, make: Callable[[], Model]) -> Model:
        """A graph that was kept, or is made."""
        made = self._kept.pop(key, None) or make()
        self._kept[key] = made  # the last one is the newest
        while len(self._kept) > self._keep:
            del self._kept[next(iter(self._kept))]
        return made

    def _quantized(self, trial: Trial) -> Model:
        settings, scheme = trial.settings, quantization.scheme_named(trial.scheme)
        before, after = _stages(settings.repairs)
        _, target, form = self._form(trial)
        adapted = self._floats(trial)
        calibrated = quantization.needs_ranges(target, scheme.name, settings.overrides)
        chosen = {**unusual(trial.overrides), **({"seed": trial.seed} if calibrated else {})}
        origin = replace(self.model.provenance, options={**self.model.provenance.options, **chosen})
        if after:  # the last one works on what the others have left, which may be at hand
            less = unusual({**trial.overrides, "repairs": [*before, *after[:-1]]})
            quantized = self._made(replace(trial, overrides=less))
            quantized = self._repaired(quantized, after[-1:], self._evidence(adapted, target, trial))
            return replace(quantized, provenance=origin)
        looked = scheme.weights == "float16" and self.given

        def stored(ranges: Ranges | None, overrides: Overrides | None = settings.overrides) -> Model:
            return quantization.quantize(
                adapted,
                scheme.name,
                target,
                ranges=ranges,
                feeds=self._samples(settings.samples, trial.seed).feeds() if looked else None,
                weights=settings.weights,
                weight_bits=settings.weight_bits,
                block_size=settings.block_size,
                io_type=settings.io_type,
                overrides=overrides,
            )

        ranges = self._calibrated((*form, *before), adapted, target, trial, stored) if calibrated else None
        self.progress(f"quantising to {scheme.name}", 0, None)
        quantized = stored(ranges)
        return replace(quantized, source=self.model, variants={}, provenance=origin)

    def adapted(self, trial: Trial) -> Model:
        """The float model as it is quantised for a trial's target; it is not to be changed.

        Raises:
            UsageError: as `quantized` raises.
        """
        return self._form(trial)[0]

    def _form(self, trial: Trial) -> tuple[Model, Target, tuple[object, ...]]:
        """The adapted model, its target, and what tells it from the models of other trials."""
        settings, scheme = trial.settings, quantization.scheme_named(trial.scheme)
        target = targets.find(destinations.named(trial.target).target, settings.opset)
        calibrated = quantization.needs_ranges(target, scheme.name, settings.overrides)
        form = (target.name, settings.opset, calibrated or target.storage[scheme.name].recurrent)
        if form not in self._adapted:
            made = self._adapted[form] = replace(self.model.clone(), scheme=scheme.name)
            adapt(made, target, keep_recurrent=calibrated)
        return self._adapted[form], target, form

    def _floats(self, trial: Trial) -> Model:
        """The adapted model after the repairs of its floats, which are made once."""
        adapted, target, form = self._form(trial)
        before, _ = _stages(trial.settings.repairs)
        key = (*form, before, trial.settings.samples, trial.seed)
        if before and key not in self._adapted:
            self._adapted[key] = self._repaired(adapted, before, self._evidence(adapted, target, trial))
        return self._adapted[key] if before else adapted

    def _evidence(self, floats: Model, target: Target, trial: Trial) -> Evidence:
        def samples(most: int) -> Feeds:
            return islice(self._samples(trial.settings.samples, trial.seed).feeds(), most)

        return Evidence(floats, target, samples, trial.seed)

    def _repaired(self, model: Model, names: Sequence[str], evidence: Evidence) -> Model:
        for name in names:
            told = replace(evidence, progress=self._counting(f"repairing by {name}"))
            model = repaired(model, name, told)
        return model

    def _samples(self, count: int, seed: int) -> DataSet:
        if (count, seed) not in self._opened:
            self._opened[count, seed] = self.samples(count, seed)
        return self._opened[count, seed]

    def _calibrated(
        self,
        form: tuple[object, ...],
        adapted: Model,
        target: Target,
        trial: Trial,
        stored: Callable[[Ranges, Overrides | None], Model],
    ) -> Ranges:
        """The ranges of an adapted graph's activations."""
        settings = trial.settings
        if settings.global_scale is not None:
            if not target.storage[quantization.scheme_named(trial.scheme).name].powers:
                raise UsageError(f"the scheme {trial.scheme} has no global scale", hint="--scheme int8_pow2")
            return quantization.everywhere(adapted, target, settings.global_scale, settings.overrides)
        if self.recorded:
            return quantization.recorded(adapted, target, trial.scheme, settings.overrides)
        auto = settings.observer == "auto"
        seen, apart = self._seen(form, adapted, target, trial)
        storage = target.storage[quantization.scheme_named(trial.scheme).name]
        if storage.activations == "int16":  # steps so fine that what is cut off is the greater loss
            return seen.all.ranges("minmax" if auto else settings.observer, 2**16)
        if not auto:
            return seen.all.ranges(settings.observer)
        choice = (*form, settings.samples, trial.seed, storage, settings.weights, settings.block_size, *apart)
        if choice not in self._chosen:
            overrides = settings.overrides if apart or storage.activations == "float32" else None
            self._chosen[choice] = choose(seen, lambda ranges: stored(ranges, overrides), self.progress)
        return ranges_of(seen, self._chosen[choice])

    def _seen(
        self, form: tuple[object, ...], adapted: Model, target: Target, trial: Trial
    ) -> tuple[Watched, tuple[object, ...]]:
        """What is remembered of the samples, and the overrides that it was gathered for alone."""
        settings = trial.settings
        auto = settings.observer == "auto"
        key, all_of_them = ((*form, name, settings.samples, trial.seed) for name in (settings.observer, "auto"))
        if settings.observer in CANDIDATES and all_of_them in self._watched:
            key = all_of_them
        known = self._watched.get(key)
        apart: tuple[object, ...] = ()
        if settings.overrides and not quantization.covers(
            known.all if known else None, adapted, target, settings.overrides
        ):
            apart = tuple(settings.overrides.items())  # they ask for ranges that are not known without them
            key = (*key, *apart)
        if key not in self._watched:
            samples = self._samples(settings.samples, trial.seed)
            observers = CANDIDATES if auto else (settings.observer,)
            watch = quantization.Watch(adapted, target, overrides=settings.overrides, observers=observers)
            self._watched[key] = watched(adapted, watch, samples, trial.seed, self.progress, judged=auto)
        return self._watched[key], apart


def _stages(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of repairs of floats, and those of repairs of integers.

    Raises:
        UsageError: there is no such repair.
    """
    repairs = [repair_named(name) for name in names]
    before, after = ([row.name for row in repairs if row.stage == stage] for stage in ("floats", "integers"))
    return tuple(before), tuple(after)
