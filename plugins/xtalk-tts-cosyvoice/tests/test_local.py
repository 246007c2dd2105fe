"""CosyVoiceLocal against a gRPC server on a loopback port: the suites, and its modes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cosyvoice import FakeCosyVoice, serving
from sessions import using
from tones import SECONDS_A_CHARACTER
from xtalk_tts_cosyvoice.local import CosyVoiceLocal

from xtalk import schema
from xtalk.audio import RATE_IN, float_to_pcm, pcm_to_float
from xtalk.errors import ConfigError, ModelError
from xtalk.testing.recordings import path, recording
from xtalk.testing.services import Fault, ServiceChecks
from xtalk.testing.suites import TTSSuite
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

TEXT = "One two three. Four five six."
PROMPT = path("what-time-is-it")
PROMPTED = {"prompt_wav": str(PROMPT), "prompt_text": "What time is it?"}


@pytest.fixture
def service() -> Iterator[FakeCosyVoice]:
    with serving() as service:
        yield service


@pytest.fixture
def arguments(service: FakeCosyVoice) -> Mapping[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": service.relay.port,
        "stream": True,
        "timeout": 5.0,
        "voices": ["002", "anna"],
    }


class TestCosyVoiceLocal(ServiceChecks, TTSSuite):
    """The server has no keys; a proxy in front of it may, and answers as the fake does."""

    model = CosyVoiceLocal
    sdk = ("websockets", "grpc", "google.protobuf")

    @pytest.fixture
    def service(self, service: FakeCosyVoice) -> FakeCosyVoice:  # type: ignore[override]
        return service

    @pytest.fixture
    def arguments(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**arguments, "timeout": 1.0}


class TestItsDefaults(TTSSuite):
    """One piece of audio, as the original's configuration asks for."""

    model = CosyVoiceLocal
    sdk = ("websockets", "grpc", "google.protobuf")

    @pytest.fixture
    def arguments(self, service: FakeCosyVoice) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": service.relay.port}


def says(arguments: Mapping[str, Any], text: str = TEXT) -> bytes:
    spoken = []

    async def check(voice: CosyVoiceLocal) -> None:
        spoken.append(await voice.async_synthesize(text))

    using(CosyVoiceLocal, arguments, check)
    return spoken[0]


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "number", "sent"),
    [
        ({"mode": "sft", "spk_id": "anna"}, 6, {1: b"anna"}),
        ({"mode": "zero_shot", **PROMPTED}, 7, {1: b"What time is it?", 2: PROMPT}),
        ({"mode": "cross_lingual", "prompt_wav": PROMPT}, 8, {1: PROMPT}),
        (
            {"mode": "instruct2", "prompt_wav": PROMPT, "instruct_text": "softly"},
            9,
            {1: b"softly", 2: PROMPT},
        ),
        ({}, 10, {1: b"001"}),
        (
            {"mode": "instruct2_by_spk_id", "spk_id": "002", "instruct_text": "softly"},
            11,
            {1: b"softly", 2: b"002"},
        ),
    ],
    ids=lambda value: value.get("mode") if isinstance(value, dict) and "mode" in value else None,
)
def test_every_mode_sends_what_it_needs(
    service: FakeCosyVoice,
    arguments: Mapping[str, Any],
    given: Mapping[str, Any],
    number: int,
    sent: Mapping[int, Any],
) -> None:
    assert says({**arguments, **given})
    mode, asked = service.asked[0]
    assert mode == given.get("mode", "zero_shot_by_spk_id")
    prompt = pcm_to_float(recording("what-time-is-it").pcm).tobytes()
    assert asked[number] == {n: prompt if v is PROMPT else v for n, v in sent.items()}


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("zero_shot", "prompt_wav and prompt_text"),
        ("cross_lingual", "prompt_wav"),
        ("instruct2", "prompt_wav and instruct_text"),
        ("instruct2_by_spk_id", "instruct_text"),
        ("register_spk", "prompt_wav and prompt_text"),
    ],
)
def test_a_mode_says_what_it_is_missing(mode: Any, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"needs {missing} in mode '{mode}'"):
        CosyVoiceLocal(mode=mode)


def test_a_recording_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(b"no sound")
    for name in ("voice.wav", "nothing.wav"):
        with pytest.raises(ConfigError, match=f"prompt_wav: .*{name}"):
            CosyVoiceLocal(mode="cross_lingual", prompt_wav=tmp_path / name)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="mode"):
        schema.build(CosyVoiceLocal, {"mode": "singing"})


# --- registration -------------------------------------------------------------------------------


