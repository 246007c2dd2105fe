"""A Starlette WebSocket as a transport, without a server: by the messages that pass."""

from __future__ import annotations

from typing import Any

import pytest

from xtalk.testing import virtual_time
from xtalk.transport import StarletteTransport, as_transport

websockets = pytest.importorskip(
    "starlette.websockets", reason="starlette comes with the server; its tests cover this too"
)


def socket(*arriving: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    incoming, sent = list(arriving), []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send" and message.get("text") == "break":
            raise OSError("the peer is gone")
        sent.append(message)

    scope = {"type": "websocket", "headers": [], "path": "/ws", "query_string": b""}
    return websockets.WebSocket(scope, receive, send), sent


CONNECT = {"type": "websocket.connect"}


def test_a_websocket_is_accepted_read_written_and_closed() -> None:
    async def main() -> None:
        websocket, sent = socket(
            CONNECT,
            {"type": "websocket.receive", "text": "hello", "bytes": None},
            {"type": "websocket.receive", "text": None, "bytes": b"\0\0"},
            {"type": "websocket.disconnect", "code": 1000},
        )
        transport = as_transport(websocket)
        assert isinstance(transport, StarletteTransport)
        await transport.accept()
        assert [await transport.receive() for _ in range(3)] == ["hello", b"\0\0", None]
        with pytest.raises(ConnectionError):
            await transport.send(["too late"])
        await transport.close()
        assert [m["type"] for m in sent] == ["websocket.accept"]

    virtual_time.run(main())


def test_what_is_sent_keeps_its_order_and_a_lost_peer_is_a_connection_error() -> None:
    async def main() -> None:
        websocket, sent = socket(CONNECT)
        transport = as_transport(websocket)
        await transport.accept()  # type: ignore[attr-defined]
        await transport.send(["meta", b"pcm"])
        assert sent[1:] == [
            {"type": "websocket.send", "text": "meta"},
            {"type": "websocket.send", "bytes": b"pcm"},
        ]
        with pytest.raises(ConnectionError):
            await transport.send(["break"])

    virtual_time.run(main())


def test_an_accepted_websocket_is_not_accepted_twice() -> None:
    async def main() -> None:
        websocket, sent = socket(CONNECT)
        await websocket.accept()
        await StarletteTransport(websocket).accept()
        assert len(sent) == 1

    virtual_time.run(main())
