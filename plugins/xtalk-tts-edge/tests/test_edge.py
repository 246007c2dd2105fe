"""EdgeTTS, through edge-tts itself, against a service that speaks in tones.

edge-tts knows one address. The fixture `edge` puts another in its place, on a loopback port and
without TLS; everything else is the client's own code.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree
from zlib import crc32

import anyio
import av
import numpy as np
import pytest
from aiohttp import WSMsgType, web
from edge_tts.drm import DRM
from xtalk_tts_edge.edge import EdgeTTS
from xtalk_tts_edge.sound import Mp3, TailTrim
from xtalk_tts_edge.voices import VOICES

from xtalk.audio import AudioFrame, pcm_to_float
from xtalk.errors import ConfigError, ModelError
from xtalk.remote import Unreadable
from xtalk.schema import build
from xtalk.speech.interfaces import SpeechChunk, Word
from xtalk.testing.services import FakeService, Fault, ServiceChecks, running
from xtalk.testing.suites import TTSSuite
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

PATH = "/consumer/speech/synthesize/readaloud/edge/v1"
TOKEN = "6A5AA1D4EAFF4E9FB37E23D68491D6F4"
TEXT = "The quick brown fox jumps over the lazy dog."
RATE = 24_000
LETTER_S = 0.06
LEAD_S, TAIL_S = 0.1, 0.4
PIECE = 1440  # ten frames of MP3


def packets(pitch: int, seconds: float) -> Iterator[bytes]:
    """A tone between two silences, as `audio-24khz-48kbitrate-mono-mp3`, encoded as it is read."""
    encoder = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16p"
    encoder.bit_rate = 48_000
    total = LEAD_S + seconds + TAIL_S
    for start in range(0, round(total * RATE), 576):
        times = np.arange(start, start + 576) / RATE
        spoken = (times >= LEAD_S) & (times < LEAD_S + seconds)
        tone = 0.3 * np.sin(2 * np.pi * pitch * times) * spoken
        samples = (tone * 32767).astype("<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "s16p", "mono")
        frame.sample_rate, frame.pts = RATE, start
        yield from map(bytes, encoder.encode(frame))
    yield from map(bytes, encoder.encode(None))


@lru_cache(maxsize=64)
def sentence(pitch: int, seconds: float) -> list[bytes]:
    """The packets of something short, which many ask for at once."""
    return list(packets(pitch, seconds))


def joined(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same in pieces of this size."""
    waiting = b""
    for part in parts:
        waiting += part
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


