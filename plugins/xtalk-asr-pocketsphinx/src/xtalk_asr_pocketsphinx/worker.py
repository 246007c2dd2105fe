"""The recognising processes: a server that loads the models once and forks a worker per request.

Run as `python -m xtalk_asr_pocketsphinx.worker CONTROL_FD` with the settings as JSON on standard
input. pocketsphinx holds the GIL while it decodes, hence processes; forked ones share the
memory of the models, hence one server. The server has no threads and does nothing but fork,
kill and reap. It ends when its parent does (the control socket closes), and its workers with it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pocketsphinx import Config, Decoder, get_model_path

from xtalk_asr_pocketsphinx.framing import (
    AUDIO,
    END,
    FINAL,
    GRAMMAR,
    KILL,
    LANGUAGE,
    MEAN,
    ORDER,
    OUTSIDE,
    PARTIAL,
    Unpacker,
    pack,
)

FRAMES_A_SECOND = 100
STEP = 3200  # bytes decoded between two looks at the hypothesis: 0.1 s
STEADY = 3  # looks in a row with the same words before they are said; the search flickers
MIN_SPEECH = 15  # frames of phones; less is a click or a breath
MIN_PARTIAL = 30  # frames of phones before anything is said about them
MIN_OUTSIDE = 200  # frames of phones before unfinished speech may be called foreign
LEFT_OVER = 0.35  # share of the speech that the grammar may explain as noise
SCALE = 1024.0  # pocketsphinx keeps scores shifted by ten bits, and shows them so


# --- one segment of speech ----------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A word or phone: its frames (end excluded) and its acoustic log score in nats."""

    text: str
    start: int
    end: int
    score: float

    @property
    def filler(self) -> bool:
        return self.text.startswith(("<", "[", "+", "(")) or self.text == "SIL"


def spans(decoder: Decoder) -> list[Span]:
    """What the search found so far."""
    return [
        Span(s.word, s.start_frame, s.end_frame + 1, SCALE * math.log(s.ascore))
        for s in decoder.seg() or ()
    ]


@dataclass(frozen=True)
class Fit:
    """How well the grammar's words explain what was said, judged against free phones.

    `gap` is the mean loss per frame of the words in nats: 1 to 3 when the words were said, 3
    to 9 when others were. `speech` is the number of frames that hold phones, `left_over` the share
    of them that the grammar took for noise.
    """

    gap: float
    speech: int
    left_over: float

    @staticmethod
    def of(words: list[Span], phones: list[Span]) -> Fit:
        free: list[float] = []
        spoken: list[bool] = []
        for phone in phones:
            frames = phone.end - len(free)
            free += [phone.score / max(1, phone.end - phone.start)] * frames
            spoken += [not phone.filler] * frames
        speech = sum(spoken)
        loss = 0.0
        frames = noise = 0
        for word in words:
            if word.filler:
                noise += sum(spoken[word.start : word.end])
            else:
                frames += word.end - word.start
                loss += sum(free[word.start : word.end]) - word.score
        return Fit(loss / frames if frames else math.inf, speech, noise / max(1, speech))


def transcript(words: list[Span]) -> dict[str, Any]:
    """Plain lower-case words with their times in seconds; no fillers, no `(2)`."""
    plain = [(w.text.split("(")[0].lower(), w.start, w.end) for w in words if not w.filler]
    return {
        "text": " ".join(text for text, _, _ in plain),
        "words": [[text, a / FRAMES_A_SECOND, b / FRAMES_A_SECOND] for text, a, b in plain],
    }


def message(kind: bytes, content: dict[str, Any]) -> bytes:
    return pack(kind, json.dumps(content).encode())


class Partial:
    """Lets each text through once, when it has been the same for this many looks."""

    def __init__(self, looks: int) -> None:
        self._needed = looks
        self._looks = 0
        self._text = ""
        self._said = ""

    def steady(self, text: str) -> bool:
        self._looks = self._looks + 1 if text == self._text else 1
        self._text = text
        if not text or text == self._said or self._looks < self._needed:
            return False
        self._said = text
        return True


