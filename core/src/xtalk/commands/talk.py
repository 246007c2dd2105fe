"""`xtalk talk`: a conversation with a recording, or with microphone and loudspeaker."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from xtalk.commands import add_command, wav_name
from xtalk.errors import NotAvailable, XtalkError

if TYPE_CHECKING:
    from xtalk.api import Xtalk
    from xtalk.audio import AudioFrame
    from xtalk.testing.client import Connection, Received, WireClient

__all__ = ["add"]

QUIET_S = 1.5
"""So long nothing must happen after a reply before the conversation counts as over."""
END_MARK_S = 0.5
PROGRESS_S = 2.0

T = TypeVar("T")


def add(commands: Any) -> None:
    parser = add_command(commands, "talk", talk, "hold a conversation")
    parser.description = (
        "Play a recording into a session in real time, as a caller would, and print what was "
        "understood, the reply, and how long each stage took. Without --wav, talk with microphone "
        "and loudspeaker (use headphones: nothing cancels the echo) until Ctrl-C."
    )
    parser.add_argument("--wav", metavar="IN", help="recording to play; any rate, width, channels")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=wav_name,
        help="WAV file to write, 48 kHz stereo, one clock for both: left what was said, right "
        "what was heard",
    )
    parser.add_argument(
        "--url", help="WebSocket of a server, ws://...; without it the session runs in here"
    )
    parser.add_argument(
        "--log",
        metavar="DIR",
        help="folder for a log of the session, with its audio; not with --url",
    )
    parser.add_argument(
        "--marks",
        action="store_true",
        help="mark the begin and the end of speech, for a set-up without voice-activity detection",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for the reply after the end of the recording (30)",
    )


def talk(arguments: argparse.Namespace) -> int:
    """0 when a reply was heard to its end."""
    import anyio

    if arguments.wav is None and arguments.output is not None:
        raise NotAvailable("xtalk talk: -o needs --wav")
    if arguments.url is not None and arguments.log is not None:
        raise NotAvailable("xtalk talk: --log is for a session in here; a server writes its own")
    if arguments.url is not None and arguments.config is not None:
        raise NotAvailable("xtalk talk: --config is for a session in here; a server has its own")
    if arguments.wav is not None:
        return anyio.run(with_recording, arguments, _connection(arguments))
    try:
        anyio.run(_with_microphone, arguments)
    except ConnectionError as error:
        raise NotAvailable(f"the server ended the conversation: {error}") from error
    except KeyboardInterrupt:
        pass
    return 0


# --- with a recording ---------------------------------------------------------------------------


async def with_recording(
    arguments: argparse.Namespace, connecting: AbstractAsyncContextManager[Connection]
) -> int:
    """The conversation over this connection, which is made and ended here."""
    from xtalk.audio import RATE_IN
    from xtalk.testing.client import WireClient
    from xtalk.wav import read_wav
    from xtalk.wire import messages as m

    recording = read_wav(arguments.wav, RATE_IN)
    async with _progress() as show:
        show("building the models" if arguments.url is None else f"connecting to {arguments.url}")
        async with connecting as connection, WireClient(connection) as client:
            try:
                await _wait_for_admission(client, show)
                show(f"playing {arguments.wav}, {recording.seconds:.1f} s")
                await _play(client, recording, arguments.marks)
                show("waiting for the reply")
                over = await _wait_for_the_end(client, arguments.timeout)
            except ConnectionError as error:
                raise NotAvailable(f"the server ended the conversation: {error}") from error
    report = _report(client, recording)
    if arguments.output:
        _write_stereo(arguments.output, client)
        report.output = arguments.output
    if arguments.log:
        session_id = client.received(m.SessionInfo)[0].session_id
        log = Path(arguments.log) / f"{session_id}.jsonl"
        report.log = str(log) if log.is_file() else None
    _print(report, as_json=arguments.json)
    if arguments.log and report.log is None:
        raise XtalkError(f"{arguments.log}: the log of the session could not be written there")
    if not report.turns:
        raise XtalkError(f"nothing was understood within {arguments.timeout:g} s")
    if not over:
        raise XtalkError(f"the reply had not ended after {arguments.timeout:g} s; see --timeout")
    return 0


async def _wait_for_admission(client: WireClient, show: Callable[[str], None]) -> None:
    """Until the session begins; a server may be starting, or full."""
    from xtalk.wire import messages as m

    begun = False
    while not begun:
        with contextlib.suppress(TimeoutError):
            await client.wait_for(m.SessionInfo, timeout=1.0)
            begun = True
        if queued := client.received(m.QueueStatus):
            show(f"in the queue, place {queued[-1].position}")


async def _play(client: WireClient, recording: AudioFrame, marks: bool) -> None:
    if marks:
        await client.say_with_marks(recording.pcm, end_delay_s=END_MARK_S)
    else:
        await client.say(recording.pcm)


async def _wait_for_the_end(client: WireClient, timeout: float) -> bool:
    """Whether a reply was heard and then nothing happened for a while."""
    import anyio

    with anyio.move_on_after(timeout):
        while True:
            last = max([entry.at for entry in client.timeline], default=0.0)
            due = max(last, client.speaker.last_sound) + QUIET_S
            if _is_over(client) and anyio.current_time() >= due:
                return True
            client.check()
            await anyio.sleep(0.1)
    return False


def _is_over(client: WireClient) -> bool:
    """Something was understood, or refused, and no reply is under way."""
    from xtalk.wire import messages as m

    begun = replying = False
    for entry in client.timeline:
        message = entry.message
        if isinstance(message, (m.UpdateAsr, m.FinishAsr, m.UpdateResp, m.StartTts)):
            begun = replying = True
        elif isinstance(message, (m.TtsFinished, m.StopTts, m.InvalidAsrResult)):
            replying = False
    return begun and not replying and client.speaker.empty


# --- the report ---------------------------------------------------------------------------------


@dataclass
class _Turn:
    turn: int
    heard: str = ""
    reply: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    latency_ms: dict[str, int] = field(default_factory=dict)


@dataclass
class _Report:
    """`response_ms`: from the end of speech in the recording to the first sound of the reply."""

    turns: list[_Turn] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    response_ms: int | None = None
    output: str | None = None
    log: str | None = None


def _report(client: WireClient, recording: AudioFrame) -> _Report:
    from xtalk.wire import messages as m

    turns: dict[int, _Turn] = {}
    errors: list[str] = []
    for entry in client.timeline:
        message = entry.message
        if isinstance(message, m.FinishAsr):
            turns.setdefault(message.turn_id, _Turn(message.turn_id)).heard = message.text
        elif isinstance(message, (m.UpdateResp, m.FinishResp)):
            turns.setdefault(message.turn_id, _Turn(message.turn_id)).reply = message.text
        elif isinstance(message, m.Error):
            errors.append(message.message)
        elif turns and isinstance(message, m.ToolCalled):
            call = {"name": message.name, "args": message.args}
            list(turns.values())[-1].tools.append(call)
        elif turns and isinstance(message, m.LatencyMetrics):
            figures = message.model_dump().items()
            measured = {k.removesuffix("_ms"): v for k, v in figures if k.endswith("_ms") and v}
            list(turns.values())[-1].latency_ms = measured
    return _Report(list(turns.values()), errors, _response_ms(client, recording))


def _response_ms(client: WireClient, recording: AudioFrame) -> int | None:
    if not client.spoken:
        return None
    end = client.spoken[0][0] + _end_of_speech(recording)
    sounds = [sound.at for sound in client.speaker.heard if sound.at >= end]
    return round((sounds[0] - end) * 1000) if sounds else None


def _end_of_speech(recording: AudioFrame) -> float:
    """Seconds to the end of the last 20 ms that are within 30 dB of the loudest."""
    import numpy as np

    from xtalk.audio import pcm_to_float

    step = recording.rate // 50
    samples = pcm_to_float(recording.pcm)
    padded = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    level = np.sqrt(np.mean(padded**2, axis=1))
    loud = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (-30 / 20))
    return float(loud[-1] + 1) * step / recording.rate if len(loud) else 0.0


def _print(report: _Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False))
        return
    for turn in report.turns:
        print(f"you:   {turn.heard}")
        for tool in turn.tools:
            print(f"tool:  {tool['name']} {json.dumps(tool['args'], ensure_ascii=False)}")
        print(f"reply: {turn.reply}")
        if turn.latency_ms:
            stages = ", ".join(f"{name} {ms} ms" for name, ms in turn.latency_ms.items())
            print(f"       {stages}")
    for error in report.errors:
        print(f"error: {error}")
    if report.response_ms is not None:
        print(
            f"from the end of your speech to the first sound of the reply: {report.response_ms} ms"
        )
    if report.output:
        print(f"{report.output}: 48 kHz stereo, left what was said, right what was heard")
    if report.log:
        print(f"{report.log}: the log of the session")


def _write_stereo(path: str, client: WireClient) -> None:
    """Both sides on one clock; time 0 is the earlier of the two first samples."""
    import wave

    import numpy as np

    from xtalk.audio import RATE_IN, RATE_OUT, AudioFrame, resample

    said = [(at, resample(AudioFrame(pcm, RATE_IN), RATE_OUT).pcm) for at, pcm in client.spoken]
    heard = [(sound.at, sound.pcm) for sound in client.speaker.heard]
    zero = min([at for at, _ in said + heard], default=0.0)
    left, right = _line(said, zero), _line(heard, zero)
    length = max(len(left), len(right))
    both = np.zeros((length, 2), "<i2")
    both[: len(left), 0] = left
    both[: len(right), 1] = right
    try:
        with wave.open(path, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE_OUT)
            file.writeframes(both.tobytes())
    except OSError as error:
        raise XtalkError(f"{path}: cannot be written: {error.strerror}") from error


def _line(sounds: list[tuple[float, bytes]], zero: float) -> Any:
    """One side, silence where nothing sounded. Neighbours join without a gap by rounding."""
    import numpy as np

    from xtalk.audio import RATE_OUT

    pieces: list[Any] = []
    place = 0
    for at, pcm in sounds:
        gap = round((at - zero) * RATE_OUT) - place
        if gap > 2:
            pieces.append(np.zeros(gap, "<i2"))
            place += gap
        samples = np.frombuffer(pcm, "<i2")
        pieces.append(samples)
        place += len(samples)
    return np.concatenate(pieces) if pieces else np.zeros(0, "<i2")


# --- with a microphone --------------------------------------------------------------------------


async def _with_microphone(arguments: argparse.Namespace) -> None:

    from xtalk.commands.sound_card import SoundCard
    from xtalk.testing.client import WireClient
    from xtalk.wire import messages as m

    with SoundCard() as card:
        async with (
            _connection(arguments) as connection,
            WireClient(connection, microphone=False, output=card) as client,
        ):
            card.record(client.send)
            print("Speak; Ctrl-C ends it.", file=sys.stderr)
            seen = 0

            def news() -> list[Received]:
                return client.timeline[seen:]

            while True:
                for entry in await client.until(news, timeout=math.inf):
                    seen += 1
                    if isinstance(entry.message, m.FinishAsr):
                        print(f"you:   {entry.message.text}", flush=True)
                    elif isinstance(entry.message, m.FinishResp):
                        print(f"reply: {entry.message.text}", flush=True)
                    elif isinstance(entry.message, m.Error):
                        print(f"error: {entry.message.message}", flush=True)


# --- what both need -----------------------------------------------------------------------------


def _connection(arguments: argparse.Namespace) -> AbstractAsyncContextManager[Connection]:
    return _over_the_wire(arguments.url) if arguments.url else _in_process(arguments)


@asynccontextmanager
async def _over_the_wire(url: str) -> AsyncIterator[Connection]:
    from websockets.exceptions import WebSocketException

    from xtalk.testing.client import connect

    connecting = connect(url)
    try:
        connection = await connecting.__aenter__()
    except (OSError, TimeoutError, WebSocketException) as error:
        raise NotAvailable(f"cannot talk to {url}: {error}") from error
    try:
        yield connection
    finally:
        await connecting.__aexit__(None, None, None)


@asynccontextmanager
async def _in_process(arguments: argparse.Namespace) -> AsyncIterator[Connection]:
    from xtalk.api import Xtalk
    from xtalk.threads import run_in_thread

    changes = {} if arguments.log is None else {"service_config": {"session_log": arguments.log}}
    xtalk = await run_in_thread(
        Xtalk.from_config, arguments.config, plugins=arguments.plugins, arguments=changes
    )
    async with xtalk.lifespan(), session_of(xtalk) as connection:
        yield connection


@asynccontextmanager
async def session_of(xtalk: Xtalk) -> AsyncIterator[Connection]:
    """A connection to a session in this process."""
    import asyncio

    from xtalk.testing.client import MemoryConnection
    from xtalk.testing.transport import MemoryTransport

    transport = MemoryTransport()
    session = asyncio.create_task(xtalk.connect(transport))
    try:
        yield MemoryConnection(transport)
    finally:
        transport.vanish()
        await session


@asynccontextmanager
async def _progress() -> AsyncIterator[Callable[[str], None]]:
    """A line on stderr that says what is going on, once that takes more than two seconds."""
    import asyncio

    phase = ""

    def show(text: str) -> None:
        nonlocal phase
        phase = text

    async def tell() -> None:
        told = ""
        while True:
            await asyncio.sleep(PROGRESS_S)
            if phase != told:
                told = phase
                print(f"{phase} ...", file=sys.stderr, flush=True)

    telling = asyncio.create_task(tell())
    try:
        yield show
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