class FakeEdge(FakeService):
    """The service's WebSocket: one request a connection, audio and times of words back.

    It speaks `LETTER_S` for each letter at the usual rate, and refuses what does not look like
    the client. `asked` holds voice, rate and text of each request; `sound` replaces its MP3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, str]] = []
        self.sound: bytes | None = None
        self.late_words = False
        self.refusals: list[web.Response] = []

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get(PATH, self.converse)]

    async def converse(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        if self.refusals:
            return self.refusals.pop()
        if not self.is_genuine(request):
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        config, body = await self.message(socket, "speech.config")
        audio = json.loads(body)["context"]["synthesis"]["audio"]
        assert audio["outputFormat"] == "audio-24khz-48kbitrate-mono-mp3"
        assert audio["metadataoptions"]["wordBoundaryEnabled"] == "true"
        assert config["Content-Type"].startswith("application/json")
        head, body = await self.message(socket, "ssml")
        assert re.fullmatch("[0-9a-f]{32}", head["X-RequestId"])
        await self.answer(request, socket, head["X-RequestId"], body)
        await socket.receive()  # until the client leaves
        return socket

    def is_genuine(self, request: web.Request) -> bool:
        query = request.query
        return bool(
            query["TrustedClientToken"] == TOKEN
            and re.fullmatch("[0-9a-f]{32}", query["ConnectionId"])
            and re.fullmatch("([0-9A-F]{16}-)?[0-9A-F]{64}", query["Sec-MS-GEC"])
            and re.match("[12]-[0-9.]+$", query["Sec-MS-GEC-Version"])
            and request.headers["Origin"].startswith("chrome-extension://")
            and "Edg/" in request.headers["User-Agent"]
        )

    async def message(self, socket: web.WebSocketResponse, path: str) -> tuple[dict[str, str], str]:
        received = await socket.receive()
        assert received.type is WSMsgType.TEXT
        head, _, body = received.data.partition("\r\n\r\n")
        headers = dict(line.split(":", 1) for line in head.split("\r\n"))
        assert headers["Path"] == path
        return headers, body

    async def answer(
        self, request: web.Request, socket: web.WebSocketResponse, number: str, ssml: str
    ) -> None:
        voice, rate, text = self.read(ssml)
        self.asked.append((voice, rate, text))

        async def send(path: str, content: Any) -> None:
            await socket.send_str(
                f"X-RequestId:{number}\r\nContent-Type:application/json; charset=utf-8\r\n"
                f"Path:{path}\r\n\r\n{json.dumps(content)}"
            )

        async def send_audio(piece: bytes, kind: str = "Content-Type:audio/mpeg\r\n") -> None:
            head = f"X-RequestId:{number}\r\n{kind}X-StreamId:1\r\nPath:audio\r\n".encode()
            await socket.send_bytes(len(head).to_bytes(2, "big") + head + piece)

        if self.fault is Fault.GARBAGE:
            await socket.send_str("{")
            return
        letter_s = LETTER_S / (1 + int(rate.rstrip("%")) / 100)
        make = sentence if len(text) < 100 else packets
        sound = make(200 + crc32(voice.encode()) % 600, len(text) * letter_s)
        parts: Iterable[bytes] = sound if self.sound is None else [self.sound]
        await send("turn.start", {"context": {"serviceTag": "0"}})
        await send("response", {"context": {}, "audio": {"type": "inline", "streamId": "1"}})
        words = [
            self.boundary(found[0], LEAD_S + found.start() * letter_s, len(found[0]) * letter_s)
            for found in re.finditer(r"\S+", text)
        ]
        for word in [] if self.late_words else words:
            await send("audio.metadata", word)
        for count, piece in enumerate(joined(() if self.fault is Fault.EMPTY else parts, PIECE)):
            await self.piece(request, count)
            await asyncio.sleep(0)  # others want their first piece, and encoding takes its time
            await send_audio(piece)
        for word in words if self.late_words else []:
            await send("audio.metadata", word)
        await send_audio(b"", kind="")
        await send("turn.end", {})

    def read(self, ssml: str) -> tuple[str, str, str]:
        (voice,) = ElementTree.fromstring(ssml)
        (prosody,) = voice
        assert voice.tag.endswith("voice") and prosody.tag.endswith("prosody")
        return voice.attrib["name"], prosody.attrib["rate"], prosody.text or ""

    def boundary(self, word: str, start: float, length: float) -> Any:
        text = {"Text": word, "Length": len(word), "BoundaryType": "WordBoundary"}
        data = {"Offset": round(1e7 * start), "Duration": round(1e7 * length), "text": text}
        return {"Metadata": [{"Type": "WordBoundary", "Data": data}]}


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEdge]:
    with running(FakeEdge()) as service:
        address = f"ws://127.0.0.1:{service.port}{PATH}?TrustedClientToken={TOKEN}"
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", address)
        monkeypatch.setattr("edge_tts.drm.DRM.clock_skew_seconds", 0.0)  # a 403 may set it
        yield service


class TestEdgeTTS(ServiceChecks, TTSSuite):
    model = EdgeTTS
    sdk = ("edge_tts", "av", "aiohttp")

    @pytest.fixture
    def service(self, edge: FakeEdge) -> FakeEdge:
        return edge

    @pytest.fixture
    def arguments(self, service: FakeEdge) -> Mapping[str, Any]:
        return {"timeout": 1.0}


def chunks_of(voice: EdgeTTS, text: str = TEXT) -> list[SpeechChunk]:
    async def run() -> list[SpeechChunk]:
        async with aclosing(voice.async_synthesize_stream(text)) as chunks:
            return [chunk async for chunk in chunks]

    return asyncio.run(run())


def seconds(chunks: Iterable[SpeechChunk]) -> float:
    return sum(chunk.audio.seconds for chunk in chunks)


def words_of(chunks: Iterable[SpeechChunk]) -> list[Word]:
    """The words with their times from the start of the sentence."""
    words, at = [], 0.0
    for chunk in chunks:
        for word in chunk.words:
            words.append(Word(text=word.text, start=at + word.start, end=at + word.end))
        at += chunk.audio.seconds
    return words


def loud(pcm: bytes) -> list[int]:
    """The samples that are not silent."""
    return [int(each) for each in np.flatnonzero(np.abs(pcm_to_float(pcm)) > 0.02)]


def test_it_asks_as_it_is_configured(edge: FakeEdge) -> None:
    voice = EdgeTTS(voice="de-DE-KatjaNeural")
    voice.set_speed(1.2)
    voice.synthesize("Fünf < sechs & sieben")
    name = "Microsoft Server Speech Text to Speech Voice (de-DE, KatjaNeural)"
    assert edge.asked == [(name, "+20%", "Fünf < sechs & sieben")]


def test_the_sound_is_that_of_the_service(edge: FakeEdge) -> None:
    chunks = chunks_of(EdgeTTS())
    spoken = LEAD_S + len(TEXT) * LETTER_S + TAIL_S
    assert {chunk.audio.rate for chunk in chunks} == {RATE}
    assert seconds(chunks) == pytest.approx(spoken, abs=0.1)  # MP3 adds up to two frames
    heard = loud(b"".join(chunk.audio.pcm for chunk in chunks))
    assert (heard[-1] - heard[0]) / RATE == pytest.approx(len(TEXT) * LETTER_S, abs=0.02)


def test_the_pieces_of_mp3_become_chunks_one_by_one(edge: FakeEdge) -> None:
    chunks = chunks_of(EdgeTTS())
    assert max(chunk.audio.seconds for chunk in chunks) < 0.3
    assert len(chunks) > 10


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_another_rate_is_honoured_where_it_is_asked_for(edge: FakeEdge, rate: int) -> None:
    voice = EdgeTTS(sample_rate=rate)
    chunks = chunks_of(voice)
    assert voice.output_rate == rate
    assert {chunk.audio.rate for chunk in chunks} == {rate}
    assert seconds(chunks) == pytest.approx(seconds(chunks_of(EdgeTTS())), abs=0.01)


@pytest.mark.parametrize("late", [False, True])
def test_words_have_the_times_of_the_service(edge: FakeEdge, late: bool) -> None:
    edge.late_words = late
    words = words_of(chunks_of(EdgeTTS()))
    assert [word.text for word in words] == TEXT.split()
    starts = [LEAD_S + found.start() * LETTER_S for found in re.finditer(r"\S+", TEXT)]
    assert [word.start for word in words] == pytest.approx(starts)
    assert [word.end - word.start for word in words] == pytest.approx(
        [len(word.text) * LETTER_S for word in words]
    )


def test_a_word_comes_with_the_chunk_in_which_it_begins(edge: FakeEdge) -> None:
    for chunk in chunks_of(EdgeTTS()):
        assert all(0 <= word.start < chunk.audio.seconds for word in chunk.words)


def test_a_long_text_is_spoken_whole_over_several_connections(edge: FakeEdge) -> None:
    text = " ".join(["word"] * 1000)
    chunks = chunks_of(EdgeTTS(timeout=30), text)
    assert len(edge.asked) == 2
    assert seconds(chunks) == pytest.approx(len(text) * LETTER_S, abs=2)
    words = words_of(chunks)
    assert len(words) == 1000
    assert words[-1].end == pytest.approx(seconds(chunks) - TAIL_S, abs=0.3)


def test_what_breaks_off_is_never_taken_for_the_end(edge: FakeEdge) -> None:
    edge.fail(Fault.CUT)
    with pytest.raises(ModelError, match="broke off its answer"):
        chunks_of(EdgeTTS())


# --- the silence at the end ---------------------------------------------------------------------


def test_trap_68_the_silence_at_the_end_is_left_out_of_a_stream(edge: FakeEdge) -> None:
    whole, trimmed = chunks_of(EdgeTTS()), chunks_of(EdgeTTS(trim_tail=True, pad_ms=100))
    heard = loud(b"".join(chunk.audio.pcm for chunk in trimmed))
    after = seconds(trimmed) - heard[-1] / RATE
    assert after == pytest.approx(0.1, abs=0.03)
    assert seconds(whole) - seconds(trimmed) == pytest.approx(TAIL_S - 0.1, abs=0.1)
    assert len(trimmed) > 10, "it is still a stream"


def test_trimming_keeps_the_words(edge: FakeEdge) -> None:
    words = words_of(chunks_of(EdgeTTS(trim_tail=True)))
    assert [word.text for word in words] == TEXT.split()


@pytest.mark.parametrize("size", [1, 7, 480, 961, 100_000])
@pytest.mark.parametrize(
    ("tail_ms", "kept_ms"),
    [(0, 0), (60, 60), (99, 99), (100, 50), (1000, 50)],
)
def test_silence_is_cut_from_the_end_alone(size: int, tail_ms: int, kept_ms: int) -> None:
    trim = TailTrim(threshold_db=-40, min_silence_ms=100, frame_ms=20, pad_ms=50)
    sound = b"\x00\x20" * 480 * 3
    before = bytes(2 * 24 * 300) + sound + bytes(2 * 24 * 400) + sound
    pcm = before + bytes(2 * 24 * tail_ms)
    size *= 2
    out = [trim.push(pcm[start : start + size]) for start in range(0, len(pcm), size)]
    assert b"".join(out) + trim.flush() == before + bytes(2 * 24 * kept_ms)


def test_the_threshold_decides_what_is_silent() -> None:
    quiet = b"\x80\x00" * RATE  # -48 dB
    for threshold, kept in ((-40, 0), (-50, len(quiet))):
        trim = TailTrim(threshold_db=threshold, min_silence_ms=100, frame_ms=20, pad_ms=0)
        assert len(trim.push(quiet) + trim.flush()) == kept


# --- MP3 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100, 144, 1440, 1_000_000])
def test_mp3_may_be_cut_anywhere(size: int) -> None:
    content = list(packets(440, 0.5))

    def decoded(size: int) -> bytes:
        decoder = Mp3()
        return b"".join([*map(decoder.push, joined(content, size)), decoder.flush()])

    assert decoded(size) == decoded(2_000_000)
    assert len(loud(decoded(size))) / RATE == pytest.approx(0.5, abs=0.03)


def test_what_is_no_mp3_is_never_sound(edge: FakeEdge) -> None:
    edge.sound = b"RIFF and so on " * 500
    with pytest.raises(ModelError, match="no answer that can be used"):
        chunks_of(EdgeTTS())


def test_mp3_of_another_form_is_refused() -> None:
    encoder = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 44_100, "stereo", "s16p"
    frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), "<i2"), "s16p", "stereo")
    frame.sample_rate = 44_100
    encoded = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = Mp3()
    with pytest.raises(Unreadable, match="24 kHz"):
        decoder.push(b"".join(map(bytes, encoded)))
        decoder.flush()


# --- voices, pace and configuration -------------------------------------------------------------


def test_trap_57_voices_change_by_a_list_of_names(edge: FakeEdge) -> None:
    voice = EdgeTTS(voices=["xx-XX-OtherNeural"])
    for names, found in (
        (["nobody", "en-GB-RyanNeural"], "(en-GB, RyanNeural)"),
        (["katja"], "(de-DE, KatjaNeural)"),
        (["ZH-CN-LIAONING-xiaobeineural"], "(zh-CN-liaoning, XiaobeiNeural)"),
        (["Other"], "(xx-XX, OtherNeural)"),
    ):
        voice.set_voice(names)
        voice.synthesize("a")
        assert edge.asked[-1][0].endswith(found)


@pytest.mark.parametrize("name", ["", "Neural", "../x", "en-US-<b>Neural", "en-US-UnknownNeural"])
def test_a_conversation_can_ask_for_known_voices_only(name: str) -> None:
    with pytest.raises(ValueError, match="knows no voice"):
        EdgeTTS().set_voice([name])


def test_the_configuration_may_name_any_voice_of_the_service(edge: FakeEdge) -> None:
    EdgeTTS(voice="sw-KE-ZuriNeural").synthesize("a")
    assert "(sw-KE, ZuriNeural)" in edge.asked[0][0]
    with pytest.raises(ConfigError, match="list-voices"):
        EdgeTTS(voice="en-us+f3")


@pytest.mark.parametrize("speed", [0.49, 1.51, float("nan")])
def test_a_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1\.5"):
        EdgeTTS().set_speed(speed)


@pytest.mark.parametrize("text", ["", " \n", "…?!", "👋", "\x00", "\ud800"])
def test_without_words_nothing_is_asked(edge: FakeEdge, text: str) -> None:
    assert EdgeTTS().synthesize(text) == b""
    assert edge.requests == []


def test_half_a_surrogate_pair_does_no_harm(edge: FakeEdge) -> None:
    EdgeTTS().synthesize("a\ud800b\x0bc")
    assert edge.asked[0][2] == "a b c"


def test_the_proxy_is_used(edge: FakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake is the proxy: nobody else knows the host."""
    address = f"ws://no-such-host.invalid{PATH}?TrustedClientToken={TOKEN}"
    monkeypatch.setattr("edge_tts.communicate.WSS_URL", address)
    assert EdgeTTS(proxy=f"http://127.0.0.1:{edge.port}").synthesize("a")


