"""What GPTSoVITS asks its server for: every parameter, the recordings of a voice, and the pace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
from fake_gpt_sovits import TYPES, FakeGPTSoVITS
from xtalk_tts_gpt_sovits.voice import GPTSoVITS

from xtalk import schema
from xtalk.errors import ConfigError, ModelError
from xtalk.testing.services import running

pytestmark = pytest.mark.real_time

PATHS = ["voices/anna.wav", "voices/ben.mp3"]
WINDOWS = r"C:\voices\carla.wav"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeGPTSoVITS]:
    local = [str(tmp_path / name) for name in ("one.wav", "two.flac")]
    with running(FakeGPTSoVITS([*PATHS, WINDOWS, *local])) as service:
        yield service


def asked(voice: GPTSoVITS, service: FakeGPTSoVITS) -> dict[str, Any]:
    """What the server is asked when the voice speaks."""
    assert voice.synthesize("Hello.")
    return service.asked[-1]


# --- parameters -----------------------------------------------------------------------------------


def test_every_parameter_reaches_the_server(service: FakeGPTSoVITS) -> None:
    params = {
        "text_lang": "en",
        "prompt_lang": "ja",
        "prompt_text": "Guten Tag.",
        "speed_factor": 1.1,
        "media_type": "wav",
        "streaming_mode": 2,
        "top_k": 15,
        "top_p": 0.9,
        "temperature": 0.8,
        "text_split_method": "cut0",
        "batch_size": 2,
        "batch_threshold": 0.5,
        "split_bucket": False,
        "fragment_interval": 0.1,
        "seed": 7,
        "parallel_infer": False,
        "repetition_penalty": 1.5,
        "sample_steps": 16,
        "super_sampling": True,
    }
    others = {"port": service.port, "ref_audio_paths": PATHS, "timeout": 5, "host": "127.0.0.1"}
    body = asked(schema.build(GPTSoVITS, {**params, **others}), service)
    assert {name: body[name] for name in params} == params
    assert set(body) == set(TYPES)


def test_another_media_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="media_type"):
        schema.build(GPTSoVITS, {"ref_audio_paths": PATHS, "media_type": "ogg"})


@pytest.mark.parametrize("mode", [True, 1, 2, 3])
def test_streaming_mode_really_streams(service: FakeGPTSoVITS, mode: Any) -> None:
    """Sound of the first part is there while the server holds the second one back."""

    async def check() -> None:
        voice = schema.build(
            GPTSoVITS, {"ref_audio_paths": PATHS, "port": service.port, "streaming_mode": mode}
        )
        await voice.open()
        service.hold()
        async with aclosing(voice.async_synthesize_stream("x" * 30)) as frames:
            with anyio.fail_after(5):
                first = await anext(frames)
            service.release()
            rest = [frame async for frame in frames]
        await voice.close()
        assert 0.3 < first.seconds < 1.0
        assert first.seconds + sum(f.seconds for f in rest) == pytest.approx(1.8, abs=0.01)
        assert {frame.rate for frame in (first, *rest)} == {voice.output_rate}

    anyio.run(check)


# --- voices ---------------------------------------------------------------------------------------


def test_the_first_recording_is_spoken_after_and_the_others_lend_their_tone(
    service: FakeGPTSoVITS,
) -> None:
    body = asked(GPTSoVITS(PATHS, port=service.port), service)
    assert (body["ref_audio_path"], body["aux_ref_audio_paths"]) == (PATHS[0], PATHS[1:])


def test_a_recording_is_a_voice_by_the_name_of_its_file(service: FakeGPTSoVITS) -> None:
    voice = GPTSoVITS([*PATHS, WINDOWS], port=service.port)
    assert voice.voices == ("anna", "ben", "carla")
    voice.set_voice(["nobody", "ben"])
    body = asked(voice, service)
    assert (body["ref_audio_path"], body["aux_ref_audio_paths"]) == (PATHS[1], [])


def test_a_folder_on_this_machine_stands_for_its_recordings(
    service: FakeGPTSoVITS, tmp_path: Path
) -> None:
    for name in ("two.flac", "one.wav", "notes.txt"):
        (tmp_path / name).touch()
    voice = GPTSoVITS(str(tmp_path), port=service.port)
    assert voice.voices == ("one", "two")
    assert asked(voice, service)["ref_audio_path"] == str(tmp_path / "one.wav")


def test_a_voice_with_its_own_text(service: FakeGPTSoVITS) -> None:
    anna = {"ref_audio_path": PATHS[0], "prompt_text": "Hello.", "prompt_lang": "en"}
    voice = GPTSoVITS(voices={"Anna": anna, "Ben": PATHS[1]}, port=service.port)
    body = asked(voice, service)
    assert {name: body[name] for name in anna} == anna
    voice.set_voice(["Ben"])
    body = asked(voice, service)
    assert (body["ref_audio_path"], body["prompt_text"]) == (PATHS[1], "")


@pytest.mark.parametrize("name", ["voices/anna.wav", "/etc", "../anna", "nobody", ""])
def test_trap_45_a_clients_path_is_no_voice(name: str) -> None:
    with pytest.raises(ValueError, match=r"no voice .*its configuration names anna, ben"):
        GPTSoVITS(PATHS).set_voice([name])


def test_a_path_may_be_given_alone() -> None:
    assert GPTSoVITS(PATHS[0]).voices == ("anna",)


@pytest.mark.parametrize(
    "params, says",
    [
        ({}, "has no recording to speak after"),
        ({"voices": {"anna": {"path": "x"}}}, r"voices\.anna has path; expected ref_audio_path"),
        ({"voices": {"anna": {}}}, r"voices\.anna has nothing"),
    ],
)
def test_what_cannot_be_a_voice(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        GPTSoVITS(**params)


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no recording"):
        GPTSoVITS([str(tmp_path)])


# --- pace, rate, failures -------------------------------------------------------------------------


def test_a_speed_multiplies_the_configured_pace(service: FakeGPTSoVITS) -> None:
    voice = GPTSoVITS(PATHS, port=service.port, speed_factor=1.2)
    voice.set_speed(0.5)
    assert asked(voice, service)["speed_factor"] == pytest.approx(0.6)
    with pytest.raises(ValueError, match=r"between 0\.5 and 1\.5, got 2"):
        voice.set_speed(2)


def test_the_rate_of_the_configuration(service: FakeGPTSoVITS) -> None:
    voice = GPTSoVITS(PATHS, port=service.port, sample_rate=16_000)
    assert len(voice.synthesize("x" * 20)) / 2 / 16_000 == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(
    "params, code",
    [
        ({"text_lang": "fr"}, "text_lang"),
        ({"text_split_method": "cut9"}, "text_split_method"),
        ({"ref_audio_paths": ["voices/dora.wav"]}, "tts"),
    ],
)
def test_what_the_server_refuses_is_told(
    service: FakeGPTSoVITS, caplog: pytest.LogCaptureFixture, params: dict[str, Any], code: str
) -> None:
    """The parameter in the log; what the server says of it nowhere."""
    voice = GPTSoVITS(**{"ref_audio_paths": PATHS, "port": service.port, **params})
    with caplog.at_level(logging.WARNING), pytest.raises(ModelError, match=r"refused .*\(400\)"):
        voice.synthesize("Hello.")
    assert caplog.messages == [f"GPT-SoVITS answered 400 {code}"]
