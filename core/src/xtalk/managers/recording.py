"""Record a session as the two heard each other: user left, agent right, on one clock.

    <folder>/<session id>.wav       the user as the recogniser heard it
    <folder>/<session id>.raw.wav   where an enhancer runs: as the microphone sent it

Both 48 kHz stereo. A sound lies where it reached, or left, the server's end of the user's line:
frames where they arrived, chunks so that they end where their acknowledgement arrived, or, when it
was held up, where the client's clock tells. So the agent's sound lies against the user's as they
heard it. What is older than a few seconds is settled and goes to the disk, which bounds the memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.audio import RATE_IN, RATE_OUT, Resampler
from xtalk.bus import EventBus, Manager
from xtalk.disk import Disk
from xtalk.wav import WavFile

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["AgentTrack", "RecordingManager", "UserTrack"]

log = logging.getLogger("xtalk.recording")

SETTLED_S = 5.0  # older sound does not change any more
COMMIT_S = 1.0
CATCH_UP_S = 2.0  # frames later than this make a gap; those that catch up were only held up
SEAM_S = 0.06  # jitter below this is no gap
HELD_UP_S = 0.5  # a longer gap is one, whatever the client's clock says
SILENT_CLIENT_S = 2.0  # so long after sending, a client that will acknowledge has done so
FASTER_S = 0.3  # an acknowledgement this much before its time is not true
CHUNK_S = 0.2
QUEUE_S = 30.0

on = Manager.event_handler


class UserTrack:
    """A microphone's stream on the clock of the session. Times in seconds since its start."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()  # arrival, in samples, and audio
        self._pcm = bytearray()  # settled, not yet taken
        self._taken = 0
        self._joined = False  # the last of the track is a frame, not silence

    @property
    def _end(self) -> int:
        return self._taken + len(self._pcm) // 2

    def put(self, pcm: bytes, now: float) -> None:
        """A frame at 16 kHz whose last sample has just arrived."""
        self._waiting.append((round(now * RATE_IN), pcm))

    def take(self, until: int, now: float) -> bytes:
        """Everything up to this sample, silence where nothing came."""
        before = round((now - CATCH_UP_S) * RATE_IN)
        while self._waiting and (self._waiting[0][0] <= before or self._end < until):
            if self._waiting[0][0] - len(self._waiting[0][1]) // 2 >= until:
                break
            self._place()
        if self._end < until:
            self._silence(until - self._end)
        size = 2 * (until - self._taken)
        taken = bytes(self._pcm[:size])
        del self._pcm[:size]
        self._taken = until
        return taken

    def _place(self) -> None:
        arrival, pcm = self._waiting.popleft()
        end = self._end + len(pcm) // 2
        late = arrival - end
        seam = round(SEAM_S * RATE_IN) if self._joined else 0
        if late > seam:
            late = min(late, self._least_late(end, arrival))
        if late > seam:
            self._silence(late)
        elif late < -round(SEAM_S * RATE_IN):  # a microphone that is faster than the clock
            pcm = pcm[-2 * late :]
        self._pcm += pcm
        self._joined = True

    def _least_late(self, end: int, arrival: int) -> int:
        """How late the best of the frames soon behind this one is: what a gap really lasts."""
        best = arrival - end
        for later, pcm in self._waiting:
            end += len(pcm) // 2
            best = min(best, later - end)
            if later - arrival > CATCH_UP_S * RATE_IN:
                break
        return best

    def _silence(self, samples: int) -> None:
        self._pcm += bytes(2 * samples)
        self._joined = False


