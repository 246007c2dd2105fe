"""PocketSphinx as an ASR: one worker process a session, more for what its grammar does not know."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from xtalk.audio import RATE_IN, AudioFrame, Resampler
from xtalk.errors import ConfigError
from xtalk.speech.interfaces import ASR, Transcript
from xtalk_asr_pocketsphinx.framing import GRAMMAR
from xtalk_asr_pocketsphinx.grammar import check_words, from_phrases
from xtalk_asr_pocketsphinx.host import Host, Settings, Worker
from xtalk_asr_pocketsphinx.segment import Segment

__all__ = ["PocketSphinx"]


class PocketSphinx(ASR):
    """US English, offline.

    With a grammar (its own, or the agent's through `set_grammar`) a segment is decoded with it
    and, beside it, with free phones; words that explain the sound too badly are not believed
    and the segment goes to the language model. Without a grammar all speech goes there.

    All work happens in processes that are shared by the clones; nothing here blocks but
    `recognize` and the last call of `recognize_stream`.
    """

    def __init__(
        self,
        *,
        grammar: Annotated[
            str | None, Field(description="What to expect, as JSGF; None takes the agent's")
        ] = None,
        phrases: Annotated[
            Sequence[str] | None, Field(description="What to expect, as plain phrases")
        ] = None,
        gate: Annotated[
            float,
            Field(gt=0, description="Loss per frame (nats) up to which the grammar is believed"),
        ] = 3.0,
        language_model: Annotated[
            bool, Field(description="Understand what falls outside the grammar, roughly")
        ] = True,
        language_workers: Annotated[
            int, Field(ge=1, description="Segments at a time in the language model, for all")
        ] = 2,
        pronunciations: Annotated[
            Mapping[str, str] | None,
            Field(description="Words that the dictionary lacks, in ARPAbet"),
        ] = None,
        timeout_s: Annotated[
            float,
            Field(gt=0, description="Longest wait for a sign of life; 1 s more for 4 s of speech"),
        ] = 10.0,
    ) -> None:
        if grammar is not None and phrases is not None:
            raise ConfigError("PocketSphinx takes `grammar` or `phrases`, not both")
        if phrases is not None:
            grammar = from_phrases(phrases)
        settings = Settings(
            grammar=grammar,
            gate=gate,
            language_model=language_model,
            language_workers=language_workers,
            pronunciations=dict(pronunciations or {}),
        )
        if grammar is not None:
            check_words(grammar, settings.pronunciations)
        self._timeout_s = timeout_s
        self._fixed = grammar is not None
        self._host = Host(settings)
        self._opened = False
        self._worker: Worker | None = None
        self._segment: Segment | None = None

    def set_grammar(self, jsgf: str) -> None:
        """Expect this, unless the configuration already says what; ConfigError on odd words."""
        old = self._host.settings
        if self._fixed or jsgf == old.grammar:
            return
        check_words(jsgf, old.pronunciations)
        opened = self._opened
        self.close()
        self._host = Host(replace(old, grammar=jsgf))
        if opened:
            self.open()

    def clone(self) -> PocketSphinx:
        """Another session's recogniser: a process of its own in the same server."""
        other = copy.copy(self)
        other._opened = False
        other._worker = other._segment = None
        return other

    def open(self) -> None:
        """Start the server, unless a clone has. Returns at once; it loads for some 0.5 s."""
        if not self._opened:
            self._host.retain()
            self._opened = True

    def close(self) -> None:
        """End this session's process; the last to close ends them all."""
        self.reset()
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._opened:
            self._opened = False
            self._host.release()

    def reset(self) -> None:
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None

    # --- one segment at a time ------------------------------------------------------------------

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        """Partials as frames come, then one final.

        ModelError when a worker dies, ModelTimeout when it does not answer; the next segment
        gets a fresh one.
        """
        segment = self._begin()
        resampler: Resampler | None = None
        try:
            async for frame in frames:
                if resampler is None:
                    resampler = Resampler(frame.rate, RATE_IN)
                segment.push(resampler.push(frame.pcm))
                for partial in segment.poll():
                    yield partial
            if resampler is not None:
                segment.push(resampler.flush())
            segment.end()
            yield await self._final(segment)
        finally:
            self.reset()

    async def async_recognize(self, audio: bytes) -> str:
        return await self.async_recognize_stream(audio, is_final=True)

    async def async_recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        segment = self._segment or self._begin()
        try:
            self._feed(segment, audio, is_final)
            return (await self._final(segment)).text if is_final else segment.text
        except BaseException:
            self.reset()
            raise

    def recognize(self, audio: bytes) -> str:
        return self.recognize_stream(audio, is_final=True)

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        segment = self._segment or self._begin()
        try:
            self._feed(segment, audio, is_final)
            return self._final_blocking(segment).text if is_final else segment.text
        except BaseException:
            self.reset()
            raise

    def _feed(self, segment: Segment, audio: bytes, is_final: bool) -> None:
        segment.push(audio)
        if is_final:
            segment.end()
        segment.poll()

    async def _final(self, segment: Segment) -> Transcript:
        patience_s = self._patience_s(segment)
        while segment.final is None:
            await segment.awaited.wait(patience_s)
            segment.poll()
        return self._done(segment.final)

    def _final_blocking(self, segment: Segment) -> Transcript:
        patience_s = self._patience_s(segment)
        while segment.final is None:
            segment.awaited.wait_blocking(patience_s)
            segment.poll()
        return self._done(segment.final)

    def _patience_s(self, segment: Segment) -> float:
        """How long the worker may neither take audio nor say anything.

        Its last pass, over the whole segment, is silent and takes 1/16 of its length on an idle
        machine.
        """
        return self._timeout_s + segment.seconds / 4

    def _begin(self) -> Segment:
        self.reset()
        self.open()
        self._segment = Segment(self._host, self._spare())
        return self._segment

    def _spare(self) -> Worker | None:
        """The session's own worker, a fresh one when the old has died since its last segment."""
        if self._host.settings.grammar is None:
            return None
        worker, self._worker = self._worker, None
        if worker is not None and worker.dead:
            worker.close()
            worker = None
        return worker or self._host.worker(GRAMMAR)

    def _done(self, final: Transcript) -> Transcript:
        assert self._segment is not None
        self._worker = self._segment.release()
        self._segment = None
        return final
