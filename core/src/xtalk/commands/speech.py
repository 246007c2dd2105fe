"""`xtalk say` and `xtalk transcribe`: one model at work, without a conversation."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from xtalk.commands import add_command, wav_name
from xtalk.errors import AudioError, ConfigError, ModelError

if TYPE_CHECKING:
    from xtalk.audio import AudioFrame
    from xtalk.settings import Config
    from xtalk.speech.interfaces import ASR, TTS
    from xtalk.threads import Lease

__all__ = ["add"]

FRAME_S = 0.2


def add(commands: Any) -> None:
    parser = add_command(commands, "say", say, "synthesise a text into a WAV file")
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument(
        *("-o", "--output"), metavar="WAV", type=wav_name, required=True, help="file to write"
    )
    parser.add_argument("--tts", metavar="TYPE", help="which voice, by its type name")
    parser = add_command(commands, "transcribe", transcribe, "print what a WAV file says")
    parser.add_argument("file", metavar="WAV", help="any rate, sample width and channels")
    parser.add_argument("--asr", metavar="TYPE", help="which recogniser, by its type name")


def say(arguments: argparse.Namespace) -> int:
    """Write the WAV file and say how long it took."""
    import anyio

    return anyio.run(_say, arguments)


def transcribe(arguments: argparse.Namespace) -> int:
    """Print the text."""
    import anyio

    return anyio.run(_transcribe, arguments)


async def _say(arguments: argparse.Namespace) -> int:
    import anyio

    from xtalk.calls import synthesize
    from xtalk.wav import write_wav

    audio: list[AudioFrame] = []
    async with _model(arguments, "tts", arguments.tts) as lease:
        began = first = anyio.current_time()
        for text in _sentences(arguments.text):
            async with aclosing(synthesize(lease, text)) as chunks:
                async for chunk in chunks:
                    first = first if audio else anyio.current_time()
                    audio.append(chunk.audio)
        seconds_taken = anyio.current_time() - began
        name = type(lease.model).__name__
    if not audio:
        raise ModelError(f"{name} made no sound of this text")
    frame = _joined(audio)
    write_wav(arguments.output, frame)
    report = {
        "file": arguments.output,
        "tts": name,
        "seconds": round(frame.seconds, 3),
        "sample_rate": frame.rate,
        "first_ms": round((first - began) * 1000, 1),
        "total_ms": round(seconds_taken * 1000, 1),
    }
    if arguments.json:
        print(json.dumps(report))
    else:
        print(
            "{file}: {seconds} s at {sample_rate} Hz by {tts}, "
            "first sound after {first_ms} ms, all after {total_ms} ms".format(**report)
        )
    return 0


async def _transcribe(arguments: argparse.Namespace) -> int:
    from xtalk.wav import read_wav

    recording = read_wav(arguments.file)
    async with _model(arguments, "asr", arguments.asr) as lease:
        text = await _heard(lease, recording)
        name = type(lease.model).__name__
    if arguments.json:
        seconds = round(recording.seconds, 3)
        print(json.dumps({"text": text, "asr": name, "seconds": seconds}, ensure_ascii=False))
    else:
        print(text)
    return 0


async def _heard(lease: Lease[ASR], recording: AudioFrame) -> str:
    """The text of a whole recording, by the most specific method."""
    from xtalk.audio import RATE_IN, resample
    from xtalk.calls import as_text, overrides, recognize
    from xtalk.speech.interfaces import ASR

    asr = lease.model
    audio = resample(recording, RATE_IN)
    streams = ("transcribe", "async_recognize_stream", "recognize_stream")
    if not any(overrides(asr, ASR, name) for name in streams):
        # One call, since nobody waits for what was heard half-way.
        if overrides(asr, ASR, "async_recognize"):
            return as_text(asr, await asr.async_recognize(audio.pcm))
        return as_text(asr, await lease.run(asr.recognize, audio.pcm))
    text = ""
    async with aclosing(recognize(lease, _frames(audio))) as transcripts:
        async for transcript in transcripts:
            text = transcript.text
    return text


async def _frames(audio: AudioFrame) -> AsyncIterator[AudioFrame]:
    from xtalk.audio import AudioFrame

    step = 2 * int(FRAME_S * audio.rate)
    for at in range(0, len(audio.pcm), step):
        yield AudioFrame(audio.pcm[at : at + step], audio.rate)


def _sentences(text: str) -> list[str]:
    """What a conversation would hand to the voice, one call each."""
    from xtalk.sentences import Splitter

    splitter = Splitter()
    pieces = [*splitter.push(text), *splitter.flush()]
    return [piece.spoken for piece in pieces if piece.spoken.strip()]


def _joined(frames: list[AudioFrame]) -> AudioFrame:
    from xtalk.audio import AudioFrame

    rate = frames[0].rate
    if any(frame.rate != rate for frame in frames):
        raise AudioError("the voice changed its sample rate within one text")
    return AudioFrame(b"".join(frame.pcm for frame in frames), rate)


@asynccontextmanager
async def _model(
    arguments: argparse.Namespace, slot: str, chosen: str | None
) -> AsyncIterator[Lease[Any]]:
    """The model of one slot, built, opened, and closed at the end."""
    from xtalk.api import Xtalk
    from xtalk.calls import close_model, open_model
    from xtalk.registry import Registry
    from xtalk.settings import Config
    from xtalk.threads import Guard, run_in_thread

    config = Config.load(
        arguments.config,
        registry=Registry(arguments.plugins, Xtalk.MODEL_REGISTRY),
        arguments={slot: chosen} if chosen else {},
    )
    model: ASR | TTS = await run_in_thread(_built, config, slot)
    try:
        await open_model(model)
        async with Guard(model).lease() as lease:
            yield lease
    finally:
        await close_model(model)


def _built(config: Config, slot: str) -> Any:
    """The model; a recogniser that takes a grammar gets the agent's, as in a conversation."""
    from xtalk.api import build_model, hand_over_grammar
    from xtalk.calls import overrides
    from xtalk.speech.interfaces import ASR

    model = build_model(config, slot)
    if overrides(model, ASR, "set_grammar") and "llm_agent" in config.models:
        try:
            hand_over_grammar(build_model(config, "llm_agent"), model)
        except ConfigError as error:
            print(f"xtalk: warning: no grammar, since there is no agent: {error}", file=sys.stderr)
    return model
