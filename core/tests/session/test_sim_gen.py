"""Simultaneous mode: clauses are answered one after another while the user goes on speaking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk import events
from xtalk.audio import AudioFrame
from xtalk.errors import ModelError
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import PuntRestorer, Transcript
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.wire import messages as m

from .conftest import watch

SPOKEN = (
    "the cat sat on the mat, and then it fell asleep at once. nobody knows why it did, "
    "but we all think that it was tired from the hunt."
)
CLAUSES = [
    "the cat sat on the mat,",
    "and then it fell asleep at once.",
    "nobody knows why it did,",
    "but we all think that it was tired from the hunt.",
]
SIM = {"sim_gen": True}


def interpreter(**options: Any) -> ScriptedAgent:
    return ScriptedAgent(lambda i: (i["content"].upper(),), **options)


async def speak(call: Any, text: str, *, word_s: float = 0.3) -> None:
    await call.say(word_s * len(text.split()) + 0.1)


async def answered(call: Any, count: int) -> None:
    """Until that many replies have been heard, and some silence."""
    await call.client.until(
        lambda: len(call.client.received(m.TtsFinished)) >= count and call.client.speaker.empty,
        timeout=60,
    )
    await anyio.sleep(2)


def test_clauses_are_answered_while_the_user_speaks(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        async with talk(asr=ScriptedASR([SPOKEN]), agent=agent, config=SIM) as call:
            await speak(call, SPOKEN)
            spoken_at = anyio.current_time()
            await answered(call, 4)
            starts = [e.at for e in call.client.timeline if isinstance(e.message, m.StartTts)]
            assert len([at for at in starts if at < spoken_at]) >= 2
            told = call.actions()
            assert told.count("start_tts") == told.count("tts_finished") == 4
            assert not {"pause_tts", "resume_tts", "stop_tts"} & set(told)
            finals = call.client.received(m.FinishAsr)
            assert [(f.turn_id, f.text) for f in finals] == list(enumerate(CLAUSES, 1))
            replies = call.client.received(m.FinishResp)
            assert [(r.turn_id, r.text) for r in replies] == [
                (n, clause.upper()) for n, clause in enumerate(CLAUSES, 1)
            ]

    run(main)
    assert [(r.user, r.heard, r.outcome) for r in agent.records] == [
        (clause, clause.upper(), "done") for clause in CLAUSES
    ]


def test_the_deltas_of_a_clause_are_its_words(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([SPOKEN]), agent=interpreter(), config=SIM) as call:
            await speak(call, SPOKEN)
            await answered(call, 4)
            over: set[int] = set()
            shown: dict[int, str] = {}
            for entry in call.client.timeline:
                if isinstance(entry.message, m.UpdateAsr):
                    turn_id = entry.message.turn_id
                    assert turn_id not in over
                    shown[turn_id] = shown.get(turn_id, "") + entry.message.text
                elif isinstance(entry.message, m.FinishAsr):
                    over.add(entry.message.turn_id)
            for turn_id, clause in enumerate(CLAUSES, 1):
                # the word behind a clause was shown before the clause was known to be over
                assert shown[turn_id].startswith(clause.rstrip(",."))

    run(main)


def test_the_whole_log_follows_each_utterance(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR([SPOKEN, "one more thing"])
        async with talk(asr=asr, agent=interpreter(), config=SIM) as call:
            await speak(call, SPOKEN)
            await anyio.sleep(2)
            await call.say(1.2)
            await answered(call, 5)
            refined = [r.text for r in call.client.received(m.RefineTranscription)]
            assert refined == [SPOKEN, f"{SPOKEN} one more thing"]

    run(main)


def test_text_without_punctuation_is_answered_too(talk: Any, run: Any) -> None:
    text = " ".join(f"word{n}" for n in range(30))
    agent = interpreter()

    async def main() -> None:
        async with talk(asr=ScriptedASR([text]), agent=agent, config=SIM) as call:
            await speak(call, text)
            assert call.client.received(m.FinishResp)  # before the user is done
            await answered(call, len(call.client.received(m.FinishAsr)))

    run(main)
    assert len(agent.records) > 2
    assert " ".join(record.user for record in agent.records) == text


class Comma(PuntRestorer):
    """Puts a comma behind every fifth word, and a full stop at the end."""

    def __init__(self, wait_s: float = 0.0, error: Exception | None = None) -> None:
        self.wait_s, self.error = wait_s, error

    def restore(self, text: str) -> str:
        raise AssertionError("the most specific method is called")

    async def async_restore(self, text: str) -> str:
        await anyio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        words = text.split()
        return " ".join(w + "," * (n % 5 == 4) for n, w in enumerate(words)).rstrip(",") + "."


@pytest.mark.parametrize(
    ("restorer", "first"),
    [
        (Comma(), "word0 word1 word2 word3 word4,"),
        (Comma(wait_s=0.2), "word0 word1 word2 word3 word4,"),
        (Comma(wait_s=1e6), "word0"),
        (Comma(error=RuntimeError("broken")), "word0"),
    ],
    ids=["quick", "slow", "hanging", "broken"],
)
def test_punctuation_is_restored_where_there_is_none(
    talk: Any, run: Any, restorer: Comma, first: str
) -> None:
    text = " ".join(f"word{n}" for n in range(18))
    agent = interpreter()

    async def main() -> None:
        pipeline = DefaultPipeline(
            asr=ScriptedASR([text]),
            llm_agent=agent,
            tts=ScriptedTTS(),
            vad=LoudnessVAD(),
            punt_restorer_model=restorer,
        )
        async with talk(pipeline=pipeline, config=SIM) as call:
            await speak(call, text)
            await answered(call, 2)
            await answered(call, len(call.client.received(m.FinishAsr)))

    run(main)
    said = [record.user for record in agent.records]
    assert said[0].startswith(first)
    assert " ".join(said).replace(",", "").rstrip(".") == text


@pytest.mark.parametrize("source", ["auto", "client", "server"])
def test_the_marks_of_clients_only_start_and_end_recognition(
    talk: Any, run: Any, source: str
) -> None:
    async def main() -> None:
        config = {**SIM, "vad_source": source}
        asr = ScriptedASR(["hello there my friend", "and good-bye to you"])
        async with talk(asr=asr, agent=interpreter(), config=config) as call:
            for _ in range(2):
                await call.client.say_with_marks(b"".join(loud(1.0)), end_delay_s=0.5)
                await anyio.sleep(1.5)
            await answered(call, 2)
            assert [f.text for f in call.client.received(m.FinishAsr)] == [
                "hello there my friend",
                "and good-bye to you",
            ]
            told = call.actions()
            assert told.count("start_tts") == told.count("tts_finished") == 2
            assert not {"pause_tts", "resume_tts", "stop_tts"} & set(told)

    run(main)


def test_a_page_that_waits_for_a_sound_is_freed_when_there_is_none(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([""]), vad=None, config=SIM) as call:
            await call.client.say_with_marks(b"".join(loud(0.5)))
            await anyio.sleep(1)
            assert call.actions() == ["invalid_asr_result"]
            call.client.mark_end()  # of nothing, as a page does when it is muted
            await anyio.sleep(1)
            assert call.actions() == ["invalid_asr_result"] * 2

    run(main)


class Mortal(LoudnessVAD):
    """Fails from a moment on."""

    dead = False

    def clone(self) -> Mortal:
        return self

    def is_speech(self, frame: bytes) -> bool:
        if self.dead:
            raise RuntimeError("the detector broke")
        return super().is_speech(frame)


@pytest.mark.parametrize("marked", [True, False])
def test_a_detector_that_breaks_ends_only_what_it_began_alone(
    talk: Any, run: Any, marked: bool
) -> None:
    async def main() -> None:
        vad, asr = Mortal(), ScriptedASR(["word " * 40])
        asr.clone = lambda: asr  # type: ignore[method-assign]
        async with talk(vad=vad, asr=asr, agent=interpreter(), config=SIM) as call:
            lost = watch(call.session, events.VADLost)
            say = call.client.say_with_marks if marked else call.client.say
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(say, b"".join(loud(6.0)))
                await anyio.sleep(2.0)
                vad.dead = True
            await anyio.sleep(1.0)
            assert len(lost) == 1
            assert (asr.heard[0] > 5.5) is marked

    run(main)


def test_noise_gives_up_no_turn_that_was_answered(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["hello there.", ""])
        async with talk(asr=asr, vad=None, agent=interpreter(), config=SIM) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await answered(call, 1)
            await call.client.say_with_marks(b"".join(loud(0.5)))
            told = await call.client.wait_for(m.InvalidAsrResult)
            assert told.turn_id is None

    run(main)


def test_a_turn_without_a_sound_is_given_up_by_its_number(talk: Any, run: Any) -> None:
    async def main() -> None:
        agent = ScriptedAgent([ModelError("broken")])
        async with talk(agent=agent, vad=None, config=SIM) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            told = await call.client.wait_for(m.InvalidAsrResult)
            assert told.turn_id == 1

    run(main)


def test_what_waits_too_long_is_answered_together(talk: Any, run: Any) -> None:
    """A slow voice: the queue stays within its bound and nothing that was said is lost."""
    text = " ".join(f"this is clause number {n}," for n in range(14)) + " and that was all."
    agent = interpreter()
    most = 0

    async def main() -> None:
        nonlocal most
        tts = ScriptedTTS(char_s=0.2)
        async with talk(asr=ScriptedASR([text]), agent=agent, tts=tts, config=SIM) as call:
            seen = watch(call.session, events.Decision)
            await speak(call, text)
            await call.client.until(lambda: agent.records and not call.session.busy, timeout=300)
            most = max(e.evidence["waiting"] for e in seen if isinstance(e, events.Decision))
            told = call.actions()
            assert told.count("start_tts") == told.count("tts_finished") == len(agent.records)

    run(main)
    assert most == 4
    assert " ".join(record.user for record in agent.records) == text
    assert len(agent.records) < 14


def test_a_reply_that_never_comes_gives_way_to_the_next(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(lambda i: (i["content"].upper(),))

    class Stuck(ScriptedAgent):
        async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
            if "cat" in input["content"]:
                await anyio.sleep_forever()
            yield input["content"].upper()

        def clone(self) -> Stuck:
            twin = Stuck(self.reply)
            twin.records = self.records
            return twin

    stuck = Stuck()
    stuck.records = agent.records

    async def main() -> None:
        async with talk(asr=ScriptedASR([SPOKEN]), agent=stuck, config=SIM) as call:
            await speak(call, SPOKEN)
            await answered(call, 3)
            assert len(call.client.received(m.Error)) == 1
            told = call.actions()
            assert told.count("start_tts") == told.count("tts_finished") == 3

    run(main)
    assert [r.outcome for r in agent.records] == ["interrupted", "done", "done", "done"]


def test_a_failing_agent_and_a_failing_voice_cost_their_clause_only(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(
        lambda i: (ModelError("broken"),) if "asleep" in i["content"] else (i["content"],)
    )

    async def main() -> None:
        async with talk(asr=ScriptedASR([SPOKEN]), agent=agent, config=SIM) as call:
            await speak(call, SPOKEN)
            await answered(call, 3)

    run(main)
    assert [r.outcome for r in agent.records] == ["done", "failed", "done", "done"]


class Hanging(ScriptedASR):
    """Understands some words of its first segment, and never comes to its end."""

    segments = 0

    def clone(self) -> Hanging:
        return self

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        self.segments += 1
        if self.segments == 1:
            yield Transcript(text="this much was understood")
            await anyio.sleep_forever()
        async for transcript in super().transcribe(frames):
            yield transcript


def test_a_recogniser_that_hangs_loses_nothing_that_it_understood(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        asr = Hanging(["and this came later"])
        async with talk(asr=asr, agent=agent, config={**SIM, "decode_timeout_sec": 2}) as call:
            await call.say(1.0)
            await answered(call, 1)
            await call.say(1.3)
            await answered(call, 2)

    run(main)
    assert [r.user for r in agent.records] == ["this much was understood", "and this came later"]


def test_a_recogniser_that_hangs_costs_a_speaker_one_piece(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        asr = Hanging(["and this came later"])
        config = {**SIM, "decode_timeout_sec": 1, "segment_sec": 2}
        async with talk(asr=asr, agent=agent, config=config) as call:
            await call.say(4.5)  # without a pause
            await answered(call, 2)

    run(main)
    assert [r.user for r in agent.records][:2] == [
        "this much was understood",
        "and this came later",
    ]


def test_each_piece_has_its_own_time_to_be_decoded(talk: Any, run: Any) -> None:
    """A slow recogniser has three pieces in its line: the last waits longer than its decoding."""
    agent = interpreter()

    async def main() -> None:
        texts = ["this was one", "this was two", "this was three"]
        asr = ScriptedASR(texts, final_s=1.5, word_s=60)  # no partials
        async with talk(asr=asr, agent=agent, config={**SIM, "decode_timeout_sec": 2}) as call:
            for _ in range(3):
                await call.say(0.5)
                await anyio.sleep(0.6)
            await answered(call, 3)

    run(main)
    assert [r.user for r in agent.records] == ["this was one", "this was two", "this was three"]


def test_who_never_pauses_is_decoded_in_pieces(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        texts = ["the first of many pieces of a speech", "the second piece of it", "and the end"]
        config = {**SIM, "segment_sec": 3}
        async with talk(asr=ScriptedASR(texts), agent=agent, config=config) as call:
            seen = watch(call.session, events.TurnASRFlushRequested)
            await call.say(8.0)
            await answered(call, 3)
            assert len(seen) == 2
            refined = call.client.received(m.RefineTranscription)
            assert [r.text for r in refined] == [" ".join(texts)]

    run(main)
    assert " ".join(record.user for record in agent.records).endswith("and the end")


def test_a_muted_microphone_ends_the_utterance(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["this is all"])
        async with talk(asr=asr, agent=interpreter(), config=SIM, microphone=False) as call:
            for frame in loud(1.0):
                call.client.send(frame)
                await anyio.sleep(0.02)
            await answered(call, 1)

    run(main)


def test_a_program_may_hand_over_what_is_to_be_answered(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        async with talk(agent=agent, config=SIM) as call:
            await call.session.ready.wait()
            call.session.post(events.ASRStableSegmentReady(text="from elsewhere"))
            call.session.post(events.TurnLLMAgentStartRequested(reply="A document is here."))
            await answered(call, 2)
            assert [r.turn_id for r in call.client.received(m.FinishResp)] == [1, 2]

    run(main)
    assert [r.reply for r in agent.records] == ["FROM ELSEWHERE", "A document is here."]


def test_the_end_of_the_conversation_ends_it_all(talk: Any, run: Any) -> None:
    agent = interpreter()

    async def main() -> None:
        async with talk(asr=ScriptedASR([SPOKEN]), agent=agent, config=SIM) as call:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak, call, SPOKEN)
                await call.client.wait_for(m.StartTts)
                await anyio.sleep(0.2)
                before = len(call.client.timeline)
                call.client.send(m.ConversationEnd())
                await anyio.sleep(0.05)
                assert not call.session.busy
                # what the server's own ear still hears is nobody's conversation until it pauses
                tasks.cancel_scope.cancel()
            assert set(call.actions(before)) <= {"finish_resp"}

    run(main)
    assert [r.outcome for r in agent.records] == ["interrupted"]


def test_wishes_are_obeyed_in_this_mode_too(talk: Any, run: Any) -> None:
    """The original takes no change of voice here; nothing speaks against one."""

    async def main() -> None:
        async with talk(config=SIM) as call:
            call.client.send(m.ChangeVoice(voice_name="high"))
            assert (await call.client.wait_for(m.VoiceChanged)).name == "high"

    run(main)
