"""Easy Turn: whole utterances over gRPC, text and a tag that says whether the turn is over."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_IN, AudioFrame, pcm_to_float
from xtalk.errors import ModelError
from xtalk.remote import FINAL_S, Remote, Shared, Unreadable, grpc_answer
from xtalk.speech.interfaces import ASR, Transcript
from xtalk.speech.remote import give_up, redecoded
from xtalk_asr_easy_turn.messages import HEALTH_CHECK, RECOGNIZE, message

__all__ = ["EasyTurnASR"]

log = logging.getLogger(__name__)

TAG = re.compile(r"<(complete|incomplete|backchannel|wait)>", re.IGNORECASE)
# A channel whose service came back tries it at once, and not after up to two minutes.
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
)


class EasyTurnASR(ASR):
    """Easy Turn. The service knows whole utterances only, so each decode sends all of it.

    Partial texts are therefore asked for only when the utterance has grown by half, beside the
    listening; the final one waits for none of them. All clones share one channel.
    """

    def __init__(
        self,
        host: Annotated[str, Field(min_length=1, description="where the service runs")] = (
            "localhost"
        ),
        port: Annotated[int, Field(ge=1, le=65535, description="its port")] = 50051,
        language: Annotated[str, Field(description="the language that it is told")] = "zh",
        task: Annotated[
            str, Field(description="what it is asked to do, in the tags of its model")
        ] = "<TRANSCRIBE> <BACKCHANNEL> <COMPLETE>",
        timeout: Annotated[
            float, Field(gt=0, description="seconds for one decode, repetitions included")
        ] = FINAL_S,
    ) -> None:
        self._target = f"{host}:{port}"
        self._language = language
        self._task = task
        self._remote = Remote(
            name="Easy Turn (EasyTurnASR)",
            check="check that its gRPC service runs, and its host and port",
            timeout_s=timeout,
        )
        self._shared = Shared(self._channel)
        self._checking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and ask for its health in the background; what is wrong goes into the log."""
        await self._shared.hold(self)
        self._checking = asyncio.get_running_loop().create_task(self._check())

    async def close(self) -> None:
        checking, self._checking = self._checking, None
        if checking is not None:
            await give_up(checking)
        await self._shared.release(self)

    def clone(self) -> EasyTurnASR:
        twin = copy.copy(self)
        twin._checking = None
        twin.reset()
        return twin

    def reset(self) -> None:
        self.__dict__.pop("_segment", None)  # what `recognize_stream` of ASR collects

    def recognize(self, audio: bytes) -> str:
        """The text without its tag, over a channel of its own.

        gRPC's asyncio client logs false errors when it runs on two loops of one process, so the
        blocking method uses the blocking client.
        """
        if not audio:
            return ""
        import grpc

        request = self._request(audio)
        limit_s = self._remote.patient(len(audio) / (2 * RATE_IN)).timeout_s
        try:
            with grpc.insecure_channel(self._target, OPTIONS) as channel:
                return _transcript(channel.unary_unary(RECOGNIZE)(request, timeout=limit_s)).text
        except Exception as error:  # whatever gRPC raises
            raise self._remote.failed(error) from None

    async def async_recognize(self, audio: bytes) -> str:
        """The text without its tag."""
        return (await self._heard(audio)).text

    async def transcribe(
        self, frames: AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Transcript, None]:
        pieces = (frame.pcm async for frame in frames)
        async with aclosing(pieces), aclosing(redecoded(pieces, self._heard)) as transcripts:
            async for transcript in transcripts:
                yield transcript

    async def _heard(self, audio: bytes) -> Transcript:
        if not audio:
            return Transcript(text="")
        request = self._request(audio)
        remote = self._remote.patient(len(audio) / (2 * RATE_IN))
        return await remote.call(lambda: self._asked(request, remote.timeout_s))

    async def _asked(self, request: bytes, limit_s: float) -> Transcript:
        async with self._shared.use() as channel:
            call = channel.unary_unary(RECOGNIZE)(request, timeout=limit_s)
            return _transcript(await grpc_answer(call))

    def _request(self, audio: bytes) -> bytes:
        samples = pcm_to_float(AudioFrame(audio, RATE_IN).check().pcm)
        request = message("AudioRequest")(
            audio_data=samples.astype("<f4").tobytes(),
            audio_data_shape=samples.shape,
            sample_rate=RATE_IN,
            task=self._task,
            lang=self._language,
        )
        return bytes(request.SerializeToString())

    def _channel(self) -> AbstractAsyncContextManager[Any]:
        import grpc.aio

        channel: AbstractAsyncContextManager[Any] = grpc.aio.insecure_channel(self._target, OPTIONS)
        return channel

    async def _check(self) -> None:
        with suppress(ModelError):  # it is in the log, and the first utterance will tell
            status = await self._remote.call(self._health)
            if status.upper() != "HEALTHY":
                log.warning("%s says that it is not ready", self._remote.name)

    async def _health(self) -> str:
        request = message("HealthRequest")().SerializeToString()
        async with self._shared.use() as channel:
            call = channel.unary_unary(HEALTH_CHECK)(request, timeout=self._remote.timeout_s)
            return str(_read("HealthResponse", await grpc_answer(call)).status)


def _read(name: str, content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message(name).FromString(content)
    except DecodeError:
        raise Unreadable(f"message {name}") from None


def _transcript(content: bytes) -> Transcript:
    """The text of an answer, and its last tag in small letters."""
    answer = _read("AudioResponse", content)
    if not answer.success:
        raise Unreadable("result: it says that it failed")  # its own words stay with it
    tags = TAG.findall(answer.result_text)
    text = " ".join(TAG.sub(" ", answer.result_text).split())
    return Transcript(text=text, tag=f"<{tags[-1].lower()}>" if tags else None)
