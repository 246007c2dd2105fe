"""Managers, events and handlers of a user's own, put into the default service."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from xtalk import (
    BaseEvent,
    DefaultPipeline,
    DefaultService,
    Manager,
    Service,
    Xtalk,
    create_event_class,
    events,
)
from xtalk.plugins import Plugins
from xtalk.serving.module_types import OutputGateway, TTSManager
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.wire import messages as m

# Every event that the gateway shows, an instance of it, and the action of its message.
SHOWN: list[tuple[BaseEvent, str]] = [
    (events.ASRResultPartial(text="he", turn_id=1), "update_asr"),
    (events.ASRResultFinal(text="hello", turn_id=1), "finish_asr"),
    (events.VerificationResult(is_valid=False), "invalid_asr_result"),
    (events.TurnAbandoned(turn_id=1), "invalid_asr_result"),
    (events.TranscriptionRefined(text="Hello."), "refine_transcription"),
    (events.LLMAgentResponseUpdate(text="Hi", turn_id=1), "update_resp"),
    (events.LLMAgentResponseFinish(text="Hi there", turn_id=1), "finish_resp"),
    (events.ToolCallOccurred(name="get_time"), "tool_called"),
    (events.RetrievalUpdated(text="found"), "retrieval_updated"),
    (events.TTSStarted(turn_id=1), "start_tts"),
    (events.TTSChunkGenerated(audio_chunk=bytes(960), chunk_index=1), "tts_chunk_meta"),
    (events.TTSFinished(turn_id=1), "tts_finished"),
    (events.TTSStopped(), "stop_tts"),
    (events.TTSPaused(), "pause_tts"),
    (events.TTSResumed(), "resume_tts"),
    (events.TTSVoiceChanged(voice_name="high"), "voice_changed"),
    (events.TTSEmotionChanged(emotion_name="happy"), "emotion_changed"),
    (events.TTSSpeedChanged(speed=1.2), "speed_changed"),
    (events.SpeakerRecognized(speaker_id="Speaker 1"), "speaker_updated"),
    (events.CaptionUpdated(text="calm"), "caption_updated"),
    (events.ThoughtUpdated(text="hm"), "thought_updated"),
    (events.LatencyMetricsUpdated(asr_latency_ms=5), "latency_metrics"),
    (events.Decision(rule="6c"), "decision"),
    (events.ErrorOccurred(error_message="It failed."), "error"),
]
NAMES = [type(event).__name__ for event, _ in SHOWN]


def test_the_table_names_every_event_that_the_gateway_handles() -> None:
    handled = {
        spec.event
        for member in vars(OutputGateway).values()
        for spec in getattr(member, "__xtalk_handles__", ())
    }
    assert handled == {e.TYPE for e, _ in SHOWN} | {events.ConversationStarted.TYPE}


@pytest.mark.parametrize(("event", "action"), SHOWN, ids=NAMES)
def test_an_event_is_shown_until_its_handler_is_unsubscribed(
    dial: Any, run: Any, service: Any, event: BaseEvent, action: str
) -> None:
    kind = type(event)
    silent = service()
    silent.unsubscribe_event(event_listener_cls=OutputGateway, event_type=kind)

    async def shown(built: Any) -> list[str]:
        async with dial(built, decisions=True) as call:
            before = len(call.transport.sent)
            call.post(_fresh(event))
            await anyio.sleep(0.05)
            return [a for a in call.actions(before) if a == action]

    async def main() -> None:
        assert await shown(service()) == [action]
        assert await shown(silent) == []

    run(main)


@pytest.mark.parametrize(("event", "action"), SHOWN, ids=NAMES)
def test_a_replacement_speaks_in_the_place_of_any_handler(
    dial: Any, run: Any, service: Any, event: BaseEvent, action: str
) -> None:
    kind = type(event)

    async def replacement(self: Any, event: Any) -> None:
        await self.send_signal({"action": "mine", "data": {"session": self.session_id}})

    built = service()
    built.unsubscribe_event(event_listener_cls=OutputGateway, event_type=kind)
    built.subscribe_event(
        event_listener_cls=OutputGateway, event_type=kind, method_or_handler=replacement, priority=5
    )

    async def main() -> None:
        async with dial(built, decisions=True) as call:
            before = len(call.transport.sent)
            call.post(_fresh(event))
            await anyio.sleep(0.05)
            assert {"action": "mine", "data": {"session": call.session.id}} in call.signals(before)
            assert action not in call.actions(before)

    run(main)


def _fresh(event: BaseEvent) -> BaseEvent:
    """The same event again, without the session that an earlier test has given it."""
    values = {k: v for k, v in vars(event).items() if k not in ("session_id", "timestamp", "at")}
    return type(event)(**values)


def test_the_readmes_prefix_before_every_finished_reply(dial: Any, run: Any, service: Any) -> None:
    async def prefixed(self: Any, event: Any) -> None:
        await self.send_signal(
            {
                "action": "finish_resp",
                "data": {"text": "[Custom] " + event.text, "turn_id": event.turn_id},
            }
        )

    built = service()
    built.unsubscribe_event(
        event_listener_cls=OutputGateway, event_type=events.LLMAgentResponseFinish
    )
    built.subscribe_event(
        event_listener_cls=OutputGateway,
        event_type=events.LLMAgentResponseFinish,
        method_or_handler=prefixed,
    )

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()
            finished = [s["data"] for s in call.signals() if s["action"] == "finish_resp"]
            assert finished == [{"text": "[Custom] Hello. How are you?", "turn_id": 1}]

    run(main)


def test_silence_is_all_that_is_heard_without_the_chunks_handler(
    dial: Any, run: Any, service: Any
) -> None:
    built = service()
    built.unsubscribe_event(
        event_listener_cls=OutputGateway,
        event_type=events.TTSChunkGenerated,
        method_name="_on_tts_chunk",
    )

    async def main() -> None:
        async with dial(built) as call:
            await call.say()
            await call.client.wait_for(m.TtsFinished)
            assert not [item for _, item in call.transport.sent if isinstance(item, bytes)]

    run(main)


Noticed = create_event_class(
    name="Noticed", fields={"what": "", "seen": []}, type_name="my.noticed"
)


class Watcher(Manager):
    """A manager as the original's documentation shows them."""

    def __init__(self, event_bus: Any, session_id: str, pipeline: Any, config: dict[str, Any]):
        self.event_bus = event_bus
        self.session_id = session_id
        self.pipeline = pipeline
        self.config = config
        self.log: list[str] = config["log"]
        self.curious = config.get("curious", False)

    @Manager.event_handler(events.ASRResultFinal, priority=50)
    @Manager.event_handler(events.LLMAgentResponseFinish, priority=50)
    async def on_text(self, event: Any) -> None:
        self.log.append(event.text)
        await self.event_bus.publish(Noticed(session_id=self.session_id, what=event.text))

    @Manager.event_handler(events.TTSStarted, enabled_if=lambda self: self.curious)
    def on_start(self, event: Any) -> None:
        self.log.append("speaks")

    @Manager.event_handler(Noticed)
    async def on_noticed(self, event: Any) -> None:
        self.log.append(f"noticed {event.what}")

    async def shutdown(self) -> None:
        self.log.append("shut down")


