"""Which recording and which emotion the server is asked for, and what is refused before that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_index_tts import FakeIndexTTS, FakeIndexTTS2
from xtalk_tts_index.recordings import DEFAULT
from xtalk_tts_index.voices import EMOTIONS, IndexTTS, IndexTTS2

from xtalk import schema
from xtalk.errors import ConfigError, ModelError, ModelTimeout
from xtalk.testing.services import Fault, running

pytestmark = pytest.mark.real_time

THE_SERVERS_OWN = DEFAULT["default"]["neutral"]
VOICES = {"anna": "voices/anna.wav", "ben": "voices/ben.wav"}
PATHS = [*VOICES.values(), THE_SERVERS_OWN]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A voice with emotions, on this machine and, by the same paths, on the server."""
    folder = tmp_path / "carla"
    folder.mkdir()
    for name in ("carla.wav", "carla_happy.wav", "sad.flac", "notes.txt"):
        (folder / name).touch()
    return folder


@pytest.fixture
def one(tmp_path: Path, folder: Path) -> Iterator[FakeIndexTTS]:
    with running(FakeIndexTTS(tmp_path, [*PATHS, *map(str, folder.iterdir())])) as service:
        yield service


@pytest.fixture
def two(tmp_path: Path, folder: Path) -> Iterator[FakeIndexTTS2]:
    with running(FakeIndexTTS2(tmp_path, [*PATHS, *map(str, folder.iterdir())])) as service:
        yield service


def asked(voice: IndexTTS | IndexTTS2, service: FakeIndexTTS) -> dict[str, Any]:
    """What the server is asked when the voice speaks, without the text."""
    assert voice.synthesize("Hello.")
    return {key: value for key, value in service.asked[-1].items() if key != "text"}


# --- voices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [IndexTTS, IndexTTS2])
def test_trap_51_it_speaks_with_only_a_port(
    one: FakeIndexTTS, two: FakeIndexTTS2, model: type[Any]
) -> None:
    service = two if model is IndexTTS2 else one
    voice = schema.build(model, {"port": service.port})
    assert THE_SERVERS_OWN in str(asked(voice, service))


def test_the_first_voice_speaks_alone(one: FakeIndexTTS) -> None:
    voice = IndexTTS(VOICES, port=one.port)
    assert asked(voice, one) == {"audio_paths": ["voices/anna.wav"]}


@pytest.mark.parametrize("model", [IndexTTS, IndexTTS2])
def test_a_voice_by_name(one: FakeIndexTTS, two: FakeIndexTTS2, model: type[Any]) -> None:
    service = two if model is IndexTTS2 else one
    voice = model(VOICES, port=service.port)
    voice.set_voice(["nobody", "ben"])
    assert "voices/ben.wav" in str(asked(voice, service))


@pytest.mark.parametrize("name", ["voices/ben.wav", "/etc/passwd", "../anna", ""])
def test_trap_45_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="anna, ben"):
        IndexTTS(VOICES).set_voice([name])


def test_another_map_of_voices(two: FakeIndexTTS2) -> None:
    voice = IndexTTS2(voices_map=VOICES, port=two.port)
    assert voice.voices == ("anna", "ben")
    assert asked(voice, two)["spk_audio_path"] == "voices/anna.wav"


def test_what_cannot_be_a_voice(tmp_path: Path) -> None:
    for voices, says in [
        ([{"name": "anna"}], r"voices\[0\] has name; expected name and path"),
        ([{"name": "", "path": "x"}], r"voices\[0\]"),
        ([{"name": "a", "path": "x"}, {"name": "a", "path": "y"}], "two voices called 'a'"),
        ({"a": str(tmp_path)}, "holds no recording"),
    ]:
        with pytest.raises(ConfigError, match=says):
            IndexTTS(voices)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one of them"):
        IndexTTS2(VOICES, voices_map=VOICES)


# --- emotions -------------------------------------------------------------------------------------


def test_a_folder_holds_a_recording_for_each_emotion(one: FakeIndexTTS, folder: Path) -> None:
    voice = IndexTTS({"carla": str(folder), **VOICES}, port=one.port)
    assert voice.emotions == ("neutral", "happy", "sad")
    assert asked(voice, one)["audio_paths"] == [str(folder / "carla.wav")]
    voice.set_emotion("sad")
    assert asked(voice, one)["audio_paths"] == [str(folder / "sad.flac")]


def test_trap_66_an_emotion_goes_back_to_neutral(one: FakeIndexTTS, folder: Path) -> None:
    voice = IndexTTS({"carla": str(folder)}, port=one.port)
    voice.set_emotion("happy")
    voice.set_emotion("neutral")
    assert asked(voice, one)["audio_paths"] == [str(folder / "carla.wav")]


def test_a_voice_without_the_emotion_speaks_neutrally(one: FakeIndexTTS, folder: Path) -> None:
    voice = IndexTTS({"carla": str(folder), **VOICES}, port=one.port)
    voice.set_emotion("happy")
    voice.set_voice(["ben"])
    assert voice.emotions == ("neutral",)
    assert asked(voice, one)["audio_paths"] == ["voices/ben.wav"]


