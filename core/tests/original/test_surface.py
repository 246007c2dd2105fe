"""The names that programs written for the original import, and the shapes behind them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any, Optional

import pytest
from event_table import EVENTS

import xtalk
from xtalk import BaseEvent, Xtalk, events
from xtalk.errors import NotAvailable

NAMES = "Xtalk Pipeline DefaultPipeline Service DefaultService BaseEvent create_event_class Manager"

STAR = {
    "xtalk.events": "BaseEvent create_event_class ASRResultFinal TurnTTSFlushRequested",
    "xtalk.model_types": (
        "Embeddings BaseChatModel Agent Rewriter ASR TTS Captioner PuntRestorer VAD "
        "SpeechEnhancer SpeakerEncoder SpeechSpeedController"
    ),
    "xtalk.speech.interfaces": "ASR TTS Captioner PuntRestorer VAD SpeechEnhancer SpeakerEncoder",
    "xtalk.serving.module_types": (
        "OutputGateway ASRManager EnhancerManager LatencyManager LLMAgentManager TTSManager "
        "TurnTakingManager VADManager"
    ),
}


@pytest.mark.parametrize("name", [*NAMES.split(), "EventBus"])
def test_the_package_has_the_name(name: str) -> None:
    assert getattr(xtalk, name).__name__ == name
    assert name in dir(xtalk)


@pytest.mark.parametrize("module", STAR)
def test_a_star_import_brings_the_names(module: str) -> None:
    brought: dict[str, Any] = {}
    exec(f"from {module} import *", brought)
    assert set(STAR[module].split()) <= set(brought)


def test_annotations_evaluate_without_langchain() -> None:
    from xtalk.model_types import BaseChatModel, Embeddings, Rewriter

    assert Optional[Rewriter | BaseChatModel] is not None  # noqa: UP045 - as users wrote it
    assert Optional[Embeddings] is not None  # noqa: UP045


class ChatModel:
    """The surface of a langchain chat model."""

    def invoke(self, input: Any, config: Any = None, *, stop: Any = None, **kwargs: Any) -> Any:
        return type("Message", (), {"content": f"rewritten {input}"})()

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return self.invoke(input)

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        yield self.invoke(input)


def test_a_bare_chat_model_is_known_as_one_and_serves_as_a_rewriter() -> None:
    from xtalk.model_types import BaseChatModel, Rewriter

    assert isinstance(ChatModel(), BaseChatModel)
    pipeline = xtalk.DefaultPipeline(caption_rewriter=ChatModel(), thought_rewriter=ChatModel())
    for rewriter, told in (
        (pipeline.get_thought_rewriter_model(), "private note"),
        (pipeline.get_caption_rewriter_model(), "how a person sounds"),
    ):
        assert isinstance(rewriter, Rewriter)
        answer = rewriter.rewrite("this")
        assert answer.startswith("rewritten ")
        assert told in answer
        assert answer.endswith("\nthis")


def test_importing_has_no_side_effects(tmp_path: Any) -> None:
    """Trap 102: no folder `logs`, no handler on the root logger, no level changed."""
    code = (
        "import logging; before = (logging.root.level, list(logging.root.handlers));"
        "import xtalk, xtalk.events, xtalk.model_types, xtalk.log_utils;"
        "import xtalk.serving.module_types;"
        "xtalk.Xtalk, xtalk.DefaultService, xtalk.DefaultPipeline;"
        "assert before == (logging.root.level, list(logging.root.handlers))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


# --- events: section 2.9 of the description of the original, class by class -----------------------


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_has_its_type_its_fields_and_their_defaults(name: str) -> None:
    kind, defaults = EVENTS[name]
    cls = getattr(events, name)
    event = cls(session_id="abc", **defaults)
    assert isinstance(event, BaseEvent)
    assert (cls.TYPE, event.event_type, event.session_id) == (kind, kind, "abc")
    assert event.timestamp > 1_600_000_000  # trap 69: also TTSEmotionChange has one
    bare = cls(session_id="abc")
    assert {key: getattr(bare, key) for key in defaults} == defaults
    assert set(defaults) <= {each.name for each in fields(cls)}
    for value, other in zip(vars(bare).values(), vars(cls(session_id="abc")).values(), strict=True):
        assert value is not other or not isinstance(value, (list, dict))


def test_event_classes_share_no_type_by_accident() -> None:
    kinds = [kind for kind, _ in EVENTS.values()]
    assert len(kinds) == len(set(kinds))


# --- errors that say what is wrong ----------------------------------------------------------------


def test_an_agent_without_tools_refuses_them_in_a_sentence(service: Any) -> None:
    app = Xtalk(service_prototype=service())
    with pytest.raises(Exception, match="ScriptedAgent cannot use tools"):
        app.add_agent_tools([lambda: None])


def test_an_agent_with_tools_receives_them_and_only_before_the_first_session(
    dial: Any, run: Any, service: Any
) -> None:
    from xtalk.testing.fakes import ScriptedAgent

    given: list[Any] = []

    class Handy(ScriptedAgent):
        def add_tools(self, tools: Any) -> None:
            given.extend(tools)

    def clock() -> str:
        return "noon"

    app = Xtalk(service_prototype=service(llm_agent=Handy()))
    app.add_agent_tools([clock])
    assert given == [clock]

    async def main() -> None:
        async with dial(app):
            with pytest.raises(RuntimeError, match="before the first session"):
                app.add_agent_tools([clock])

    run(main)


def test_a_text_to_search_is_published_or_refused_in_a_sentence(
    dial: Any, run: Any, service: Any
) -> None:
    from xtalk.serving.module_types import EmbeddingsManager

    without = service()
    without.unregister_manager(EmbeddingsManager)

    async def main() -> None:
        app = Xtalk(service_prototype=service())
        with pytest.raises(ValueError, match="no session 'nobody'"):
            await app.embed_text("nobody", "text")
        async with dial(app) as call:
            seen = call.watch(events.TextForEmbeddingReady)
            await app.embed_text(call.session.id, "a text")
            assert [event.text for event in seen] == ["a text"]
        async with dial(without) as call:
            with pytest.raises(NotAvailable, match="keeps no texts"):
                await call.xtalk.embed_text(call.session.id, "a text")

    run(main)


def test_the_limit_of_sessions_is_the_constructors_and_can_be_changed(
    dial: Any, run: Any, service: Any
) -> None:
    import anyio

    from xtalk.testing.transport import MemoryTransport

    app = Xtalk(service_prototype=service(), max_sessions=1)

    async def main() -> None:
        async with dial(app), anyio.create_task_group() as tasks:
            second = MemoryTransport()
            tasks.start_soon(app.connect, second)
            await anyio.sleep(1)
            assert '"queue_status"' in str(second.sent[0][1])
            app.set_session_limit(2)
            await anyio.sleep(1)
            assert '"queue_granted"' in str(second.sent[1][1])
            assert len(app.host.sessions) == 2
            second.vanish()

    run(main)


def test_constructor_arguments_keep_the_originals_names() -> None:
    from xtalk.speech.interfaces import PuntRestorer

    class Restorer(PuntRestorer):
        def restore(self, text: str) -> str:
            return text + "."

    restorer = Restorer()
    assert xtalk.DefaultPipeline(punt_restorer_model=restorer).get_punt_restorer_model() is restorer
    with pytest.raises(TypeError, match="has no slot 'mood'"):
        xtalk.DefaultPipeline(mood=1)


def test_arguments_that_nothing_read_are_taken_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built = xtalk.DefaultPipeline(default_response="Pardon?", use_streaming_tts=True)
    assert isinstance(built.clone(), xtalk.DefaultPipeline)
    (record,) = caplog.records
    assert record.getMessage() == (
        "DefaultPipeline: default_response, use_streaming_tts: without effect"
    )


def test_a_getter_that_is_not_overridden_gives_none() -> None:
    class Bare(xtalk.Pipeline):
        def clone(self) -> Bare:
            return Bare()

    bare = Bare()
    getters = [name for name in dir(xtalk.Pipeline) if name.startswith("get_")]
    assert len(getters) >= 12
    assert [getattr(bare, name)() for name in getters] == [None] * len(getters)
    assert bare.context["thought"] is None
    bare.context["mine"] = 1
    assert bare.context["mine"] == 1 and "mine" not in bare.clone().context
