"""The voices of ElevenLabs, over HTTP or over the WebSocket that tells when each word sounds."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode

from pydantic import Field

from xtalk.audio import AudioFrame
from xtalk.remote import SOUND_S, Unreadable, WarmSocket, exchange, open_socket
from xtalk.speech.interfaces import SpeechChunk
from xtalk.speech.remote import RemoteVoice
from xtalk_elevenlabs import service
from xtalk_elevenlabs.words import WordTimes

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["ElevenLabsTTS"]

INACTIVITY_S = 180  # the longest that the service waits for a text


class ElevenLabsTTS(RemoteVoice):
    """ElevenLabs. Each sentence is a request of its own, on a connection that is there already."""

    def __init__(
        self,
        api_key: service.ApiKey = None,
        voice_id: Annotated[
            str, Field(min_length=1, description="the voice to begin with, by its id or its name")
        ] = "JBFqnCBsd6RMkjVDRZzb",
        model_id: Annotated[
            str, Field(description="also eleven_flash_v2_5 (fastest) and eleven_turbo_v2_5")
        ] = "eleven_multilingual_v2",
        voices: Annotated[
            dict[str, str] | None, Field(description="names for voices: `{name: voice id}`")
        ] = None,
        transport: Annotated[
            Literal["http", "websocket"],
            Field(description="websocket also tells when each word sounds"),
        ] = "http",
        output_format: Annotated[
            Literal["pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000"],
            Field(description="not every account may have the higher rates"),
        ] = "pcm_48000",
        voice_settings: Annotated[
            dict[str, float | bool] | None,
            Field(description="stability, similarity_boost and others, as the service calls them"),
        ] = None,
        timeout: Annotated[
            float,
            Field(gt=0, description="seconds to the first piece of an answer, and between two"),
        ] = SOUND_S,
        base_url: Annotated[str, Field(description="where it is asked over HTTP")] = service.HTTP,
        realtime_url: Annotated[
            str, Field(description="where it is asked over a WebSocket")
        ] = service.WEBSOCKET,
    ) -> None:
        super().__init__(
            service.remote(timeout), output_rate=int(output_format.removeprefix("pcm_"))
        )
        self._headers = service.headers(api_key)
        self._http_url = service.address("base_url", base_url, "http", "https")
        self._socket_url = service.address("realtime_url", realtime_url, "ws", "wss")
        self._ids = dict(voices or {})
        self.voices = tuple(self._ids)
        self._voice = self._ids.get(voice_id, voice_id)
        self._known = {self._voice, *self._ids.values()}
        self._model = model_id
        self._format = output_format
        self._settings = {"voice_settings": voice_settings} if voice_settings else {}
        self._words = transport == "websocket"
        self._socket_voice = self._voice
        self._socket = self._new_socket()

    def set_voice(self, voice_names: list[str]) -> None:
        """By a name or an id of the configuration: no client may spend on any other."""
        for name in voice_names:
            found = self._ids.get(name, name)
            if found in self._known:
                self._voice = found
                return
        raise ValueError(
            f"ElevenLabs has no voice {' or '.join(map(repr, voice_names))} here; "
            f"its configuration names {', '.join(self.voices) or 'one only'}"
        )

    async def open(self) -> None:
        await super().open()
        if self._words:
            self._socket.warm()

    async def close(self) -> None:
        await self._socket.close()
        await super().close()

    def clone(self) -> ElevenLabsTTS:
        twin = super().clone()
        twin._socket = twin._new_socket()
        return twin

    def request(self, text: str) -> AsyncGenerator[bytes | SpeechChunk, None]:
        return self._with_words(text) if self._words else self._over_http(text)

    # --- HTTP -----------------------------------------------------------------------------------

    async def _over_http(self, text: str) -> AsyncGenerator[bytes, None]:
        """PCM as it comes: a piece may end in the middle of a sample."""
        async with (
            self.http.use() as client,
            client.stream(
                "POST",
                f"{self._http_url}/v1/text-to-speech/{quote(self._voice, safe='')}/stream",
                params={"output_format": self._format},
                headers=self._headers,
                json={"text": text, "model_id": self._model, **self._settings},
            ) as response,
        ):
            await service.admitted(response)
            if response.headers.get("content-type", "").startswith(("application/json", "text/")):
                raise Unreadable("audio")
            arriving: Any = response.aiter_bytes()  # a generator, though httpx does not say so
            async with aclosing(arriving) as pieces:
                async for piece in pieces:
                    yield piece

    # --- WebSocket ------------------------------------------------------------------------------

    async def _with_words(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        if self._socket_voice != self._voice:
            await self._socket.close()
            self._socket_voice = self._voice
        times = WordTimes(text)
        half = b""
        async with (
            self._socket.once() as connection,
            aclosing(exchange(connection, _texts(text))) as answers,
        ):
            while not (answer := service.message(await anext(answers))).get("isFinal"):
                pcm = half + _audio(answer)
                half = pcm[len(pcm) & ~1 :]
                audio = AudioFrame(pcm[: len(pcm) & ~1], self.output_rate)
                words = times.push(answer.get("alignment"), audio.seconds)
                if audio.pcm:
                    yield SpeechChunk(audio=audio, words=words)

    def _new_socket(self) -> WarmSocket:
        self._socket_voice = self._voice
        return WarmSocket(self._connect, idle_s=INACTIVITY_S - 10)

    async def _connect(self) -> ClientConnection:
        """A connection to the voice, with everything said that comes before the text."""
        options = service.query(
            model_id=self._model,
            output_format=self._format,
            sync_alignment=True,
            auto_mode=True,  # whole sentences: nothing to wait for
            inactivity_timeout=INACTIVITY_S,
        )
        voice = quote(self._voice, safe="")
        return await open_socket(
            f"{self._socket_url}/v1/text-to-speech/{voice}/stream-input?{urlencode(options)}",
            headers=self._headers,
            timeout_s=min(5.0, self.remote.timeout_s),
            greet=self._greeted,
        )

    async def _greeted(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):  # what was received before it tells why
            await connection.send(json.dumps({"text": " ", **self._settings}))


async def _texts(text: str) -> AsyncGenerator[str | bytes, None]:
    """A sentence, and that there are no more."""
    yield json.dumps({"text": f"{text} "})
    yield json.dumps({"text": ""})


def _audio(answer: Any) -> bytes:
    if "audio" not in answer:
        raise Unreadable("audio")
    try:
        return base64.b64decode(answer["audio"] or "", validate=True)
    except (ValueError, TypeError):
        raise Unreadable("audio") from None
