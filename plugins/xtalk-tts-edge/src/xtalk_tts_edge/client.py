"""edge-tts as it is needed here: what it receives, piece by piece, and its failures by name."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import anyio
import edge_tts
from edge_tts import exceptions

from xtalk.errors import ModelError
from xtalk.remote import Refusal, Unreadable

__all__ = ["messages"]

OUTDATED = (
    "Microsoft Edge's service (EdgeTTS) refused edge-tts: install its newest version, "
    "and check this machine's clock."
)


class _Connector(aiohttp.TCPConnector):
    """The client closes its connector with every request, though it may make several."""

    def close(self, **options: Any) -> Any:
        return asyncio.sleep(0)

    async def end(self) -> None:
        """Close every connection at once, without the farewell of the WebSocket."""
        await super().close()


async def messages(
    text: str, *, voice: str, rate: str, proxy: str | None, timeout_s: float
) -> AsyncGenerator[Any, None]:
    """The client's messages on one text. Raises Refusal, Unreadable, EOFError, and aiohttp's.

    The client runs in a task. Closing its generator would leave the one within it, and the
    socket, to the garbage collector; a task can be cancelled while it waits for the socket. So
    that it waits for nothing else, there is no limit to what it has received but the text's end
    (6 kB of MP3 a second).
    """
    connector = _Connector()
    communicate = edge_tts.Communicate(
        text,
        voice,
        rate=rate,
        boundary="WordBoundary",
        connector=connector,
        proxy=proxy,
        receive_timeout=math.ceil(timeout_s),
    )
    send, receive = anyio.create_memory_object_stream[Any](math.inf)

    async def run() -> None:
        with send:
            async for message in _received(communicate):
                send.send_nowait(message)

    task = asyncio.get_running_loop().create_task(run())
    try:
        async for message in receive:
            yield message
        await task
    finally:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await connector.end()
            await asyncio.wait([task])
        send.close()  # the task may not have begun
        receive.close()
        if not task.cancelled():
            task.exception()  # or asyncio would complain that nobody asked for it


async def _received(communicate: Any) -> AsyncGenerator[Any, None]:
    """What the client receives, and its exceptions as ours."""
    size = 0
    try:
        async for message in communicate.stream():
            size += len(message.get("data", b""))
            yield message
    except aiohttp.ClientResponseError as error:
        if error.status in (401, 403):
            raise ModelError(OUTDATED) from None
        raise Refusal(error.status) from None
    except exceptions.SkewAdjustmentError:  # refused, and told no time that it could try with
        raise ModelError(OUTDATED) from None
    except exceptions.NoAudioReceived:
        raise Unreadable("audio") from None
    except exceptions.WebSocketError:
        raise EOFError from None
    except (exceptions.EdgeTTSException, ValueError, LookupError, TypeError):
        # The last three come from its reading of a message that is not what it expects.
        raise Unreadable("message of its protocol") from None
    # A connection that breaks looks to the client like an end. It counts what was ended properly.
    if size != communicate.state["cumulative_audio_bytes"]:
        raise EOFError
