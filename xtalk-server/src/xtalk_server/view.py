"""What the server tells about itself: names and states, never a key, a path or an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["about", "llm_models", "models", "plugins", "tts_models", "voices"]

_GETTERS = {
    "speech_enhancer": "get_enhancer_model",
    "vad": "get_vad_model",
    "asr": "get_asr_model",
    "punt_restorer": "get_punt_restorer_model",
    "turn_detector": "get_turn_detector",
    "speaker_encoder": "get_speaker_encoder",
    "captioner": "get_captioner_model",
    "llm_agent": "get_agent",
    "embeddings": "get_embeddings_model",
    "tts": "get_tts_model",
    "speech_speed_controller": "get_speed_controller",
}


def models(xtalk: Xtalk) -> dict[str, str]:
    """The class of the model in each slot that is filled, in the order of the cascade."""
    pipeline = xtalk.service_prototype.pipeline
    found = {slot: getattr(pipeline, getter)() for slot, getter in _GETTERS.items()}
    return {slot: type(model).__name__ for slot, model in found.items() if model is not None}


def about(xtalk: Xtalk) -> dict[str, Any]:
    """What a page has to know before it talks: the models, their languages, who hears speech."""
    running, tts = models(xtalk), xtalk.service_prototype.pipeline.get_tts_model()
    source = xtalk.service_prototype.service_config["vad_source"]
    return {
        "models": running,
        "languages": {slot: _languages(xtalk, slot, name) for slot, name in running.items()},
        "emotions": list(tts.emotions) if tts is not None else [],
        "detector": "vad" in running and source != "client",
    }


def _languages(xtalk: Xtalk, slot: str, name: str) -> list[str]:
    """What the capability card says; empty where it says nothing."""
    cards = (card for _, card in xtalk.plugins.models(slot))
    return next((list(c.languages) for c in cards if c.target.endswith(f":{name}")), [])


def voices(xtalk: Xtalk) -> list[dict[str, str]]:
    """The voices of the TTS: those of its configuration, else those that it knows."""
    tts = xtalk.service_prototype.pipeline.get_tts_model()
    known = tts.voices if tts is not None else ()
    given = _params(xtalk, "tts").get("voices", known)
    return [{"name": name} for voice in given if (name := _name(voice))]


def tts_models(xtalk: Xtalk) -> list[dict[str, Any]]:
    """In the shape that the original's pages expect; its params are the operator's business."""
    names = _names(models(xtalk).get("tts"), xtalk, "tts")
    return [{"type": name, "name": name, "config": {}} for name in names]


def llm_models(xtalk: Xtalk) -> list[dict[str, Any]]:
    """In the shape that the original's pages expect, without its address and its key."""
    used = _name(_params(xtalk, "llm_agent").get("model")) or models(xtalk).get("llm_agent")
    return [
        {"model": name, "display_name": name, "base_url": "", "extra_body": None}
        for name in _names(used, xtalk, "llm_agent")
    ]


def _names(used: str | None, xtalk: Xtalk, slot: str) -> list[str]:
    """What is in use, and what a client may switch to."""
    others = xtalk.service_prototype.alternatives.get(slot, {})
    return list(others) or ([used] if used else [])


def plugins(xtalk: Xtalk) -> list[dict[str, Any]]:
    """One entry for each plugin. Why one is broken is in the log, for it may name paths."""
    return [
        {
            "name": row.name,
            "distribution": row.distribution,
            "version": row.version,
            "works": row.error is None,
            "models": {slot: [m.name for m in found] for slot, found in row.models.items()},
        }
        for row in xtalk.plugins.rows
    ]


def _params(xtalk: Xtalk, slot: str) -> Mapping[str, Any]:
    choice = xtalk.config.models.get(slot) if xtalk.config else None
    return choice.params if choice else {}


def _name(value: Any) -> str:
    """The name in "Ann", {"name": "Ann", "path": ...} or {"model": "gpt", "api_key": ...}."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("model")
    return value if isinstance(value, str) else ""
