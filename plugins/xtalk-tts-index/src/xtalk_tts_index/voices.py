"""The voices of IndexTTS 1 and 2, behind a server of index-tts-vllm."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_OUT, AudioFrame
from xtalk.errors import ConfigError
from xtalk.remote import SOUND_S, Remote, explained
from xtalk.speech.remote import RemoteVoice, wav_answer
from xtalk_tts_index.recordings import NEUTRAL, Recordings, read_voices

__all__ = ["EMOTIONS", "IndexTTS", "IndexTTS2"]

EMOTIONS = ("joy", "anger", "sadness", "fear", "disgust", "low", "surprise", "calm")
"""What the eight numbers of an emotion vector stand for, in the server's order."""

# The rest to 1 is what remains of the recording's own mood.
STRENGTH = 0.8
MOST = 1.5  # the server refuses a vector whose sum is greater

Voices = Annotated[
    list[dict[str, str]] | dict[str, str] | None,
    Field(
        description="`[{name, path}]` or `{name: path}`: recordings to speak after, by paths on the"
        " server; a folder on this machine holds one for each emotion. Without it the recording"
        " is used that comes with the server"
    ),
]
Host = Annotated[str, Field(description="where the server runs")]
Port = Annotated[int, Field(gt=0, le=65_535, description="the server's port")]
SampleRate = Annotated[
    int, Field(ge=8000, le=RATE_OUT, description="Hz; what the server sends is converted to it")
]
Timeout = Annotated[
    float, Field(gt=0, description="seconds until the answer begins, and between its pieces")
]


