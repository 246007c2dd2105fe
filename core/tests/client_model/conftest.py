"""The engine behind a model of the original's page, in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing import virtual_time

HERE = Path(__file__).parent
# The model of the page is shared with the tests of the dialogue's table.
for folder in (HERE, HERE.parent / "pure"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run an async test in virtual time."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def body() -> Any:
            return await main()

        return virtual_time.run(body())

    return run
