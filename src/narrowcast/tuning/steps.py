"""What a search tries, a row for each kind of step: from the trial that is held to others that may be better.

The order is that of worth and price: what makes no file slower comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from typing import Any

from narrowcast.evaluation.trials import REPAIRS, Trial, unusual
from narrowcast.tuning.records import Figures
from narrowcast.tuning.regions import Block

__all__ = ["STEPS", "Candidate", "Scene", "Step"]

OBSERVED = ("minmax", "activation", "percentile", "mse")
"""Observers that are tried. A moving average may win a little on most samples, but cuts the peaks of few, by which a
detector detects; entropy asks for ranges that suit a histogram, not the output."""

PARTS = 8
"""Regions that a graph is cut into before the best of them is cut further."""

SOURCE = 0.1
"""The share of the noise from which on a block is looked at by itself."""
LONGEST, STEP = 4, 0.3
"""Blocks that leave 8 bits with it at most, and dB that each must gain."""

WORTH = 0.7
"""The share of a region's gain by which half of it stands for all of it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial, and what is new in it."""

    label: str
    trial: Trial


@dataclass(frozen=True, slots=True)
class Scene:
    """What a step may look at.

    Attributes:
        start: the trial that the search began with.
        held: the trial that is held.
        known: the figures of a trial that was tried before.
        look: a quick look at a trial: dB on a few samples, without repairs; None where it fails.
        noise: shares of the outputs' noise in 0..1, by the node whose block makes it; empty where none is known.
        blocks: of the network, in order.
        most_floats: the share of multiply-accumulates that may leave 8-bit integers.
        wide: the scheme of what does.
    """

    start: Trial
    held: Trial
    known: Callable[[Trial], Figures | None]
    look: Callable[[Trial], float | None]
    noise: Callable[[Trial], Mapping[str, float]]
    blocks: Sequence[Block]
    most_floats: float
    wide: str


@dataclass(frozen=True, slots=True)
class Step:
    """A kind of step.

    Attributes:
        name: in a word.
        gain: dB below which it is not worth what it costs.
        candidates: from the scene to what to try.
        eager: whether the first that is better is taken, not the best of all.
    """

    name: str
    gain: float
    candidates: Callable[[Scene], Iterable[Candidate]]
    eager: bool = False


def changed(trial: Trial, **overrides: Any) -> Trial:
    """A trial with other settings; those at their defaults are left out, so that equal trials are equal."""
    return replace(trial, overrides=unusual({**trial.overrides, **overrides}))


def _observers(scene: Scene) -> Iterator[Candidate]:
    """Another way to choose ranges; once there is more to a trial, those alone that a quick look likes better."""
    settings = scene.held.settings
    before = scene.look(scene.held) if settings.repairs or settings.overrides else None
    for name in OBSERVED:
        trial = changed(scene.held, observer=name)
        if name != settings.observer and (before is None or (scene.look(trial) or before) > before):
            yield Candidate(f"observer {name}", trial)


def _repairs(scene: Scene) -> Iterator[Candidate]:
    """One more repair, in the order of their table; or one less, where another has made it superfluous."""
    held = set(scene.held.settings.repairs)
    for name in REPAIRS:
        if (name in held and len(held) == 1) or _idle(name, scene):
            continue
        chosen = [other for other in REPAIRS if (other in held) != (other == name)]
        yield Candidate(f"{'without' if name in held else 'repair'} {name}", changed(scene.held, repairs=chosen))


def _idle(name: str, scene: Scene) -> bool:
    """Whether a repair is known to find nothing to do in this network."""
    plain = changed(scene.start, observer=scene.held.settings.observer)
    before = scene.known(plain)
    after = scene.known(changed(plain, repairs=[*plain.settings.repairs, name]))
    return before is not None and after is not None and before.decibels == after.decibels


def _sources(scene: Scene) -> Iterator[Candidate]:
    """Where most of the outputs' noise arises, in a wider type, with as many of the blocks behind as gain by it.

    A block alone gains little: what it computes is still stored in 8 bits for the next one.
    """
    held = {**scene.held.settings.overrides}
    noise, before = scene.noise(scene.held), scene.look(scene.held)
    free = [at for at, block in enumerate(scene.blocks) if not set(map(escape, block.nodes)) <= held.keys()]
    made = {at: sum(noise.get(name, 0.0) for name in scene.blocks[at].nodes) for at in free}
    worst = max(free, key=made.__getitem__, default=None)
    if before is None or worst is None or made[worst] < SOURCE:
        return
    total = sum(block.products for block in scene.blocks) or 1
    room = scene.most_floats - sum(block.products for at, block in enumerate(scene.blocks) if at not in free) / total
    best, chosen = before, 0
    for length in range(1, LONGEST + 1):
        region = scene.blocks[worst : worst + length]
        if len(region) < length or sum(block.products for block in region) / total > room:
            break
        found = scene.look(_widened(scene, region, held))
        if found is not None and found > best + STEP * (length - chosen):
            best, chosen = found, length
    if chosen:
        region = scene.blocks[worst : worst + chosen]
        yield Candidate(f"{scene.wide}: {_named(region)}", _widened(scene, region, held))


def _regions(scene: Scene) -> Iterator[Candidate]:
    """The region of the graph that gains most in a wider type, as small as it can be.

    Regions are neighbours, so that what one layer writes and the next reads stays in the wider type between them. Their
    gains are measured anew after each choice.
    """
    held = {**scene.held.settings.overrides}
    free = [block for block in scene.blocks if not set(map(escape, block.nodes)) <= held.keys()]
    total = sum(block.products for block in scene.blocks) or 1
    room = scene.most_floats - sum(block.products for block in scene.blocks if block not in free) / total
    before = scene.look(scene.held)
    if before is None or not free:
        return

    def gain(region: Sequence[Block]) -> float:
        found = scene.look(_widened(scene, region, held))
        return 0.0 if found is None else found - before

    def fits(region: Sequence[Block]) -> bool:
        return sum(block.products for block in region) / total <= room

    size = -(-len(free) // PARTS)
    regions = [free[start : start + size] for start in range(0, len(free), size)]
    ranked = sorted(((gain(region), index) for index, region in enumerate(regions)), reverse=True)
    for most, index in ranked[:2]:
        region, gained = regions[index], most
        while len(region) > 1:
            middle = -(-len(region) // 2)
            halves = [region[:middle], region[middle:]]
            gained, half = max(((gain(half), number) for number, half in enumerate(halves)))
            if gained < WORTH * most and fits(region):
                break
            region, most = halves[half], gained
        if most > 0 and fits(region):
            trial = _widened(scene, region, held)
            yield Candidate(f"{scene.wide}: {_named(region)}", trial)


def _widened(scene: Scene, region: Sequence[Block], held: Mapping[str, str]) -> Trial:
    """The held trial with a region in the wide scheme; what the user says of a name goes before."""
    names = {escape(name): scene.wide for block in region for name in block.nodes}
    return changed(scene.held, overrides={**names, **held})


def _named(region: Sequence[Block]) -> str:
    first, last = region[0].nodes[0], region[-1].nodes[-1]
    return first if first == last else f"{first} .. {last}"


STEPS = (
    Step("observer", 0.1, _observers),
    Step("source", 0.3, _sources),
    Step("repair", 0.1, _repairs),
    Step("region", 0.3, _regions, eager=True),
)
