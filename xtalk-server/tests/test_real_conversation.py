"""A conversation as it is meant: real speech, the embedded default, a real WebSocket, real time.

A caller interrupts a long answer by another question. What was said, heard and remembered is then
compared with the log of the session and with its recording.
"""

from __future__ import annotations

import asyncio
import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from xtalk_agent_rules.agent import SAYINGS, RuleAgent
from xtalk_asr_pocketsphinx.asr import PocketSphinx

from xtalk.api import Xtalk
from xtalk.audio import RATE_OUT, AudioFrame, resample
from xtalk.cli import main as xtalk_command
from xtalk.commands.speech import _heard as heard_in
from xtalk.session_log import Call, Log, read
from xtalk.testing.client import WireClient, connect
from xtalk.testing.recordings import TEXTS, path, recording
from xtalk.threads import Guard
from xtalk.wire import messages as m
from xtalk_server.config import DEFAULT
from xtalk_server.testing import running

pytestmark = pytest.mark.real_time

PEOPLE = Path(__file__).parents[3] / "shared" / "speech"  # beside the repository, if at all
HEARD_S = 2.5  # of the first answer, before the caller interrupts it
NEAR_S = 0.4  # content, not milliseconds: other programs run on this machine too
SAME = 0.99
ATTEMPTS = 4
STALL_S = 0.06  # what a recording takes for jitter


# --- what the voice handed over, and where it sounded ---------------------------------------------


def sentences(call: Call) -> list[Any]:
    """The samples of each sentence as the voice handed them over, at 48 kHz."""
    made: dict[int, bytes] = {}
    for step in call.steps:
        if step.kind == "out" and step.audio is not None:
            made[step.fields["of"]] = made.get(step.fields["of"], b"") + step.audio.pcm()
    rate = next(step.audio.rate for step in call.steps if step.audio is not None)
    return [
        np.frombuffer(resample(AudioFrame(pcm, rate), RATE_OUT).pcm, "<i2").astype(float)
        for _, pcm in sorted(made.items())
    ]


def sounding(samples: Any) -> Any:
    """Without the silence around it."""
    loud = np.flatnonzero(np.abs(samples) > 100)
    return samples[loud[0] : loud[-1] + 1]


def find(wanted: Any, track: Any) -> tuple[float, float]:
    """Where in the track it sounds (s), and how much it is the same there (1 is all)."""
    size = 1 << (len(track) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(track, size) * np.conj(np.fft.rfft(wanted, size)), size)
    place = int(np.argmax(products[: len(track) - len(wanted) + 1]))
    there = track[place : place + len(wanted)]
    norm = np.linalg.norm(there) * np.linalg.norm(wanted)
    return place / RATE_OUT, float(np.dot(there, wanted) / norm)


def channels(file: Path) -> tuple[Any, Any]:
    with wave.open(str(file), "rb") as wav:
        assert (wav.getframerate(), wav.getnchannels()) == (RATE_OUT, 2)
        both = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0].astype(float), both[:, 1].astype(float)


def sent(log: Log, action: str) -> list[float]:
    """When messages of this kind left."""
    return [each.t for each in log.sent if each.message and each.message["action"] == action]


# --- the conversation -----------------------------------------------------------------------------


@dataclass
class Heard:
    """The conversation, from the caller's side and from the server's."""

    client: WireClient
    history: str
    log: Log
    user: Any
    agent: Any

    @property
    def finals(self) -> list[str]:
        return [each.text for each in self.client.received(m.FinishAsr)]

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [dict(event.fields) for event in self.log.of("ReplyOver")]

    @property
    def spoken(self) -> list[Call]:
        return [call for call in self.log.calls if call.stage == "speak"]


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """Held again when the machine stood still in it: then what was heard really had gaps."""
    for _ in range(ATTEMPTS):
        held, stall_s = hold(tmp_path_factory.mktemp("sessions"))
        if stall_s < STALL_S:
            return held
    pytest.skip(
        f"this machine stood still in each of {ATTEMPTS} conversations, now {stall_s:.2f} s"
    )


