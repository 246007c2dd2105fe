"""One reply on its way to the client: cut, paced, held back, finished exactly once.

Pure: time is the argument `now`, in seconds; what is to be sent comes back as events to post in
order. Audio is PCM16 mono at 48 kHz.

    IDLE --begin--> MADE --first audio--> SOUNDING --last audio + TTSFinished--> DRAINING
      ^________________________ ReplyOver, once for each begin ______________________|

Chunks last at most 200 ms in steps of 10 ms. The first leaves at once; of what follows the last
60 ms wait until it is known whether they are the end, so that TTSFinished leaves together with
the last audio. While any reason shuts the gate nothing leaves, ReplyOver included.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from xtalk.audio import RATE_OUT
from xtalk.events import (
    BaseEvent,
    ReplyAudioReady,
    ReplyOver,
    TTSChunkGenerated,
    TTSFinished,
    TTSPaused,
    TTSResumed,
    TTSStarted,
    TTSStopped,
)
from xtalk.heard import Heard

if TYPE_CHECKING:
    from xtalk.speech.interfaces import SpeechChunk

__all__ = ["USER", "Playback", "PlaybackConfig"]

USER = "user speaking"
EPSILON_S = 1e-6  # a timer that fires on time must find its work due
KEPT_S = 2.0
STEP = RATE_OUT // 100  # samples in 10 ms: 441 at 44.1 kHz, so a client's resampler has no rest


@dataclass(frozen=True, kw_only=True)
class PlaybackConfig:
    """All in seconds."""

    chunk_s: float = 0.2
    tail_s: float = 0.06
    ahead_s: float = 1.0
    buffer_s: float = 2.0
    dry_s: float = 0.03
    late_finish_s: float = 0.1
    settle_s: float = 0.1  # a page that wakes up loses what comes earlier (2 ms lost, 50 kept)
    stall_talk_s: float = 2.0
    stall_drain_s: float = 1.0
    kicks: int = 3
    clock_grace_s: float = 0.5


class Phase(Enum):
    IDLE = "idle"
    MADE = "made"
    SOUNDING = "sounding"
    DRAINING = "draining"


class _Buffer:
    """Samples that wait to be sent; taking and putting back copy each sample once."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self.samples = 0

    def put(self, pcm: bytes) -> None:
        if pcm:
            self._pieces.append(memoryview(pcm))
            self.samples += len(pcm) // 2

    def put_back(self, pcm: memoryview) -> None:
        if pcm:
            self._pieces.appendleft(pcm)
            self.samples += len(pcm) // 2

    def take(self, samples: int) -> bytes:
        """Exactly that many samples; there must be as many."""
        self.samples -= samples
        wanted, taken = 2 * samples, []
        while wanted:
            piece = self._pieces.popleft()
            if len(piece) > wanted:
                self._pieces.appendleft(piece[wanted:])
                piece = piece[:wanted]
            taken.append(piece)
            wanted -= len(piece)
        return bytes(taken[0]) if len(taken) == 1 else b"".join(taken)

    def clear(self) -> None:
        self._pieces.clear()
        self.samples = 0


