"""One segment of speech: which workers get its audio, and whom of them to believe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xtalk.audio import RATE_IN
from xtalk.speech.interfaces import Transcript, Word
from xtalk_asr_pocketsphinx.framing import AUDIO, END, FINAL, LANGUAGE, MEAN, OUTSIDE, PARTIAL, pack
from xtalk_asr_pocketsphinx.host import Host, Worker

__all__ = ["Segment"]


class Segment:
    """Audio in, transcripts out; never waits.

    The session's worker decodes with the grammar. Once it says that the speech is outside (in
    the middle of long speech, at the end of short), a worker with the language model gets all
    of the audio, and its text counts unless the grammar fits in the end.
    """

    def __init__(self, host: Host, worker: Worker | None) -> None:
        self.final: Transcript | None = None
        self.text = ""
        self._host = host
        self._worker = worker
        self._language: Worker | None = None
        self._audio = bytearray()
        self._ended = False
        self._rejected = worker is None
        self._understood: Transcript | None = None
        if worker is None:
            self._ask_language_model()

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return len(self._audio) / (2 * RATE_IN)

    @property
    def awaited(self) -> Worker:
        """Whose answer is due."""
        worker = self._language if self._rejected else self._worker
        assert worker is not None, "a segment that has its final awaits nobody"
        return worker

    def push(self, pcm: bytes) -> None:
        self._audio += pcm
        for worker in self._workers():
            worker.send(pack(AUDIO, pcm))

    def end(self) -> None:
        self._ended = True
        for worker in self._workers():
            worker.send(pack(END))

    def poll(self) -> list[Transcript]:
        """The partials that have come; sets `final` when all is known."""
        partials = list(self._poll())
        if partials:
            self.text = partials[-1].text
        return partials

    def release(self) -> Worker | None:
        """The session's worker, ready for the next segment; the other one has done its work."""
        self._drop_language()
        worker, self._worker = self._worker, None
        return worker

    def abandon(self) -> None:
        """In the middle of a segment nobody can be used again."""
        self._drop_language()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _workers(self) -> Iterator[Worker]:
        if self._worker is not None:
            yield self._worker
        if self._language is not None:
            yield self._language

    def _poll(self) -> Iterator[Transcript]:
        if self._worker is not None:
            self._worker.send()
            for kind, content in self._worker.poll():
                if kind == PARTIAL and self._language is None:
                    yield _transcript(content)
                elif kind == OUTSIDE:
                    self._ask_language_model(content["mean"])
                elif kind == FINAL:
                    self._judge(content)
        if self._language is not None:
            self._language.send()
            for kind, content in self._language.poll():
                if kind == PARTIAL:
                    yield _transcript(content)
                elif kind == FINAL:
                    self._understood = _transcript(content, final=True)
        if self._rejected and self.final is None:
            self.final = self._understood

    def _judge(self, content: dict[str, Any]) -> None:
        if content["inside"]:
            self.final = _transcript(content, final=True)
            return
        self._rejected = True
        self._ask_language_model(content["mean"])

    def _ask_language_model(self, mean: str | None = None) -> None:
        if self._language is not None:
            return
        if not self._host.settings.language_model:
            if self._rejected:
                self.final = Transcript(text="", final=True, lang="en")
            return
        self._language = self._host.worker(LANGUAGE)
        if mean is not None:
            self._language.send(pack(MEAN, mean.encode()))
        self._language.send(pack(AUDIO, bytes(self._audio)))
        if self._ended:
            self._language.send(pack(END))

    def _drop_language(self) -> None:
        if self._language is not None:
            self._language.close()
            self._language = None


def _transcript(content: dict[str, Any], *, final: bool = False) -> Transcript:
    words = tuple(Word(text=t, start=a, end=b) for t, a, b in content["words"])
    return Transcript(text=content["text"], final=final, words=words, lang="en")
