"""A real server on a free loopback port, for the tests of servers, clients and plugins."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from xtalk_server.app import create_app
from xtalk_server.config import ServerConfig
from xtalk_server.server import Server

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["Running", "running"]

START_S = 10.0
STOP_S = 15.0


class Running:
    """A server in a thread of this process."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.thread = threading.Thread(target=server.run, daemon=True)

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.server.servers[0].get_loop()

    def tasks(self) -> list[str]:
        """The names of what runs in the server's event loop now."""
        running = asyncio.all_tasks(self.loop)
        return sorted(str(getattr(task.get_coro(), "__qualname__", task)) for task in running)

    def stop(self) -> None:
        """Ask it to stop and wait until it has; RuntimeError when it does not."""
        self.server.should_exit = True
        self.thread.join(STOP_S)
        if self.thread.is_alive():
            raise RuntimeError(f"the server did not stop within {STOP_S:g} s")


@contextmanager
def running(
    source: FastAPI | Xtalk | str | Path | Mapping[str, Any],
    *,
    allowed_origins: Collection[str] | None = None,
    wait: bool = True,
) -> Iterator[Running]:
    """A server for this application, Xtalk or configuration; it ends with the block.

    With `wait` it has settled: its models are there, or have failed.
    """
    app = (
        source
        if isinstance(source, FastAPI)
        else create_app(source, allowed_origins=allowed_origins)
    )
    server = Running(Server(app, ServerConfig(), port=0))
    server.thread.start()
    _until(lambda: server.server.started)
    if wait:
        _until(lambda: app.state.backend.status != "starting")
    try:
        yield server
    finally:
        server.stop()


def _until(condition: Callable[[], bool]) -> None:
    """Wait for another thread: there is no event that both of these could share."""
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start within {START_S:g} s")
        time.sleep(0.005)
