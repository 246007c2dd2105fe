"""Qwen3-ASR against a DashScope on a loopback port: the suites, and what is particular to it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import anyio
import pytest
from fake_realtime import FakeRealtime
from pydantic import SecretStr
from xtalk_asr_qwen3.realtime import Qwen3ASRFlashConfig, Qwen3ASRFlashRealtime

from xtalk import schema
from xtalk.audio import RATE_IN, AudioFrame, silence
from xtalk.errors import ConfigError, ModelError
from xtalk.speech.interfaces import Transcript
from xtalk.testing.recordings import recording
from xtalk.testing.services import KEY, Fault, ServiceChecks, running
from xtalk.testing.suites import ASRSuite
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

PAUSE = silence(1.0, RATE_IN).pcm
FIRST, SECOND = (recording(name).pcm for name in ("what-time-is-it", "what-can-you-do"))


@pytest.fixture
def service() -> Iterator[FakeRealtime]:
    with running(FakeRealtime()) as service:
        yield service


def arguments_for(service: FakeRealtime, **config: Any) -> dict[str, Any]:
    quick = {
        "url": f"ws://127.0.0.1:{service.port}/api-ws/v1/realtime",
        "language": "en",
        "final_wait_timeout_sec": 5.0,
        "connect_retry_max_attempts": 2,
        "connect_retry_base_delay_sec": 0.01,
        "reconnect_on_send_error_max_attempts": 1,
    }
    return {"api_key": KEY, "config": quick | config}


@pytest.fixture
def arguments(service: FakeRealtime) -> Mapping[str, Any]:
    return arguments_for(service)


LIMITS = (
    "final_wait_timeout_sec",
    "connect_retry_max_attempts",
    "connect_retry_base_delay_sec",
    "reconnect_on_send_error_max_attempts",
)


class TestTurnDetection(ServiceChecks, ASRSuite):
    """As the original's configuration has it."""

    model = Qwen3ASRFlashRealtime
    sdk = ("websockets",)
    limits = LIMITS
    expected = "what time is it"

    @pytest.fixture
    def service(self, service: FakeRealtime) -> FakeRealtime:  # type: ignore[override]
        return service

    @pytest.fixture
    def arguments(self, service: FakeRealtime) -> Mapping[str, Any]:  # type: ignore[override]
        return arguments_for(service, final_wait_timeout_sec=1.0)


class TestCommit(ServiceChecks, ASRSuite):
    """Where the session alone says what a segment is."""

    model = Qwen3ASRFlashRealtime
    sdk = ("websockets",)
    limits = LIMITS
    expected = "what time is it"

    @pytest.fixture
    def service(self, service: FakeRealtime) -> FakeRealtime:  # type: ignore[override]
        return service

    @pytest.fixture
    def arguments(self, service: FakeRealtime) -> Mapping[str, Any]:
        return arguments_for(service, enable_turn_detection=False, final_wait_timeout_sec=1.0)


def using(
    arguments: Mapping[str, Any],
    check: Callable[[Qwen3ASRFlashRealtime], Coroutine[Any, Any, None]],
) -> None:
    """Run a check with the recogniser of one session, as the engine would build it."""

    async def run() -> None:
        asr = schema.build(Qwen3ASRFlashRealtime, arguments).clone()
        await asr.open()
        try:
            await check(asr)
        finally:
            await asr.close()

    asyncio.run(run())


async def hear(asr: Qwen3ASRFlashRealtime, *pieces: bytes) -> list[Transcript]:
    async def frames() -> AsyncIterator[AudioFrame]:
        for pcm in pieces:
            for start in range(0, len(pcm), 640):
                yield AudioFrame(pcm[start : start + 640], RATE_IN)
                await asyncio.sleep(0)

    async with aclosing(asr.transcribe(frames())) as transcripts:
        return [transcript async for transcript in transcripts]


# --- what is understood -------------------------------------------------------------------------


@pytest.mark.parametrize("detects", [True, False])
def test_trap_63_a_segment_with_pauses_is_heard_whole(service: FakeRealtime, detects: bool) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        heard = await hear(asr, FIRST, PAUSE, SECOND)
        assert heard[-1].text == "what time is it what can you do"
        assert [transcript.final for transcript in heard] == [False] * (len(heard) - 1) + [True]

    using(arguments_for(service, enable_turn_detection=detects), check)


