"""What the client's messages mean: each becomes an event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.errors import ProtocolError
from xtalk.wire import messages

if TYPE_CHECKING:
    from xtalk.audio import AudioFrame
    from xtalk.session import Session

__all__ = ["InputGateway"]

log = logging.getLogger("xtalk.input")


class InputGateway(Manager):
    """Reads what the client sends. Bad input is answered by an `error` in plain words."""

    def __init__(self, event_bus: EventBus, session: Session) -> None:
        self.event_bus = event_bus
        self._session = session

    def receive(self, item: str | bytes) -> AudioFrame | None:
        """Post the event that a text message stands for; give audio back to be heard."""
        try:
            if isinstance(item, bytes):
                return self._session.protocol.receive_bytes(item)
            if self.event_bus.has(events.WebSocketMessageReceived):
                self.event_bus.post(events.WebSocketMessageReceived(message=item))
            self._read(self._session.protocol.receive_text(item))
        except ProtocolError as error:
            log.info("session %s: %s", self._session.id, error)
            self._session.send(messages.Error(message=str(error)))
        return None

    def _read(self, message: Any) -> None:
        if isinstance(message, messages.Ping):
            pong = messages.Pong(
                client_timestamp=message.timestamp or 0,
                server_recv_timestamp=self._session.clock.wall_ms(),
            )
            self._session.send(pong)
            return
        if not isinstance(message, messages.ClockSync):  # that follows a pong by itself
            self._session.used()
        event = _EVENTS[type(message)](message)
        if isinstance(event, _SWITCHES) and not self.event_bus.has(type(event)):
            raise ProtocolError("This server does not let clients change its models.")
        self.event_bus.post(event)

    async def shutdown(self) -> None:
        pass


_SWITCHES = (events.TTSModelSwitchRequested, events.LLMModelSwitchRequested)

# A client names models, never hosts, keys or paths: those fields of its messages go nowhere.
_EVENTS: dict[type[Any], Any] = {
    messages.ClockSync: lambda m: events.ClockSyncReceived(
        client_send_ts=m.client_send_ts,
        server_recv_ts=m.server_recv_ts,
        client_recv_ts=m.client_recv_ts,
    ),
    messages.ConversationStart: lambda m: events.ConversationStarted(client=m.client, mode=m.mode),
    messages.ConversationEnd: lambda m: events.ConversationEnded(reason=m.reason),
    messages.VadSpeechStart: lambda m: events.VADSpeechStart(
        confidence=m.confidence, client_timestamp=m.timestamp
    ),
    messages.VadSpeechEnd: lambda m: events.VADSpeechEnd(
        confidence=m.confidence, client_timestamp=m.timestamp, reason=m.reason
    ),
    messages.TtsPlaybackFinished: lambda m: events.TTSPlaybackFinished(),
    messages.TtsChunkPlayed: lambda m: events.TTSChunkPlayedConfirm(
        chunk_index=m.chunk_index, client_timestamp=m.timestamp
    ),
    messages.ChangeVoice: lambda m: events.TTSVoiceChange(voice_name=m.voice_name),
    messages.ChangeEmotion: lambda m: events.TTSEmotionChange(
        emotion_name=m.emotion_name, emotion_vector=list(m.emotion_vector)
    ),
    messages.ChangeTtsSpeed: lambda m: events.TTSSpeedChange(speed=m.speed),
    messages.ChangeTtsModel: lambda m: events.TTSModelSwitchRequested(model_type=m.model_type),
    messages.ChangeLlmModel: lambda m: events.LLMModelSwitchRequested(model_name=m.model_name),
}
