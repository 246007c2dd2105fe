"""The recording against what the caller said and heard, on one clock."""

from __future__ import annotations

import stat
import wave
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from xtalk import events
from xtalk.managers.recording import AgentTrack, RecordingManager, UserTrack
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


class Half(SpeechEnhancer):
    """Halves the level."""

    inline = True

    def enhance(self, audio: bytes) -> bytes:
        return (np.frombuffer(audio, "<i2") // 2).astype("<i2").tobytes()

    def clone(self) -> Half:
        return Half()


def read(path: Path) -> tuple[Any, Any]:
    """The user's and the agent's side."""
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (48_000, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def only(folder: Path, pattern: str = "????????-????-????-????-????????????.wav") -> Path:
    (path,) = folder.glob(pattern)
    return path


def laid_out(sounds: list[tuple[float, bytes]], length: int) -> Any:
    """Sounds at their times, in seconds, silence between them."""
    track = np.zeros(length, "<i2")
    for at, pcm in sounds:
        samples = np.frombuffer(pcm, "<i2")
        start = round(at * 48_000)
        samples = samples[: max(0, length - start)]
        track[start : start + len(samples)] = samples
    return track


def as_heard(call: Any, length: int, began: float, late: float = 0.0) -> Any:
    return laid_out([(s.at - began + late, s.pcm) for s in call.client.speaker.heard], length)


def differing_ms(one: Any, other: Any) -> float:
    """How much of the track is not the same, give or take a sample's rounding."""
    away = np.minimum.reduce([np.abs(np.roll(one, n).astype(int) - other) for n in (-1, 0, 1)])
    return 1000 * np.count_nonzero(away > 2) / 48_000


def place_of(sound: bytes, track: Any) -> float:
    """Where the track sounds most like this 48 kHz recording, in seconds."""
    pattern = np.frombuffer(sound, "<i2").astype(float)
    size = len(track) + len(pattern)
    found = np.fft.irfft(np.fft.rfft(track, size) * np.conj(np.fft.rfft(pattern, size)), size)
    return int(np.argmax(found[: len(track)])) / 48_000


def chirp(seconds: float, rate: int, level: float = 8000) -> bytes:
    at = np.arange(round(seconds * rate)) / rate
    wave_ = level * np.sin(2 * np.pi * (200 * at + 400 * at**2))
    return wave_.astype("<i2").tobytes()


def test_both_sides_are_where_they_were(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> Any:
        async with talk(config={"recording": str(tmp_path)}, agent=ScriptedAgent(LONG)) as call:
            began = call.session.began
            await anyio.sleep(7.3)
            await call.client.say(chirp(1.0, 16_000))
            await call.client.wait_until_heard()
            await anyio.sleep(0.5)
            said = call.client.spoken[0][0] - began
            lasted = anyio.current_time() - began
        return call, began, said, lasted

    call, began, said, lasted = run(main)
    user, agent = read(only(tmp_path))
    assert len(user) / 48_000 == pytest.approx(lasted, abs=0.001)
    assert place_of(chirp(1.0, 48_000), user) == pytest.approx(said, abs=0.035)
    assert differing_ms(agent, as_heard(call, len(agent), began)) < 1


def enhanced() -> DefaultPipeline:
    return DefaultPipeline(
        asr=ScriptedASR(),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        vad=LoudnessVAD(),
        speech_enhancer=Half(),
    )


def test_the_second_file_has_the_microphone_as_it_was(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(config={"recording": str(tmp_path)}, pipeline=enhanced()) as call:
            await call.say()
            await call.client.wait_until_heard()

    run(main)
    clean, agent = read(only(tmp_path))
    raw, also_agent = read(only(tmp_path, "*.raw.wav"))
    assert np.abs(clean).max() == pytest.approx(np.abs(raw).max() / 2, rel=0.02)
    assert place_of(raw.tobytes(), clean) == 0
    assert np.array_equal(agent, also_agent)


@pytest.mark.parametrize("latency_s", [0.0, 0.08])
@pytest.mark.parametrize("second", ["", "stop that please now"])
def test_an_interrupted_reply_sounds_as_far_as_it_was_heard(
    talk: Any, run: Any, tmp_path: Path, second: str, latency_s: float
) -> None:
    """A cough pauses the reply, words end it; no sample is there twice or was not heard."""

    async def main() -> Any:
        asr = ScriptedASR(["tell me something", second, second])
        async with talk(
            config={"recording": str(tmp_path)},
            asr=asr,
            agent=ScriptedAgent(LONG),
            latency_s=latency_s,
        ) as call:
            began = call.session.began
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.05)
            before = len(call.client.timeline)
            await call.say(0.4)
            await call.client.wait_for(m.PauseTts, after=before)
            await call.client.wait_until_heard(after=before)
            await anyio.sleep(0.5)
        return call, began

    call, began = run(main)
    _, agent = read(only(tmp_path))
    heard = as_heard(call, len(agent), began, late=latency_s)
    assert np.count_nonzero(heard) > 48_000
    # A pause that the server asks for is placed by the round trip as its first chunk took it.
    assert differing_ms(agent, heard) < (5 if latency_s else 1)


def test_of_a_page_that_pauses_itself_the_cut_is_at_its_mark(
    talk: Any, run: Any, tmp_path: Path
) -> None:
    async def main() -> Any:
        asr = ScriptedASR(["tell me something", "stop that please now"])
        async with talk(
            config={"recording": str(tmp_path)},
            asr=asr,
            agent=ScriptedAgent(LONG),
            pauses_itself=True,
            vad=None,
            latency_s=0.05,
        ) as call:
            began = call.session.began
            speech = tone(1.0, rate=16_000)
            await call.client.say_with_marks(speech)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.05)
            before = len(call.client.timeline)
            await call.client.say_with_marks(speech)
            await call.client.wait_until_heard(after=before)
            await anyio.sleep(0.5)
        return call, began

    call, began = run(main)
    _, agent = read(only(tmp_path))
    assert differing_ms(agent, as_heard(call, len(agent), began, late=0.05)) < 5


def test_marks_of_nothing_before_the_reply_take_nothing_of_it(
    talk: Any, run: Any, tmp_path: Path
) -> None:
    async def main() -> Any:
        asr = ScriptedASR(word_s=5.0)
        async with talk(config={"recording": str(tmp_path)}, asr=asr) as call:
            began = call.session.began
            call.client.send(m.VadSpeechStart(timestamp=1))  # the detector hears nothing in it
            await call.client.wait_for(m.InvalidAsrResult)
            await call.say()
            await call.client.wait_until_heard()
            await anyio.sleep(1)
        return call, began

    call, began = run(main)
    _, agent = read(only(tmp_path))
    heard = as_heard(call, len(agent), began)
    assert np.count_nonzero(heard) > 10_000
    assert differing_ms(agent, heard) < 1


def test_a_client_that_never_acknowledges_is_placed_by_the_clock(
    talk: Any, run: Any, tmp_path: Path
) -> None:
    async def main() -> Any:
        async with talk(
            config={"recording": str(tmp_path)}, agent=ScriptedAgent(LONG), acknowledges=False
        ) as call:
            began = call.session.began
            await call.say()
            await call.client.wait_for(m.TtsFinished)
            await anyio.sleep(8)
        return call, began

    call, began = run(main)
    _, agent = read(only(tmp_path))
    assert differing_ms(agent, as_heard(call, len(agent), began)) < 1


def test_a_process_that_dies_leaves_a_whole_file(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(config={"recording": str(tmp_path)}) as call:
            await call.say()
            await anyio.sleep(20)
            user, _ = read(only(tmp_path))
            assert len(user) / 48_000 > 12
            assert only(tmp_path).stat().st_size == 44 + 4 * len(user)

    run(main)


def test_it_is_the_owners_alone(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> str:
        folder = str(tmp_path / "deep")
        async with talk(config={"recording": folder}, pipeline=enhanced()) as call:
            await anyio.sleep(1)
            return str(call.session.id)

    session_id = run(main)
    names = sorted(path.name for path in (tmp_path / "deep").iterdir())
    assert names == [f"{session_id}.raw.wav", f"{session_id}.wav"]
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "deep").iterdir()}
    assert modes == {0o600}


def test_without_an_enhancer_there_is_one_file(
    talk: Any, run: Any, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("INFO", "xtalk.recording")

    async def main() -> None:
        async with talk(config={"recording": str(tmp_path)}) as call:
            await call.say()
            await call.client.wait_until_heard()

    run(main)
    assert list(tmp_path.iterdir()) == [only(tmp_path)]
    assert caplog.messages == [f"recording {only(tmp_path)}"]


def test_without_it_no_audio_goes_on_the_bus(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(config={"data_dir": str(tmp_path)}) as call:
            await call.say()
            assert not call.session.bus.has(events.AudioFrameReceived)
            assert not call.session.bus.has(events.EnhancedAudioFrameReceived)
            assert call.session.find(RecordingManager) is None

    run(main)
    assert list(tmp_path.iterdir()) == []


def test_registered_it_records_into_the_data_folder(talk: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(
            config={"data_dir": str(tmp_path)},
            service=lambda service: service.register_manager(RecordingManager),
        ):
            await anyio.sleep(1)

    run(main)
    assert only(tmp_path / "recordings").exists()


def test_a_folder_that_cannot_be_written_costs_only_the_recording(
    talk: Any, run: Any, tmp_path: Path, caplog: Any
) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        async with talk(config={"recording": str(tmp_path / "file")}) as call:
            await anyio.sleep(1.5)
            (told,) = caplog.messages  # before anything was said that is lost
            assert "the recording of session" in told and "ends here" in told
            await call.say()
            await call.client.wait_until_heard()
            await anyio.sleep(10)

    caplog.set_level("INFO", "xtalk.recording")
    caplog.set_level("INFO", "xtalk.disk")
    run(main)
    assert len(caplog.messages) == 1


# --- the tracks ---------------------------------------------------------------------------------


def frame(value: int, samples: int = 320) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def levels(pcm: bytes, step: int = 320) -> list[int]:
    return [int(v) for v in np.frombuffer(pcm, "<i2")[::step]]


def test_frames_that_were_held_up_leave_no_gap() -> None:
    track = UserTrack()
    for number in range(1, 101):
        at = number * 0.02
        track.put(frame(number), 1.2 if 0.5 < at < 1.2 else at)  # a stall, and then all at once
    assert levels(track.take(32_000, 10.0)) == list(range(1, 101))


def test_a_muted_microphone_leaves_a_gap_of_its_length() -> None:
    track = UserTrack()
    for number in [*range(1, 26), *range(51, 101)]:
        track.put(frame(number), number * 0.02)
    assert levels(track.take(32_000, 10.0)) == [*range(1, 26), *[0] * 25, *range(51, 101)]


def test_a_microphone_with_a_fast_clock_stays_aligned() -> None:
    track = UserTrack()
    for number in range(1, 3001):
        track.put(frame(number), number * 0.0199)  # half a percent fast
    last = levels(track.take(round(3000 * 0.0199 * 16_000), 100.0))[-1]
    assert last > 2995


def test_the_track_is_as_long_as_asked_whatever_came() -> None:
    track = UserTrack()
    pieces = [track.take(until, until / 16_000 + 5) for until in (1600, 4000, 4000, 16_000)]
    assert list(map(len, pieces)) == [3200, 4800, 0, 24_000]


def test_false_acknowledgements_place_nothing() -> None:
    """The original's page reports what it threw away as played."""
    track = AgentTrack()
    for index in range(1, 6):
        track.sent(index, frame(index, 9600), 0.0)
    track.acknowledged(1, 0.2)
    track.suspended(0.3)
    for index in (4, 2, 5, 3):
        track.acknowledged(index, 0.8)
    track.stopped(1.0)
    heard = levels(track.take(96_000, 10.0), 4800)
    assert heard[:4] == [1, 1, 2, 0]
    assert not any(heard[3:])


def test_acknowledgements_faster_than_time_place_nothing() -> None:
    track = AgentTrack()
    for index in range(1, 6):
        track.sent(index, frame(index, 9600), 0.0)
    track.acknowledged(1, 0.2)
    track.acknowledged(5, 0.25)
    assert levels(track.take(96_000, 10.0), 4800)[:4] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ((7.2, 7.4, 7.6), [1, 1, 2, 2, 3, 3, 0, 0]),
        ((7.2, 7.6, 7.8), [1, 1, 0, 0, 2, 2, 3, 3]),
        ((None, None, None), [1, 1, 0, 0, 2, 2, 3, 3]),
        ((7.2, 3.0, 3.0), [1, 1, 2, 2, 3, 3, 0, 0]),
    ],
    ids=["held up", "a gap", "no clock", "a clock that was set back"],
)
def test_an_acknowledgement_that_was_held_up_makes_no_gap(told: Any, heard: list[int]) -> None:
    track = AgentTrack()
    for index in (1, 2, 3):
        track.sent(index, frame(index, 9600), 0.0)
    for index, now, at in zip((1, 2, 3), (0.2, 0.6, 0.61), told, strict=True):
        track.acknowledged(index, now, at)
    assert levels(track.take(96_000, 10.0), 4800)[:8] == heard


def test_a_client_whose_clock_stands_still_is_believed_on_the_next_reply() -> None:
    track = AgentTrack()
    for index, now in ((1, 0.2), (2, 1.2)):
        track.sent(index, frame(index, 9600), now - 0.2)
        track.acknowledged(index, now, 0.0)
    assert levels(track.take(96_000, 10.0), 4800)[:12] == [1, 1, *[0] * 8, 2, 2]


def test_of_a_client_that_fell_silent_no_more_is_taken_for_heard() -> None:
    track = AgentTrack()
    for index in range(1, 6):
        track.sent(index, frame(index, 9600), 0.0)
    track.acknowledged(1, 0.2)
    track.stopped(5.0)
    assert levels(track.take(480_000, 20.0), 4800)[:6] == [1, 1, 2, 2, 0, 0]


def test_what_replaces_a_lost_chunk_is_not_there_twice() -> None:
    track = AgentTrack()
    track.sent(1, frame(1, 9600), 0.0)
    track.sent(2, frame(2, 9600), 0.0)
    track.acknowledged(1, 0.2)
    track.suspended(0.3)
    track.stopped(1.0)
    track.sent(3, frame(2, 4800), 1.0)  # the second half of 2 once more
    track.acknowledged(3, 1.1)
    assert levels(track.take(96_000, 10.0), 4800)[:12] == [1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0]


def test_speech_before_a_reply_suspends_nothing_of_it() -> None:
    track = AgentTrack()
    track.suspended(0.1)  # a mark while nothing sounds, and nobody resumes what did not stop
    track.started()
    track.sent(1, frame(1, 9600), 2.0)
    track.acknowledged(1, 2.2)
    assert sum(levels(track.take(480_000, 10.0), 4800)) == 2


def test_a_client_that_stops_acknowledging_keeps_no_memory() -> None:
    track = AgentTrack()
    track.sent(1, frame(1, 9600), 0.0)
    track.acknowledged(1, 0.2)
    for index in range(2, 1000):
        track.sent(index, frame(1, 9600), index * 0.2)
    assert track._queue_s <= 30