class AgentTrack:
    """What the user heard of the agent: sent chunks, placed when it is known that they sounded.

    Times in seconds since the session's start. A client that acknowledges is believed as far as
    time allows; one that never does plays by the clock.
    """

    def __init__(self) -> None:
        self.rtt = 0.0
        self.rtt_known = False  # by clock synchronisation; until then by how soon a chunk sounded
        self._acks = False
        self._told: float | None = None  # when the last one was heard, by the client's clock
        self._queue: deque[tuple[int, float, bytes]] = deque()  # index, sent at, audio
        self._queue_s = 0.0
        self._free = 0.0  # nothing more sounds before
        self._suspended_at: float | None = None
        self._placed: deque[tuple[int, bytes]] = deque()  # first sample, audio
        self._end = 0
        self._taken = 0

    # --- what happens ---------------------------------------------------------------------------

    def sent(self, index: int, pcm: bytes, now: float) -> None:
        self._queue.append((index, now, pcm))
        self._queue_s += _seconds(pcm)
        while self._queue_s > QUEUE_S:
            self._pop()

    def acknowledged(self, index: int, now: float, told: float | None = None) -> None:
        """The client has played this chunk, and with it those before; `told` is by its clock."""
        if not self._queue or not self._queue[0][0] <= index <= self._queue[-1][0]:
            return
        if self._suspended_at is not None and now > self._suspended_at + self.rtt + SEAM_S:
            return  # a page that threw its schedule away says that it has played it
        played = [pcm for number, _, pcm in self._queue if number <= index]
        length = sum(map(_seconds, played))
        start = now - length
        if start < self._free - FASTER_S:
            return
        before, self._told = self._told, told
        if told is not None and before is not None and start - self._free < HELD_UP_S:
            start = min(start, self._free + max(0.0, told - before - length))
        if not self.rtt_known:
            least = max(0.0, start - self._queue[0][1])
            self.rtt = min(self.rtt, least) if self._acks else least
        self._acks = True
        self._free = self._free if start - self._free <= SEAM_S else start
        for pcm in played:
            self._pop()
            self._place(pcm)

    def suspended(self, at: float) -> None:
        """The client falls silent at this time; what it has, it keeps."""
        if self._suspended_at is None:
            self._suspended_at = at

    def resumed(self, at: float) -> None:
        if self._suspended_at is not None:
            self._play(self._suspended_at)
            self._free = max(self._free, at)
            self._suspended_at = None

    def stopped(self, at: float) -> None:
        """The client falls silent and drops what it has."""
        self._play(at if self._suspended_at is None else min(at, self._suspended_at))
        self._forget()

    def started(self) -> None:
        """Of a reply before, what is not acknowledged by now never will be."""
        self._suspended_at = None
        if self._acks:
            self._forget()

    def _forget(self) -> None:
        self._queue.clear()
        self._queue_s = 0.0
        self._suspended_at = None

    # --- what was heard -------------------------------------------------------------------------

    def take(self, until: int, now: float) -> bytes:
        """Everything up to this sample at 48 kHz, silence where nothing sounded."""
        if not self._acks:
            limit = now - SILENT_CLIENT_S
            self._play(limit if self._suspended_at is None else min(limit, self._suspended_at))
        taken = bytearray(2 * (until - self._taken))
        while self._placed and self._placed[0][0] < until:
            start, pcm = self._placed.popleft()
            rest = pcm[2 * (until - start) :]
            if rest:
                pcm = pcm[: -len(rest)]
                self._placed.appendleft((until, rest))
            place = 2 * (start - self._taken)
            taken[place : place + len(pcm)] = pcm
        self._taken = until
        return bytes(taken)

    def _play(self, until: float) -> None:
        """By the clock: what has sounded up to this time."""
        if self._acks and self._queue:
            # Beyond the chunk that was under way the acknowledgements would tell.
            until = min(until, self._starts() + CHUNK_S + self.rtt)
        while self._queue and (start := self._starts()) < until:
            index, sent_at, pcm = self._pop()
            heard = pcm[: 2 * round((until - start) * RATE_OUT)]
            self._free = start
            self._place(heard)
            if rest := pcm[len(heard) :]:
                self._queue.appendleft((index, sent_at, rest))
                self._queue_s += _seconds(rest)
                return

    def _starts(self) -> float:
        return max(self._free, self._queue[0][1] + self.rtt)

    def _pop(self) -> tuple[int, float, bytes]:
        chunk = self._queue.popleft()
        self._queue_s -= _seconds(chunk[2])
        return chunk

    def _place(self, pcm: bytes) -> None:
        start = round(self._free * RATE_OUT)
        if start <= self._end + 2:  # neighbours join without a gap by rounding
            start = self._end
        start = max(start, self._taken)
        self._placed.append((start, pcm))
        self._end = start + len(pcm) // 2
        self._free = self._end / RATE_OUT


def _seconds(pcm: bytes) -> float:
    return len(pcm) / (2 * RATE_OUT)


