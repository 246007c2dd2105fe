"""A program of examples/sample_app, started as its README says, and a caller for it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing.client import WireClient, connect

APP = Path(__file__).parent.parent / "sample_app"

Start = Callable[..., str]
Dial = Callable[[str], AbstractAsyncContextManager[WireClient]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program on a free port; gives its address, http://127.0.0.1:..."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("XTALK_", "OPENAI_"))}
    processes = []

    def run(program: str, *options: str | Path, **environment: str) -> str:
        process = subprocess.Popen(
            [sys.executable, APP / program, "--port", "0", *map(str, options)],
            cwd=tmp_path,
            env={**own, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                return found[1]
        raise AssertionError("".join(log))

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def dial() -> Dial:
    """Calls a server; its session begins when the server lets the caller in."""

    @asynccontextmanager
    async def call(url: str) -> AsyncIterator[WireClient]:
        async with (
            connect(url.replace("http", "ws") + "/ws") as connection,
            WireClient(connection) as client,
        ):
            yield client

    return call


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[Any]]], None]:
    """Runs an async test for 30 s at most."""

    def run(main: Callable[[], Awaitable[Any]]) -> None:
        asyncio.run(asyncio.wait_for(main(), 30))  # type: ignore[arg-type]

    return run
