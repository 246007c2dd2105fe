"""Every hook that xtalk calls, and the descriptions that hooks return.

A plugin is a module of functions marked with `hookimpl`, registered under the entry-point group
`xtalk`. Hooks return descriptions; nothing heavy is imported until a model is used. Within a
major version hooks and payloads only grow: new arguments and fields come with defaults, none
is removed, renamed or reordered.

This module imports pluggy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import argparse

    from xtalk.agent import Tool, ToolLike
    from xtalk.api import Xtalk
    from xtalk.bus import Manager
    from xtalk.pipeline import Pipeline
    from xtalk.session import SessionView
    from xtalk.settings import Config
    from xtalk.stages import (
        WrapDetect,
        WrapEnhance,
        WrapRespond,
        WrapSpeak,
        WrapTranscribe,
    )
    from xtalk.turn import Turn

__all__ = ["GROUP", "Model", "Slot", "hookimpl", "hookspec"]

GROUP = "xtalk"

hookspec = pluggy.HookspecMarker("xtalk")
hookimpl = pluggy.HookimplMarker("xtalk")


@dataclass(frozen=True, slots=True)
class Model:
    """What a slot hook yields: one model, described so that nothing needs to be imported.

    `name` is the type name of the configuration, `target` "module:Class". `extra` names the
    extra of the plugin's distribution that the class needs. The rest is the capability card.
    """

    name: str
    target: str
    summary: str = ""
    extra: str | None = None
    languages: Sequence[str] = ()
    sample_rates: Sequence[int] = ()
    streaming: bool | None = None
    word_times: bool | None = None
    voices: Sequence[str] = ()
    emotions: Sequence[str] = ()
    speed: bool | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """What `xtalk_slots` yields: a new place for a model. A spec `xtalk_<name>` is made for it.

    `argument` is the keyword of the pipeline's constructor, the name itself when None;
    `interface` is "module:Class" of the base class that its models must have, or None.
    """

    name: str
    summary: str = ""
    argument: str | None = None
    required: bool = False
    interface: str | None = None


# --- slots: one model each ----------------------------------------------------------------------


@hookspec
def xtalk_asr() -> Iterable[Model]:
    """Speech recognisers (`xtalk.speech.interfaces.ASR`)."""
    raise NotImplementedError


@hookspec
def xtalk_llm_agent() -> Iterable[Model]:
    """Agents (`xtalk.agent.Agent`)."""
    raise NotImplementedError


@hookspec
def xtalk_tts() -> Iterable[Model]:
    """Voices (`xtalk.speech.interfaces.TTS`)."""
    raise NotImplementedError


@hookspec
def xtalk_vad() -> Iterable[Model]:
    """Voice-activity detectors (`xtalk.speech.interfaces.VAD`)."""
    raise NotImplementedError


@hookspec
def xtalk_turn_detector() -> Iterable[Model]:
    """Judges of the end of a turn (`xtalk.speech.interfaces.TurnDetector`)."""
    raise NotImplementedError


@hookspec
def xtalk_speech_enhancer() -> Iterable[Model]:
    """Noise suppressors (`xtalk.speech.interfaces.SpeechEnhancer`)."""
    raise NotImplementedError


@hookspec
def xtalk_speaker_encoder() -> Iterable[Model]:
    """Speaker embeddings (`xtalk.speech.interfaces.SpeakerEncoder`)."""
    raise NotImplementedError


@hookspec
def xtalk_captioner() -> Iterable[Model]:
    """Describers of sound (`xtalk.speech.interfaces.Captioner`)."""
    raise NotImplementedError


@hookspec
def xtalk_punt_restorer() -> Iterable[Model]:
    """Punctuation for bare transcripts (`xtalk.speech.interfaces.PuntRestorer`)."""
    raise NotImplementedError


@hookspec
def xtalk_caption_rewriter() -> Iterable[Model]:
    """Rewriters of captions (`xtalk.rewriter.Rewriter`)."""
    raise NotImplementedError


@hookspec
def xtalk_thought_rewriter() -> Iterable[Model]:
    """Rewriters of thoughts (`xtalk.rewriter.Rewriter`)."""
    raise NotImplementedError


@hookspec
def xtalk_speech_speed_controller() -> Iterable[Model]:
    """Speed without pitch (`xtalk.speech.interfaces.SpeechSpeedController`)."""
    raise NotImplementedError


@hookspec
def xtalk_embeddings() -> Iterable[Model]:
    """Text to vectors (`xtalk.model_types.Embeddings`)."""
    raise NotImplementedError


# --- pipeline stages: wrappers, made once a session, the first plugin outermost -----------------


@hookspec
def xtalk_wrap_enhance(session: SessionView) -> WrapEnhance | None:
    """Wrap `enhance`: raw microphone audio in, clean audio out (push shape)."""


@hookspec
def xtalk_wrap_detect(session: SessionView) -> WrapDetect | None:
    """Wrap `detect`: clean audio in, `Speech` events out (push shape)."""


@hookspec
def xtalk_wrap_transcribe(session: SessionView) -> WrapTranscribe | None:
    """Wrap `transcribe`: the frames of one segment in, `Transcript`s out."""


@hookspec
def xtalk_wrap_respond(session: SessionView) -> WrapRespond | None:
    """Wrap `respond`: an `AgentInput` in, the parts of the reply out."""


@hookspec
def xtalk_wrap_speak(session: SessionView) -> WrapSpeak | None:
    """Wrap `speak`: `Sentence`s in, `SpeechChunk`s out."""


# --- the rest -----------------------------------------------------------------------------------


@hookspec
def xtalk_slots() -> Iterable[Slot]:
    """Declare new slots; other plugins fill them with a hook `xtalk_<slot>`."""
    raise NotImplementedError


@hookspec
def xtalk_lifespan(xtalk: Xtalk) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around the life of the process."""


@hookspec
def xtalk_session(session: SessionView) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around each session."""


@hookspec
def xtalk_turn(
    session: SessionView, turn: Turn
) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around each turn.

    It lies outside the turn's cancel scope: it can still await after a barge-in, and then finds
    `turn.outcome` set.
    """


@hookspec
def xtalk_settings() -> type | None:
    """The plugin's own settings: a class whose constructor reads `[plugins.settings.<name>]`."""


@hookspec
def xtalk_configure(config: Config) -> Mapping[str, Any] | None:
    """Overrides of the configuration, as a nested mapping; shown with the plugin as source."""


@hookspec(firstresult=True)
def xtalk_make_model(model: type, params: Mapping[str, Any]) -> object | None:
    """Build a model. Called off the loop, at start, never per session; the first answer wins."""


@hookspec
def xtalk_managers(
    pipeline: Pipeline, config: Mapping[str, Any]
) -> Iterable[type[Manager]]:
    """Managers to add to every session."""
    raise NotImplementedError


@hookspec
def xtalk_tools(session: SessionView) -> Iterable[ToolLike | Tool | Callable[..., Any]]:
    """Tools to offer to the agent of this session."""
    raise NotImplementedError


@hookspec
def xtalk_routes(app: Any, xtalk: Xtalk) -> None:
    """Add routes to the server's FastAPI application."""


@hookspec
def xtalk_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add subcommands to `xtalk`; set `run=` to a function of the parsed arguments."""