class _Stereo:
    """One file. Every method blocks."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = WavFile(path, RATE_OUT, channels=2)
        self._resampler = Resampler(RATE_IN, RATE_OUT)
        self._left = bytearray()
        self._right = bytearray()

    def write(self, left: bytes, right: bytes) -> None:
        """The next of the user at 16 kHz and of the agent at 48 kHz."""
        self._left += self._resampler.push(left)
        self._right += right
        self._mix(min(len(self._left), len(self._right)))

    def close(self) -> None:
        size = len(self._right)  # the agent's side is exact, a resampler may be a sample off
        self._left = (self._left + self._resampler.flush())[:size].ljust(size, b"\0")
        try:
            self._mix(size)
        finally:
            self._file.close()

    def _mix(self, size: int) -> None:
        import numpy as np

        both = np.empty((size // 2, 2), "<i2")
        both[:, 0] = np.frombuffer(bytes(self._left[:size]), "<i2")
        both[:, 1] = np.frombuffer(bytes(self._right[:size]), "<i2")
        del self._left[:size], self._right[:size]
        self._file.write(both.tobytes())


class RecordingManager(Manager):
    """Opt-in: set `service_config.recording` to a folder, or register this manager."""

    def __init__(
        self, event_bus: EventBus, session_id: str, config: dict[str, Any], session: Session
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        enhanced = session.pipeline.get_enhancer_model() is not None
        folder = Path(config["recording"] or Path(config["data_dir"]) / "recordings")
        endings = (".wav", ".raw.wav") if enhanced else (".wav",)
        self._paths = [folder / f"{session_id}{ending}" for ending in endings]
        self._files: list[_Stereo] = []
        self._disk = Disk(f"the recording of session {session_id}")
        self._clean = UserTrack()
        self._raw = UserTrack() if enhanced else None
        self._agent = AgentTrack()
        self._timer = asyncio.get_running_loop().call_later(COMMIT_S, self._commit)
        self._disk.put(self._open, 0)

    @property
    def _now(self) -> float:
        return self._session.clock.now() - self._session.began

    # --- the user -------------------------------------------------------------------------------

    @on(events.AudioFrameReceived, 50)
    def _hear_raw(self, event: events.AudioFrameReceived) -> None:
        if self._raw is not None:
            self._raw.put(event.audio_data, self._now)

    @on(events.EnhancedAudioFrameReceived, 50)
    def _hear_clean(self, event: events.EnhancedAudioFrameReceived) -> None:
        self._clean.put(event.audio_data, self._now)

    # --- the agent ------------------------------------------------------------------------------

    @on(events.ClockSyncReceived, 50)
    def _sync(self, event: events.ClockSyncReceived) -> None:
        round_trip_s = event.client_recv_ts - event.client_send_ts
        if 0 <= round_trip_s < SETTLED_S:
            self._agent.rtt, self._agent.rtt_known = round_trip_s, True

    @on(events.TTSStarted, 50)
    def _started(self, event: events.TTSStarted) -> None:
        self._agent.started()

    @on(events.TTSChunkGenerated, 50)
    def _sent(self, event: events.TTSChunkGenerated) -> None:
        self._agent.sent(event.chunk_index, event.audio_chunk, self._now)

    @on(events.TTSChunkPlayedConfirm, 99)
    def _played(self, event: events.TTSChunkPlayedConfirm) -> None:
        told_ms = event.client_timestamp
        told = None if told_ms is None else told_ms / 1000
        self._agent.acknowledged(event.chunk_index, self._now, told)

    @on(events.TurnTTSPauseRequested, 99)
    def _paused(self, event: events.TurnTTSPauseRequested) -> None:
        if event.tell_client:
            self._agent.suspended(self._now + self._agent.rtt)
        elif event.client_timestamp is not None:  # else it may well be playing on
            self._agent.suspended(self._now)

    @on(events.TTSResumed, 50)
    def _resumed(self, event: events.TTSResumed) -> None:
        self._agent.resumed(self._now + self._agent.rtt)

    @on(events.TTSStopped, 50)
    def _stopped(self, event: events.TTSStopped) -> None:
        self._agent.stopped(self._now + self._agent.rtt)

    # --- to the disk ----------------------------------------------------------------------------

    def _commit(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(COMMIT_S, self._commit)
        if self._now > SETTLED_S:
            self._write(self._now - SETTLED_S)

    def _write(self, until_s: float) -> None:
        if self._disk.failed:
            return
        until, now = round(until_s * RATE_IN), self._now
        users = [track.take(until, now) for track in (self._clean, self._raw) if track is not None]
        agent = self._agent.take(until * RATE_OUT // RATE_IN, now)
        self._disk.put(lambda: self._store(users, agent), sum(map(len, users)) + len(agent))

    def _open(self) -> None:
        for path in self._paths:
            self._files.append(_Stereo(path))
            log.info("recording %s", path)

    def _store(self, users: list[bytes], agent: bytes) -> None:
        for file, user in zip(self._files, users, strict=True):
            file.write(user, agent)

    async def shutdown(self) -> None:
        self._timer.cancel()
        self._write(self._now)
        await self._disk.close(self._close)

    def _close(self) -> None:
        for file in self._files:
            file.close()
