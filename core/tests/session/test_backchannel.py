"""A short sound beside all turns: who hears it, what stops it, and what it leaves alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from xtalk.api import Xtalk
from xtalk.audio import RATE_OUT, AudioFrame
from xtalk.events import (
    BackchannelRequested,
    BaseEvent,
    ReplyOver,
    TTSChunkGenerated,
    TTSFinished,
    TTSStarted,
    TTSStopped,
    TurnLLMAgentStartRequested,
)
from xtalk.hookspecs import Model, hookimpl
from xtalk.pipeline import DefaultPipeline
from xtalk.playback import Playback
from xtalk.plugins import Plugins
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud, tone
from xtalk.wire import messages as m

from .conftest import watch

HUM = tone(0.3, hertz=140)
PAGE = Path(__file__).parents[3] / "docs/write-a-plugin.md"


def request(pcm: bytes = HUM, rate: int = RATE_OUT) -> BackchannelRequested:
    return BackchannelRequested(audio=AudioFrame(pcm, rate))


def told(call: Any) -> list[str]:
    """What the client was told, chunks included."""
    return [e.message.ACTION for e in call.client.timeline if not isinstance(e.message, m.TtsChunk)]


def test_it_sounds_while_the_user_speaks_and_is_no_turn(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        async with talk(agent=agent) as call:
            over = watch(call.session, ReplyOver)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.say, 3.0)
                await anyio.sleep(1.5)
                assert call.session.busy and not call.session.turn
                call.session.post(request())
                await anyio.sleep(0.5)
                assert call.heard() == HUM  # whole, though the user still speaks
                shown = [a for a in call.actions() if a != "update_asr"]
                assert shown == ["start_tts", "tts_finished"]
                chunks = call.client.received(m.TtsChunk)
                assert [c.chunk_index for c in chunks] == [1, 2]
                assert len(agent.records) == len(over) == 0
            before = len(call.client.timeline)
            await call.client.wait_until_heard(after=before)
            await anyio.sleep(2)
            assert call.actions(before).count("start_tts") == 1
            assert call.client.received(m.TtsChunk, after=before)[0].chunk_index == 3
            assert [e.turn_id for e in over if isinstance(e, ReplyOver)] == [1]

    run(main)
    assert [(r.turn_id, r.heard, r.outcome) for r in agent.records] == [
        (1, "Hello. How are you?", "done")
    ]


def test_the_voice_may_say_it(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(tts=(tts := ScriptedTTS())) as call:
            await call.session.ready.wait()
            call.session.post(BackchannelRequested(text="Mm-hm."))
            call.session.post(BackchannelRequested(text="twice"))  # while that is being made
            await anyio.sleep(1)
            assert tts.spoken == ["Mm-hm."]
            assert tone(0.3)[-1000:] in call.heard()
            assert call.actions() == ["start_tts", "tts_finished"]

    run(main)


@pytest.mark.parametrize(
    "sound",
    [request(tone(1.1)), request(b""), BackchannelRequested(text="this is much too long for it")],
    ids=["long", "empty", "long text"],
)
def test_what_is_not_short_is_left_out(talk: Any, run: Any, sound: BaseEvent) -> None:
    async def main() -> None:
        async with talk() as call:
            await call.session.ready.wait()
            call.session.post(sound)
            await anyio.sleep(2)
            assert call.actions() == []

    run(main)


def test_any_rate_is_heard_at_its_pitch(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            await call.session.ready.wait()
            call.session.post(request(tone(0.5, rate=16_000), 16_000))
            await anyio.sleep(1)
            assert len(call.heard()) == pytest.approx(2 * RATE_OUT * 0.5, rel=0.05)

    run(main)


@pytest.mark.parametrize("phase", ["think", "talk"])
def test_it_is_left_out_while_a_reply_lives(talk: Any, run: Any, phase: str) -> None:
    agent = ScriptedAgent(first_s=1.0)

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr if phase == "think" else m.StartTts)
            await anyio.sleep(0.2)
            call.session.post(request())
            call.session.post(BackchannelRequested(text="Hm."))
            await call.client.wait_until_heard()
            await anyio.sleep(2)
            assert call.actions().count("start_tts") == 1
            assert HUM not in call.heard()

    run(main)


def test_a_page_that_silences_itself_gets_none(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(pauses_itself=True, vad=None) as call:
            await call.session.ready.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.client.say_with_marks, b"".join(loud(2.0)))
                await anyio.sleep(1)
                call.session.post(request())
                await anyio.sleep(0.5)
                assert "start_tts" not in call.actions()
            await call.client.wait_until_heard()

    run(main)


@pytest.mark.parametrize("acknowledges", [True, False])
def test_a_reply_that_begins_stops_it(talk: Any, run: Any, acknowledges: bool) -> None:
    agent = ScriptedAgent(first_s=0.0)

    async def main() -> None:
        async with talk(agent=agent, acknowledges=acknowledges) as call:
            await call.session.ready.wait()
            call.session.post(request(tone(1.0, hertz=140)))
            await anyio.sleep(0.3)
            call.session.post(TurnLLMAgentStartRequested(reply="A document has come."))
            await call.client.until(lambda: agent.records, timeout=30)
            shown = [a for a in call.actions() if a.endswith("_tts") or a == "tts_finished"]
            assert shown == ["start_tts", "tts_finished", "stop_tts", "start_tts", "tts_finished"]

    run(main)
    assert [(r.heard, r.outcome) for r in agent.records] == [("A document has come.", "done")]


def test_a_reply_takes_the_voice_from_it(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(tts=ScriptedTTS(first_s=0.5)) as call:
            await call.session.ready.wait()
            call.session.post(BackchannelRequested(text="Hm."))
            await anyio.sleep(0.1)
            began = anyio.current_time()
            call.session.post(TurnLLMAgentStartRequested(reply="A document has come."))
            await call.client.wait_for(m.StartTts)
            assert anyio.current_time() - began == pytest.approx(0.5, abs=0.05)
            await call.client.wait_until_heard()
            assert call.actions().count("start_tts") == 1

    run(main)


def test_one_that_still_sounds_is_stopped_by_whatever_begins() -> None:
    playback = Playback()
    kinds = [type(event) for event in playback.aside(HUM, 1.0)]
    assert kinds == [TTSStarted, TTSChunkGenerated, TTSChunkGenerated, TTSFinished]
    assert playback.aside(HUM, 1.1) == []
    assert [type(event) for event in playback.begin(1, 1.2)] == [TTSStopped]
    playback.stop(1.3)
    playback.aside(HUM, 2.0)
    assert playback.begin(2, 2.5) == []  # played by then
    playback.stop(2.6)
    playback.aside(HUM, 3.0)
    playback.silenced(3.1)
    assert playback.begin(3, 3.1) == []  # stopped already


def test_its_acknowledgements_confuse_no_reply(talk: Any, run: Any) -> None:
    """They come while the reply already sounds, and the client says that it has played it all."""
    agent = ScriptedAgent(first_s=0.0)

    async def main() -> None:
        async with talk(agent=agent, latency_s=0.15) as call:
            await call.session.ready.wait()
            call.session.post(request(tone(0.4, hertz=140)))
            await anyio.sleep(0.5)
            call.session.post(TurnLLMAgentStartRequested(reply="A document has come."))
            await anyio.sleep(0.2)
            call.client.send(m.TtsPlaybackFinished(timestamp=0))
            await call.client.until(lambda: agent.records, timeout=30)
            assert call.actions().count("start_tts") == 2

    run(main)
    assert [(r.heard, r.outcome) for r in agent.records] == [("A document has come.", "done")]


def test_an_utterance_that_counts_stops_it_and_a_cough_does_not(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR(["", "hello"]), decisions=True) as call:
            for expected in (False, True):
                before = len(call.client.timeline)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call.say, 1.0)
                    await anyio.sleep(0.9)
                    call.session.post(request(tone(1.0, hertz=140)))
                await anyio.sleep(2)
                assert ("stop_tts" in call.actions(before)) is expected
            await call.client.wait_until_heard()

    run(main)


# --- the plugin of docs/write-a-plugin.md -----------------------------------------------------


@pytest.fixture
def hum(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    source = re.search(r'```python title="xtalk_hum.py"\n(.+?)```', PAGE.read_text("utf-8"), re.S)
    assert source is not None
    module = ModuleType("xtalk_hum")
    exec(compile(source[1], "xtalk_hum.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "xtalk_hum", module)
    yield module


class Fakes:
    @hookimpl
    def xtalk_asr(self) -> list[Model]:
        return [Model("ScriptedASR", "xtalk.testing.fakes:ScriptedASR")]

    @hookimpl
    def xtalk_llm_agent(self) -> list[Model]:
        return [Model("ScriptedAgent", "xtalk.testing.fakes:ScriptedAgent")]

    @hookimpl
    def xtalk_tts(self) -> list[Model]:
        return [Model("ScriptedTTS", "xtalk.testing.fakes:ScriptedTTS")]


def test_a_plugin_with_a_slot_of_its_own_hums(talk: Any, run: Any, hum: ModuleType) -> None:
    plugins = Plugins()
    plugins.register(Fakes(), "fakes")
    plugins.register(hum, "hum")
    assert plugins.healthy, [row.error for row in plugins.rows]
    made = Xtalk.from_config(
        {
            "asr": "ScriptedASR",
            "llm_agent": "ScriptedAgent",
            "tts": "ScriptedTTS",
            "vad": "",
            "backchannel": {"type": "Hum", "params": {"pitch": 200}},
        },
        plugins=plugins,
    )
    pipeline: Any = made.service_prototype.pipeline
    assert isinstance(pipeline, DefaultPipeline) and pipeline.backchannel._pitch == 200
    pipeline.vad_model = LoudnessVAD()

    async def main() -> None:
        async with talk(pipeline=pipeline, plugins=plugins) as call:
            await call.say(5.0)
            hums = call.client.received(m.StartTts)
            await call.client.wait_until_heard(after=len(call.client.timeline))
            assert len(hums) == 2
            await anyio.sleep(5)  # nobody speaks
            assert call.actions().count("start_tts") == 3  # the two, and the reply

    run(main)
