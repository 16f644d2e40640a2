"""Files that lie: how many damaged .tflite files are refused, how soon, and what the rest does to LiteRT.

`python bench/hostile.py [COUNT] [SEED]` changes the small files of the zoo a little, COUNT times (100,000 if left out),
half of them by single bytes and half by single numbers of the tables. What is let through is opened and run by LiteRT
in a process of its own, on its own kernels and with XNNPACK in turn.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.readers.tflite import mutate

from narrowcast.errors import NarrowcastError

LARGEST = 800_000
"""Bytes of the files that are changed."""


def main(count: int, seed: int) -> None:
    files = sorted(Path(os.environ["NARROWCAST_ZOO"]).glob("models/**/*.tflite"))
    sound = [path.read_bytes() for path in files if path.stat().st_size < LARGEST]
    draw, counts, slowest = random.Random(seed), Counter[str](), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = Path(tempfile.mkdtemp(prefix="hostile-"))
    file, started = kept / "now.tflite", time.perf_counter()
    while counts["read"] + counts["refused"] < count:
        mutation = mutate.of_bytes if draw.random() < 0.5 else mutate.of_tables
        changed = mutation(draw.choice(sound), draw)
        if changed is None:
            continue
        start = time.process_time()
        try:
            mutate.read(changed)
            outcome = "read"
        except NarrowcastError:
            outcome = "refused"
        except Exception as error:
            outcome = "refused"
            counts[f"other error: {error!r:.60}"] += 1
            (kept / f"{len(counts)}_error.tflite").write_bytes(changed)
        slowest = max(slowest, time.process_time() - start)
        counts[outcome] += 1
        if outcome == "read":
            file.write_bytes(changed)
            own = draw.random() < 0.5
            if not mutate.survives(file, own_kernels=own):
                counts["ends LiteRT's process"] += 1
                (kept / f"{counts['read']}_{'own' if own else 'xnnpack'}.tflite").write_bytes(changed)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count:,} files in {time.perf_counter() - started:.0f} s: {dict(counts)}")
    print(f"slowest {slowest * 1000:.0f} ms of processor time, memory grown by {grown:.0f} MB")
    print(f"those that failed are in {kept}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [100_000, 0][len(numbers) :]))