def test_a_speaker_is_registered_once_and_then_speaks(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    given = {**arguments, "mode": "register_spk", "spk_id": "guest", **PROMPTED}

    async def check() -> None:
        blueprint = schema.build(CosyVoiceLocal, given)
        for _ in range(2):
            session = blueprint.clone()
            await session.open()
            assert await session.async_synthesize(TEXT)
            await session.close()

    asyncio.run(check())
    assert list(service.registered) == ["guest"]
    prompt = np.frombuffer(service.registered["guest"][3], "<f4")
    assert float_to_pcm(prompt) == recording("what-time-is-it").pcm
    assert (service.registered["guest"][2], service.registered["guest"][4]) == (
        b"What time is it?",
        RATE_IN,
    )
    assert [(mode, asked[10]) for mode, asked in service.asked] == 2 * [
        ("zero_shot_by_spk_id", {1: b"guest"})
    ]


def test_a_speaker_is_registered_again_with_a_server_that_has_forgotten(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoiceLocal) -> None:
        assert await voice.async_synthesize(TEXT)
        service.speakers.remove("guest")
        assert await voice.async_synthesize(TEXT)

    given = {**arguments, "mode": "register_spk", "spk_id": "guest", **PROMPTED}
    using(CosyVoiceLocal, given, check)


def test_a_speaker_that_is_not_taken_is_a_failure(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    service.refuses_speakers = True
    with pytest.raises(ModelError, match="refused the request"):
        says({**arguments, "mode": "register_spk", "spk_id": "guest", **PROMPTED})
    assert not service.asked


@pytest.mark.parametrize(
    ("fault", "says_so"), [(Fault.STALL, "took too long"), (Fault.BROKEN, "failed")]
)
def test_a_registration_that_fails_is_told_in_time_and_tried_again(
    service: FakeCosyVoice, arguments: Mapping[str, Any], fault: Fault, says_so: str
) -> None:
    async def check(voice: CosyVoiceLocal) -> None:
        service.fail(fault)
        with pytest.raises(ModelError, match=says_so):
            await voice.async_synthesize(TEXT)
        service.fail(None)
        assert await voice.async_synthesize(TEXT)

    given = {**arguments, "mode": "register_spk", "spk_id": "guest", **PROMPTED}
    using(CosyVoiceLocal, given, check)


# --- sound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("format", ["pcm", ""])
def test_floats_and_integers_sound_the_same(
    arguments: Mapping[str, Any], format: str, stream: bool
) -> None:
    spoken = pcm_to_float(says({**arguments, "format": format, "stream": stream}))
    assert len(spoken) / 48_000 == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, rel=0.01)
    assert 0.28 < np.abs(spoken).max() < 0.32


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_it_speaks_at_the_rate_that_was_asked_for(arguments: Mapping[str, Any], rate: int) -> None:
    spoken = says({**arguments, "sample_rate": rate})
    assert len(spoken) / 2 == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER * rate, abs=2)


def test_text_is_spoken_while_it_comes(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    """The second sentence is written only when the first one is heard."""

    async def check(voice: CosyVoiceLocal) -> None:
        heard = asyncio.Event()

        async def written() -> AsyncIterator[str]:
            yield "One two three."
            await heard.wait()
            yield " Four five six."

        length = 0
        async with contextlib.aclosing(voice.speak(written())) as spoken:
            async for pcm in spoken:
                length += len(pcm)
                heard.set()
        assert length / 96_000 == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, rel=0.01)

    using(CosyVoiceLocal, arguments, check)


@pytest.mark.parametrize("text", ["", "  \n", "…—!?", "👋🏽", "\x00\ud800"])
def test_without_words_nothing_is_asked(
    service: FakeCosyVoice, arguments: Mapping[str, Any], text: str
) -> None:
    assert says(arguments, text) == b""
    assert not service.asked


def test_trap_58_only_configured_speakers_can_be_asked_for(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoiceLocal) -> None:
        voice.set_voice(["nobody", "anna"])
        with pytest.raises(ValueError, match="without a voice 'eve'"):
            voice.set_voice(["eve"])
        await voice.async_synthesize(TEXT)

    using(CosyVoiceLocal, arguments, check)
    assert service.asked[0][1][10] == {1: b"anna"}


def test_trap_58_a_recording_has_one_voice() -> None:
    voice = CosyVoiceLocal(mode="cross_lingual", prompt_wav=PROMPT)
    with pytest.raises(ValueError, match="without a voice '001'"):
        voice.set_voice(["001"])


def test_the_speed_multiplies_the_configured_one(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    async def check(voice: CosyVoiceLocal) -> None:
        for speed in (1.0, 0.5, 1.5):
            voice.set_speed(speed)
            await voice.async_synthesize(TEXT)

    using(CosyVoiceLocal, {**arguments, "speed": 1.5}, check)
    speeds = [float(np.frombuffer(asked[4], "<f4")[0]) for _, asked in service.asked]
    assert speeds == [1.5, 0.75, 2.0]


# --- the channel --------------------------------------------------------------------------------


def test_trap_73_neither_constructor_nor_clone_waits_for_the_server() -> None:
    """The port is one on which nothing listens, or where somebody does not answer."""
    began = time.monotonic()
    for port in (1, 9):
        CosyVoiceLocal(port=port).clone().clone()
    assert time.monotonic() - began < 0.1


def test_trap_74_sessions_share_a_channel_and_leave_nothing(
    service: FakeCosyVoice, arguments: Mapping[str, Any]
) -> None:
    async def check() -> None:
        blueprint = schema.build(CosyVoiceLocal, arguments)
        await blueprint.open()
        threads = threading.active_count()
        for _ in range(20):
            session = blueprint.clone()
            await session.open()
            await session.async_synthesize("One.")
            await session.close()
        assert threading.active_count() <= threads
        assert service.relay.accepted == 1
        await blueprint.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())


def test_a_thread_can_wait_for_a_sentence_while_another_one_is_spoken(
    arguments: Mapping[str, Any],
) -> None:
    async def check(voice: CosyVoiceLocal) -> None:
        spoken = voice.async_synthesize_stream(TEXT)
        await anext(spoken)
        alone = await run_in_thread(voice.synthesize, TEXT)
        await spoken.aclose()
        assert alone == await voice.async_synthesize(TEXT)

    using(CosyVoiceLocal, arguments, check)


def test_the_originals_configuration_is_taken() -> None:
    schema.build(
        CosyVoiceLocal,
        {
            "host": "localhost",
            "port": 50000,
            "mode": "zero_shot_by_spk_id",
            "spk_id": "001",
            "sample_rate": 48000,
            "stream": False,
            "speed": 1.0,
            "format": "pcm",
            "text_frontend": True,
        },
    )