class Playback:
    """The gate and what passes through it. One for a session; one reply at a time."""

    def __init__(self, config: PlaybackConfig = PlaybackConfig()) -> None:
        self.config = config
        self.rtt = 0.1
        self.acks = False  # has this client ever acknowledged a chunk?
        self.phase = Phase.IDLE
        self.turn_id = 0
        self._index = 0  # session-wide, from 1, never reset
        self._aside_until = float("-inf")  # a backchannel may still sound
        self._shut: set[str] = set()
        self._buffer = _Buffer()
        self._chunk = _samples(config.chunk_s)
        self._tail = _samples(config.tail_s)
        self._reset(0)

    def _reset(self, turn_id: int) -> None:
        self.turn_id = turn_id
        self.phase = Phase.IDLE
        self._outcome = "done"
        self._ended = False
        self._buffer.clear()
        self._at = 0  # sample of the reply that is sent next
        self._unheard: deque[tuple[int, bytes]] = deque()  # first sample, pcm
        self._settled = float("-inf")  # nothing leaves before
        self._owed = False  # a chunk must follow a resume, or the client does not wake up
        self._finish_index = 0  # of the chunk that TTSFinished went with
        self._gave_up = False  # the client lost what it had: the opening has to restart it
        self._wake = False  # the client waits for a resume that another reason still forbids
        self._kicks = 0
        self._progress = 0.0
        self._heard = Heard(rtt=self.rtt)

    # --- what the TTS manager reads ---------------------------------------------------------

    @property
    def active(self) -> bool:
        return self.phase is not Phase.IDLE

    @property
    def buffered_s(self) -> float:
        return self._buffer.samples / RATE_OUT

    @property
    def room_s(self) -> float:
        """Seconds of audio that may still be handed over; at 0 or less the voice should wait."""
        return self.config.buffer_s - self.buffered_s

    @property
    def wake(self) -> float | None:
        """When `poll` has something to do; None while it depends on others."""
        if self._shut or not self.active:
            return None
        times = [self._stalls_at if self.acks else self._over_by_clock_at, self._leaves_at]
        return min((time for time in times if time is not None), default=None)

    # --- one reply --------------------------------------------------------------------------

    def begin(self, turn_id: int, now: float) -> list[BaseEvent]:
        """A reply is being made. One that still sounds is stopped first."""
        sounds = self._started or now < self._aside_until
        out: list[BaseEvent] = [TTSStopped()] if sounds else []
        if self.active:
            out += self._over(now, "interrupted")
        self._reset(turn_id)
        self.phase = Phase.MADE
        return out

    def feed(self, chunk: SpeechChunk, now: float) -> list[BaseEvent]:
        """Audio of the reply, of any length. Ignored when no reply is being made."""
        if not self.active or self._ended:
            return []
        self._heard.made(chunk.sentence, chunk.audio.samples, chunk.words)
        self._buffer.put(chunk.audio.pcm)
        return self._pump(now)

    def end(self, now: float) -> list[BaseEvent]:
        """The voice has made everything."""
        if not self.active or self._ended:
            return []
        self._heard.complete()
        return self._end(now)

    def fail(self, now: float) -> list[BaseEvent]:
        """The turn failed: what sounds already is brought to an end, what does not is dropped.

        The voice may have broken within a sentence, so the last one counts as unfinished.
        """
        if not self.active:
            return []
        self._outcome = "failed"
        if self.phase is Phase.MADE:
            self._buffer.clear()
        return [] if self._ended else self._end(now)

    def _end(self, now: float) -> list[BaseEvent]:
        self._ended = True
        return self._pump(now)

    def stop(self, now: float, *, tell_client: bool = True) -> list[BaseEvent]:
        """The reply ends here and the user's gate is open again."""
        out: list[BaseEvent] = [TTSStopped()] if tell_client else []
        self._shut.discard(USER)
        if self.active:
            out += self._over(now, "done" if self._played(now) else "interrupted")
        return out

    def aside(self, pcm: bytes, now: float) -> list[BaseEvent]:
        """A short sound beside the replies, whole and at once; the gate is not for it.

        It is told like a reply, but is none: nothing is held back, repeated or noted as heard.
        Ignored while a reply is made or another such sound is under way.
        """
        if self.active or now < self._aside_until or not pcm:
            return []
        pieces = -(-len(pcm) // (2 * self._chunk))
        size = 2 * max(_up(-(-len(pcm) // (2 * pieces))), self._tail)
        pcm = pcm.ljust(pieces * size, b"\0")
        self._aside_until = now + self.rtt + len(pcm) / (2 * RATE_OUT)
        out: list[BaseEvent] = [TTSStarted()]
        for start in range(0, len(pcm), size):
            self._index += 1
            piece = pcm[start : start + size]
            out.append(TTSChunkGenerated(audio_chunk=piece, chunk_index=self._index))
        return [*out, TTSFinished()]

    def silenced(self, now: float) -> None:
        """The client was told to stop, so no such sound is under way."""
        self._aside_until = now

    # --- the gate ---------------------------------------------------------------------------

    def shut(
        self,
        reason: str,
        now: float,
        *,
        tell_client: bool = False,
        suspended: bool = True,
        ruined: bool = False,
        client_timestamp: float | None = None,
    ) -> list[BaseEvent]:
        """Nothing leaves until `open` with the same reason.

        `suspended`: the client is silent, by itself or because it is told. `ruined`: it has
        thrown away what it was sent. `client_timestamp`: its clock (ms) when it paused.
        """
        self._shut.add(reason)
        if suspended:
            certain = tell_client or client_timestamp is not None
            self._heard.pause(now, client_timestamp, certain=certain)
        if ruined:
            self._heard.ruined = True
        return [TTSPaused()] if tell_client else []

    def open(
        self, reason: str, now: float, *, tell_client: bool = False, restart: bool = False
    ) -> list[BaseEvent]:
        """Take this reason away; with the last one the reply goes on.

        With `restart` the client lost what it had: all that was not heard is sent again.
        """
        self._shut.discard(reason)
        self._wake = tell_client = self._wake or tell_client
        self._gave_up = self._gave_up or restart
        if self._shut:
            return []
        self._progress, self._wake = now, False
        if self._gave_up and self._started:
            return self._restart(now, wake=tell_client)
        self._gave_up = False
        self._heard.resume(now, was_suspended=tell_client)
        out: list[BaseEvent] = []
        if tell_client:
            out.append(TTSResumed())
        if tell_client and self._started:
            self._settled = now + self.config.settle_s
            self._owed = True
        return out + (self._over(now, "done") if self._played(now) else self._pump(now))

    def _restart(self, now: float, *, wake: bool = True) -> list[BaseEvent]:
        """`stop_tts, start_tts, resume_tts`, in the one order that works with the original's page.

        The first throws away its context, and with it the acknowledgements of what it destroyed.
        """
        resumed: list[BaseEvent] = [TTSResumed()] if wake else []
        position = self._heard.restart(now)
        if self._unheard:
            position = max(position, self._unheard[0][0])
        for start, pcm in reversed(self._unheard):
            if start + len(pcm) // 2 > position:
                self._buffer.put_back(memoryview(pcm)[2 * max(0, position - start) :])
        self._unheard.clear()
        self._at = position
        self._settled, self._owed, self._gave_up = now, False, False
        if self._ended and not self._buffer.samples:
            return resumed + self._over(now, "done")
        self.phase = Phase.SOUNDING
        started = TTSStarted(turn_id=self.turn_id)
        return [TTSStopped(), started, *resumed, *self._pump(now)]

    # --- what the client says ---------------------------------------------------------------

    def ack(self, index: int, client_timestamp: float | None, now: float) -> list[BaseEvent]:
        """The client says that it has played this chunk."""
        if not 0 < index <= self._index:
            return []
        self.acks = True
        if not self._heard.ack(index, client_timestamp, now):
            return []
        self._progress, self._kicks = now, 0
        self._forget(self._heard.position())
        return self.poll(now)

    def playback_finished(self, now: float) -> list[BaseEvent]:
        """The client says that the reply is over: advice, believed when it can be true.

        A kick that came after the end is not waited for: the original's page drops it. That page
        also says so too early, where the finish of an interrupted reply is still on its mind and
        it runs dry; then it drops everything until the next `stop_tts`, so it gets one.
        """
        if not self._started or self._heard.ruined:
            return []
        if self.phase is Phase.DRAINING and self._all_acknowledged(now):
            return [] if self._shut else self._over(now, "done")
        if not self._heard.acknowledged:  # it speaks of the reply before
            return []
        if self._shut:
            self._gave_up = True
            return []
        return self._restart(now, wake=False)

    def _all_acknowledged(self, now: float) -> bool:
        if self.acks:
            return self._heard.over >= self._finish_index
        return self._heard.dry_in(now) <= 0

    # --- time -------------------------------------------------------------------------------

    def poll(self, now: float) -> list[BaseEvent]:
        """Whatever is due."""
        if self._shut or not self.active:
            return []
        if self._played(now):
            return self._over(now, "done")
        return self._pump(now) + self._stalled(now)

    # --- sending ----------------------------------------------------------------------------

    @property
    def _sounding(self) -> bool:
        return self.phase is Phase.SOUNDING

    @property
    def _started(self) -> bool:
        return self.phase in (Phase.SOUNDING, Phase.DRAINING)

    def _pump(self, now: float) -> list[BaseEvent]:
        """All that may leave now."""
        if self._shut or now < self._settled - EPSILON_S:
            return []
        out: list[BaseEvent] = []
        while self.phase is not Phase.DRAINING and (size := self._next(now)):
            out += self._send(size, now)
        if self._ended and not self._buffer.samples and self.phase is not Phase.DRAINING:
            out += self._finish_late(now)
        if self._owed:
            out += self._kick(now)
        return out

    def _next(self, now: float) -> int:
        """Samples of the next chunk, 0 when it has to wait."""
        size = self._cut(self._heard.dry_in(now) <= self.config.dry_s + EPSILON_S)
        if self._owed or not size:
            return size
        ahead = self._unplayed_s(now) + size / RATE_OUT
        return size if ahead <= self.config.ahead_s + EPSILON_S else 0

    def _cut(self, dry: bool) -> int:
        """Samples of the next chunk if it may leave, by what is buffered."""
        ready = self._buffer.samples
        if self._ended:
            if ready <= self._chunk:
                return ready
            return self._chunk if ready - self._chunk >= self._tail else self._chunk - self._tail
        ready -= self._held_back(ready, dry)
        return max(0, min(ready - ready % STEP, self._chunk))

    def _held_back(self, ready: int, dry: bool) -> int:
        """Samples kept as a possible end: of the first audio at most half, so that it leaves."""
        if self.phase is Phase.MADE:
            return min(self._tail, _up(ready // 2))
        return 0 if dry or self._owed else self._tail

    def _unplayed_s(self, now: float) -> float:
        if self.acks:
            return self._heard.unacknowledged_s
        return max(0.0, self._heard.dry_in(now))

    def _send(self, samples: int, now: float) -> list[BaseEvent]:
        out: list[BaseEvent] = []
        if self.phase is Phase.MADE:
            self.phase = Phase.SOUNDING
            self._progress = now
            out += [ReplyAudioReady(turn_id=self.turn_id), TTSStarted(turn_id=self.turn_id)]
        pcm = self._buffer.take(samples)
        last = self._ended and not self._buffer.samples
        padding = max(self._tail, _up(samples)) - samples if last else 0
        out.append(self._chunk_event(pcm, padding, now))
        return [*out, self._finish()] if last else out

    def _chunk_event(self, pcm: bytes, padding: int, now: float) -> BaseEvent:
        self._index += 1
        self._owed = False
        samples = len(pcm) // 2
        seconds = (samples + padding) / RATE_OUT
        if self._heard.unacknowledged_s == 0.0:
            self._progress = now
        self._heard.sent(self._index, self._at, self._at + samples, seconds, now)
        if samples:
            self._unheard.append((self._at, pcm))
            self._at += samples
        if not self.acks:  # keep what the pacing lets be under way, and some more
            self._forget(self._at - _samples(self.config.ahead_s + KEPT_S))
        wire = pcm + bytes(2 * padding) if padding else pcm
        return TTSChunkGenerated(
            audio_chunk=wire, chunk_index=self._index, text_end=self._heard.said(self._at)
        )

    def _finish(self) -> BaseEvent:
        self.phase = Phase.DRAINING
        self._finish_index = self._index
        return TTSFinished(turn_id=self.turn_id)

    def _finish_late(self, now: float) -> list[BaseEvent]:
        """The last audio is gone already: the finish needs some sound to travel with."""
        if self.phase is Phase.MADE:
            return self._over(now, "done")
        return [self._chunk_event(b"", _samples(self.config.late_finish_s), now), self._finish()]

    def _kick(self, now: float) -> list[BaseEvent]:
        """A silent chunk: the original's page schedules what it has only when another arrives."""
        return [self._chunk_event(b"", self._tail, now)]

    def _forget(self, position: int) -> None:
        """Nothing before this sample will have to be sent again."""
        while self._unheard and self._unheard[0][0] + len(self._unheard[0][1]) // 2 <= position:
            self._unheard.popleft()

    # --- the end ----------------------------------------------------------------------------

    def _played(self, now: float) -> bool:
        """Nothing of the reply remains to be played, as far as one can know."""
        if self.phase is not Phase.DRAINING or self._heard.ruined:
            return False
        if self.acks:
            return self._heard.over == self._heard.last
        return self._heard.dry_in(now) + self.rtt + self.config.clock_grace_s <= EPSILON_S

    def _over(self, now: float, outcome: str) -> list[BaseEvent]:
        heard = self._heard.reply(now, acks=self.acks)
        over = ReplyOver(
            turn_id=self.turn_id,
            heard=heard.text,
            estimated=heard.estimated,
            outcome="failed" if self._outcome == "failed" else outcome,
        )
        self._reset(0)
        return [over]

    def _stalled(self, now: float) -> list[BaseEvent]:
        """No progress for too long: wake the client up, and some time believe that it is deaf."""
        if not self.acks or self._stalls_at is None or now < self._stalls_at - EPSILON_S:
            return []
        self._progress = now
        if self._kicks < self.config.kicks:
            self._kicks += 1
            return self._kick(now)
        self._kicks = 0
        self._heard.give_up()
        return self._over(now, "done") if self.phase is Phase.DRAINING else self._pump(now)

    @property
    def _stalls_at(self) -> float | None:
        waiting = self._heard.unacknowledged_s
        if not self._started or not waiting:
            return None
        if self._sounding:
            return self._progress + self.config.stall_talk_s
        return self._progress + waiting + self.config.stall_drain_s

    @property
    def _over_by_clock_at(self) -> float | None:
        if self.phase is not Phase.DRAINING:
            return None
        return self._dry_at + self.rtt + self.config.clock_grace_s

    @property
    def _dry_at(self) -> float:
        return self._heard.dry_in(0.0)

    @property
    def _leaves_at(self) -> float | None:
        """When time lets the next chunk leave; None when only an acknowledgement or audio can."""
        if self._owed:
            return self._settled
        if not self._sounding:
            return None
        if size := self._cut(dry=False):
            at = None if self.acks else self._dry_at + size / RATE_OUT - self.config.ahead_s
        elif (size := self._cut(dry=True)) and self._fits(size):
            at = self._dry_at - self.config.dry_s
        else:
            return None
        return None if at is None else max(at, self._settled)

    def _fits(self, samples: int) -> bool:
        unplayed = self._heard.unacknowledged_s if self.acks else 0.0
        return unplayed + samples / RATE_OUT <= self.config.ahead_s + EPSILON_S


def _samples(seconds: float) -> int:
    return round(seconds * RATE_OUT)


def _up(samples: int) -> int:
    """To whole steps of 10 ms."""
    return -(-samples // STEP) * STEP