class GrammarSegment:
    """Grammar and free phones side by side; words are believed while they fit."""

    def __init__(self, models: Models) -> None:
        self._grammar, self._phones = models.grammar, models.phones
        self._gate = models.gate
        self._partial = Partial(STEADY)
        self._outside = 0
        for decoder in (self._grammar, self._phones):
            decoder.start_utt()

    def feed(self, pcm: bytes) -> Iterator[bytes]:
        for decoder in (self._grammar, self._phones):
            decoder.process_raw(pcm)
        words = spans(self._grammar)
        fit = Fit.of(words, spans(self._phones))
        found = transcript(words)
        believed = fit.speech >= MIN_PARTIAL and self._fits(fit)
        text = found["text"] if believed else ""
        if self._partial.steady(text):
            yield message(PARTIAL, found)
        foreign = fit.speech >= MIN_OUTSIDE and not self._fits(fit)
        self._outside = self._outside + 1 if foreign else 0
        if self._outside == 2:
            yield message(OUTSIDE, self._mean())

    def finish(self) -> bytes:
        for decoder in (self._grammar, self._phones):
            decoder.end_utt()
        hyp = self._grammar.hyp()
        words = spans(self._grammar) if hyp is not None else []
        fit = Fit.of(words, spans(self._phones))
        inside = (
            hyp is not None
            and self._fits(fit)
            and self._grammar.get_fsg("grammar").accept(hyp.hypstr)
        )
        if inside:
            return message(FINAL, {**transcript(words), "inside": True})
        speech = fit.speech >= MIN_SPEECH
        return message(FINAL, {**transcript([]), "inside": not speech, **self._mean()})

    def _fits(self, fit: Fit) -> bool:
        return fit.gap <= self._gate and fit.left_over <= LEFT_OVER and fit.speech >= MIN_SPEECH

    def _mean(self) -> dict[str, Any]:
        """The channel and voice as heard so far: a third fewer word errors for who comes next."""
        return {"mean": self._phones.get_cmn(True)}


class LanguageSegment:
    """Any words at all, by the language model."""

    def __init__(self, models: Models) -> None:
        self._decoder = models.language
        self._partial = Partial(STEADY - 1)
        self._decoder.start_utt()

    def feed(self, pcm: bytes) -> Iterator[bytes]:
        self._decoder.process_raw(pcm)
        found = transcript(spans(self._decoder))
        if self._partial.steady(found["text"]):
            yield message(PARTIAL, found)

    def finish(self) -> bytes:
        self._decoder.end_utt()
        found = spans(self._decoder) if self._decoder.hyp() is not None else []
        return message(FINAL, transcript(found))