class _IndexVoice(RemoteVoice):
    """What both versions share: recordings by voice and emotion, and a WAV file as answer."""

    def __init__(
        self,
        name: str,
        voices: dict[str, Recordings],
        host: str,
        port: int,
        sample_rate: int,
        timeout: float,
    ) -> None:
        check = "check that its server runs and that the voice's recording is there"
        super().__init__(Remote(name=name, check=check, timeout_s=timeout), output_rate=sample_rate)
        self._url = f"http://{host}:{port}/tts_url"
        self._voices = voices
        self.voices = tuple(voices)
        self._recordings = voices[self.voices[0]]

    def set_voice(self, voice_names: list[str]) -> None:
        for name in voice_names:
            if name in self._voices:
                self._recordings = self._voices[name]
                self._tell_emotions()
                return
        raise ValueError(
            f"{self.remote.name} has no voice {' or '.join(map(repr, voice_names))}; "
            f"its configuration names {', '.join(self.voices)}"
        )

    def _tell_emotions(self) -> None:
        """Set `emotions` to what the voice can do."""
        raise NotImplementedError

    def _recording(self, emotion: str) -> str:
        """Of this emotion, else neutral, else any."""
        recordings = self._recordings
        neutral = recordings.get(NEUTRAL, next(iter(recordings.values())))
        return recordings.get(emotion, neutral)

    def _body(self, text: str) -> dict[str, Any]:
        """What the server is asked."""
        raise NotImplementedError

    async def request(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        async with (
            self.http.use() as client,
            client.stream("POST", self._url, json=self._body(text)) as response,
            aclosing(wav_answer(await explained(response, _reason), self.output_rate)) as frames,
        ):
            async for frame in frames:
                yield frame


class IndexTTS(_IndexVoice):
    """IndexTTS 1 and 1.5. Each voice, and each of its emotions, is a recording on the server."""

    def __init__(
        self,
        voices: Voices = None,
        host: Host = "localhost",
        port: Port = 11_996,
        sample_rate: SampleRate = RATE_OUT,
        timeout: Timeout = SOUND_S,
    ) -> None:
        self._emotion = NEUTRAL
        super().__init__("IndexTTS", read_voices(voices), host, port, sample_rate, timeout)
        self._tell_emotions()

    def set_emotion(self, emotion: str | list[float]) -> None:
        """A name for which the voice has a recording, or "neutral"."""
        if not isinstance(emotion, str) or emotion not in self.emotions:
            raise ValueError(
                f"IndexTTS has no emotion {emotion!r}; this voice knows {', '.join(self.emotions)}"
            )
        self._emotion = emotion

    def _tell_emotions(self) -> None:
        self.emotions = tuple(dict.fromkeys([NEUTRAL, *self._recordings]))

    def _body(self, text: str) -> dict[str, Any]:
        return {"text": text, "audio_paths": [self._recording(self._emotion)]}


class IndexTTS2(_IndexVoice):
    """IndexTTS 2: voices from recordings, and emotions by name, by eight numbers or in words."""

    def __init__(
        self,
        voices: Voices = None,
        host: Host = "localhost",
        port: Port = 6006,
        sample_rate: SampleRate = RATE_OUT,
        timeout: Timeout = SOUND_S,
        voices_map: Annotated[
            dict[str, str] | None, Field(description="`{name: path}`, another way to give voices")
        ] = None,
        emotions: Annotated[
            dict[str, str | list[float]] | None,
            Field(description="more emotions by name: a description in words, or eight numbers"),
        ] = None,
    ) -> None:
        if voices and voices_map:
            raise ConfigError("IndexTTS2 has both voices and voices_map; give one of them")
        self._named: dict[str, dict[str, Any]] = {
            name: _vector([STRENGTH * (name == each) for each in EMOTIONS]) for name in EMOTIONS
        }
        for name, how in (emotions or {}).items():
            self._named[name] = _configured(name, how)
        self._emotion: str | dict[str, Any] = NEUTRAL
        super().__init__(
            "IndexTTS2", read_voices(voices or voices_map), host, port, sample_rate, timeout
        )
        self._tell_emotions()

    def set_emotion(self, emotion: str | list[float]) -> None:
        """A name, or eight numbers of 0 or more for `EMOTIONS`, whose sum is at most 1.5."""
        if not isinstance(emotion, str):
            self._emotion = _vector(emotion)
        elif emotion in self.emotions:
            self._emotion = emotion
        else:
            raise ValueError(
                f"IndexTTS2 has no emotion {emotion!r}; it knows {', '.join(self.emotions)}"
            )

    def _tell_emotions(self) -> None:
        self.emotions = tuple(dict.fromkeys([NEUTRAL, *self._named, *self._recordings]))

    def _body(self, text: str) -> dict[str, Any]:
        asked = {"text": text, "spk_audio_path": self._recording(NEUTRAL)}
        return {**asked, **self._control()}

    def _control(self) -> dict[str, Any]:
        """How the server is told the emotion: 0 not at all, 1 recording, 2 vector, 3 words."""
        emotion = self._emotion
        if not isinstance(emotion, str):
            return emotion
        if emotion != NEUTRAL and emotion in self._recordings:
            return {"emo_control_method": 1, "emo_ref_path": self._recordings[emotion]}
        return self._named.get(emotion, {"emo_control_method": 0})


def _vector(numbers: Sequence[float]) -> dict[str, Any]:
    """ValueError when the server would refuse them."""
    if len(numbers) != len(EMOTIONS) or not all(
        isinstance(number, (int, float)) and math.isfinite(number) and number >= 0
        for number in numbers
    ):
        raise ValueError(
            f"an emotion of IndexTTS2 is a name or {len(EMOTIONS)} numbers of 0 or more, "
            f"for {', '.join(EMOTIONS)}"
        )
    if sum(numbers) > MOST:
        raise ValueError(f"the numbers of an emotion add up to {sum(numbers):g}, more than {MOST}")
    if not any(numbers):
        return {"emo_control_method": 0}
    return {"emo_control_method": 2, "emo_vec": [float(number) for number in numbers]}


def _configured(name: str, how: str | Sequence[float]) -> dict[str, Any]:
    if isinstance(how, str):
        return {"emo_control_method": 3, "emo_text": how}
    try:
        return _vector(how)
    except ValueError as error:
        raise ConfigError(f"emotions.{name}: {error}") from None


def _reason(answer: Mapping[str, Any]) -> str:
    """The kind of exception in the server's traceback."""
    found: list[str] = re.findall(r"^([A-Za-z_.]+)(?=:|$)", str(answer["error"]), re.MULTILINE)
    return found[-1] if found else ""