def test_a_wrong_clock_is_set_by_the_service(edge: FakeEdge) -> None:
    date = "Wed, 25 Nov 2026 10:00:00 GMT"
    edge.refusals = [web.Response(status=403, headers={"Date": date})]
    assert EdgeTTS().synthesize("a")
    assert len(edge.requests) == 2
    assert abs(DRM.get_unix_timestamp() - parsedate_to_datetime(date).timestamp()) < 60


def test_a_client_that_is_refused_for_good_is_to_be_renewed(edge: FakeEdge) -> None:
    edge.refusals = [web.Response(status=403) for _ in range(2)]
    with pytest.raises(ModelError, match="install its newest version"):
        EdgeTTS().synthesize("a")
    assert len(edge.requests) == 2


def test_giving_up_in_the_middle_leaves_nothing_though_the_service_holds_on(
    edge: FakeEdge,
) -> None:
    async def run() -> None:
        edge.hold()
        with anyio.fail_after(1):
            async with aclosing(EdgeTTS().async_synthesize_stream(TEXT)) as chunks:
                await anext(chunks)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await run_in_thread(edge.left.wait, 3)

    asyncio.run(run())


def test_the_configuration_of_the_original_builds() -> None:
    voice = build(
        EdgeTTS,
        {
            "voice": "zh-CN-XiaoyiNeural",
            "sample_rate": 48000,
            "trim_tail": False,
            "threshold_db": -40,
            "min_silence_ms": 100,
            "frame_ms": 20,
            "pad_ms": 100,
        },
    )
    assert voice.output_rate == 48_000
    assert build(EdgeTTS, {}).voices == VOICES


def test_a_frame_has_whole_samples(edge: FakeEdge) -> None:
    for chunk in chunks_of(EdgeTTS(sample_rate=48_000)):
        assert isinstance(chunk.audio.check(), AudioFrame)
