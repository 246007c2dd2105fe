"""Every hook that xtalk calls, and the descriptions that hooks return.

A plugin is a module of functions marked with `hookimpl`, registered under the entry-point group
`xtalk`. Hooks return descriptions; nothing heavy is imported until a model is used. Within a
major version hooks and payloads only grow: new arguments and fields come with defaults, none
is removed, renamed or reordered.

Each docstring below ends with a whole plugin; a test runs every one of them.

This module imports pluggy only.
"""

from __future__ import annotations

import re
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

__all__ = ["GROUP", "SLOTS", "Download", "Model", "Slot", "hookimpl", "hookspec"]

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


@dataclass(frozen=True, slots=True)
class Download:
    """What `xtalk_downloads` yields: the files of a model, for `xtalk models get NAME`.

    `url` is the address of one file (http or https). An archive (`.tar.bz2`, `.tar.gz`,
    `.tar.xz`, `.zip`) is unpacked, and `xtalk.downloads.locate(name)` is then the folder of its
    contents, without a top folder that holds all the rest; of anything else it is the file.
    `name` starts with a letter or a digit and holds `A-Z a-z 0-9 . _ + -` only. `sha256` (in
    hexadecimal, lower case) and `size` (bytes) are of the file at the address, before it is
    unpacked; None where they are not known. `types` are the type names of the configuration that
    it suits. ValueError when one of them is not what this says.
    """

    name: str
    url: str
    summary: str = ""
    types: Sequence[str] = ()
    sha256: str | None = None
    size: int | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        """A name becomes a path and an address is opened: neither may say anything else."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.name, re.ASCII):
            raise ValueError(f"a download is called {self.name!r}, which cannot name a file")
        if not re.match("https?://", self.url):
            raise ValueError(f"the address of {self.name} is {self.url!r}, not http or https")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"the SHA-256 of {self.name} is {self.sha256!r}, not 64 digits 0-9a-f")


SLOTS = (
    Slot("asr", "speech recognition", required=True),
    Slot("llm_agent", "answers what was said", required=True),
    Slot("tts", "speech synthesis", required=True),
    Slot("vad", "voice activity"),
    Slot("turn_detector", "end of turn"),
    Slot("speech_enhancer", "noise suppression"),
    Slot("speaker_encoder", "who speaks"),
    Slot("captioner", "describes how it sounds"),
    Slot("punt_restorer", "punctuation", argument="punt_restorer_model"),
    Slot("caption_rewriter", "rewrites captions"),
    Slot("thought_rewriter", "rewrites thoughts"),
    Slot("speech_speed_controller", "speed without pitch"),
    Slot("embeddings", "text to vectors"),
)


# --- slots: one model each ----------------------------------------------------------------------


@hookspec
def xtalk_asr() -> Iterable[Model]:
    """Speech recognisers (`xtalk.speech.interfaces.ASR`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_asr():
        yield Model(
            "Parrot",
            "my_plugin.parrot:Parrot",
            "says what it hears",
            languages=("en",),
            streaming=True,
        )
    """
    raise NotImplementedError


@hookspec
def xtalk_llm_agent() -> Iterable[Model]:
    """Agents (`xtalk.agent.Agent`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_llm_agent():
        yield Model("Echo", "my_plugin.echo:Echo", "repeats what was said")
    """
    raise NotImplementedError


@hookspec
def xtalk_tts() -> Iterable[Model]:
    """Voices (`xtalk.speech.interfaces.TTS`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_tts():
        yield Model(
            "Flute", "my_plugin.flute:Flute", "a voice without words", voices=("alto", "tenor")
        )
    """
    raise NotImplementedError


@hookspec
def xtalk_vad() -> Iterable[Model]:
    """Voice-activity detectors (`xtalk.speech.interfaces.VAD`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_vad():
        yield Model("Loud", "my_plugin.loud:Loud", "anything loud is speech")
    """
    raise NotImplementedError


@hookspec
def xtalk_turn_detector() -> Iterable[Model]:
    """Judges of the end of a turn (`xtalk.speech.interfaces.TurnDetector`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_turn_detector():
        yield Model("Patient", "my_plugin.patient:Patient", "waits for a full stop")
    """
    raise NotImplementedError


@hookspec
def xtalk_speech_enhancer() -> Iterable[Model]:
    """Noise suppressors (`xtalk.speech.interfaces.SpeechEnhancer`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_speech_enhancer():
        yield Model("Hush", "my_plugin.hush:Hush", "takes hum away")
    """
    raise NotImplementedError


@hookspec
def xtalk_speaker_encoder() -> Iterable[Model]:
    """Speaker embeddings (`xtalk.speech.interfaces.SpeakerEncoder`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_speaker_encoder():
        yield Model("Who", "my_plugin.who:Who", "a vector for a voice")
    """
    raise NotImplementedError


@hookspec
def xtalk_captioner() -> Iterable[Model]:
    """Describers of sound (`xtalk.speech.interfaces.Captioner`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_captioner():
        yield Model("Mood", "my_plugin.mood:Mood", "how it sounds, in words")
    """
    raise NotImplementedError


@hookspec
def xtalk_punt_restorer() -> Iterable[Model]:
    """Punctuation for bare transcripts (`xtalk.speech.interfaces.PuntRestorer`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_punt_restorer():
        yield Model("Comma", "my_plugin.comma:Comma", "commas and full stops")
    """
    raise NotImplementedError


@hookspec
def xtalk_caption_rewriter() -> Iterable[Model]:
    """Rewriters of captions (`xtalk.rewriter.Rewriter`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_caption_rewriter():
        yield Model("Short", "my_plugin.short:Short", "shorter captions")
    """
    raise NotImplementedError


@hookspec
def xtalk_thought_rewriter() -> Iterable[Model]:
    """Rewriters of thoughts (`xtalk.rewriter.Rewriter`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_thought_rewriter():
        yield Model("Calm", "my_plugin.calm:Calm", "calmer thoughts")
    """
    raise NotImplementedError


@hookspec
def xtalk_speech_speed_controller() -> Iterable[Model]:
    """Speed without pitch (`xtalk.speech.interfaces.SpeechSpeedController`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_speech_speed_controller():
        yield Model("Stretch", "my_plugin.stretch:Stretch", "slower, same pitch")
    """
    raise NotImplementedError


@hookspec
def xtalk_embeddings() -> Iterable[Model]:
    """Text to vectors (`xtalk.model_types.Embeddings`).

    from xtalk import Model, hookimpl

    @hookimpl
    def xtalk_embeddings():
        yield Model("Hash", "my_plugin.hash:Hash", "words by their hash")
    """
    raise NotImplementedError


# --- pipeline stages: wrappers, made once a session, the first plugin outermost -----------------


@hookspec
def xtalk_wrap_enhance(session: SessionView) -> WrapEnhance | None:
    """Wrap `enhance`: raw microphone audio in, clean audio out (push shape).

    from dataclasses import replace
    from xtalk import hookimpl

    class Silence:
        def __init__(self, enhance):
            self.enhance = enhance

        def push(self, frame):
            return self.enhance.push(replace(frame, pcm=bytes(len(frame.pcm))))

        def flush(self):
            return self.enhance.flush()

    @hookimpl
    def xtalk_wrap_enhance(session):
        return Silence if session.config.get("deaf") else None
    """


@hookspec
def xtalk_wrap_detect(session: SessionView) -> WrapDetect | None:
    """Wrap `detect`: clean audio in, `Speech` events out (push shape).

    from xtalk import hookimpl

    class Sure:
        def __init__(self, detect):
            self.detect = detect

        def push(self, frame):
            return [event for event in self.detect.push(frame) if event.probability > 0.7]

        def flush(self):
            return self.detect.flush()

    @hookimpl
    def xtalk_wrap_detect(session):
        return Sure
    """


@hookspec
def xtalk_wrap_transcribe(session: SessionView) -> WrapTranscribe | None:
    """Wrap `transcribe`: the frames of one segment in, `Transcript`s out.

    from contextlib import aclosing
    from dataclasses import replace
    from xtalk import hookimpl

    @hookimpl
    def xtalk_wrap_transcribe(session):
        def wrapper(transcribe):
            async def lower_case(frames):
                async with aclosing(transcribe(frames)) as transcripts:
                    async for transcript in transcripts:
                        yield replace(transcript, text=transcript.text.lower())

            return lower_case

        return wrapper
    """


@hookspec
def xtalk_wrap_respond(session: SessionView) -> WrapRespond | None:
    """Wrap `respond`: an `AgentInput` in, the parts of the reply out.

    from contextlib import aclosing
    from xtalk import hookimpl

    @hookimpl
    def xtalk_wrap_respond(session):
        def wrapper(respond):
            async def polite(input):
                yield "Well, "
                async with aclosing(respond(input)) as parts:
                    async for part in parts:
                        yield part

            return polite

        return wrapper
    """


@hookspec
def xtalk_wrap_speak(session: SessionView) -> WrapSpeak | None:
    """Wrap `speak`: `Sentence`s in, `SpeechChunk`s out.

    from dataclasses import replace
    from xtalk import hookimpl

    @hookimpl
    def xtalk_wrap_speak(session):
        def wrapper(speak):
            def spelled(sentences):
                async def changed():
                    async for sentence in sentences:
                        spoken = sentence.spoken.replace("xtalk", "cross talk")
                        yield replace(sentence, spoken=spoken)

                return speak(changed())

            return spelled

        return wrapper
    """


# --- the rest -----------------------------------------------------------------------------------


@hookspec
def xtalk_slots() -> Iterable[Slot]:
    """Declare new slots; other plugins fill them with a hook `xtalk_<slot>`.

    from xtalk import Model, Slot, hookimpl

    @hookimpl
    def xtalk_slots():
        yield Slot("backchannel", "says mm-hm while the user speaks")

    @hookimpl
    def xtalk_backchannel():
        yield Model("MmHm", "my_plugin.mmhm:MmHm")
    """
    raise NotImplementedError


@hookspec
def xtalk_downloads() -> Iterable[Download]:
    """Files of models that `xtalk models get NAME` can fetch.

    A class that needs them takes a path or such a name, and asks `xtalk.downloads.locate`.

    from xtalk import Download, hookimpl

    @hookimpl
    def xtalk_downloads():
        yield Download(
            "parrot-en-small",
            "https://models.example/parrot-en-small.tar.bz2",
            "the small English parrot",
            types=("Parrot",),
            license="Apache-2.0",
        )
    """
    raise NotImplementedError


@hookspec
def xtalk_lifespan(xtalk: Xtalk) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around the life of the process.

    from contextlib import asynccontextmanager
    from xtalk import hookimpl

    @hookimpl
    @asynccontextmanager
    async def xtalk_lifespan(xtalk):
        print("one connection pool for all sessions opens")
        yield
        print("and closes")
    """


@hookspec
def xtalk_session(session: SessionView) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around each session.

    from contextlib import asynccontextmanager
    from xtalk import hookimpl

    @hookimpl
    @asynccontextmanager
    async def xtalk_session(session):
        session.log.info("session %s begins", session.id)
        yield
        session.log.info("session %s ends", session.id)
    """


@hookspec
def xtalk_turn(session: SessionView, turn: Turn) -> AbstractAsyncContextManager[object] | None:
    """An async context manager around each turn.

    It lies outside the turn's cancel scope: it can still await after a barge-in, and then finds
    `turn.outcome` set.

    from contextlib import asynccontextmanager
    from xtalk import hookimpl

    @hookimpl
    @asynccontextmanager
    async def xtalk_turn(session, turn):
        yield
        session.log.info("a turn ended: %s", turn.outcome)
    """


@hookspec
def xtalk_settings() -> type | None:
    """The plugin's own settings: a class whose constructor reads `[plugins.settings.<name>]`.

    The object that is built from it is `xtalk.plugin_settings[<name>]`, and in the
    configuration of every session `config["plugins"][<name>]`.

    from xtalk import hookimpl

    class Settings:
        def __init__(self, *, folder: str = "recordings", keep_days: int = 7):
            self.folder = folder
            self.keep_days = keep_days

    @hookimpl
    def xtalk_settings():
        return Settings
    """


@hookspec
def xtalk_configure(config: Config) -> Mapping[str, Any] | None:
    """Overrides of the configuration, as a nested mapping; shown with the plugin as source.

    from xtalk import hookimpl

    @hookimpl
    def xtalk_configure(config):
        tts = config.models.get("tts")
        if tts is not None and tts.type == "Flute":
            return {"service_config": {"ahead_sec": 2.0}}
    """


@hookspec(firstresult=True)
def xtalk_make_model(model: type, params: Mapping[str, Any]) -> object | None:
    """Build a model. Called off the loop, at start, never per session; the first answer wins.

    xtalk's own builder, which calls `model(**params)`, comes last.

    from xtalk import hookimpl

    @hookimpl
    def xtalk_make_model(model, params):
        if model.__name__ == "Flute":
            return model(**{**params, "voice": "alto"})
    """


@hookspec
def xtalk_managers(pipeline: Pipeline, config: Mapping[str, Any]) -> Iterable[type[Manager]]:
    """Managers to add to every session.

    from xtalk import Manager, hookimpl
    from xtalk.events import ASRResultFinal

    class Minutes(Manager):
        @Manager.event_handler(ASRResultFinal)
        def write(self, event):
            print(event.text)

        async def shutdown(self):
            print("the session is over")

    @hookimpl
    def xtalk_managers(pipeline, config):
        return [Minutes]
    """
    raise NotImplementedError


@hookspec
def xtalk_tools(session: SessionView) -> Iterable[ToolLike | Tool | Callable[..., Any]]:
    """Tools to offer to the agent of this session.

    from xtalk import hookimpl
    from xtalk.agent import Tool

    @hookimpl
    def xtalk_tools(session):
        yield Tool(
            name="session_name",
            description="What this session is called",
            call=lambda: session.id,
            effects=False,
        )
    """
    raise NotImplementedError


@hookspec
def xtalk_routes(app: Any, xtalk: Xtalk) -> None:
    """Add routes to the server's FastAPI application.

    from xtalk import hookimpl

    @hookimpl
    def xtalk_routes(app, xtalk):
        @app.get("/api/motto")
        async def motto():
            return {"motto": "speak, and be heard"}
    """


@hookspec
def xtalk_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add subcommands to `xtalk`; set `run=` to a function of the parsed arguments.

    What the function returns is the exit status, None means 0. `arguments.plugins` holds the
    loaded plugins.

    from xtalk import hookimpl

    def greet(arguments):
        print(f"Hello, {arguments.name}.")

    @hookimpl
    def xtalk_commands(commands):
        parser = commands.add_parser("greet", help="say hello")
        parser.add_argument("name")
        parser.set_defaults(run=greet)
    """
