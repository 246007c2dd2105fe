"""The voice: owns the synthesiser's clone, the `speak` stage, and the playback at the client."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from xtalk import events
from xtalk.alarm import Alarm
from xtalk.audio import RATE_OUT, AudioFrame, Resampler, leading_silence, resample
from xtalk.bus import EventBus, Manager
from xtalk.calls import change_speed, synthesize
from xtalk.errors import ModelError
from xtalk.managers.voice import Voice, Wish
from xtalk.pipeline import Pipeline
from xtalk.playback import USER, Playback, PlaybackConfig
from xtalk.speech.interfaces import TTS, Sentence, SpeechChunk
from xtalk.stages import timed
from xtalk.turn import Turn

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["SPEEDS", "TTSManager"]

log = logging.getLogger("xtalk.tts")

SPEEDS = (0.5, 1.5)
TRIM_S = 0.5  # a longer silence in front of a sentence is meant
LEAD_S = 0.01
BACKCHANNEL_S = 1.0  # the longest; one that takes longer to make comes too late

on = Manager.event_handler


class TTSManager(Manager):
    """Obeys `TurnTTS*Requested` and the changes of voice, emotion and speed.

    It is the sink of the session's turns: what they synthesise goes through the playback, and
    what the playback decides to send is posted, in order.
    """

    def __init__(
        self,
        event_bus: EventBus,
        pipeline: Pipeline,
        config: dict[str, Any],
        session: Session,
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        self._now = session.clock.now
        tts = pipeline.get_tts_model()
        self._pipeline = pipeline
        controller = pipeline.get_speed_controller()
        self._pacer = None if controller is None else session.guard(controller)
        self._paced = 0  # the turn whose audio the controller may hold back
        self._stage = session.wrapped("speak", self._speak)
        self._playback = Playback(PlaybackConfig(ahead_s=config["ahead_sec"]))
        self._alarm = Alarm(self._poll)
        self._patience_s = config["tts_timeout_sec"]
        self._voice = None if tts is None else self._own(tts)
        self._room: asyncio.Future[None] | None = None
        self._resampler = Resampler(RATE_OUT, RATE_OUT)
        self._last: Sentence | None = None
        self._first_sentence = False
        self._silence_s = 0.0
        self._aside: anyio.CancelScope | None = None
        self._speed = 1.0
        self._describe(tts)

    def _own(self, tts: TTS) -> Voice:
        guard = self._session.guard(tts, self._describe)
        return Voice(guard, spawn=self._session.spawn, patience_s=self._patience_s)

    # --- a reply --------------------------------------------------------------------------------

    @on(events.TurnLLMAgentStartRequested, 90)
    def _turn_started(self, event: events.TurnLLMAgentStartRequested) -> None:
        if event.turn_id:
            self._begin(event.turn_id)

    @on(events.TurnTTSStartRequested, 100)
    def _start(self, event: events.TurnTTSStartRequested) -> None:
        turn = self._session.turn
        if turn is None or not turn.running:
            # Somebody else than our agent manager wants to be heard.
            playback = self._playback
            turn_id = playback.turn_id if playback.active else event.turn_id or 1
            turn = self._session.new_turn(turn_id, "")
            self._session.spawn(turn.run, None, self._session.around_turn(turn))
        if not turn.spoken_to:
            if not self._playback.active:
                self._begin(turn.id)
            turn.speak(self._stage)

    def _begin(self, turn_id: int) -> None:
        if self._aside is not None:
            self._aside.cancel()  # the reply needs the voice
        self._first_sentence = True
        self._last = None
        self._resampler = Resampler(RATE_OUT, RATE_OUT)
        self._post(self._playback.begin(turn_id, self._now()))

    @on(events.TurnTTSTextAppendRequested, 98)
    def _append(self, event: events.TurnTTSTextAppendRequested) -> None:
        turn = self._session.turn
        if turn is None:
            return
        if event.chunk is not None:
            turn.play(event.chunk)
        else:
            turn.say(event.text, event.spoken)

    @on(events.TurnTTSFlushRequested, 98)
    def _flush(self, event: events.TurnTTSFlushRequested) -> None:
        if self._session.turn is not None:
            self._session.turn.flush()

    @on(events.TurnTTSStopRequested, 95)
    def _stop(self, event: events.TurnTTSStopRequested) -> None:
        turn = self._session.turn
        if turn is not None:
            turn.cancel()
        self._post(self._playback.stop(self._now(), tell_client=event.tell_client))

    @on(events.TurnLLMAgentStopRequested, 90)
    def _agent_stopped(self, event: events.TurnLLMAgentStopRequested) -> None:
        # Turn taking stops the voice in the same breath; who stops only the agent means both.
        if self._playback.active:
            asyncio.get_running_loop().call_soon(self._fall_silent, self._playback.turn_id, event)

    def _fall_silent(self, turn_id: int, event: events.TurnLLMAgentStopRequested) -> None:
        if self._playback.active and self._playback.turn_id == turn_id:
            self.event_bus.post(events.TurnTTSStopRequested(reason=event.reason))

    @on(events.TurnTTSPauseRequested, 95)
    def _pause(self, event: events.TurnTTSPauseRequested) -> None:
        self._post(
            self._playback.shut(
                USER,
                self._now(),
                tell_client=event.tell_client,
                ruined=event.ruined,
                client_timestamp=event.client_timestamp,
            )
        )

    @on(events.TurnTTSResumeRequested, 95)
    def _resume(self, event: events.TurnTTSResumeRequested) -> None:
        self._post(
            self._playback.open(
                USER, self._now(), tell_client=event.tell_client, restart=event.restart
            )
        )

    @on(events.ReplyFailed, 90)
    def _reply_failed(self, event: events.ReplyFailed) -> None:
        turn = self._session.turn
        if turn is not None and turn.id == event.turn_id:
            turn.cancel()
        self._post(self._playback.fail(self._now()))

    @on(events.ReplyOver, 80)
    def _reply_over(self, event: events.ReplyOver) -> None:
        turn = self._session.turn
        if turn is not None and turn.id == event.turn_id:
            turn.end("done" if event.outcome == "done" else "interrupted")

    # --- beside the replies ---------------------------------------------------------------------

    @on(events.BackchannelRequested, 90)
    def _backchannel(self, event: events.BackchannelRequested) -> None:
        if self._playback.active or not self._session.audible:
            log.debug("no backchannel: a reply lives, or the client would not play it")
        elif event.audio is not None:
            self._sound_aside(event.audio)
        elif event.text and self._voice is not None and self._aside is None:
            self._aside = anyio.CancelScope(deadline=self._now() + BACKCHANNEL_S)
            self._session.spawn(self._say_aside, event.text, self._aside)

    @on(events.TTSStopped, 90)
    def _silenced(self, event: events.TTSStopped) -> None:
        self._playback.silenced(self._now())

    async def _say_aside(self, text: str, scope: anyio.CancelScope) -> None:
        assert self._voice is not None
        made = []
        try:
            with scope:
                async with (
                    self._voice.lease() as lease,
                    aclosing(synthesize(lease, text)) as chunks,
                ):
                    async for chunk in chunks:
                        made.append(resample(chunk.audio, RATE_OUT).pcm)
                pcm = b"".join(made)
                self._sound_aside(AudioFrame(pcm[2 * leading_silence(pcm) :], RATE_OUT))
        finally:
            self._aside = None

    def _sound_aside(self, audio: AudioFrame) -> None:
        if audio.seconds > BACKCHANNEL_S:
            log.warning("a backchannel of %.1f s is too long and was left out", audio.seconds)
        elif not self._playback.active and self._session.audible:
            self._post(self._playback.aside(resample(audio, RATE_OUT).pcm, self._now()))

    # --- what the client reports ----------------------------------------------------------------

    @on(events.TTSChunkPlayedConfirm, 90)
    def _played(self, event: events.TTSChunkPlayedConfirm) -> None:
        self._post(self._playback.ack(event.chunk_index, event.client_timestamp, self._now()))

    @on(events.TTSPlaybackFinished, 80)
    def _all_played(self, event: events.TTSPlaybackFinished) -> None:
        self._post(self._playback.playback_finished(self._now()))

    @on(events.ClockSyncReceived, 90)
    def _sync(self, event: events.ClockSyncReceived) -> None:
        round_trip_s = event.client_recv_ts - event.client_send_ts
        if 0 <= round_trip_s < 5:
            self._playback.rtt = round_trip_s

    # --- the sink of a turn ---------------------------------------------------------------------

    def sentence(self, turn: Turn) -> None:
        if self._first_sentence:
            self._first_sentence = False
            self.event_bus.post(events.LLMFirstSentence(turn_id=turn.id))

    async def room(self) -> None:
        while self._playback.room_s <= 0:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def audio(self, chunk: SpeechChunk) -> None:
        if chunk.sentence is not self._last:
            self._last = chunk.sentence
            # What an agent sounds by itself belongs to no sentence, and its pauses are its own.
            self._silence_s = TRIM_S if chunk.sentence is not None else 0.0
        if self._silence_s > 0 and not (chunk := self._trim(chunk)).audio.pcm:
            return
        rate = chunk.audio.rate
        plain = rate == self._resampler.from_rate == RATE_OUT
        if plain and self._speed == 1.0 and not self._paced:
            self._post(self._playback.feed(chunk, self._now()))
            return
        if rate != self._resampler.from_rate:
            await self._feed(self._resampler.flush(), chunk)
            self._resampler = Resampler(rate, RATE_OUT)
        await self._feed(self._resampler.push(chunk.audio.pcm), chunk)

    def _trim(self, chunk: SpeechChunk) -> SpeechChunk:
        """Without the silence that many voices put in front of a sentence."""
        audio = chunk.audio
        silent = leading_silence(audio.pcm)
        begun = silent < audio.samples
        kept = round(LEAD_S * audio.rate) if begun else 0
        cut = min(max(0, silent - kept), round(self._silence_s * audio.rate))
        self._silence_s = 0.0 if begun else self._silence_s - cut / audio.rate
        if not cut:
            return chunk
        early = cut / audio.rate
        words = tuple(replace(w, start=w.start - early, end=w.end - early) for w in chunk.words)
        return replace(chunk, audio=AudioFrame(audio.pcm[2 * cut :], audio.rate), words=words)

    async def audio_over(self) -> None:
        """What the resampler and the controller hold back belongs to the last sentence."""
        tail = SpeechChunk(audio=AudioFrame(b"", RATE_OUT), sentence=self._last)
        await self._feed(self._resampler.flush(), tail, last=True)
        self._post(self._playback.end(self._now()))

    def failed(self, turn: Turn, stage: str, error: Exception) -> None:
        turn.outcome = "failed"
        self.event_bus.post(
            events.ErrorOccurred(
                error_type="tts_error",
                error_message=(
                    str(error) if isinstance(error, ModelError) else "Speech synthesis failed."
                ),
                component="tts",
            )
        )
        self.event_bus.post(events.ReplyFailed(turn_id=turn.id, stage=stage))

    async def _feed(self, pcm: bytes, chunk: SpeechChunk, *, last: bool = False) -> None:
        pcm = await self._pace(pcm, last)
        if pcm:
            audio = AudioFrame(pcm, RATE_OUT)
            self._post(self._playback.feed(replace(chunk, audio=audio), self._now()))

    async def _pace(self, pcm: bytes, last: bool) -> bytes:
        """The audio at the chosen speed, where it is the controller that changes it."""
        changes = self._speed != 1.0 and not self._voice_has_speed()
        if self._pacer is None or not (changes or self._paced):
            return pcm
        turn_id, rest = self._playback.turn_id, b""
        async with self._pacer.lease() as lease:
            if self._paced and not (changes and self._paced == turn_id):
                rest = await change_speed(lease, b"", self._speed, last=True)
                rest = rest if self._paced == turn_id else b""
                self._paced = 0
            if not changes:
                return rest + pcm
            self._paced = 0 if last else turn_id
            return await change_speed(lease, pcm, self._speed, last=last)

    # --- the stage ------------------------------------------------------------------------------

    async def _speak(self, sentences: AsyncIterator[Any]) -> AsyncGenerator[SpeechChunk, None]:
        async for sentence in sentences:
            if isinstance(sentence, SpeechChunk):
                yield sentence
                continue
            if self._voice is None:
                raise ModelError("This server has no voice.")
            if not sentence.spoken:
                continue
            async with self._voice.lease() as lease:
                spoken, name = synthesize(lease, sentence.spoken), type(lease.model).__name__
                async with aclosing(timed(spoken, self._patience_s, name)) as chunks:
                    async for chunk in chunks:
                        yield chunk if chunk.sentence else replace(chunk, sentence=sentence)

    # --- posting, and the one timer -------------------------------------------------------------

    def _post(self, happened: list[events.BaseEvent]) -> None:
        post = self.event_bus.post
        for event in happened:
            post(event)
        room = self._room
        if room is not None and self._playback.room_s > 0:
            self._room = None
            if not room.done():
                room.set_result(None)
        self._alarm.set(self._playback.wake)

    def _poll(self) -> None:
        self._post(self._playback.poll(self._now()))

    # --- voice, emotion, speed ------------------------------------------------------------------

    @on(events.ToolCallOccurred, 100)
    def _tool(self, event: events.ToolCallOccurred) -> None:
        args = event.args
        if event.name == "set_voice":
            self.event_bus.post(events.TTSVoiceChange(voice_name=str(args.get("name", ""))))
        elif event.name == "set_emotion":
            self.event_bus.post(events.TTSEmotionChange(emotion_name=str(args.get("name", ""))))
        elif event.name == "set_speed":
            self.event_bus.post(events.TTSSpeedChange(speed=_number(args.get("speed", 1.0))))

    @on(events.TTSVoiceChange, 100)
    def _change_voice(self, event: events.TTSVoiceChange) -> None:
        name = event.voice_name
        self._ask(
            "voice",
            lambda tts: tts.set_voice([name]),
            lambda: self.event_bus.post(events.TTSVoiceChanged(voice_name=name)),
        )

    @on(events.TTSEmotionChange, 100)
    def _change_emotion(self, event: events.TTSEmotionChange) -> None:
        name, vector = event.emotion_name, event.emotion_vector

        def changed() -> None:
            self.event_bus.post(events.TTSEmotionChanged(emotion_name=name, emotion_vector=vector))

        self._ask("emotion", lambda tts: tts.set_emotion(vector or name), changed)

    @on(events.TTSSpeedChange, 100)
    def _change_speed(self, event: events.TTSSpeedChange) -> None:
        if math.isnan(event.speed):
            self._refuse("speed")
            return
        speed = min(max(event.speed, SPEEDS[0]), SPEEDS[1])
        wish = Wish(what="speed", make=lambda tts: tts.set_speed(speed))
        if self._pacer is None or self._voice_has_speed():
            self._ask("speed", wish.make, lambda: self._speed_changed(speed))
            return
        if self._voice is not None:
            self._voice.remember(wish)
        self._speed_changed(speed)

    def _speed_changed(self, speed: float) -> None:
        self._speed = speed
        self.event_bus.post(events.TTSSpeedChanged(speed=speed))

    def _voice_has_speed(self) -> bool:
        return self._voice is not None and hasattr(self._voice.guard.model, "set_speed")

    def _ask(self, what: str, make: Callable[[Any], object], granted: Callable[[], object]) -> None:
        refused = partial(self._refuse, what)
        if self._voice is None:
            refused()
        else:
            self._voice.ask(Wish(what=what, make=make, granted=granted, refused=refused))

    def _refuse(self, what: str) -> None:
        self.event_bus.post(
            events.ErrorOccurred(
                error_type=f"{what}_not_changed",
                error_message=f"This voice cannot change its {what} to that.",
                component="tts",
            )
        )

    def _describe(self, tts: TTS | None) -> None:
        """What agents may know of the voice."""
        for name in ("voices", "emotions"):
            self._pipeline.context[name] = list(getattr(tts, name, ()) or ())

    # --- another model --------------------------------------------------------------------------

    @on(
        events.TTSModelSwitchRequested,
        100,
        lambda self: bool(self._session.alternatives.get("tts")),
    )
    def _switch(self, event: events.TTSModelSwitchRequested) -> None:
        self._session.spawn(self._switch_to, event.model_type)

    async def _switch_to(self, name: str) -> None:
        voice = self._voice
        try:
            known = voice is not None and await self._session.switch(voice.guard, "tts", name)
        except Exception:
            log.exception("the voice %r could not be opened", name)
            known = False
        if voice is None or not known:
            self._refuse("model")
            return
        async with voice.lease(patient=True):
            pass  # it is told what was asked of the old one now, not when it has to speak

    async def shutdown(self) -> None:
        self._alarm.cancel()


def _number(value: Any) -> float:
    """What an agent gave for a number; not a number where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