def test_a_folder_without_a_neutral_recording(one: FakeIndexTTS, folder: Path) -> None:
    (folder / "carla.wav").unlink()
    voice = IndexTTS({"carla": str(folder)}, port=one.port)
    assert asked(voice, one)["audio_paths"] == [str(folder / "carla_happy.wav")]


@pytest.mark.parametrize("emotion", ["furious", [0.5] * 8])
def test_trap_58_an_emotion_that_is_not_there_is_refused(emotion: Any) -> None:
    with pytest.raises(ValueError, match="IndexTTS has no emotion"):
        IndexTTS(VOICES).set_emotion(emotion)


@pytest.mark.parametrize("place, name", [*enumerate(EMOTIONS)])
def test_an_emotion_by_name(two: FakeIndexTTS2, place: int, name: str) -> None:
    voice = IndexTTS2(VOICES, port=two.port)
    voice.set_emotion(name)
    control = asked(voice, two)
    assert control["emo_control_method"] == 2
    assert [number > 0 for number in control["emo_vec"]] == [place == at for at in range(8)]


def test_an_emotion_by_eight_numbers(two: FakeIndexTTS2) -> None:
    voice = IndexTTS2(VOICES, port=two.port)
    voice.set_emotion([0.5, 0, 0, 0, 0, 0, 1, 0])
    assert asked(voice, two)["emo_vec"] == [0.5, 0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("emotion", ["neutral", [0.0] * 8])
def test_trap_66_method_0_again(two: FakeIndexTTS2, emotion: Any) -> None:
    voice = IndexTTS2(VOICES, port=two.port)
    voice.set_emotion("joy")
    voice.set_emotion(emotion)
    assert asked(voice, two) == {"spk_audio_path": "voices/anna.wav", "emo_control_method": 0}


def test_the_voices_own_recording_of_an_emotion(two: FakeIndexTTS2, folder: Path) -> None:
    voice = IndexTTS2({"carla": str(folder)}, port=two.port)
    voice.set_emotion("sad")
    assert asked(voice, two) == {
        "spk_audio_path": str(folder / "carla.wav"),
        "emo_control_method": 1,
        "emo_ref_path": str(folder / "sad.flac"),
    }


def test_emotions_of_the_configuration(two: FakeIndexTTS2) -> None:
    emotions: Any = {"tired": "after a long day", "merry": [1, 0, 0, 0, 0, 0, 0.2, 0]}
    voice = IndexTTS2(VOICES, port=two.port, emotions=emotions)
    voice.set_emotion("tired")
    assert asked(voice, two)["emo_text"] == "after a long day"
    voice.set_emotion("merry")
    assert asked(voice, two)["emo_vec"] == emotions["merry"]


@pytest.mark.parametrize(
    "emotion, says",
    [
        ("furious", "has no emotion 'furious'; it knows neutral, joy"),
        ([0.1] * 7, "8 numbers"),
        ([0.1] * 7 + [-0.1], "8 numbers"),
        ([0.1] * 7 + [float("nan")], "8 numbers"),
        ([0.2] * 8, "add up to 1.6, more than 1.5"),
    ],
)
def test_what_the_server_would_refuse_is_refused_here(emotion: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        IndexTTS2(VOICES).set_emotion(emotion)


def test_an_emotion_of_the_configuration_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"emotions\.loud: .*8 numbers"):
        IndexTTS2(VOICES, emotions={"loud": [1.0]})


# --- the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [24_000, 22_050, 48_000])
def test_the_rate_of_the_configuration(one: FakeIndexTTS, rate: int) -> None:
    voice = IndexTTS(VOICES, port=one.port, sample_rate=rate)
    assert voice.output_rate == rate
    assert len(voice.synthesize("x" * 20)) / 2 / rate == pytest.approx(1.2, abs=0.01)


def test_trap_61_a_server_that_does_not_answer_is_given_up(one: FakeIndexTTS) -> None:
    one.fail(Fault.STALL)
    voice = IndexTTS(VOICES, port=one.port, timeout=0.1)
    with pytest.raises(ModelTimeout, match="IndexTTS took too long to answer"):
        voice.synthesize("Hello.")


def test_what_the_server_says_went_wrong_is_told(
    one: FakeIndexTTS, caplog: pytest.LogCaptureFixture
) -> None:
    """The kind of its error in the log; the path that it names nowhere."""
    voice = IndexTTS({"dora": "voices/dora.wav"}, port=one.port)
    with caplog.at_level(logging.WARNING), pytest.raises(ModelError, match=r"failed \(500\)"):
        voice.synthesize("Hello.")
    assert "IndexTTS answered 500 FileNotFoundError" in caplog.text
    assert "dora" not in caplog.text


def test_trap_84_sentences_share_one_connection(one: FakeIndexTTS) -> None:
    async def speak() -> None:
        voice = IndexTTS(VOICES, port=one.port)
        await voice.open()
        for _ in range(3):
            assert await voice.clone().async_synthesize("Hello.")
        await voice.close()

    asyncio.run(speak())
    assert (len(one.asked), one.connections) == (3, 1)