def test_trap_63_a_cut_of_the_services_own_neither_ends_a_segment_nor_begins_the_next(
    service: FakeRealtime,
) -> None:
    """It cuts while the user goes on, and tells that when all is said."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        service.longest = len(FIRST) + len(PAUSE) // 2
        assert (await hear(asr, FIRST, PAUSE, SECOND))[-1].text == "what time is it what can you do"
        service.longest = 2**31
        assert (await hear(asr, FIRST))[-1].text == "what time is it"

    using(arguments_for(service, enable_turn_detection=False), check)


def test_trap_63_partial_transcripts_grow_and_say_what_is_stable(
    arguments: Mapping[str, Any],
) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        heard = await hear(asr, FIRST, PAUSE, SECOND)
        for transcript, following in pairwise(heard):
            assert following.text.startswith(transcript.text[: transcript.stable])
        assert {"what", "what time", "what time is it what"} <= {t.text for t in heard}
        assert all(transcript.lang == "en" for transcript in heard)

    using(arguments, check)


def test_parts_in_chinese_are_joined_without_a_space() -> None:
    texts = {"what-time-is-it": "现在几点了？", "what-can-you-do": "你会做什么？"}

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        assert (await hear(asr, FIRST, PAUSE, SECOND))[-1].text == "现在几点了？你会做什么？"

    with running(FakeRealtime(texts, "zh")) as service:
        using(arguments_for(service, language="zh"), check)


def test_words_are_told_while_somebody_speaks(arguments: Mapping[str, Any]) -> None:
    """The second half is said only when the first one was understood."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        understood = asyncio.Event()

        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(FIRST[: len(FIRST) // 2], RATE_IN)
            await understood.wait()
            yield AudioFrame(FIRST[len(FIRST) // 2 :], RATE_IN)

        async with aclosing(asr.transcribe(frames())) as transcripts:
            assert (await anext(transcripts)).text
            understood.set()
            assert [transcript async for transcript in transcripts][-1].text == "what time is it"

    using(arguments, check)


def test_somebody_may_be_silent_for_longer_than_the_service(service: FakeRealtime) -> None:
    """The limit holds for the service, and only once the segment is over."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(PAUSE, RATE_IN)
            await asyncio.sleep(0.7)  # longer than final_wait_timeout_sec
            yield AudioFrame(FIRST, RATE_IN)

        async with aclosing(asr.transcribe(frames())) as transcripts:
            assert [transcript async for transcript in transcripts][-1].text == "what time is it"

    using(arguments_for(service, final_wait_timeout_sec=0.6), check)


# --- the connection -----------------------------------------------------------------------------


@pytest.mark.parametrize("detects", [True, False])
def test_trap_73_a_segment_finds_its_connection_ready(service: FakeRealtime, detects: bool) -> None:
    """Each segment uses one up, and the next is made at once."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        for number in range(3):
            assert await run_in_thread(service.ready.acquire, timeout=5)
            assert len(service.sessions) == number + 1
            assert (await hear(asr, FIRST))[-1].text == "what time is it"

    using(arguments_for(service, enable_turn_detection=detects), check)


def test_what_was_said_is_sent_again_when_a_connection_dies(
    service: FakeRealtime, arguments: Mapping[str, Any]
) -> None:
    """In the middle of a segment of which nothing was understood yet."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(PAUSE, RATE_IN)
            await run_in_thread(service.heard.wait, 5)
            service.drop()
            yield AudioFrame(FIRST, RATE_IN)

        async with aclosing(asr.transcribe(frames())) as transcripts:
            assert [transcript async for transcript in transcripts][-1].text == "what time is it"

    using(arguments, check)
    assert service.connections >= 2


def test_without_audio_nothing_is_asked(
    service: FakeRealtime, arguments: Mapping[str, Any]
) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        assert await hear(asr, b"") == [Transcript(text="", final=True)]

    using(arguments, check)
    assert all(names == ["session.update"] for _, names in service.sessions)


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "says", "attempts"),
    [
        ("invalid_request_error", "InvalidApiKey", "refused the key", 1),
        ("invalid_request_error", "invalid_api_key", "refused the key", 1),
        ("server_error", "AccessDenied.Unpurchased", "refused the key", 1),
        ("server_error", "Arrearage", "no credit", 1),
        ("server_error", "AllocationQuota.FreeTierOnly", "no credit", 1),
        ("server_error", "Throttling.AllocationQuota", "overloaded", 2),
        ("invalid_request_error", "invalid_value", "refused the request", 1),
        ("invalid_request_error", "something_new", "refused the request", 1),
        ("server_error", "something_new", "failed", 2),
    ],
)
def test_an_error_says_what_to_do(
    service: FakeRealtime,
    arguments: Mapping[str, Any],
    kind: str,
    code: str,
    says: str,
    attempts: int,
) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        service.failure = {"type": kind, "code": code, "message": KEY}
        with pytest.raises(ModelError, match=says):
            await hear(asr, FIRST)
        tried = sum("input_audio_buffer.append" in names for _, names in service.sessions)
        assert tried == attempts
        service.failure = None
        assert (await hear(asr, FIRST))[-1].text == "what time is it"

    using(arguments, check)


def test_partial_texts_do_not_put_off_the_limit_of_the_final_one(service: FakeRealtime) -> None:
    """Or the engine would give up before, without a word on which service it was."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        service.rambles = True
        with anyio.fail_after(5), pytest.raises(ModelError, match="Qwen3-ASR took too long"):
            await hear(asr, FIRST)

    using(arguments_for(service, final_wait_timeout_sec=0.5), check)


def test_the_originals_patience_is_kept(service: FakeRealtime) -> None:
    """Five attempts, and a service that comes back meanwhile is heard."""

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        service.fail(Fault.REFUSED)
        asking = asyncio.create_task(asr.async_recognize(FIRST))
        assert await run_in_thread(refused.wait, 5)
        service.fail(None)
        assert await asking == "what time is it"

    refused = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: refused.set()  # type: ignore[method-assign]
    config = {"connect_retry_max_attempts": 5, "connect_retry_base_delay_sec": 0.05}
    logging.getLogger("xtalk.remote").addHandler(handler)
    try:
        using(arguments_for(service, **config), check)
    finally:
        logging.getLogger("xtalk.remote").removeHandler(handler)


# --- the configuration --------------------------------------------------------------------------


def test_the_session_is_as_configured(service: FakeRealtime) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        await hear(asr, FIRST)

    config = {"turn_detection_threshold": 0.0, "turn_detection_silence_ms": 400, "language": ""}
    using(arguments_for(service, **config), check)
    assert service.sessions[0][0] == {
        "modalities": ["text"],
        "input_audio_format": "pcm",
        "sample_rate": 16000,
        "input_audio_transcription": {},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.0,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 400,
        },
    }


def test_the_rate_is_as_configured(service: FakeRealtime) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        await hear(asr, FIRST)

    config = {"sample_rate": 8000, "tail_silence_cycles": 0, "stream_chunk_bytes_hint": 1600}
    using(arguments_for(service, **config), check)
    assert len(service.audio[0]) == pytest.approx(len(FIRST) / 2, abs=8)


def test_audio_goes_in_messages_of_the_configured_length(service: FakeRealtime) -> None:
    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        assert asr.stream_chunk_bytes_hint() == 6400
        await hear(asr, FIRST)

    config = {"stream_chunk_bytes_hint": 6400, "tail_silence_cycles": 3}
    using(arguments_for(service, **config), check)
    appended = service.sessions[0][1].count("input_audio_buffer.append")
    assert appended == -(-len(FIRST) // 6400) + 3


def test_every_field_of_the_originals_config_is_taken_from_json() -> None:
    config = json.loads(
        """{"model": "qwen3-asr-flash-realtime", "language": "zh", "sample_rate": 16000,
        "url": "wss://dashscope.aliyuncs.com/api-ws/v1/realtime", "input_audio_format": "pcm",
        "enable_turn_detection": true, "stream_chunk_bytes_hint": 3200, "tail_silence_cycles": 30,
        "tail_silence_bytes_per_cycle": 1024, "tail_silence_delay_sec": 0.01,
        "send_delay_sec": 0.0, "final_wait_timeout_sec": 15.0, "connect_retry_max_attempts": 5,
        "connect_retry_base_delay_sec": 0.6, "connect_retry_max_delay_sec": 6.0,
        "connect_retry_jitter_ratio": 0.2, "reconnect_on_send_error_max_attempts": 2}"""
    )
    asr = schema.build(Qwen3ASRFlashRealtime, {"api_key": KEY, "config": config})
    ours = Qwen3ASRFlashConfig(final_wait_timeout_sec=15.0)  # the engine does not wait so long
    assert asr._config == ours, "the others are the defaults"


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"params\.config\.langauge"):
        schema.build(Qwen3ASRFlashRealtime, {"api_key": KEY, "config": {"langauge": "zh"}})


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    for key in (None, SecretStr("")):
        with pytest.raises(ConfigError, match="set api_key or the environment's DASHSCOPE_API_KEY"):
            Qwen3ASRFlashRealtime(key)


def test_the_key_may_come_from_the_environment(
    service: FakeRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)

    async def check(asr: Qwen3ASRFlashRealtime) -> None:
        assert (await hear(asr, FIRST))[-1].text == "what time is it"

    using({**arguments_for(service), "api_key": None}, check)