def hold(folder: Path) -> tuple[Heard, float]:
    """One conversation, and how long (s) a timer of its client or its server was late at most."""
    settings = {"recording": str(folder), "session_log": str(folder)}
    xtalk = Xtalk.from_config(DEFAULT, arguments={"service_config": settings})
    with running(xtalk) as server:
        probes = [Probe(), Probe()]
        probes[0].start(server.loop)
        client, history = asyncio.run(interrupting(server.ws, xtalk, probes[1]))
    (log,) = folder.glob("*.jsonl")
    held = Heard(client, history, read(log), *channels(log.with_suffix(".wav")))
    return held, max(probe.late_s for probe in probes)


class Probe:
    """A timer of 10 ms on an event loop, and how late it was at most."""

    EVERY_S = 0.01

    def __init__(self) -> None:
        self.late_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._again, loop)

    def _again(self, loop: asyncio.AbstractEventLoop, due: float | None = None) -> None:
        now = loop.time()
        self.late_s = max(self.late_s, now - (due or now))
        loop.call_later(self.EVERY_S, self._again, loop, now + self.EVERY_S)


async def interrupting(url: str, xtalk: Xtalk, probe: Probe) -> tuple[WireClient, str]:
    async with connect(url) as connection, WireClient(connection) as client:
        probe.start(asyncio.get_running_loop())
        await client.wait_for(m.SessionInfo)
        (session,) = xtalk.host.sessions.values()
        await client.say(recording("what-can-you-do").pcm)
        await client.until(lambda: heard_s(client) > HEARD_S, timeout=20)
        before = len(client.timeline)
        await client.say(recording("what-time-is-it").pcm)
        await client.wait_for(m.FinishAsr, after=before)
        await client.wait_until_heard(after=before)
        await anyio.sleep(0.5)  # the last acknowledgement is on its way
        return client, session.pipeline.get_agent().get_chat_history()


def heard_s(client: WireClient) -> float:
    return sum(AudioFrame(sound.pcm, RATE_OUT).seconds for sound in client.speaker.heard)


def test_both_questions_are_understood(conversation: Heard) -> None:
    assert conversation.finals == [TEXTS["what-can-you-do"], TEXTS["what-time-is-it"]]


def test_the_first_reply_is_stopped_and_the_second_is_heard_to_its_end(
    conversation: Heard,
) -> None:
    first, second = conversation.replies
    assert (first["outcome"], second["outcome"]) == ("interrupted", "done")
    stops = sent(conversation.log, "stop_tts")
    starts = sent(conversation.log, "start_tts")
    assert len(starts) == 2
    assert starts[0] < stops[-1] < starts[1]
    assert len(sent(conversation.log, "tts_finished")) == 1
    assert second["heard"].startswith("It is ")
    assert second["heard"] == conversation.client.received(m.FinishResp)[-1].text


def test_the_history_holds_what_was_heard(conversation: Heard) -> None:
    heard, whole = conversation.replies[0]["heard"], SAYINGS["help"]
    assert whole.startswith(heard)
    assert 10 < len(heard) < len(whole) - 10
    assert f"Assistant: {heard}" in conversation.history
    assert whole not in conversation.history
    assert conversation.history.splitlines()[-1] == f"Assistant: {conversation.replies[1]['heard']}"
    made_s = sum(map(len, sentences(conversation.spoken[0]))) / RATE_OUT
    claimed_s = made_s * len(heard) / len(whole)
    assert claimed_s <= until(conversation) - first_sound(conversation) + NEAR_S


def first_sound(conversation: Heard) -> float:
    return next(each.t for each in conversation.log.sent if each.samples)


def until(conversation: Heard) -> float:
    """When the caller's loudspeaker fell silent, by the log."""
    return sent(conversation.log, "pause_tts")[0]