@pytest.mark.parametrize("curious", [True, False])
def test_a_manager_of_ones_own_with_stacked_and_conditional_handlers(
    dial: Any, run: Any, service: Any, curious: bool
) -> None:
    log: list[str] = []
    built = service(service_config={"log": log, "curious": curious})
    built.register_manager(Watcher)

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()

    run(main)
    expected = {
        "hello there",
        "noticed hello there",
        "Hello. How are you?",
        "noticed Hello. How are you?",
        "shut down",
    }
    assert set(log) == expected | ({"speaks"} if curious else set())
    assert len(log) == len(set(log))


def test_a_manager_that_is_unregistered_is_left_out(dial: Any, run: Any, service: Any) -> None:
    log: list[str] = []
    built = service(service_config={"log": log})
    built.register_manager(Watcher)
    built.unregister_manager(Watcher)

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()

    run(main)
    assert log == []


def test_handlers_by_name_with_one_and_with_two_arguments(
    dial: Any, run: Any, service: Any
) -> None:
    seen: list[Any] = []

    class Named(Watcher):
        def by_name(self, event: Any) -> None:
            seen.append(("name", event.text))

    async def later(event: Any) -> None:
        await anyio.sleep(0.001)
        seen.append(("one", event.text))

    def both(listener: Any, event: Any) -> None:
        seen.append(("two", type(listener).__name__, event.text))

    built = service(service_config={"log": []})
    built.register_manager(Named)
    for handler in ("by_name", later, both, functools.partial(both, None)):
        built.subscribe_event(
            event_listener_cls=Named, event_type=events.ASRResultFinal, method_or_handler=handler
        )
    built.subscribe_event(
        event_listener_cls=Named,
        event_type=events.ASRResultFinal,
        method_or_handler=lambda event: seen.append("never"),
        enabled_if=lambda listener: False,
    )

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()

    run(main)
    assert sorted(seen, key=str) == [
        ("name", "hello there"),
        ("one", "hello there"),
        ("two", "Named", "hello there"),
        ("two", "NoneType", "hello there"),
    ]