class Models:
    """The decoders, loaded once, shared by every forked worker."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.gate = float(settings["gate"])
        self._pronunciations: dict[str, str] = settings["pronunciations"]
        if settings["grammar"] is not None:
            # The scores of the two searches are compared. So all senones are scored, for else they
            # would be relative to the best of each search's own; and there is no pass over the
            # lattice, which would show the grammar's scores in another unit. Two Gaussians a
            # senone instead of four take a quarter less time, and sort commands from the rest
            # no worse.
            self.grammar = self._decoder(compallsen=True, topn=2, bestpath=False)
            self.grammar.add_jsgf_string("grammar", settings["grammar"])
            self.grammar.activate_search("grammar")
            self.phones = self._decoder(compallsen=True, topn=2)
            self.phones.add_allphone_file("phones", get_model_path("en-us/en-us-phone.lm.bin"))
            self.phones.activate_search("phones")
        if settings["language_model"]:
            self.language = self._decoder(lm=get_model_path("en-us/en-us.lm.bin"))

    def _decoder(self, **options: Any) -> Decoder:
        config = Config(
            hmm=get_model_path("en-us/en-us"),
            dict=get_model_path("en-us/cmudict-en-us.dict"),
            loglevel="FATAL",
            **{"lm": None, **options},
        )
        decoder = Decoder(config)
        for word, phones in self._pronunciations.items():
            decoder.add_word(word, phones, True)
        return decoder


# --- a worker -----------------------------------------------------------------------------------


def work(sock: socket.socket, kind: bytes, models: Models) -> None:
    """Decode segment after segment until the parent closes the socket."""
    unpacker = Unpacker()
    segment: GrammarSegment | LanguageSegment | None = None
    rest = b""
    while received := sock.recv(1 << 16):
        for what, payload in unpacker.push(received):
            if what == MEAN:
                models.language.set_cmn(payload.decode())
                continue
            if segment is None:
                segment = (GrammarSegment if kind == GRAMMAR else LanguageSegment)(models)
            if what == AUDIO:
                rest += payload
                while len(rest) >= STEP:
                    for reply in segment.feed(rest[:STEP]):
                        sock.sendall(reply)
                    rest = rest[STEP:]
            elif what == END:
                if len(rest) > 1:
                    list(segment.feed(rest[: len(rest) & ~1]))
                rest = b""
                sock.sendall(segment.finish())
                if kind == LANGUAGE:
                    return
                segment = None


# --- the server ---------------------------------------------------------------------------------


class Server:
    """Forks a worker per request; at most `language_workers` of those with the language model."""

    def __init__(self, control: socket.socket, models: Models, language_workers: int) -> None:
        self._control = control
        self._models = models
        self._limit = language_workers
        self._pids: dict[int, int] = {}  # number -> pid
        self._language: set[int] = set()  # numbers of those that run
        self._waiting: deque[tuple[int, socket.socket]] = deque()

    def serve(self) -> None:
        """Until the parent closes the control socket."""
        ended, notify = socket.socketpair()
        notify.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(notify.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._control, ended], [], [])
            if ended in ready:
                ended.recv(4096)
                self._reap()
            if self._control in ready and not self._obey():
                break
        signal.set_wakeup_fd(-1)
        self._end_workers()

    def _obey(self) -> bool:
        record, fds, _, _ = socket.recv_fds(self._control, ORDER.size, 1, socket.MSG_WAITALL)
        if len(record) < ORDER.size:
            return False
        order, number = ORDER.unpack(record)
        if order == KILL:
            self._kill(number)
            return True
        sock = socket.socket(fileno=fds[0])
        if order == LANGUAGE and len(self._language) >= self._limit:
            self._waiting.append((number, sock))
        else:
            self._fork(order, number, sock)
        return True

    def _kill(self, number: int) -> None:
        if number in self._pids:
            os.kill(self._pids[number], signal.SIGKILL)
        self._waiting = deque(w for w in self._waiting if w[0] != number)

    def _reap(self) -> None:
        while self._pids:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            number = next(n for n, p in self._pids.items() if p == pid)
            del self._pids[number]
            self._language.discard(number)
        while self._waiting and len(self._language) < self._limit:
            self._fork(LANGUAGE, *self._waiting.popleft())

    def _fork(self, kind: bytes, number: int, sock: socket.socket) -> None:
        pid = os.fork()
        if pid:
            sock.close()
            self._pids[number] = pid
            if kind == LANGUAGE:
                self._language.add(number)
            return
        status = 1
        try:
            die_with_parent()
            signal.set_wakeup_fd(-1)
            self._control.close()
            for _, other in self._waiting:
                other.close()
            if kind == LANGUAGE:
                os.nice(5)  # long work, which must not take the time of those who listen
            work(sock, kind, self._models)
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            status = 0
        finally:
            # Never unwind into the server's loop; without the interpreter's clean-up, which
            # would touch, and so copy, the shared pages.
            if status:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            os._exit(status)

    def _end_workers(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        while self._pids:
            self._pids.popitem()
            os.wait()


def die_with_parent() -> None:
    """Linux kills this process when its parent ends; elsewhere the closing sockets must do."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    # Ctrl-C reaches the whole terminal group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.load(sys.stdin)
    try:
        models = Models(settings)
    except (RuntimeError, ValueError) as error:
        control.sendall(f"pocketsphinx could not load its models: {error}".encode())
        raise SystemExit(1) from error
    gc.freeze()
    Server(control, models, settings["language_workers"]).serve()


if __name__ == "__main__":
    main()
