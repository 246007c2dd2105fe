"""Qwen3OmniCaptioner against a server of chat completions that hears how long and how loud."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web
from pydantic import SecretStr
from xtalk_captioner_qwen3_omni.captioner import Qwen3OmniCaptioner

from xtalk.audio import pcm_to_float, silence
from xtalk.calls import close_model, open_model
from xtalk.errors import AudioError, ConfigError, ModelError
from xtalk.schema import build
from xtalk.speech.interfaces import Transcript
from xtalk.testing.recordings import recording
from xtalk.testing.services import KEY, FakeService, Fault, ServiceChecks, running
from xtalk.testing.suites import CaptionerSuite
from xtalk.threads import Guard

pytestmark = pytest.mark.real_time

SOUND = recording("what-time-is-it").pcm
HEARD = "2.2 s of 16000 Hz, not silent"
OPENING = "data:audio/x-wav;base64,"


class FakeServer(FakeService):
    """`/v1/chat/completions` as vLLM has it: bearer key, one user message, whole or in events.

    `answer` replaces the body of what is answered; `streams` is whether it can stream;
    `bodies` holds what was asked.
    """

    key: str | None = KEY
    answer: Any = None
    streams = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/v1/chat/completions", self.complete)]

    async def complete(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no"}}, status=401)
        body = await request.json()
        self.bodies.append(body)
        if not {"messages"} <= set(body) <= {"messages", "model", "stream"}:
            return web.json_response({"error": {"message": "what?"}}, status=400)
        caption = "" if self.fault is Fault.EMPTY else self.caption(body)
        if self.answer is not None:
            return web.Response(text=self.answer, content_type="application/json")
        if body.get("stream") and self.streams:
            return await self.events(request, caption)
        return await self.whole(request, caption)

    def caption(self, body: Mapping[str, Any]) -> str:
        (message,) = body["messages"]
        assert message["role"] == "user"
        sound, *question = message["content"]
        assert sound["type"] == "audio_url"
        url = sound["audio_url"]["url"]
        assert url.startswith(OPENING)
        with wave.open(io.BytesIO(base64.b64decode(url[len(OPENING) :], validate=True))) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            rate, pcm = file.getframerate(), file.readframes(file.getnframes())
        quiet = "silent" if abs(pcm_to_float(pcm)).max() < 0.01 else "not silent"
        asked = "".join(f" ({part['text']})" for part in question)
        return f"{len(pcm) / 2 / rate:.1f} s of {rate} Hz, {quiet}{asked}"

    async def whole(self, request: web.Request, caption: str) -> web.StreamResponse:
        """The JSON in two pieces of its own, so that it can break off."""
        text = json.dumps(
            {
                "object": "chat.completion",
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": caption}},
                ],
            }
        )
        if self.fault is Fault.GARBAGE:
            text = "<html>"
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for number, piece in enumerate((text[:20], text[20:])):
            await self.piece(request, number)
            await response.write(piece.encode())
        return response

    async def events(self, request: web.Request, caption: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)

        async def send(*choices: Any) -> None:
            piece = json.dumps({"object": "chat.completion.chunk", "choices": choices})
            text = "{" if self.fault is Fault.GARBAGE else piece
            await response.write(f"data: {text}\n\n".encode())

        await send({"index": 0, "delta": {"role": "assistant", "content": None}})
        for number, text in enumerate((caption[:7], caption[7:])):
            await self.piece(request, number)
            await send({"index": 0, "delta": {"content": text}})
        await send()
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def service() -> Iterator[FakeServer]:
    with running(FakeServer()) as service:
        yield service


def captioner(service: FakeServer, **params: Any) -> Qwen3OmniCaptioner:
    made: Qwen3OmniCaptioner = build(Qwen3OmniCaptioner, {**arguments_of(service), **params})
    return made


def arguments_of(service: FakeServer) -> dict[str, Any]:
    return {"base_url": f"http://127.0.0.1:{service.port}/v1", "api_key": KEY, "timeout": 1.0}


class Checks(ServiceChecks):
    """The checks of a service, over captions."""

    slot = "captioner"

    @pytest.fixture
    def service(self) -> Iterator[FakeServer]:
        with running(FakeServer()) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeServer) -> Mapping[str, Any]:
        return arguments_of(service)

    @asynccontextmanager
    async def guards(self, arguments: Mapping[str, Any], count: int) -> Any:
        """One captioner serves all sessions."""
        model = build(Qwen3OmniCaptioner, arguments)
        await open_model(model)
        try:
            yield [Guard(model) for _ in range(count)]
        finally:
            await close_model(model)


class TestCaptionsInPieces(Checks):
    async def _pieces(self, guard: Guard[Qwen3OmniCaptioner]) -> AsyncGenerator[Transcript, None]:
        """The caption so far: the checks know transcripts and not captions."""
        text = ""
        async with (
            guard.lease() as lease,
            aclosing(lease.model.async_caption_stream(SOUND)) as pieces,
        ):
            async for piece in pieces:
                text += piece
                yield Transcript(text=text)


class TestWholeCaptions(Checks, CaptionerSuite):
    model = Qwen3OmniCaptioner
    sdk = ("httpx", "httpx_sse")
    streams = False

    async def _pieces(self, guard: Guard[Qwen3OmniCaptioner]) -> AsyncGenerator[Transcript, None]:
        async with guard.lease() as lease:
            yield Transcript(text=await lease.model.async_caption(SOUND), final=True)


def test_it_says_what_the_server_heard(service: FakeServer) -> None:
    assert captioner(service).caption(SOUND) == HEARD
    assert captioner(service).caption(silence(1.0, 16_000).pcm) == "1.0 s of 16000 Hz, silent"


def test_pieces_come_as_the_server_makes_them(service: FakeServer) -> None:
    async def run() -> list[str]:
        return [piece async for piece in captioner(service).async_caption_stream(SOUND)]

    assert asyncio.run(run()) == [HEARD[:7], HEARD[7:]]


def test_a_server_that_cannot_stream_gives_one_piece(service: FakeServer) -> None:
    service.streams = False

    async def run() -> list[str]:
        return [piece async for piece in captioner(service).async_caption_stream(SOUND)]

    assert asyncio.run(run()) == [HEARD]


def test_a_server_that_insists_is_asked_to_stream(service: FakeServer) -> None:
    assert captioner(service, stream=True).caption(SOUND) == HEARD
    assert service.bodies[0]["stream"] is True


def test_the_request_of_the_original_holds_the_sound_and_no_more(service: FakeServer) -> None:
    captioner(service).caption(SOUND)
    (body,) = service.bodies
    assert list(body) == ["messages"]
    assert [part["type"] for part in body["messages"][0]["content"]] == ["audio_url"]


def test_model_and_prompt_are_sent_where_given(service: FakeServer) -> None:
    asked = captioner(service, model="qwen3-omni", prompt="Who speaks?").caption(SOUND)
    assert asked == f"{HEARD} (Who speaks?)"
    assert service.bodies[0]["model"] == "qwen3-omni"


def test_no_key_is_sent_where_none_is_set(service: FakeServer) -> None:
    service.key = None
    assert captioner(service, api_key=None).caption(SOUND) == HEARD


@pytest.mark.parametrize("stream", [False, True])
def test_captions_share_one_connection(service: FakeServer, stream: bool) -> None:
    async def run() -> None:
        model = captioner(service, stream=stream)
        await model.open()
        for _ in range(3):
            assert await model.async_caption(SOUND) == HEARD
        await model.close()

    asyncio.run(run())
    assert service.connections == 1


def test_no_sound_is_no_caption_and_no_request(service: FakeServer) -> None:
    assert captioner(service).caption(b"") == ""
    assert service.requests == []


def test_half_a_sample_is_refused(service: FakeServer) -> None:
    with pytest.raises(AudioError, match="even number of bytes"):
        captioner(service).caption(b"\0\0\0")
    assert service.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        '{"caption": "a voice"}',
        '{"error": {"message": "no such model"}}',
        '{"choices": []}',
        '{"choices": [{"message": {"content": null}}]}',
        '{"choices": [{"message": {"content": ["a voice"]}}]}',
        '{"choices": [{"message": {"content": " \\n"}}]}',
        '["a voice"]',
        '"a voice"',
        "a voice",
        "",
    ],
)
def test_an_answer_of_another_shape_is_never_the_caption(service: FakeServer, answer: str) -> None:
    service.answer = answer
    with pytest.raises(ModelError, match="no answer that can be used") as told:
        captioner(service).caption(SOUND)
    assert "voice" not in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        {"message": KEY, "type": "NotFoundError", "code": 404},
        {"message": KEY, "type": "invalid_request_error", "code": "NotFoundError"},
    ],
)
def test_the_log_has_the_word_for_a_refusal(
    service: FakeServer, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(request: web.Request, caption: str) -> web.StreamResponse:
        return web.json_response({"error": error}, status=404)

    service.whole = refuse  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"refused the request \(404\).*model"):
        captioner(service).caption(SOUND)
    assert "404 NotFoundError" in caplog.text
    assert KEY not in caplog.text


def test_a_stream_without_its_end_is_no_caption(service: FakeServer) -> None:
    async def cut(request: web.Request, caption: str) -> web.StreamResponse:
        event = {"choices": [{"index": 0, "delta": {"content": caption[:7]}}]}
        text = f"data: {json.dumps(event)}\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    service.events = cut  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="no answer that can be used"):
        captioner(service, stream=True).caption(SOUND)


def test_a_server_that_is_not_there_is_named_with_what_to_check() -> None:
    model = Qwen3OmniCaptioner("http://127.0.0.1:1/v1", SecretStr(KEY), timeout=0.6)
    with pytest.raises(ModelError, match=r"Qwen3OmniCaptioner.*check that its server runs"):
        model.caption(SOUND)


def test_cancelling_ends_the_request(service: FakeServer) -> None:
    async def run() -> None:
        model = captioner(service, timeout=30)
        service.fail(Fault.STALL)
        with anyio.move_on_after(0.2) as scope:
            await model.async_caption(SOUND)
        assert scope.cancelled_caught

    asyncio.run(run())
    assert service.left.wait(3)


def test_an_address_without_its_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        build(Qwen3OmniCaptioner, {"base_url": "localhost:8901"})


def test_the_configuration_of_the_original_builds() -> None:
    build(Qwen3OmniCaptioner, {})
    build(
        Qwen3OmniCaptioner,
        {"base_url": "http://localhost:8901/v1", "api_key": None, "timeout": 30},
    )