def test_a_subclass_takes_the_place_of_its_manager(dial: Any, run: Any, service: Any) -> None:
    spoken: list[str] = []

    class Loud(TTSManager):
        @Manager.event_handler(events.TurnTTSTextAppendRequested, priority=99)
        def note(self, event: Any) -> None:
            spoken.append(event.text)

    built = service()
    built.register_manager(Loud)
    assert built.manager_classes.count(Loud) == 1
    assert TTSManager not in built.manager_classes

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()

    run(main)
    assert spoken == ["Hello. ", "How are you?"]


def test_a_handler_that_raises_costs_its_event_and_nothing_else(
    dial: Any, run: Any, service: Any
) -> None:
    def broken(listener: Any, event: Any) -> None:
        raise RuntimeError("key sk-123")

    built = service()
    built.subscribe_event(
        event_listener_cls=OutputGateway,
        event_type=events.ASRResultFinal,
        method_or_handler=broken,
        priority=100,
    )

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()
            assert "sk-123" not in call.client.received(m.Error)[0].message
            assert "finish_asr" in call.actions()

    run(main)


def test_overrides_concern_the_service_that_they_were_made_on(
    dial: Any, run: Any, service: Any
) -> None:
    built = service()
    twin = built.clone()
    built.unsubscribe_event(event_listener_cls=OutputGateway, event_type=events.ASRResultFinal)

    async def main() -> None:
        for one, expected in ((built, False), (twin, True)):
            async with dial(one) as call:
                await call.turn()
                assert ("finish_asr" in call.actions()) is expected

    run(main)


# --- the whole of the original's example: a slot, a pipeline, an event, a manager ----------------


class Mood:
    """A model for a slot of one's own."""

    def __init__(self, clones: list[Mood] | None = None) -> None:
        self.clones = [] if clones is None else clones

    def clone(self) -> Mood:
        twin = Mood(self.clones)
        self.clones.append(twin)
        return twin

    def guess(self, text: str) -> str:
        return "curious" if text.endswith("?") else "calm"


