"""A model of the original's own page: what it does with its audio, its bubbles and its state.

Written from the traces in the project's design notes (Chromium 156) and from the wire protocol's
sections 1.5, 1.8 and 5.2. Time is an argument, in seconds; its clock is the server's, which no
assertion uses. Every quirk that the traces show is kept:

* at its start mark it suspends its output; a second pause before it runs again destroys what it
  had scheduled, and the destroyed sources are acknowledged in a burst when it resumes;
* a chunk that arrives while the output is suspended or waking up is not scheduled until another
  one arrives while it runs;
* `tts_finished` is looked at only when a source ends and nothing is left, and the flag survives
  `stop_tts`; after that, chunks are dropped until `stop_tts`;
* two user bubbles in a row collapse into one; `resume_tts` removes the last user bubble.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RATE = 48_000
WAKING_S = 0.02


@dataclass
class Source:
    index: int
    pcm: bytes
    start: float  # in the time of its context
    end: float


@dataclass
class Played:
    """What really sounded: `pcm` may be a beginning of the chunk."""

    index: int
    pcm: bytes
    generation: int  # counts start_tts


@dataclass
class Context:
    """An AudioContext: its time stands still while it is suspended."""

    since: float
    time: float = 0.0
    running: bool = True
    wakes_at: float | None = None

    def current(self, now: float) -> float:
        return self.time + (now - self.since if self.running else 0.0)

    def suspend(self, now: float) -> None:
        self.time, self.running, self.wakes_at = self.current(now), False, None

    def run(self, now: float) -> None:
        self.since, self.running, self.wakes_at = now, True, None


@dataclass
class Bubble:
    role: str
    turn_id: int
    text: str
    final: bool = False


@dataclass
class OriginalPage:
    """`receive` and `advance` return the messages that the page sends, as (action, value)."""

    marks: bool = True
    acks: bool = True
    state: str = "idle"
    context: Context | None = None
    scheduled: list[Source] = field(default_factory=list)
    destroyed: list[Source] = field(default_factory=list)
    queue: list[tuple[int, bytes]] = field(default_factory=list)
    pending_finish: bool = False
    stream_finished: bool = False
    next_start: float = 0.0
    generation: int = 0
    played: list[Played] = field(default_factory=list)
    bubbles: list[Bubble] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)  # final bubble, what replaced it
    dropped: int = 0

    # --- the user ---------------------------------------------------------------------------

    def speech_start(self, now: float) -> list[tuple[str, int]]:
        if not self.marks:
            return []
        self.state = "listening"
        self._pause(now)
        return [("vad_speech_start", 0)]

    def speech_end(self, now: float) -> list[tuple[str, int]]:
        if not self.marks:
            return []
        self.state = "processing"
        return [("vad_speech_end", 0)]

    def mute(self, now: float) -> list[tuple[str, int]]:
        """It says that speech has ended, also when there was none."""
        if not self.marks:
            return []
        if self.state == "listening":
            self.state = "idle"
        return [("vad_speech_end", 0)]

    # --- the server -------------------------------------------------------------------------

    def receive(self, action: str, data: object, now: float) -> list[tuple[str, int]]:
        handler = getattr(self, "on_" + action, None)
        return handler(data, now) or [] if handler else []

    def on_chunk(self, data: tuple[int, bytes], now: float) -> None:
        if self.stream_finished or not data[1]:
            self.dropped += 1
            return
        self.queue.append(data)
        if self.context is None:
            self.context, self.next_start = Context(now), 0.0
        if self.context.running:
            self._schedule(now)

    def _schedule(self, now: float) -> None:
        assert self.context is not None
        for index, pcm in self.queue:
            start = max(self.next_start, self.context.current(now))
            self.next_start = start + len(pcm) / (2 * RATE)
            self.scheduled.append(Source(index, pcm, start, self.next_start))
        self.queue.clear()
        self.state = "speaking"

    def on_pause_tts(self, _: object, now: float) -> None:
        self._pause(now)

    def _pause(self, now: float) -> None:
        if self.context is None:
            return
        if not self.context.running:
            self._record_current(now)
            self.destroyed += self.scheduled
            self.scheduled = []
            self.next_start = 0.0
        self.context.suspend(now)

    def on_resume_tts(self, _: object, now: float) -> list[tuple[str, int]]:
        self._remove_last_if_user()
        self.state = "speaking"
        if self.context is None:
            self.context, self.next_start = Context(now), 0.0
        if self.context.running:
            self._idle_if_empty()
        else:
            self.context.wakes_at = now + WAKING_S
        return []

    def on_stop_tts(self, _: object, now: float) -> None:
        self._record_current(now)
        self.scheduled, self.destroyed, self.queue = [], [], []
        self.context = None
        self.stream_finished = False

    def on_start_tts(self, _: object, now: float) -> None:
        self.generation += 1

    def on_tts_finished(self, _: object, now: float) -> None:
        self.pending_finish = True

    def on_invalid_asr_result(self, _: object, now: float) -> None:
        self.state = "idle"

    def on_update_asr(self, data: tuple[int, str], now: float) -> None:
        self._user_bubble(*data)

    def on_finish_asr(self, data: tuple[int, str], now: float) -> None:
        self._user_bubble(*data).final = True

    def on_update_resp(self, data: tuple[int, str], now: float) -> None:
        self._bubble("assistant", *data)

    def on_error(self, data: str, now: float) -> None:
        self.bubbles.append(Bubble("info", 0, data))

    # --- bubbles ----------------------------------------------------------------------------

    def _user_bubble(self, turn_id: int, text: str) -> Bubble:
        last = self.bubbles[-1] if self.bubbles else None
        if last is not None and last.role == "user" and last.turn_id != turn_id:
            self._remove_last(turn_id)
        return self._bubble("user", turn_id, text)

    def _remove_last_if_user(self) -> None:
        if self.bubbles and self.bubbles[-1].role == "user":
            self._remove_last(0)

    def _remove_last(self, by: int) -> None:
        bubble = self.bubbles.pop()
        if bubble.final:
            self.removed.append((bubble.turn_id, by))

    def _bubble(self, role: str, turn_id: int, text: str) -> Bubble:
        for bubble in reversed(self.bubbles):
            if (bubble.role, bubble.turn_id) == (role, turn_id):
                bubble.text = text
                return bubble
        self.bubbles.append(Bubble(role, turn_id, text))
        return self.bubbles[-1]

    # --- time -------------------------------------------------------------------------------

    @property
    def next_at(self) -> float | None:
        context = self.context
        if context is None:
            return None
        if context.wakes_at is not None:
            return context.wakes_at
        if context.running and self.scheduled:
            return context.since + self.scheduled[0].end - context.time
        return None

    def advance(self, now: float) -> list[tuple[str, int]]:
        """What is due at `now`, which is the time that `next_at` named."""
        context = self.context
        if context is None:
            return []
        if context.wakes_at is not None and now >= context.wakes_at:
            return self._woken(now)
        if context.running and self.scheduled:
            return self._ended(self.scheduled.pop(0))
        return []

    def _woken(self, now: float) -> list[tuple[str, int]]:
        assert self.context is not None
        self.context.run(now)
        out = [("tts_chunk_played", source.index) for source in reversed(self.destroyed)]
        burst, self.destroyed = bool(self.destroyed), []
        if burst:
            out += self._finish_if_empty()
        self._idle_if_empty()
        return out if self.acks else []

    def _ended(self, source: Source) -> list[tuple[str, int]]:
        self.played.append(Played(source.index, source.pcm, self.generation))
        out = [("tts_chunk_played", source.index), *self._finish_if_empty()]
        return out if self.acks else []

    def _finish_if_empty(self) -> list[tuple[str, int]]:
        if self.scheduled or self.queue or not self.pending_finish:
            return []
        self.pending_finish, self.stream_finished, self.state = False, True, "idle"
        return [("tts_playback_finished", 0)]

    def _idle_if_empty(self) -> None:
        if not self.scheduled and not self.queue:
            self.state = "idle"

    def _record_current(self, now: float) -> None:
        """The part of a source that has sounded when it is cut off."""
        if self.context is None or not self.scheduled:
            return
        current, source = self.context.current(now), self.scheduled[0]
        samples = int((current - source.start) * RATE)
        if samples > 0:
            self.played.append(Played(source.index, source.pcm[: 2 * samples], self.generation))


class SimplePlayer(OriginalPage):
    """What this project's own clients do: a pause is a pause, whoever asked and how often."""

    def _pause(self, now: float) -> None:
        if self.context is not None and self.context.running:
            self.context.suspend(now)

    def speech_start(self, now: float) -> list[tuple[str, int]]:
        self.state = "listening"
        return [("vad_speech_start", 0)]

    def on_start_tts(self, data: object, now: float) -> None:
        super().on_start_tts(data, now)
        self.pending_finish = False

    def on_resume_tts(self, _: object, now: float) -> list[tuple[str, int]]:
        self._remove_last_if_user()
        if self.context is not None and not self.context.running:
            self.context.run(now)
            self._schedule(now)
        self._idle_if_empty()
        return []


class Device(SimplePlayer):
    """A player without a detector of its own and without acknowledgements."""

    def __init__(self) -> None:
        super().__init__(marks=False, acks=False)

    def on_tts_finished(self, _: object, now: float) -> None:
        """It plays what it gets, and that is all."""
