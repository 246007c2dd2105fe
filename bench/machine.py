"""The machine that measures: processes on their cores, what else runs there, and statistics."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_LIMIT_S = 30.0


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which that part lies; nan when there are none."""
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    return quantile(values, 0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cores() -> list[int]:
    """The cores of this process, at least two names: with one core both are the same."""
    found = sorted(os.sched_getaffinity(0))
    return found if len(found) > 1 else found * 2


def pinned(core: int, *words: str) -> list[str]:
    """A command of this interpreter on one core."""
    return ["taskset", "-c", str(core), sys.executable, *words]


@contextmanager
def server(name: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of servers.py on the first core, from when it accepts until the block ends."""
    port = free_port()
    command = pinned(cores()[0], "servers.py", name, str(port), *options)
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        accepting(process, port)
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepting(process: subprocess.Popen[Any], port: int) -> None:
    """Wait until somebody listens there."""
    limit = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"{process.args!r} does not accept connections") from None
            time.sleep(0.005)


def ready(port: int) -> None:
    """Wait until `xtalk serve` says that its models are there."""
    limit = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503 or time.monotonic() > limit:
                raise SystemExit(f"the server on port {port} does not get ready") from error
            time.sleep(0.005)
        except urllib.error.URLError as error:
            raise SystemExit(f"the server on port {port} is gone") from error


def verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED"


class Foreign:
    """Processor time that others took since this was made: the noise beside a figure."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy_s()
        self._own = _own_s()

    def cores(self) -> float:
        """How many cores they kept busy, by this process's and its ended children's account."""
        others = (_busy_s() - self._busy) - (_own_s() - self._own)
        return max(0.0, others / (time.monotonic() - self._began))


def _busy_s() -> float:
    with open("/proc/stat") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def described() -> str:
    """Date, machine and load, for the head of a table."""
    with open("/proc/cpuinfo") as file:
        model = next((line for line in file if line.startswith("model name")), ":unknown processor")
    name = model.partition(":")[2].strip()
    load = os.getloadavg()[0]
    urgent = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    return (
        f"{date.today().isoformat()}, {os.cpu_count()} cores of {name}, "
        f"Python {platform.python_version()}, load {load:.2f}"
        + (", real-time priority" if urgent else "")
    )
