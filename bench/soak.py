"""Hold random conversations through the whole engine, in virtual time, and count what came of them.

    python bench/soak.py [HOW_MANY [FIRST_SEED]]        10 000 from seed 0, a quarter of each kind

A fault is printed with its kind and seed, and makes the exit status 1. `core/tests/client_model`
describes the conversations and what counts as a fault.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "core" / "tests"
sys.path[:0] = [str(TESTS / "client_model"), str(TESTS / "pure")]

from conversations import KINDS, converse  # noqa: E402
from machine import described  # noqa: E402

from xtalk.testing import virtual_time  # noqa: E402


def main(many: int = 10_000, first: int = 0) -> int:
    seeds = range(first, first + many // len(KINDS))
    print(f"seeds {seeds.start} to {seeds.stop - 1} of each kind: {', '.join(KINDS)}")
    print(described(), flush=True)
    logging.disable(logging.CRITICAL)  # the models fail on purpose
    began, faults, spoken_s = time.perf_counter(), 0, 0.0
    counts: Counter[str] = Counter()
    most: dict[str, float] = {}
    for kind in KINDS:
        for seed in seeds:
            run = held(kind, seed)
            if run is None or run.faults:
                faults += 1
                reasons = "; ".join(run.faults) if run else "it did not come to an end"
                print(f"FAULT  {kind}, seed {seed}: {reasons}", flush=True)
            if run is not None:
                count(run, counts, most)
                spoken_s += run.lasted_s
        print(f"{kind}: {len(seeds)} conversations, {faults} faults so far", flush=True)
    report(counts, most)
    took = time.perf_counter() - began
    print(f"{spoken_s / 3600:.1f} hours of conversation in {took:.0f} s; faults: {faults}")
    return 1 if faults else 0


def held(kind: str, seed: int) -> Any:
    """The conversation; None when it was stuck, raised, or left a task behind."""
    try:
        return virtual_time.run(converse(seed, kind))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        return None


def count(run: Any, counts: Counter[str], most: dict[str, float]) -> None:
    counts["conversations"] += 1
    counts[f"trouble: {run.trouble.name}"] += 1
    counts["utterances"] += len(run.plan)
    counts["turns"] += len(run.starts)
    counts.update(f"replies {over.outcome}" for over in run.overs)
    counts["clients that vanished"] += run.vanished
    counts["utterances that freed a hanging model"] += run.spoken_again
    for name, value in run.most.items():
        most[name] = max(most.get(name, 0.0), value)


def report(counts: Counter[str], most: dict[str, float]) -> None:
    for name, value in sorted(counts.items()):
        print(f"{value:8}  {name}")
    for name, value in most.items():
        print(f"{value:8.2f}  {name}, at most")


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
