"""A CosyVoice gRPC server on a loopback port, with its speakers, its modes and its failures.

It is a real gRPC server without a model. Its messages are read with a description of its own
(`fields`), so that a wrong number in the adaptor's would show.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from relay import Relay
from tones import tone

from xtalk.audio import float_to_pcm
from xtalk.testing.services import KEY, Fault

__all__ = ["FakeCosyVoice", "serving"]

RATE = 24_000
PIECE = RATE // 5
THREADS = 40
CODES = {
    Fault.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Fault.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.BROKEN: grpc.StatusCode.INTERNAL,
}
MODES = {
    6: "sft",
    7: "zero_shot",
    8: "cross_lingual",
    9: "instruct2",
    10: "zero_shot_by_spk_id",
    11: "instruct2_by_spk_id",
}


def fields(message: bytes) -> dict[int, Any]:
    """The fields of a message of protobuf by their numbers; the last one of each counts."""
    found: dict[int, Any] = {}
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            found[number] = varint()
        else:
            size = {2: varint, 5: lambda: 4}[kind]()
            found[number] = message[place : place + size]
            place += size
    return found


def response(audio: bytes, format: str) -> bytes:
    """A Response, written by hand."""

    def field(number: int, value: bytes) -> bytes:
        size, length = len(value), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + value

    return field(1, audio) + (field(2, format.encode()) if format else b"")


class FakeCosyVoice:
    """`asked` holds the mode and the fields of every request; `registered` the speakers that
    were given to it. `first` is set when an answer's first piece is on its way."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.left = threading.Event()
        self.asked: list[tuple[str, dict[int, Any]]] = []
        self.registered: dict[str, dict[int, Any]] = {}
        self.speakers = {"001", "002", "anna"}
        self.refuses_speakers = False
        self.relay: Relay
        self._held = False
        self._changed = threading.Condition()

    def fail(self, fault: Fault | None) -> None:
        down = self.fault is Fault.REFUSED
        self.fault = fault
        if (fault is Fault.REFUSED) != down:
            self.relay.refuse(fault is Fault.REFUSED)

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._notify()

    def drop(self) -> None:
        self.relay.cut()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- its methods ----------------------------------------------------------------------------

    def inference(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        asked = fields(request)
        yield from self.answer(asked, iter([text(asked)]), context)

    def stream_inference(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        first = fields(next(requests))
        if text(first):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request has a text")
        yield from self.answer(first, (text(fields(request)) for request in requests), context)

    def register(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        self.begin(context, ended)
        asked = fields(request)
        speaker = asked[1].decode()
        check_prompt(asked[3], context)
        if asked[4] != 16_000 or not asked[2]:
            context.abort(grpc.StatusCode.INTERNAL, "no such recording")
        if self.refuses_speakers:
            return b"\x08\x02"
        self.registered[speaker] = asked
        self.speakers.add(speaker)
        return b"\x08\x01" + b"\x12" + bytes([len(asked[1])]) + asked[1]

    def answer(
        self, asked: dict[int, Any], texts: Iterator[str], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        ended, done = threading.Event(), False

        def end() -> None:
            ended.set()
            if not done:
                self.left.set()
            self._notify()

        context.add_callback(end)
        self.begin(context, ended)
        voice = self.voice(asked, context)
        for number, piece in enumerate(self.pieces(asked, voice, texts)):
            if number == 1:
                self.second(ended)
            yield piece
        done = True

    def begin(self, context: grpc.ServicerContext, ended: threading.Event) -> None:
        if self.fault in CODES:
            context.abort(CODES[self.fault], f"no, {KEY}")  # type: ignore[index]
        if self.fault is Fault.STALL:
            ended.wait()

    def second(self, ended: threading.Event) -> None:
        """Wait, fall silent or break before the second piece."""
        if self.fault is Fault.CUT:
            self.relay.cut()
        if self.fault in (Fault.CUT, Fault.SILENCE):
            ended.wait()
        with self._changed:
            self._changed.wait_for(lambda: not self._held or ended.is_set())

    def pieces(self, asked: dict[int, Any], voice: str, texts: Iterator[str]) -> Iterator[bytes]:
        if self.fault is Fault.EMPTY:
            return
        if self.fault is Fault.GARBAGE:
            yield b"\xff\xff\xff"
        format = asked.get(5, b"").decode()
        speed = float(np.frombuffer(asked[4], "<f4")[0])
        spoken = (tone(voice, said, RATE, speed) for said in texts)
        if not asked.get(3):
            spoken = iter([np.concatenate(list(spoken))])
        for samples in spoken:
            step = PIECE if asked.get(3) else max(1, len(samples))
            for start in range(0, len(samples), step):
                part = samples[start : start + step]
                yield response(float_to_pcm(part) if format == "pcm" else part.tobytes(), format)

    def voice(self, asked: dict[int, Any], context: grpc.ServicerContext) -> str:
        """Who speaks; refuses what the server would."""
        modes = [number for number in MODES if number in asked]
        if len(modes) != 1 or asked.get(5, b"") not in (b"", b"pcm") or asked.get(2) != 1:
            context.abort(grpc.StatusCode.INTERNAL, "Processing error: Invalid request type")
        mode, who = MODES[modes[0]], fields(asked[modes[0]])
        self.asked.append((mode, asked | {modes[0]: who}))
        if mode in ("sft", "zero_shot_by_spk_id", "instruct2_by_spk_id"):
            speaker = who[2 if mode == "instruct2_by_spk_id" else 1].decode()
            if speaker not in self.speakers:
                context.abort(grpc.StatusCode.INTERNAL, "Processing error: unknown speaker")
            return speaker
        prompt = who[1 if mode == "cross_lingual" else 2]
        check_prompt(prompt, context)
        return hashlib.sha256(prompt).hexdigest()


def text(asked: dict[int, Any]) -> str:
    return str(asked.get(1, b"").decode())


def check_prompt(prompt: bytes, context: grpc.ServicerContext) -> None:
    """Half a second of floats at least, in [-1, 1], in which somebody speaks."""
    samples = np.frombuffer(prompt, "<f4") if len(prompt) % 4 == 0 else np.zeros(0)
    if len(samples) < 8000 or not 0.05 < np.abs(samples).max() <= 1:
        context.abort(grpc.StatusCode.INTERNAL, "Processing error: no recording")


@contextmanager
def serving() -> Iterator[FakeCosyVoice]:
    """The server behind a relay, all its threads started."""
    service = FakeCosyVoice()
    with ThreadPoolExecutor(THREADS) as pool:
        ready = threading.Barrier(THREADS + 1)
        for _ in range(THREADS):
            pool.submit(ready.wait)
        ready.wait()
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((handlers(service),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        service.relay = Relay(port)
        try:
            with service.relay.running():
                yield service
        finally:
            server.stop(0).wait()


def handlers(service: FakeCosyVoice) -> grpc.GenericRpcHandler:
    methods: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "Inference": (grpc.unary_stream_rpc_method_handler, service.inference),
        "StreamInference": (grpc.stream_stream_rpc_method_handler, service.stream_inference),
        "RegisterSpk": (grpc.unary_unary_rpc_method_handler, service.register),
    }
    return grpc.method_handlers_generic_handler(
        "cosyvoice.CosyVoice", {name: kind(method) for name, (kind, method) in methods.items()}
    )
