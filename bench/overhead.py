"""What xtalk adds to its models: end of speech to first audio byte, against a bare FastAPI loop.

Floor and ours run in turns, the server on one core and the load generator on the other. A pair
counts when the load generator kept its time in both runs. What is reported is the median over
the pairs of ours minus floor. On a machine that others use as well, `chrt -f 10` in front gives
both servers and the load generator real-time priority.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import machine
import scenario
from machine import median, quantile

STALL_S = 0.020  # a load generator that is later than this measured itself
TARGETS_MS = {"p50": 1.5, "p95": 5.0}

Run = dict[str, Any]


def run(name: str, callers: int, cycles: int) -> Run:
    """One server, one load generator, and what the latter saw."""
    with machine.server(name) as (process, port):
        foreign = machine.Foreign()
        words = ["loadgen.py", str(port), f"--callers={callers}", f"--cycles={cycles}"]
        load = subprocess.run(
            machine.pinned(machine.cores()[1], *words, f"--pid={process.pid}"),
            cwd=machine.HERE,
            stdout=subprocess.PIPE,
            check=True,
        )
        seen: Run = json.loads(load.stdout)
        served_s = seen["cpu_s_per_minute"] * callers * 7.5 * cycles / 60
        seen["foreign_cores"] = max(0.0, foreign.cores() - served_s / (7.5 * (cycles + 1)))
    overheads = [1000 * (s - scenario.IDEAL_S) for s in seen["first"] + seen["second"]]
    seen |= {"p50": median(overheads), "p95": quantile(overheads, 0.95), "turns": len(overheads)}
    return seen


def pair(callers: int, cycles: int, first: str) -> dict[str, Run]:
    """Both servers, one after the other, beginning with `first`."""
    order = (first, *({"floor", "ours"} - {first}))
    return {name: run(name, callers, cycles) for name in order}


def sound(runs: dict[str, Run]) -> bool:
    return all(seen["lag_p99"] < STALL_S for seen in runs.values())


def report(callers: int, pairs: list[dict[str, Run]], dropped: int) -> None:
    """One row for each server and one for what lies between."""
    for name in ("floor", "ours"):
        runs = [runs[name] for runs in pairs]
        row = [f"{median(r[key] for r in runs):8.2f}" for key in ("p50", "p95")]
        barge_in = median(1000 * s for r in runs for s in r["barge_in"])
        cpu = median(r["cpu_s_per_minute"] for r in runs)
        turns, missed = sum(r["turns"] for r in runs), sum(r["missed"] + r["lost"] for r in runs)
        noise = median(r["foreign_cores"] for r in runs)
        print(
            f"{callers:3} {name:9}", *row, f"{turns:6} {missed:6} {barge_in:9.2f}",
            f"{cpu:9.3f} {noise:8.2f}",
        )  # fmt: skip
    apart = {
        key: median(runs["ours"][key] - runs["floor"][key] for runs in pairs) for key in TARGETS_MS
    }
    row = [f"{apart[key]:8.2f}" for key in TARGETS_MS]
    reached = all(apart[key] <= limit for key, limit in TARGETS_MS.items())
    print(
        f"{callers:3} {'between':9}", *row,
        f"  {len(pairs)} pairs, {dropped} dropped; {machine.verdict(reached)}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--out", type=Path, help="a folder for every run as JSON")
    arguments = parser.parse_args()
    print(machine.described())
    print("  N server      p50 ms   p95 ms  turns missed barge-in ms  CPU s/min foreign cores")
    for callers in arguments.callers:
        pairs: list[dict[str, Run]] = []
        dropped = 0
        while len(pairs) < arguments.pairs:
            first = ("floor", "ours")[len(pairs) % 2]
            runs = pair(callers, arguments.cycles, first)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                path = arguments.out / f"overhead-{callers}-{len(pairs) + dropped}.json"
                path.write_text(json.dumps(runs), "utf-8")
            if sound(runs):
                pairs.append(runs)
            else:
                dropped += 1
                if dropped > arguments.pairs:
                    raise SystemExit("the load generator is stalled too often: too busy a machine")
        report(callers, pairs, dropped)


if __name__ == "__main__":
    main()
