"""One model per slot, and how a session gets its own copies."""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from xtalk.agent import Agent
from xtalk.model_types import BaseChatModel, Embeddings
from xtalk.rewriter import CAPTION, THOUGHT, Rewriter
from xtalk.speech.interfaces import (
    ASR,
    TTS,
    VAD,
    Captioner,
    PuntRestorer,
    SpeakerEncoder,
    SpeechEnhancer,
    SpeechSpeedController,
    TurnDetector,
)

__all__ = ["DefaultPipeline", "Pipeline", "with_slots"]


log = logging.getLogger(__name__)

_WITHOUT_EFFECT = ("default_response", "use_streaming_tts")


class Pipeline(ABC):
    """The models of one session, by getters that return None where a slot is empty.

    `context` is what models tell each other: thought, caption, speaker_id, voices, ...
    """

    @property
    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = self.__dict__.setdefault(
            "_context",
            {
                "thought": None,
                "caption": None,
                "speaker_id": None,
                "text_to_embed": None,
                "vector_store_instance": None,
            },
        )
        return context

    @abstractmethod
    def clone(self) -> Pipeline:
        """A pipeline for another session; nothing that changes is shared."""

    def get_asr_model(self) -> ASR | None:
        return None

    def get_tts_model(self) -> TTS | None:
        return None

    def get_agent(self) -> Agent | None:
        return None

    def get_vad_model(self) -> VAD | None:
        return None

    def get_turn_detector(self) -> TurnDetector | None:
        return None

    def get_enhancer_model(self) -> SpeechEnhancer | None:
        return None

    def get_speaker_encoder(self) -> SpeakerEncoder | None:
        return None

    def get_captioner_model(self) -> Captioner | None:
        return None

    def get_punt_restorer_model(self) -> PuntRestorer | None:
        return None

    def get_caption_rewriter_model(self) -> Rewriter | None:
        return None

    def get_thought_rewriter_model(self) -> Rewriter | None:
        return None

    def get_speed_controller(self) -> SpeechSpeedController | None:
        return None

    def get_embeddings_model(self) -> Embeddings | None:
        return None


def _slot(init_key: str, *, clone: bool) -> Any:
    return field(default=None, metadata={"init_key": init_key, "clone": clone})