@dataclass(init=False)
class MoodyPipeline(DefaultPipeline):
    mood: Mood | None = field(default=None, metadata={"init_key": "mood", "clone": True})
    shared: list[str] | None = field(default=None, metadata={"init_key": "shared", "clone": False})

    def __init__(self, mood: Any = None, shared: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mood = mood
        self.shared = shared

    def get_mood(self) -> Mood | None:
        return self.mood


@dataclass
class MoodGuessed(BaseEvent):
    TYPE = "mood.guessed"

    mood: str = ""


class MoodManager(Manager):
    def __init__(self, event_bus: Any, session_id: str, pipeline: MoodyPipeline, config: Any):
        self.event_bus = event_bus
        self.session_id = session_id
        self.pipeline = pipeline

    @Manager.event_handler(events.ASRResultFinal, priority=10)
    async def guess(self, event: Any) -> None:
        mood = self.pipeline.get_mood()
        assert mood is not None
        guessed = mood.guess(event.text)
        self.pipeline.context["mood"] = guessed
        await self.event_bus.publish(MoodGuessed(self.session_id, guessed))

    async def shutdown(self) -> None:
        pass


def test_a_slot_a_pipeline_an_event_and_a_manager_of_ones_own(dial: Any, run: Any) -> None:
    async def show(gateway: Any, event: Any) -> None:
        await gateway.send_signal({"action": "mood", "data": {"mood": event.mood}})

    mood, shared = Mood(), ["kept"]
    agent = ScriptedAgent()
    pipeline = MoodyPipeline(
        asr=ScriptedASR(["are you there?"]),
        llm_agent=agent,
        tts=ScriptedTTS(),
        mood=mood,
        shared=shared,
    )
    built = DefaultService(pipeline=pipeline)
    built.register_manager(MoodManager)
    built.subscribe_event(
        event_listener_cls=OutputGateway, event_type=MoodGuessed, method_or_handler=show
    )
    app = Xtalk(service_prototype=built, max_sessions=10, plugins=Plugins())

    async def main() -> None:
        for _ in range(2):
            async with dial(app) as call:
                await call.turn()
                assert {"action": "mood", "data": {"mood": "curious"}} in call.signals()
                assert call.session.pipeline.get_mood() in mood.clones
                assert call.session.pipeline.shared is shared

    run(main)
    assert len(mood.clones) == 2  # one a session, none for the blueprint
    assert [i["context"]["mood"] for i in agent.inputs] == ["curious", "curious"]


def test_a_service_of_exactly_these_managers(dial: Any, run: Any) -> None:
    log: list[str] = []
    pipeline = DefaultPipeline(llm_agent=ScriptedAgent())
    built = Service(pipeline=pipeline, service_config={"log": log}, manager_classes=[Watcher])
    app = Xtalk(service_prototype=built, plugins=Plugins())

    async def main() -> None:
        async with dial(app) as call:
            call.post(events.ASRResultFinal(text="hi"))
            await anyio.sleep(0.1)
            assert call.actions()[-1] == "finish_asr"

    run(main)
    assert log == ["hi", "noticed hi", "shut down"]


def test_the_smallest_event_types_do_not_reach_each_others_handlers() -> None:
    """An event class without a TYPE goes by its own name, as in the original."""

    @dataclass
    class One(BaseEvent):
        text: str = ""

    @dataclass
    class Two(BaseEvent):
        text: str = ""

    from xtalk import EventBus

    bus, seen = EventBus(), []
    bus.subscribe(One, seen.append)
    bus.post(Two("s", "two"))
    bus.post(One("s", "one"))
    assert [event.text for event in seen] == ["one"]


def test_events_of_ones_own_may_hold_lists_and_have_their_own_copies() -> None:
    first, second = Noticed(what="a"), Noticed(what="b")
    first.seen.append(1)
    assert (second.seen, first.TYPE, first.event_type) == ([], "my.noticed", "my.noticed")
    assert create_event_class(name="PlainThing", fields={"n": 0}).TYPE == "plainthing"


def test_a_gateway_of_ones_own_takes_the_place_of_ours(dial: Any, run: Any, service: Any) -> None:
    class Shouting(OutputGateway):
        @Manager.event_handler(events.LLMAgentResponseFinish, priority=4)
        async def _on_response_finish(self, event: Any) -> None:
            data = {"text": event.text.upper(), "turn_id": event.turn_id}
            await self.send_signal({"action": "finish_resp", "data": data})

    built = service()
    built.register_manager(Shouting)

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()
            finished = [f.text for f in call.client.received(m.FinishResp)]
            assert finished == ["HELLO. HOW ARE YOU?"]
            assert call.actions().count("start_tts") == 1

    run(main)


def test_a_handler_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="TTSManager has no method 'typo'"):
        DefaultService(pipeline=DefaultPipeline()).subscribe_event(
            event_listener_cls=TTSManager, event_type=events.TTSStarted, method_or_handler="typo"
        )
