"""SherpaOnnxASR against the real C++ servers, and against a fake of the Python ones that fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from servers import (
    FakeOfflineServer,
    FakeOldServer,
    FakePlainServer,
    FakeServer,
    FakeSlowServer,
    real_server,
)
from tone_models import ToneModels, tones_pcm
from xtalk_sherpa_onnx.asr_websocket import SherpaOnnxASR

from xtalk import schema
from xtalk.audio import RATE_IN, AudioFrame
from xtalk.errors import ConfigError, ModelError
from xtalk.speech.interfaces import Transcript
from xtalk.testing.services import Fault, ServiceChecks, running
from xtalk.testing.suites import ASRSuite

SAID = ("hello", "world", "please", "stop")
PAUSED = tones_pcm(SAID[:2]) + tones_pcm(SAID[2:], lead_s=1.6)  # the server sees an endpoint


@pytest.fixture(scope="module")
def online(tone_models: ToneModels) -> Iterator[int]:
    """The port of the real streaming server."""
    with real_server(
        "online",
        tone_models.folder,
        tokens=tone_models.tokens,
        encoder=tone_models.transducer_encoder,
        decoder=tone_models.transducer_decoder,
        joiner=tone_models.transducer_joiner,
    ) as port:
        yield port


@pytest.fixture(scope="module")
def offline(tone_models: ToneModels) -> Iterator[int]:
    """The port of the real offline server."""
    with real_server(
        "offline",
        tone_models.folder,
        tokens=tone_models.tokens,
        **{"zipformer-ctc-model": tone_models.zipformer_ctc, "max-utterance-length": 20},
    ) as port:
        yield port


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with running(FakeServer()) as service:
        yield service


async def frames(pcm: bytes, size: int = 640) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), size):
        yield AudioFrame(pcm[start : start + size], RATE_IN)
        await anyio.lowlevel.checkpoint()


async def hear(asr: SherpaOnnxASR, pcm: bytes = PAUSED) -> list[Transcript]:
    return [transcript async for transcript in asr.transcribe(frames(pcm))]


@asynccontextmanager
async def opened(port: int, **params: Any) -> AsyncIterator[SherpaOnnxASR]:
    asr = SherpaOnnxASR(host="127.0.0.1", port=port, **params)
    await asr.open()
    try:
        yield asr
    finally:
        await asr.close()


# --- the real servers ---------------------------------------------------------------------------


class TestStreaming(ASRSuite):
    model = SherpaOnnxASR
    sdk = ("sherpa_onnx", "websockets", "yaml")
    expected = " ".join(SAID)

    def sound(self) -> bytes:
        return PAUSED

    @pytest.fixture
    def arguments(self, online: int) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": online}


class TestOffline(ASRSuite):
    model = SherpaOnnxASR
    sdk = ("sherpa_onnx", "websockets", "yaml")
    expected = " ".join(SAID)

    def sound(self) -> bytes:
        return tones_pcm(SAID)

    @pytest.fixture
    def arguments(self, offline: int) -> Mapping[str, Any]:
        return {"server_addr": "127.0.0.1", "server_port": offline, "mode": "offline"}


def test_trap_55_a_transcript_is_text_and_not_the_json_of_the_server(
    online: int, offline: int
) -> None:
    async def check() -> None:
        async with opened(online) as asr:
            assert (await hear(asr))[-1].text == "hello world please stop"
        async with opened(offline, mode="offline") as asr:
            assert (await hear(asr))[-1].text == "hello world please stop"

    asyncio.run(check())


def test_the_words_have_their_times_across_an_endpoint(online: int) -> None:
    async def check() -> None:
        async with opened(online) as asr:
            words = (await hear(asr))[-1].words
        assert [word.text for word in words] == list(SAID)
        begin = [0.3, 0.54, 2.88, 3.12]
        assert [word.start for word in words] == pytest.approx(begin, abs=0.05)

    asyncio.run(check())


def test_what_was_said_before_an_endpoint_is_stable_after_it(online: int) -> None:
    async def check() -> None:
        async with opened(online) as asr:
            partials = [each for each in await hear(asr) if each.text == "hello world please"]
        assert [each.stable for each in partials] == [len("hello world")]

    asyncio.run(check())


def test_trap_77_all_segments_go_over_one_connection(online: int) -> None:
    async def check() -> None:
        async with opened(online) as asr:
            made = []
            connect = asr._sockets._connect

            async def counted() -> Any:
                made.append(1)
                return await connect()

            asr._sockets._connect = counted
            for _ in range(3):
                assert (await hear(asr))[-1].text == "hello world please stop"
        assert len(made) <= 1  # none where `open` had begun to connect

    asyncio.run(check())


def test_sixteen_sessions_stream_to_the_real_server_without_a_thread_each(online: int) -> None:
    before = threading.active_count()
    most: list[int] = []
    texts: list[str] = []

    async def talk() -> None:
        async with opened(online) as asr:
            async for transcript in asr.transcribe(frames(PAUSED)):
                most.append(threading.active_count())
                last = transcript.text
        texts.append(last)

    async def check() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(16):
                group.start_soon(talk)

    asyncio.run(check())
    assert texts == ["hello world please stop"] * 16
    assert max(most) == before


def test_a_recording_too_long_for_the_offline_server_is_an_error_and_the_next_is_heard(
    offline: int,
) -> None:
    async def check() -> None:
        async with opened(offline, mode="offline") as asr:
            with pytest.raises(ModelError, match="broke off its answer"):
                await asr.async_recognize(bytes(2 * RATE_IN * 21))
            assert await asr.async_recognize(tones_pcm(["stop"])) == "stop"

    asyncio.run(check())


# --- the Python servers, and what fails ---------------------------------------------------------


class Failing(ServiceChecks, ASRSuite):
    """The failures of a service. What needs a model that hears is tried on the real servers."""

    model = SherpaOnnxASR
    sdk = ("sherpa_onnx", "websockets", "yaml")
    within_s = 3.0
    limits = ("timeout_s",)
    expected = "hello world"

    def sound(self) -> bytes:
        return tones_pcm(SAID[:2])

    @pytest.fixture
    def arguments(self, service: FakeServer) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": service.port, "timeout_s": 1.0}


class TestPythonServer(Failing):
    @pytest.fixture
    def service(self, fake: FakeServer) -> FakeServer:
        return fake


class TestPythonOfflineServer(Failing):
    # Its answer is one piece, so nothing breaks or falls silent after the first.
    faults = tuple(fault for fault in Fault if fault not in (Fault.CUT, Fault.SILENCE))
    streams = False

    @pytest.fixture
    def service(self) -> Iterator[FakeOfflineServer]:
        with running(FakeOfflineServer()) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeServer) -> Mapping[str, Any]:
        mode = "non-streaming"
        return {"host": "127.0.0.1", "port": service.port, "timeout_s": 1.0, "mode": mode}


def test_sound_goes_out_while_somebody_speaks(fake: FakeServer) -> None:
    """The first partial is there before the second frame is."""

    async def check() -> None:
        heard = asyncio.Event()

        async def speak() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(bytes(640), RATE_IN)
            await heard.wait()
            yield AudioFrame(bytes(640), RATE_IN)

        async with opened(fake.port) as asr:
            texts = []
            with anyio.fail_after(5):
                async for transcript in asr.transcribe(speak()):
                    texts.append(transcript.text)
                    heard.set()
        assert texts == ["hello", "hello world", "hello world"]
        assert fake.messages == [[320, 320]]

    asyncio.run(check())


def test_a_connection_that_does_not_say_which_reply_is_the_last_is_not_used_again() -> None:
    """A reply that is late would be taken for one to the next segment."""

    async def check(port: int) -> None:
        async with opened(port) as asr:
            for _ in range(2):
                assert await asr.async_recognize(bytes(640)) == "hello world"

    with running(FakeOldServer()) as service:
        asyncio.run(check(service.port))
        assert service.messages == [[320], [320]]


def test_a_streaming_server_may_answer_in_bare_text() -> None:
    async def check(port: int) -> None:
        async with opened(port) as asr:
            assert await asr.async_recognize(bytes(640)) == "hello there"

    service = FakePlainServer()
    service.texts = ("hello", "hello there")
    with running(service):
        asyncio.run(check(service.port))


def test_a_server_that_closes_while_somebody_speaks_has_failed(fake: FakeServer) -> None:
    async def check() -> None:
        async def speak() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(bytes(640), RATE_IN)
            await anyio.sleep_forever()

        fake.closes_early = True
        async with opened(fake.port) as asr:
            with anyio.fail_after(5), pytest.raises(ModelError, match="broke off its answer"):
                await _last(asr.transcribe(speak()))

    asyncio.run(check())


def test_no_message_is_longer_than_samples_per_message(fake: FakeServer) -> None:
    async def check() -> None:
        async with opened(fake.port, samples_per_message=500) as asr:
            await asr.async_recognize(bytes(2 * 1200))
        assert fake.messages == [[500, 500, 200]]

    asyncio.run(check())


def test_a_connection_that_breaks_before_any_text_gets_all_the_sound_again(
    fake: FakeServer,
) -> None:
    async def check() -> None:
        fake.fail(Fault.EMPTY)
        again = asyncio.Event()

        async def speak() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(bytes(640), RATE_IN)
            await again.wait()
            yield AudioFrame(bytes(320), RATE_IN)

        async with opened(fake.port) as asr:
            hearing = asyncio.ensure_future(_last(asr.transcribe(speak())))
            await _until(lambda: fake.messages == [[320]])
            fake.drop()
            fake.fail(None)
            await _until(lambda: fake.messages == [[320], [320]])
            again.set()
            assert await hearing == "hello world"
        assert fake.messages == [[320], [320, 160]]

    asyncio.run(check())


async def _last(transcripts: AsyncIterator[Transcript]) -> str:
    return [transcript async for transcript in transcripts][-1].text


async def _until(holds: Any) -> None:
    """Until the service, which has a thread of its own, has come so far."""
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.005)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("<EMPTY>", ""),
        ("hello world", "hello world"),
        ("123", "123"),
        (json.dumps({"text": " hello ", "lang": "<|en|>"}), "hello"),
    ],
)
def test_an_offline_server_answers_in_json_or_in_bare_text(answer: str, text: str) -> None:
    async def check(port: int) -> None:
        async with opened(port, mode="offline") as asr:
            assert await asr.async_recognize(bytes(640)) == text

    service = FakeOfflineServer()
    service.texts = (answer,)
    with running(service):
        asyncio.run(check(service.port))


def test_an_offline_recording_is_cut_into_messages() -> None:
    async def check(port: int) -> None:
        async with opened(port, mode="offline", offline_payload_len=1000) as asr:
            for _ in range(2):
                await asr.async_recognize(bytes(2 * 300))

    with running(FakeOfflineServer()) as service:
        asyncio.run(check(service.port))
        assert service.messages == [[1000, 208, 1000, 208]]  # both over one connection


def test_partials_of_an_offline_server_cost_no_square_of_the_length() -> None:
    async def check(port: int) -> None:
        async with opened(port, mode="offline") as asr:
            await hear(asr, bytes(2 * RATE_IN * 20))

    with running(FakeOfflineServer()) as service:
        asyncio.run(check(service.port))
        sent_s = sum(map(sum, service.messages)) / (4 * RATE_IN)
        assert sent_s < 4 * 20


def test_a_partial_of_an_offline_server_that_takes_too_long_is_no_loss() -> None:
    async def speak() -> AsyncIterator[AudioFrame]:
        service.hold()
        yield AudioFrame(bytes(3 * RATE_IN), RATE_IN)
        await _until(service.left.is_set)
        service.release()
        yield AudioFrame(bytes(640), RATE_IN)

    async def check(port: int) -> None:
        async with opened(port, mode="offline", timeout_s=0.5) as asr:
            assert await _last(asr.transcribe(speak())) == "hello world"

    with running(FakeOfflineServer()) as service:
        asyncio.run(check(service.port))


def test_the_final_text_of_an_offline_server_waits_for_no_partial() -> None:
    async def speak() -> AsyncIterator[AudioFrame]:
        service.hold()
        yield AudioFrame(bytes(3 * RATE_IN), RATE_IN)
        await _until(lambda: sum(map(sum, service.messages)) == 8 + 6 * RATE_IN)

    async def answer() -> None:
        """Once the partial was given up."""
        await _until(service.left.is_set)
        service.release()

    async def check(port: int) -> None:
        async with (
            opened(port, mode="offline", timeout_s=60) as asr,
            anyio.create_task_group() as group,
        ):
            group.start_soon(answer)
            assert await _last(asr.transcribe(speak())) == "hello world"

    with running(FakeOfflineServer()) as service:
        asyncio.run(check(service.port))


def test_a_recording_may_keep_a_streaming_server_busy_for_longer_than_speech() -> None:
    """All of it is sent at once; the server says that it has heard nothing yet."""

    async def check(port: int) -> None:
        async with opened(port, timeout_s=0.3) as asr:
            assert await asr.async_recognize(bytes(2 * RATE_IN * 10)) == "hello"

    with running(FakeSlowServer()) as service:
        asyncio.run(check(service.port))


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({}, "ws://localhost:6006"),
        ({"host": "a", "port": 1}, "ws://a:1"),
        ({"server_addr": "b", "server_port": 2}, "ws://b:2"),
        ({"host": "wss://c", "port": 443}, "wss://c:443"),
    ],
)
def test_the_address_may_be_given_as_the_original_did(params: dict[str, Any], url: str) -> None:
    assert SherpaOnnxASR(**params)._url == url


@pytest.mark.parametrize("mode", ["streaming", "online", "offline", "non_streaming"])
def test_every_mode_of_the_original_is_taken(mode: str) -> None:
    assert schema.check(SherpaOnnxASR, {"mode": mode}, "asr.params") == {"mode": mode}


def test_another_mode_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"mode: should be 'streaming', 'online'"):
        schema.check(SherpaOnnxASR, {"mode": "both"}, "asr.params")
