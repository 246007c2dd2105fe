"""CosyVoice against a DashScope on a loopback port: the suites, and what is particular to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from fake_dashscope import VOICES, FakeDashScope
from pydantic import SecretStr
from sessions import using
from tones import SECONDS_A_CHARACTER
from xtalk_tts_cosyvoice.dashscope import CosyVoice
from xtalk_tts_cosyvoice.text import pieces

from xtalk import schema
from xtalk.audio import RATE_OUT
from xtalk.errors import ConfigError, ModelError
from xtalk.testing.services import KEY, ServiceChecks, running
from xtalk.testing.suites import TTSSuite
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

TEXT = "One two three. Four five six."


@pytest.fixture
def service() -> Iterator[FakeDashScope]:
    with running(FakeDashScope()) as service:
        yield service


@pytest.fixture
def arguments(service: FakeDashScope) -> Mapping[str, Any]:
    return {
        "api_key": KEY,
        "url": f"ws://127.0.0.1:{service.port}/api-ws/v1/inference",
        "stream_timeout": 5.0,
        "voices": VOICES,
    }


class TestCosyVoice(ServiceChecks, TTSSuite):
    model = CosyVoice
    sdk = ("websockets", "grpc", "google.protobuf")
    limits = ("stream_timeout",)

    @pytest.fixture
    def service(self, service: FakeDashScope) -> FakeDashScope:  # type: ignore[override]
        return service

    @pytest.fixture
    def arguments(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**arguments, "stream_timeout": 1.0}


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / RATE_OUT


# --- the connection -----------------------------------------------------------------------------


def test_trap_84_one_connection_takes_one_task_after_the_other(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoice) -> None:
        for _ in range(5):
            await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)
    assert len(service.tasks) == 5
    assert service.connections == 1


def test_the_connection_is_there_before_the_first_sentence(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoice) -> None:
        assert await run_in_thread(service.arrivals.acquire, timeout=5)
        assert not service.tasks

    using(CosyVoice, arguments, check)


def test_a_sentence_given_up_leaves_a_new_connection_ready(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoice) -> None:
        stream = voice.async_synthesize_stream(TEXT)
        await anext(stream)
        await stream.aclose()
        for _ in range(2):
            assert await run_in_thread(service.arrivals.acquire, timeout=5)
        await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)
    assert service.connections == 2


def test_each_instance_has_its_own_key(
    service: FakeDashScope, arguments: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "another")

    async def right(voice: CosyVoice) -> None:
        assert await voice.async_synthesize(TEXT)

    async def wrong(voice: CosyVoice) -> None:
        with pytest.raises(ModelError, match="refused the key"):
            await voice.async_synthesize(TEXT)

    using(CosyVoice, {**arguments, "api_key": None}, wrong)
    using(CosyVoice, arguments, right)


# --- text ---------------------------------------------------------------------------------------


def test_text_is_spoken_while_it_comes(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    """The second sentence is written only when the first one is heard."""

    async def check(voice: CosyVoice) -> None:
        heard = asyncio.Event()

        async def written() -> AsyncIterator[str]:
            yield "One two "
            yield "three."
            await heard.wait()
            yield " Four five six."

        audio = b""
        async with contextlib.aclosing(voice.speak(written())) as spoken:
            async for pcm in spoken:
                audio += pcm
                heard.set()
        assert seconds(audio) == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, rel=0.01)

    using(CosyVoice, arguments, check)
    assert service.tasks[0][1] == ["One two ", "three.", " Four five six."]


def test_text_that_breaks_off_is_no_failure_of_the_service(
    arguments: Mapping[str, Any],
) -> None:
    async def check(voice: CosyVoice) -> None:
        async def written() -> AsyncIterator[str]:
            yield "One two three."
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            assert [pcm async for pcm in voice.speak(written())]
        assert await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)


def test_a_long_text_goes_in_pieces_and_whole() -> None:
    text = "好" * 12_000
    assert "".join(pieces(text)) == text
    assert max(map(len, pieces(text))) <= 10_000, "DashScope counts an ideograph as two"


@pytest.mark.parametrize("text", ["", "  \n", "…—!?", "👋🏽", "\x00\ud800"])
def test_without_words_nothing_is_asked(
    service: FakeDashScope, arguments: Mapping[str, Any], text: str
) -> None:
    async def check(voice: CosyVoice) -> None:
        assert await voice.async_synthesize(text) == b""

    using(CosyVoice, arguments, check)
    assert not service.tasks


def test_no_chunk_ends_in_the_middle_of_a_sample(arguments: Mapping[str, Any]) -> None:
    """The fake's pieces do."""

    async def check(voice: CosyVoice) -> None:
        assert not [pcm async for pcm in voice.async_synthesize_stream(TEXT) if len(pcm) % 2]

    using(CosyVoice, arguments, check)