@dataclass(init=False)
class DefaultPipeline(Pipeline):
    """The pipeline of the thirteen slots.

    A subclass adds a slot as a dataclass field with `metadata={"init_key": ..., "clone": ...}`
    and an `__init__` that takes it and passes `**kwargs` on. `clone()` calls the constructor
    with every field, cloned where `clone` is set and the object can, shared otherwise.
    `default_response` and `use_streaming_tts`, which nothing read in the original, are taken and
    nothing reads them.
    """

    asr_model: ASR | None = _slot("asr", clone=True)
    llm_agent: Agent | None = _slot("llm_agent", clone=True)
    tts_model: TTS | None = _slot("tts", clone=True)
    vad_model: VAD | None = _slot("vad", clone=True)
    turn_detector_model: TurnDetector | None = _slot("turn_detector", clone=True)
    enhancer_model: SpeechEnhancer | None = _slot("speech_enhancer", clone=True)
    speaker_encoder: SpeakerEncoder | None = _slot("speaker_encoder", clone=False)
    captioner_model: Captioner | None = _slot("captioner", clone=False)
    punt_restorer_model: PuntRestorer | None = _slot("punt_restorer_model", clone=False)
    caption_rewriter: Rewriter | BaseChatModel | None = _slot("caption_rewriter", clone=False)
    thought_rewriter: Rewriter | BaseChatModel | None = _slot("thought_rewriter", clone=False)
    _speed_controller: SpeechSpeedController | None = _slot("speech_speed_controller", clone=True)
    embeddings_model: Embeddings | None = _slot("embeddings", clone=False)

    def __init__(
        self,
        asr: ASR | None = None,
        llm_agent: Agent | None = None,
        tts: TTS | None = None,
        *,
        vad: VAD | None = None,
        turn_detector: TurnDetector | None = None,
        speech_enhancer: SpeechEnhancer | None = None,
        speaker_encoder: SpeakerEncoder | None = None,
        captioner: Captioner | None = None,
        punt_restorer_model: PuntRestorer | None = None,
        caption_rewriter: Rewriter | BaseChatModel | None = None,
        thought_rewriter: Rewriter | BaseChatModel | None = None,
        speech_speed_controller: SpeechSpeedController | None = None,
        embeddings: Embeddings | None = None,
        **unknown: Any,
    ) -> None:
        if ignored := [name for name in _WITHOUT_EFFECT if unknown.pop(name, None) is not None]:
            log.warning("%s: %s: without effect", type(self).__name__, ", ".join(ignored))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no slot {', '.join(map(repr, unknown))}; "
                "declare it as a field of a subclass that takes it in its own __init__"
            )
        self.asr_model = asr
        self.llm_agent = llm_agent
        self.tts_model = tts
        self.vad_model = vad
        self.turn_detector_model = turn_detector
        self.enhancer_model = speech_enhancer
        self.speaker_encoder = speaker_encoder
        self.captioner_model = captioner
        self.punt_restorer_model = punt_restorer_model
        self.caption_rewriter = caption_rewriter
        self.thought_rewriter = thought_rewriter
        self._speed_controller = speech_speed_controller
        self.embeddings_model = embeddings

    def clone(self) -> DefaultPipeline:
        arguments = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.metadata.get("clone") and hasattr(value, "clone"):
                value = value.clone()
            arguments[item.metadata.get("init_key", item.name)] = value
        return type(self)(**arguments)

    def get_asr_model(self) -> ASR | None:
        return self.asr_model

    def get_tts_model(self) -> TTS | None:
        return self.tts_model

    def get_agent(self) -> Agent | None:
        return self.llm_agent

    def get_vad_model(self) -> VAD | None:
        return self.vad_model

    def get_turn_detector(self) -> TurnDetector | None:
        return self.turn_detector_model

    def get_enhancer_model(self) -> SpeechEnhancer | None:
        return self.enhancer_model

    def get_speaker_encoder(self) -> SpeakerEncoder | None:
        return self.speaker_encoder

    def get_captioner_model(self) -> Captioner | None:
        return self.captioner_model

    def get_punt_restorer_model(self) -> PuntRestorer | None:
        return self.punt_restorer_model

    def get_caption_rewriter_model(self) -> Rewriter | None:
        return _as_rewriter(self.caption_rewriter, CAPTION)

    def get_thought_rewriter_model(self) -> Rewriter | None:
        return _as_rewriter(self.thought_rewriter, THOUGHT)

    def get_speed_controller(self) -> SpeechSpeedController | None:
        return self._speed_controller

    def get_embeddings_model(self) -> Embeddings | None:
        return self.embeddings_model


def with_slots(arguments: Iterable[str]) -> type[DefaultPipeline]:
    """The default pipeline with more slots: each an argument and an attribute of that name."""
    added = tuple(arguments)

    def init(self: DefaultPipeline, *models: Any, **named: Any) -> None:
        for name in added:
            setattr(self, name, named.pop(name, None))
        DefaultPipeline.__init__(self, *models, **named)

    slots = [(name, Any, _slot(name, clone=True)) for name in added]
    namespace = {"__init__": init, "__module__": __name__}
    return dataclasses.make_dataclass(
        "DefaultPipeline", slots, bases=(DefaultPipeline,), namespace=namespace, init=False
    )


def _as_rewriter(model: Rewriter | BaseChatModel | None, instructions: str) -> Rewriter | None:
    if model is None or isinstance(model, Rewriter):
        return model
    return ChatRewriter(model, instructions)


class ChatRewriter(Rewriter):
    """A bare chat model in a rewriter's place."""

    def __init__(self, model: BaseChatModel, instructions: str) -> None:
        self._model = model
        self._instructions = instructions

    def rewrite(self, text: str) -> str:
        return _content(self._model.invoke(self._instructions + text))

    async def async_rewrite(self, text: str) -> str:
        return _content(await self._model.ainvoke(self._instructions + text))


def _content(message: Any) -> str:
    return str(getattr(message, "content", message))
