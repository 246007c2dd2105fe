"""uvicorn, set up for speech: no compression, small messages, a good-bye before the end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI

from xtalk_server.config import ServerConfig

__all__ = ["Server"]

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server for one application of `create_app`; ends when its models cannot be built."""

    def __init__(
        self, app: FastAPI, config: ServerConfig, *, log_level: str = "info", **options: Any
    ) -> None:
        self._app = app
        self._drain_s = config.drain_sec
        self._told_twice = False
        self._hurry: Callable[[], object] = lambda: None
        super().__init__(
            uvicorn.Config(
                app,
                # Two loop callbacks a message less than the default.
                ws="websockets-sansio",
                ws_max_size=1 << 20,
                ws_per_message_deflate=False,
                ssl_certfile=config.ssl_certfile,
                ssl_keyfile=config.ssl_keyfile,
                access_log=False,
                log_config=None,
                # At "debug" every message would be in the log, transcripts and keys included.
                log_level="info" if log_level == "debug" else log_level,
                timeout_graceful_shutdown=5,
                **options,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets turns come to their end, the second does not."""
        self._told_twice = self.should_exit
        if self._told_twice:
            self._hurry()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._app.state.backend.failure:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before uvicorn, which listens no more and cuts every WebSocket with 1012.
        await self._drain()
        await self._app.state.connections.end()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Still answering, with 503 to newcomers, until the last turn is over."""
        self._app.state.connections.draining = True
        xtalk, loop = self._app.state.backend.xtalk, asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            # A signal alone does not wake up a loop that waits for the network.
            self._hurry = lambda: loop.call_soon_threadsafe(scope.cancel)
            if xtalk is not None and not self._told_twice:
                log.info("ending: the turns under way have %g s", self._drain_s)
                await xtalk.drain(self._drain_s)
