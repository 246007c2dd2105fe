"""The recognisers of sherpa-onnx in this process: one loaded model, one stream a segment."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_IN, AudioFrame, Resampler
from xtalk.speech.interfaces import ASR, Transcript
from xtalk.threads import run_in_thread
from xtalk_sherpa_onnx.files import Provider, Threads
from xtalk_sherpa_onnx.recognisers import Recogniser, find_files, kind_of, load
from xtalk_sherpa_onnx.segments import Segment, begin

__all__ = ["LocalASR", "SherpaOnnxLocal"]

BATCH_BYTES = 3200  # 100 ms: a hop to a thread costs what decoding that does


class LocalASR(ASR):
    """A recogniser of the process: what `SherpaOnnxLocal` and the original's types share.

    Decoding happens in threads. Any number of clones decode with the one loaded model at a time.
    A segment that is given up is forgotten when the call that decodes it returns.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        tail_s: float | None = None,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._recogniser = recogniser
        self._tail_s = tail_s
        self._batch_bytes = batch_bytes
        self._segment: Segment | None = None

    def clone(self) -> LocalASR:
        other = copy.copy(self)
        other._segment = None
        return other

    def reset(self) -> None:
        self._segment = None

    def stream_chunk_bytes_hint(self) -> int:
        return self._batch_bytes

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        """Partials as the text changes, then one final. ModelError when it cannot be decoded."""
        segment = await run_in_thread(self._begin)
        waiting = bytearray()
        resampler: Resampler | None = None
        text = ""
        async for frame in frames:
            if resampler is None:
                resampler = Resampler(frame.rate, RATE_IN)
            waiting += resampler.push(frame.pcm)
            if len(waiting) < self._batch_bytes:
                continue
            heard = await run_in_thread(segment.push, bytes(waiting))
            waiting.clear()
            if heard.text != text:
                text = heard.text
                yield heard
        if resampler is not None:
            waiting += resampler.flush()
        yield await run_in_thread(segment.end, bytes(waiting))

    def recognize(self, audio: bytes) -> str:
        return self._begin().end(AudioFrame(audio, RATE_IN).check().pcm).text

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        segment = self._segment = self._segment or self._begin()
        pcm = AudioFrame(audio, RATE_IN).check().pcm
        if not is_final:
            return segment.push(pcm).text
        self._segment = None
        return segment.end(pcm).text

    def _begin(self) -> Segment:
        return begin(self._recogniser, self._tail_s)


class SherpaOnnxLocal(LocalASR):
    """Any recogniser of sherpa-onnx. Kinds that begin with `online_` decode while one speaks.

    The others decode the whole segment when it is over, and for partials again whenever it has
    grown by half.
    """

    def __init__(
        self,
        *,
        model: Annotated[
            str, Field(description="Folder of the model, or its name in `xtalk models list`")
        ] = "sherpa-onnx-streaming-zipformer-en-2023-06-26",
        kind: Annotated[
            str,
            Field(description="Which recogniser it is for; auto knows those of the catalogue"),
        ] = "auto",
        files: Annotated[
            Mapping[str, str] | None,
            Field(description="Files by their role, where the folder leaves a choice"),
        ] = None,
        int8: Annotated[
            bool, Field(description="Of files in two precisions take the one in 8 bits")
        ] = True,
        num_threads: Threads = 1,
        provider: Provider = "cpu",
        options: Annotated[
            Mapping[str, Any] | None,
            Field(description="Further arguments of sherpa-onnx for that kind, such as language"),
        ] = None,
    ) -> None:
        who = "SherpaOnnxLocal"
        known = kind_of(model, kind, who)
        found = find_files(model, known, files or {}, int8=int8, who=who)
        arguments = {"num_threads": num_threads, "provider": provider, **(options or {})}
        super().__init__(load(known, found, arguments, who=who))
