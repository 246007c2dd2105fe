"""What the core gives to pytest: a marker and two fixtures, none of them automatic.

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_time: this xtalk test needs the real clock: sockets, processes, devices"
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