# --- how it is spoken ---------------------------------------------------------------------------


def test_what_dashscopes_client_takes_is_sent(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    extra = {
        "volume": 70,
        "speech_rate": 1.2,
        "pitch_rate": 0.9,
        "synthesis_type": 1,
        "instruction": "whisper",
        "language_hints": ["en"],
        "additional_params": {"enable_markdown_filter": True},
        "headers": {"X-Of-Mine": "1"},
        "workspace": "w",
    }

    async def check(voice: CosyVoice) -> None:
        await voice.async_synthesize(TEXT)

    using(CosyVoice, {**arguments, "extra_request_params": extra}, check)
    parameters = service.tasks[0][0]
    sent = {
        "volume": 70,
        "rate": 1.2,
        "pitch": 0.9,
        "type": 1,
        "instruction": "whisper",
        "language_hints": ["en"],
        "enable_markdown_filter": True,
    }
    assert sent.items() <= parameters.items()
    assert (service.headers[0]["X-Of-Mine"], service.headers[0]["X-DashScope-WorkSpace"]) == (
        "1",
        "w",
    )


def test_the_speed_multiplies_the_configured_rate_within_the_services_limits(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoice) -> None:
        for speed in (1.0, 0.5, 1.5):
            voice.set_speed(speed)
            await voice.async_synthesize(TEXT)

    using(CosyVoice, {**arguments, "extra_request_params": {"speech_rate": 1.6}}, check)
    assert [parameters["rate"] for parameters, _ in service.tasks] == [1.6, 0.8, 2.0]


def test_trap_58_only_configured_voices_can_be_asked_for(
    service: FakeDashScope, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoice) -> None:
        voice.set_voice(["nobody", "longanhuan"])
        with pytest.raises(ValueError, match="without a voice 'longshu'"):
            voice.set_voice(["longshu"])
        await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)
    assert service.tasks[0][0]["voice"] == "longanhuan"


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "says", "attempts"),
    [
        ("InvalidApiKey", "refused the key", 1),
        ("Model.AccessDenied", "refused the key", 1),
        ("Arrearage", "no credit", 1),
        ("AllocationQuota.FreeTierOnly", "no credit", 1),
        ("Throttling.RateQuota", "overloaded", 2),
        ("InvalidParameter", "refused the request", 1),
        ("ModelNotFound", "refused the request", 1),
        ("InternalError.Timeout", "failed", 2),
        ("", "failed", 2),
    ],
)
def test_a_failed_task_says_what_to_do(
    service: FakeDashScope,
    arguments: Mapping[str, Any],
    code: str,
    says: str,
    attempts: int,
) -> None:
    async def check(voice: CosyVoice) -> None:
        service.failure = code or "SomethingNew"
        with pytest.raises(ModelError, match=says):
            await voice.async_synthesize(TEXT)
        service.failure = ""
        assert await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)
    # One connection for each attempt, as a failed task uses it up, and one for what follows.
    assert len(service.headers) == attempts + 1


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    for key in (None, SecretStr("")):
        with pytest.raises(ConfigError, match="set api_key or the environment's DASHSCOPE_API_KEY"):
            CosyVoice(key)


@pytest.mark.parametrize("name", ["format", "sample_rate", "voice", "model", "callback"])
def test_what_cannot_be_asked_for_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot hold '{name}'"):
        CosyVoice(SecretStr(KEY), extra_request_params={name: 1})


def test_a_thread_can_wait_for_a_sentence_while_another_one_is_spoken(
    arguments: Mapping[str, Any],
) -> None:
    async def check(voice: CosyVoice) -> None:
        spoken = voice.async_synthesize_stream(TEXT)
        await anext(spoken)
        alone = await run_in_thread(voice.synthesize, TEXT)
        await spoken.aclose()
        assert alone == await voice.async_synthesize(TEXT)

    using(CosyVoice, arguments, check)


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="speech_rate should be a number, found 'fast'"):
        CosyVoice(SecretStr(KEY), extra_request_params={"speech_rate": "fast"})


def test_the_originals_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    schema.build(CosyVoice, {})
    schema.build(
        CosyVoice,
        {
            "api_key": KEY,
            "model": "cosyvoice-v3-flash",
            "voice": "longanyang",
            "stream_timeout": 30,
            "extra_request_params": {"speech_rate": 1.1},
        },
    )
