"""A captioner behind an OpenAI-compatible server: the sound in a data URL, its description back."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.remote import Remote, Shared, Unreadable, blocking, explained, http_client, read_key
from xtalk.speech.interfaces import Captioner

if TYPE_CHECKING:
    import httpx

__all__ = ["Qwen3OmniCaptioner"]

DONE = "[DONE]"


class Qwen3OmniCaptioner(Captioner):
    """Qwen3-Omni-Captioner, or another model that hears, behind `/chat/completions`.

    Sound in which nothing can be heard, because it is empty, has the caption "" and costs no
    request. ModelError when the service fails or answers with anything but a caption.
    """

    def __init__(
        self,
        base_url: Annotated[
            str,
            Field(pattern="^https?://", description="the server's address, up to and with /v1"),
        ] = "http://localhost:8901/v1",
        api_key: Annotated[
            SecretStr | None, Field(description="sent as a bearer token; none where not needed")
        ] = None,
        timeout: Annotated[
            float, Field(gt=0, description="seconds for an answer, or between two pieces of one")
        ] = 30,
        model: Annotated[
            str | None, Field(description="the model's name, for a server that serves several")
        ] = None,
        prompt: Annotated[
            str,
            Field(description="what to ask about the sound; the captioner model needs no question"),
        ] = "",
        stream: Annotated[
            bool, Field(description="ask for captions in pieces, for a server that insists")
        ] = False,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._stream = stream
        self._request = {"model": model} if model else {}
        self._prompt = prompt
        self._remote = Remote(
            name="The captioner (Qwen3OmniCaptioner)",
            check="check that its server runs, and its base_url, api_key and model",
            timeout_s=timeout,
        )
        key = read_key("Qwen3OmniCaptioner", api_key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._shared = Shared(lambda: http_client(timeout_s=timeout, headers=headers))

    async def open(self) -> None:
        await self._shared.hold(self)

    async def close(self) -> None:
        await self._shared.release(self)

    def caption(self, audio: bytes) -> str:
        return blocking(self.async_caption(audio))

    def caption_stream(self, audio: bytes) -> Iterable[str]:
        """The whole caption at once: a thread that waits for pieces gains nothing."""
        yield self.caption(audio)

    async def async_caption(self, audio: bytes) -> str:
        """What is to be heard in PCM16 at 16 kHz, in words."""
        async with aclosing(self._pieces(audio, self._stream)) as pieces:
            return "".join([piece async for piece in pieces]).strip()

    async def async_caption_stream(self, audio: bytes) -> AsyncIterator[str]:
        """The same in pieces as they are made; in one piece where the server makes no others."""
        async with aclosing(self._pieces(audio, True)) as pieces:
            async for piece in pieces:
                yield piece

    async def _pieces(self, audio: bytes, stream: bool) -> AsyncGenerator[str, None]:
        if not audio:
            return
        body = self._body(audio, stream)
        async with aclosing(self._remote.stream(lambda: self._asked(body))) as pieces:
            async for piece in pieces:
                yield piece

    def _body(self, audio: bytes, stream: bool) -> dict[str, Any]:
        sound = {"type": "audio_url", "audio_url": {"url": data_url(audio)}}
        question = [{"type": "text", "text": self._prompt}] if self._prompt else []
        return {
            **self._request,
            "messages": [{"role": "user", "content": [sound, *question]}],
            **({"stream": True} if stream else {}),
        }

    async def _asked(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """The pieces of one answer, none of them empty, at least one that is not blank."""
        async with (
            self._shared.use() as client,
            client.stream("POST", self._url, json=body) as response,
        ):
            await explained(response, _reason)
            said = False
            async with aclosing(_contents(response)) as contents:
                async for content in contents:
                    said = said or bool(content.strip())
                    if content:
                        yield content
            if not said:
                raise Unreadable("caption that says something")


def data_url(pcm: bytes) -> str:
    """A WAV file of PCM16 at 16 kHz. AudioError when a sample is cut in half."""
    frame = AudioFrame(pcm, RATE_IN).check()
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(frame.rate)
        wav.writeframes(frame.pcm)
    return f"data:audio/x-wav;base64,{base64.b64encode(file.getvalue()).decode()}"


async def _contents(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The text of a completion, whole or in pieces: its type says which, not what was asked."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield _whole(json.loads(await response.aread()))
        return
    from httpx_sse import EventSource

    done = False
    async with aclosing(EventSource(response).aiter_sse()) as events:
        async for event in events:  # to their end, or the connection could not be used again
            done = done or event.data == DONE
            if not done:
                yield _piece(json.loads(event.data))
    if not done:
        raise Unreadable(f"end of its caption ({DONE})")


def _reason(answer: Any) -> Any:
    """Why it was refused: OpenAI has a word for it in `code`, vLLM in `type`."""
    error = answer["error"]
    return error["code"] if isinstance(error.get("code"), str) else error["type"]


def _whole(completion: Any) -> str:
    try:
        content = completion["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        raise Unreadable("completion with a text in choices[0].message.content")
    return content


def _piece(completion: Any) -> str:
    """ "" in pieces that tell something else, such as the role or the usage."""
    try:
        return "".join(choice["delta"].get("content") or "" for choice in completion["choices"][:1])
    except (LookupError, TypeError, AttributeError):
        raise Unreadable("piece of a completion with a text in choices[0].delta.content") from None
