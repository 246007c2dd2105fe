"""uvicorn, set up for speech: no compression, small messages, a good-bye before the end."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from xtalk_server.config import ServerConfig

__all__ = ["Server"]


class Server(uvicorn.Server):
    """A server for one application of `create_app`; ends when its models cannot be built."""

    def __init__(
        self, app: FastAPI, config: ServerConfig, *, log_level: str = "info", **options: Any
    ) -> None:
        self._app = app
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

    async def on_tick(self, counter: int) -> bool:
        if self._app.state.backend.failure:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before uvicorn, which cuts every WebSocket with 1012.
        await self._app.state.connections.end()
        await super().shutdown(sockets)
