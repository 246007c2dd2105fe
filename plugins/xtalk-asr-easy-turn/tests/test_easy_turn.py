"""EasyTurnASR against a gRPC service that knows xtalk's recordings by their samples."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import numpy as np
import pytest
from xtalk_asr_easy_turn.asr import EasyTurnASR
from xtalk_asr_easy_turn.messages import message

from xtalk.audio import RATE_IN, AudioFrame, silence
from xtalk.calls import close_model, open_model
from xtalk.errors import AudioError, ConfigError, ModelError
from xtalk.schema import build
from xtalk.speech.interfaces import Transcript
from xtalk.testing.recordings import TEXTS, recording
from xtalk.testing.services import KEY, Fault, ServiceChecks
from xtalk.testing.suites import ASRSuite
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

SOUND = recording("what-time-is-it").pcm
TASK = "<TRANSCRIBE> <BACKCHANNEL> <COMPLETE>"
THREADS = 24

STATUS = {
    Fault.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Fault.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.BROKEN: grpc.StatusCode.INTERNAL,
}


class FakeEasyTurn(grpc.GenericRpcHandler):
    """`audio_inference.AudioInferenceService`, as strict as the real one with what it is sent.

    It hears as many words of a recording as it got of its samples, and says whether that is
    `<complete>`. `says` replaces what it answers, `health` its health; `sizes` holds the number
    of samples of each request.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.left = threading.Event()
        self.asked = threading.Event()
        self.says: str | None = None
        self.health = "HEALTHY"
        self.requests: list[str] = []
        self.sizes: list[int] = []
        self.connections: set[str] = set()
        self.port = 0
        self._gate = threading.Event()
        self._gate.set()
        self._pool = ThreadPoolExecutor(THREADS)
        started = threading.Barrier(THREADS)
        for _ in range(THREADS):  # so that none of them starts during a check that counts threads
            self._pool.submit(started.wait)
        self._server: Any = None
        self.start()

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        handlers = {
            "/audio_inference.AudioInferenceService/RecognizeAudio": self.recognize,
            "/audio_inference.AudioInferenceService/HealthCheck": self.check,
        }
        found = handlers.get(method)
        return found and grpc.unary_unary_rpc_method_handler(found)

    def recognize(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        self._begin("RecognizeAudio", context)
        request = message("AudioRequest").FromString(content)
        if not request.audio_data or request.audio_path:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no audio")
        samples = np.frombuffer(request.audio_data, dtype="<f4")
        samples = samples.reshape(list(request.audio_data_shape))
        if samples.ndim != 1 or request.sample_rate != RATE_IN:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not mono at 16 kHz")
        assert (request.task, request.lang) == (TASK, "zh")
        self.sizes.append(samples.size)
        self.asked.set()
        if self.fault is Fault.CUT:
            threading.Thread(target=self._server.stop, args=(None,)).start()
            self._wait(threading.Event(), context)
        self._wait(self._gate, context)
        if self.fault is Fault.GARBAGE:
            return b"\xff\xff"
        if self.fault is Fault.EMPTY:
            return b""
        text = self.hear(samples) if self.says is None else self.says
        answer = message("AudioResponse")(success=True, result_text=text, inference_time=0.1)
        return bytes(answer.SerializeToString())

    def check(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        self._begin("HealthCheck", context)
        message("HealthRequest").FromString(content)
        return bytes(message("HealthResponse")(status=self.health).SerializeToString())

    def hear(self, samples: Any) -> str:
        pcm = np.rint(samples * 32768).astype("<i2").tobytes()
        if not any(pcm):
            return ""
        for name, text in TEXTS.items():
            whole = recording(name).pcm
            if whole.startswith(pcm):
                words = text.split()
                known = words[: round(len(words) * len(pcm) / len(whole))]
                tag = "complete" if known == words else "incomplete"
                return f"{' '.join(known)}<{tag}>"
        return "what was that<wait>"

    def _begin(self, what: str, context: grpc.ServicerContext) -> None:
        self.requests.append(what)
        self.connections.add(context.peer())
        if self.fault in STATUS:
            context.abort(STATUS[self.fault], f"no, {KEY}")
        if self.fault in (Fault.STALL, Fault.SILENCE):
            self._wait(threading.Event(), context)

    def _wait(self, gate: threading.Event, context: grpc.ServicerContext) -> None:
        """Until the gate opens; a client that leaves ends it too."""
        over = threading.Event()
        if not context.add_callback(over.set):
            over.set()  # it has left already
        while not gate.wait(0.02):
            if over.is_set():
                self.left.set()
                context.abort(grpc.StatusCode.CANCELLED, "left")

    # --- for tests ------------------------------------------------------------------------------

    def start(self) -> None:
        self._server = grpc.server(self._pool, handlers=[self])
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def end(self) -> None:
        self._gate.set()
        self.stop()
        self._pool.shutdown()

    def fail(self, fault: Fault | None) -> None:
        was, self.fault = self.fault, fault
        if fault is Fault.REFUSED:
            self.stop()
        elif was in (Fault.REFUSED, Fault.CUT):
            self.drop()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def drop(self) -> None:
        self.stop()
        self.start()


@pytest.fixture
def service() -> Iterator[FakeEasyTurn]:
    service = FakeEasyTurn()
    yield service
    service.end()


def recogniser(service: FakeEasyTurn, **params: Any) -> EasyTurnASR:
    arguments = {"host": "127.0.0.1", "port": service.port, "timeout": 1.0, **params}
    made: EasyTurnASR = build(EasyTurnASR, arguments)
    return made


class TestEasyTurnASR(ServiceChecks, ASRSuite):
    model = EasyTurnASR
    sdk = ("grpc", "google.protobuf")
    expected = TEXTS["what-time-is-it"]
    streams = False  # one answer a request; so SILENCE is a STALL, and CUT comes before it

    @pytest.fixture
    def service(self) -> Iterator[FakeEasyTurn]:
        service = FakeEasyTurn()
        yield service
        service.end()

    @pytest.fixture
    def arguments(self, service: FakeEasyTurn) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": service.port, "timeout": 1.0}


def transcripts_of(
    model: EasyTurnASR, frames: Callable[[], AsyncIterator[AudioFrame]]
) -> list[Transcript]:
    async def run() -> list[Transcript]:
        async with aclosing(model.transcribe(frames())) as heard:
            return [transcript async for transcript in heard]

    return asyncio.run(run())


async def whole() -> AsyncIterator[AudioFrame]:
    yield AudioFrame(SOUND, RATE_IN)


@pytest.mark.parametrize(
    ("says", "text", "tag"),
    [
        ("今天天气怎么样<complete>", "今天天气怎么样", "<complete>"),
        ("我想问一下<incomplete>", "我想问一下", "<incomplete>"),
        ("嗯<backchannel>", "嗯", "<backchannel>"),
        ("先停一下 <WAIT> ", "先停一下", "<wait>"),
        ("<complete>", "", "<complete>"),
        ("a<incomplete> b<complete>", "a b", "<complete>"),
        ("1 < 2 <3>", "1 < 2 <3>", None),
        ("", "", None),
    ],
)
def test_tags_are_tags_and_never_text(
    service: FakeEasyTurn, says: str, text: str, tag: str | None
) -> None:
    service.says = says
    assert transcripts_of(recogniser(service), whole) == [
        Transcript(text=text, tag=tag, final=True)
    ]
    assert recogniser(service).recognize(SOUND) == text


def test_a_partial_comes_while_somebody_speaks_and_has_no_tag(service: FakeEasyTurn) -> None:
    heard: list[Transcript] = []

    async def run() -> None:
        partial = anyio.Event()

        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(SOUND[:48000], RATE_IN)
            while not partial.is_set():  # the microphone goes on, whatever the service does
                yield AudioFrame(b"", RATE_IN)
                await anyio.lowlevel.checkpoint()
            yield AudioFrame(SOUND[48000:], RATE_IN)

        async with aclosing(recogniser(service).transcribe(frames())) as transcripts:
            async for transcript in transcripts:
                heard.append(transcript)
                partial.set()

    asyncio.run(run())
    assert [(each.text, each.final, each.tag) for each in heard] == [
        ("what time is", False, None),
        ("what time is it", True, "<complete>"),
    ]


def test_the_final_decode_waits_for_no_partial(service: FakeEasyTurn) -> None:
    async def frames() -> AsyncIterator[AudioFrame]:
        service.hold()
        yield AudioFrame(SOUND[:48000], RATE_IN)
        assert await run_in_thread(service.asked.wait, 3)
        yield AudioFrame(SOUND[48000:], RATE_IN)
        service.release()

    (final,) = transcripts_of(recogniser(service, timeout=30), frames)
    assert final.text == "what time is it"


def test_a_segment_that_is_given_up_gives_up_its_partial(service: FakeEasyTurn) -> None:
    async def run() -> None:
        asked = anyio.Event()

        async def frames() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(SOUND[:48000], RATE_IN)
            assert await run_in_thread(service.asked.wait, 3)
            asked.set()
            await anyio.sleep_forever()

        async def listen() -> None:
            async with aclosing(recogniser(service, timeout=600).transcribe(frames())) as heard:
                async for _ in heard:
                    pass

        service.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await asked.wait()
            group.cancel_scope.cancel()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await run_in_thread(service.left.wait, 3), "the service goes on"

    asyncio.run(run())


def test_a_partial_that_fails_is_no_loss(service: FakeEasyTurn) -> None:
    async def frames() -> AsyncIterator[AudioFrame]:
        service.fail(Fault.BROKEN)
        yield AudioFrame(SOUND[:48000], RATE_IN)
        while len(service.requests) < 2:  # it is repeated once
            yield AudioFrame(b"", RATE_IN)
            await anyio.lowlevel.checkpoint()
        service.fail(None)
        yield AudioFrame(SOUND[48000:], RATE_IN)

    (final,) = transcripts_of(recogniser(service), frames)
    assert final.text == "what time is it"


def test_trap_77_the_cost_of_an_utterance_grows_with_its_length_and_not_its_square(
    service: FakeEasyTurn,
) -> None:
    """Though it comes so slowly that each partial decode is over before the next could begin."""
    seconds = 20

    async def frames() -> AsyncIterator[AudioFrame]:
        for _ in range(4 * seconds):
            yield silence(0.25, RATE_IN)
            await anyio.sleep(0.002)

    transcripts_of(recogniser(service), frames)
    assert service.sizes[0] == RATE_IN
    assert len(service.sizes) > 2
    assert sum(service.sizes) <= 4 * seconds * RATE_IN


@pytest.mark.parametrize(
    ("name", "fields", "content"),
    [
        ("AudioRequest", {"audio_data": b"ab"}, b"\x0a\x02ab"),
        ("AudioRequest", {"audio_data_shape": [3]}, b"\x12\x01\x03"),
        ("AudioRequest", {"audio_path": "a"}, b"\x1a\x01a"),
        ("AudioRequest", {"sample_rate": 16000}, b"\x20\x80\x7d"),
        ("AudioRequest", {"task": "a", "lang": "b"}, b"\x2a\x01a\x32\x01b"),
        ("AudioRequest", {"duration": 1.0}, b"\x55\x00\x00\x80\x3f"),
        ("AudioResponse", {"success": True}, b"\x08\x01"),
        ("AudioResponse", {"error_message": "a", "result_text": "b"}, b"\x12\x01a\x1a\x01b"),
        ("AudioResponse", {"inference_time": 1.0}, b"\x25\x00\x00\x80\x3f"),
        ("AudioResponse", {"total_time": 1.0}, b"\x5d\x00\x00\x80\x3f"),
        ("HealthRequest", {}, b""),
        ("HealthResponse", {"status": "a", "message": "b"}, b"\x0a\x01a\x12\x01b"),
    ],
)
def test_trap_65_the_messages_need_no_generated_code(
    name: str, fields: Mapping[str, Any], content: bytes
) -> None:
    """Byte by byte, since the fake reads and writes with the same table as the adaptor."""
    assert message(name)(**fields).SerializeToString() == content


def test_all_decodes_go_over_one_connection(service: FakeEasyTurn) -> None:
    async def run() -> None:
        model = recogniser(service)
        clones = [model.clone() for _ in range(3)]
        for each in (model, *clones):
            await open_model(each)
        for clone in clones:
            assert await clone.async_recognize(SOUND) == "what time is it"
        for each in (model, *clones):
            await close_model(each)

    asyncio.run(run())
    assert len(service.connections) == 1


def test_the_health_is_asked_for_when_it_opens(
    service: FakeEasyTurn, caplog: pytest.LogCaptureFixture
) -> None:
    service.health = "UNHEALTHY"

    async def run() -> None:
        model = recogniser(service)
        await open_model(model)
        while "not ready" not in caplog.text:
            await anyio.lowlevel.checkpoint()
        await close_model(model)

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert service.requests == ["HealthCheck"]


def test_trap_73_neither_building_nor_opening_waits_for_the_service(
    service: FakeEasyTurn,
) -> None:
    service.fail(Fault.STALL)

    async def run() -> None:
        with anyio.fail_after(5):
            model = recogniser(service, timeout=600)
            clone = model.clone()
            await open_model(clone)
            await close_model(clone)

    asyncio.run(run())


def test_cancelling_ends_the_request(service: FakeEasyTurn) -> None:
    service.hold()

    async def run() -> None:
        task = asyncio.get_running_loop().create_task(
            recogniser(service, timeout=600).async_recognize(SOUND)
        )
        assert await run_in_thread(service.asked.wait, 3)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    assert service.left.wait(3)


def test_an_answer_without_success_is_never_a_text(service: FakeEasyTurn) -> None:
    failed = message("AudioResponse")(success=False, error_message="boom", result_text="boom")
    service.recognize = lambda *_: failed.SerializeToString()  # type: ignore[method-assign]
    for hear in (recogniser(service).recognize, lambda pcm: asyncio.run(awaited(service, pcm))):
        with pytest.raises(ModelError, match="no answer that can be used") as told:
            hear(SOUND)
        assert "boom" not in str(told.value)


async def awaited(service: FakeEasyTurn, pcm: bytes) -> str:
    return await recogniser(service).async_recognize(pcm)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.STALL, Fault.BROKEN, Fault.GARBAGE])
def test_the_blocking_method_fails_in_the_same_words(
    service: FakeEasyTurn, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    service.fail(fault)
    with pytest.raises(ModelError, match=r"^Easy Turn \(EasyTurnASR\)") as told:
        recogniser(service).recognize(SOUND)
    assert told.value.__suppress_context__
    assert KEY not in caplog.text + str(told.value)


def test_no_sound_is_no_request(service: FakeEasyTurn) -> None:
    assert recogniser(service).recognize(b"") == ""
    assert service.requests == []


def test_silence_has_no_text(service: FakeEasyTurn) -> None:
    assert recogniser(service).recognize(silence(1.0, RATE_IN).pcm) == ""


def test_half_a_sample_is_refused(service: FakeEasyTurn) -> None:
    with pytest.raises(AudioError, match="even number of bytes"):
        recogniser(service).recognize(b"\0\0\0")


def test_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="port"):
        build(EasyTurnASR, {"port": 0})


def test_the_configuration_of_the_original_builds() -> None:
    build(
        EasyTurnASR,
        {"host": "localhost", "port": 50051, "language": "zh", "task": TASK, "timeout": 30},
    )
    build(EasyTurnASR, {})