def test_the_user_is_recognised_again_where_the_log_says(conversation: Heard) -> None:
    log = conversation.log
    begins = [event.t for event in log.of("VADSpeechStart")]
    ends = [event.t for event in log.of("VADSpeechEnd")]
    assert len(begins) == len(ends) == 2
    pieces = [
        conversation.user[int((begin - NEAR_S) * RATE_OUT) : int((end + NEAR_S) * RATE_OUT)]
        for begin, end in zip(begins, ends, strict=True)
    ]
    assert asyncio.run(recognised(pieces)) == conversation.finals
    outside = conversation.user.copy()
    for begin, end in zip(begins, ends, strict=True):
        outside[int((begin - NEAR_S) * RATE_OUT) : int((end + NEAR_S) * RATE_OUT)] = 0
    assert np.abs(outside).max() < 100


async def recognised(pieces: list[Any]) -> list[str]:
    """As `xtalk transcribe` does it, with the words that the agent listens for."""
    asr = PocketSphinx()
    asr.set_grammar(RuleAgent().grammar())
    try:
        async with Guard(asr).lease() as lease:
            return [
                await heard_in(lease, AudioFrame(piece.astype("<i2").tobytes(), RATE_OUT))
                for piece in pieces
            ]
    finally:
        asr.close()


def test_the_agent_sounds_as_the_voice_made_it_where_the_log_says(conversation: Heard) -> None:
    log, track = conversation.log, conversation.agent
    first, second = map(sentences, conversation.spoken)
    begins, silence = first_sound(conversation), until(conversation)
    again = sent(log, "start_tts")[1]
    # The interrupted reply: from its first chunk to the pause, and then nothing.
    places = places_of(first, track[: round(again * RATE_OUT)], (silence - NEAR_S) * RATE_OUT)
    assert places[0] == pytest.approx(begins, abs=NEAR_S)
    assert sum(map(len, first)) > (silence - begins + 1.0) * RATE_OUT
    quiet = track[round((silence + NEAR_S) * RATE_OUT) : round(again * RATE_OUT)]
    assert len(quiet)
    assert not quiet.any()
    # The answer to the interruption, whole.
    places = places_of(second, track, len(track))
    assert len(places) == len(second)
    assert places[0] == pytest.approx(again, abs=NEAR_S)


def places_of(wanted: list[Any], track: Any, end: float) -> list[float]:
    """Where the sentences sound (s), one behind the other, up to this sample."""
    places, free = [], 0.0
    for sentence in map(sounding, wanted):
        if free + RATE_OUT / 4 > end:
            break
        at, likeness = find(sentence[: round(end - free)], track)
        assert likeness >= SAME, f"sentence {len(places)} is not there"
        places.append(at)
        free = at * RATE_OUT + len(sentence)
    assert places == sorted(places)
    return places


# --- xtalk talk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("over_the_wire", [False, True])
def test_talk_saves_the_reply_as_the_voice_made_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], over_the_wire: bool
) -> None:
    command = ["talk", "--wav", str(path("two-plus-three")), "-o", str(tmp_path / "reply.wav")]
    if over_the_wire:
        settings = {"session_log": str(tmp_path)}
        xtalk = Xtalk.from_config(DEFAULT, arguments={"service_config": settings})
        with running(xtalk) as server:
            assert xtalk_command([*command, "--url", server.ws, "--json"]) == 0
    else:
        here = ["--config", str(DEFAULT), "--log", str(tmp_path), "--json"]
        assert xtalk_command([*command, *here]) == 0
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert (turn["heard"], turn["reply"]) == (TEXTS["two-plus-three"], "2 plus 3 is 5.")
    (log,) = tmp_path.glob("*.jsonl")
    (call,) = [each for each in read(log).calls if each.stage == "speak"]
    _, right = channels(tmp_path / "reply.wav")
    made = sounding(np.concatenate(sentences(call)))
    assert find(made, right)[1] >= SAME
    assert len(sounding(right)) == pytest.approx(len(made), abs=RATE_OUT // 100)


def test_a_person_is_understood_word_for_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = PEOPLE / "go-forward-ten-meters.wav"
    if not speech.exists():
        pytest.skip(f"the recording of a person {speech.name} is not beside the repository")
    with running(Xtalk.from_config(DEFAULT)) as server:
        assert xtalk_command(["talk", "--wav", str(speech), "--url", server.ws, "--json"]) == 0
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert turn["heard"] == "go forward ten meters"
    assert turn["reply"].startswith("I heard: go forward ten meters.")
