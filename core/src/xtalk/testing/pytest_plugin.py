"""What the core gives to pytest: a marker, a second chance for its tests, and two fixtures.

pytest loads this in every project of an environment that holds xtalk, so it imports nothing
heavy and acts only when it is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

# The suites' own assertions should explain themselves as those of a test file do.
pytest.register_assert_rewrite("xtalk.testing.suites", "xtalk.testing.services")

THREAD_GRACE_S = 1.0
STALLED = pytest.StashKey[list[tuple[str, float]]]()
STALL_S = 0.15  # the machine stood still for longer: a test in real time may fail for that alone
ATTEMPTS = 3


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_time: this xtalk test needs the real clock: sockets, processes, devices"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in real time that failed while the machine stood still again, and say so."""
    if item.get_closest_marker("real_time") is None:
        return None
    from _pytest.runner import runtestprotocol

    from xtalk.testing.stalls import StallWatch

    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, ATTEMPTS + 1):
        with StallWatch() as watch:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = any(report.failed for report in reports)
        if not failed or watch.worst_s < STALL_S or attempt == ATTEMPTS:
            break
        item.config.stash.setdefault(STALLED, []).append((item.nodeid, watch.worst_s))
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for test, stall_s in config.stash.get(STALLED, []):
        terminalreporter.write_line(
            f"run again, for the machine stood still for {stall_s:.2f} s: {test}"
        )


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """`xtalk.testing.virtual_time.run`; refused to a test that is marked `real_time`."""
    if request.node.get_closest_marker("real_time"):
        pytest.fail("a test marked real_time cannot run in virtual time", pytrace=False)
    from xtalk.testing.virtual_time import run

    return run


@pytest.fixture
def no_leaked_threads() -> Iterator[None]:
    """Fails the test if a thread that it started outlives it; idle model threads may stay."""
    before = set(threading.enumerate())
    yield
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(THREAD_GRACE_S if thread.name != "xtalk-model" else 0)
    left = [thread.name for thread in started if thread.is_alive() and thread.name != "xtalk-model"]
    if left:
        pytest.fail(f"threads left running: {', '.join(left)}", pytrace=False)
