"""CosyVoice on a gRPC server of one's own: one channel for all sessions, and all its modes.

mode                    who speaks
sft                     a speaker that the model was trained with
zero_shot               the recording `prompt_wav`, in which `prompt_text` is said
cross_lingual           the recording, in another language than the text
instruct2               the recording, in the manner that `instruct_text` asks for
zero_shot_by_spk_id     a speaker whose recording the server keeps
instruct2_by_spk_id     such a speaker, in the manner that `instruct_text` asks for
register_spk            gives the recording to the server to keep, then zero_shot_by_spk_id
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from xtalk.audio import RATE_IN, RATE_OUT, Resampler, float_to_pcm, pcm_to_float
from xtalk.errors import AudioError, ConfigError
from xtalk.remote import SOUND_S, Refusal, Remote, Replay, Shared, Unreadable, grpc_answer
from xtalk.wav import read_wav
from xtalk_tts_cosyvoice.messages import message, parts, read, write
from xtalk_tts_cosyvoice.text import speakable
from xtalk_tts_cosyvoice.voice import Voice

__all__ = ["CosyVoiceLocal"]

INFERENCE = "/cosyvoice.CosyVoice/Inference"
STREAM_INFERENCE = "/cosyvoice.CosyVoice/StreamInference"
REGISTER = "/cosyvoice.CosyVoice/RegisterSpk"
CHECK = "check that its server runs at the configured host and port, and mode and spk_id"

Mode = Literal[
    "zero_shot_by_spk_id",
    "sft",
    "zero_shot",
    "cross_lingual",
    "instruct2",
    "instruct2_by_spk_id",
    "register_spk",
]
# What each mode cannot do without, besides the text.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "zero_shot": ("prompt_wav", "prompt_text"),
    "cross_lingual": ("prompt_wav",),
    "instruct2": ("prompt_wav", "instruct_text"),
    "instruct2_by_spk_id": ("instruct_text",),
    "register_spk": ("prompt_wav", "prompt_text"),
}
OF_A_RECORDING = ("zero_shot", "cross_lingual", "instruct2")
REGISTERED = 1

# A channel that has lost its server tries again soon: somebody waits for the next sentence.
# A sentence in one piece is more than the 4 MB that gRPC takes of itself.
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 100 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
)


class CosyVoiceLocal(Voice):
    """A voice of a CosyVoice server. ModelError when the server fails.

    `async_synthesize_stream` says one text, `speak` a text that still comes in. With `stream`
    the audio comes while the sentence is being made, otherwise in one piece.
    """

    def __init__(
        self,
        host: Annotated[str, Field(description="where the gRPC server runs")] = "localhost",
        port: Annotated[int, Field(ge=1, le=65535, description="the gRPC server's port")] = 50000,
        mode: Annotated[Mode, Field(description="who speaks: see below")] = "zero_shot_by_spk_id",
        spk_id: Annotated[str, Field(description="the speaker, as the server calls it")] = "001",
        sample_rate: Annotated[
            int, Field(ge=8000, le=48000, description="the rate to speak at, in Hz")
        ] = RATE_OUT,
        stream: Annotated[
            bool, Field(description="have the audio as it is made; true is much quicker to speak")
        ] = False,
        speed: Annotated[float, Field(ge=0.5, le=2.0, description="1 is the usual pace")] = 1.0,
        format: Annotated[
            Literal["pcm", ""], Field(description='how audio travels: "" is 32-bit floats')
        ] = "pcm",
        text_frontend: Annotated[
            bool, Field(description="let the server write numbers and signs out as words")
        ] = True,
        prompt_wav: Annotated[
            Path | None, Field(description="a recording of the voice: a WAV file on this machine")
        ] = None,
        prompt_text: Annotated[str, Field(description="what is said in the recording")] = "",
        instruct_text: Annotated[str, Field(description="how to speak, in words")] = "",
        voices: Annotated[
            tuple[str, ...],
            Field(description="further speakers of the server that may be asked for by name"),
        ] = (),
        server_rate: Annotated[
            int, Field(ge=8000, le=48000, description="the rate of the server's model, in Hz")
        ] = 24000,
        timeout: Annotated[
            float, Field(gt=0, description="seconds to the first piece of audio and between two")
        ] = SOUND_S,
    ) -> None:
        # Here and not in the first sentence, which would make all sessions wait: what is heavy to
        # import. Without the extra the type is refused at the start.
        import grpc

        message("Request")
        Resampler(RATE_IN, RATE_OUT).push(bytes(2))

        if mode not in get_args(Mode):
            raise ConfigError(f"CosyVoiceLocal knows no mode {mode!r}: {', '.join(get_args(Mode))}")
        given = {
            "prompt_wav": prompt_wav,
            "prompt_text": prompt_text,
            "instruct_text": instruct_text,
        }
        missing = [name for name in NEEDS.get(mode, ()) if not given[name]]
        if missing:
            raise ConfigError(f"CosyVoiceLocal needs {' and '.join(missing)} in mode {mode!r}")
        super().__init__(
            Remote(name="CosyVoice", check=CHECK, timeout_s=timeout),
            voices=() if mode in OF_A_RECORDING else (spk_id, *voices),
            service_rate=server_rate,
            output_rate=sample_rate,
        )
        self._mode = mode
        self._given = {**given, "prompt_audio": _prompt(prompt_wav) if prompt_wav else b""}
        self._usual_speed = self._speed = speed
        self._asked = {"stream": stream, "format": format, "text_frontend": text_frontend}
        # Both are shared with all clones.
        self._channel = Shared(lambda: grpc.aio.insecure_channel(f"{host}:{port}", OPTIONS))
        self._registered: set[str] = set()

    async def open(self) -> None:
        """Begin to connect; the first sentence finds the channel ready."""
        await self._channel.hold(self)
        async with self._channel.use() as channel:
            channel.get_state(try_to_connect=True)

    async def close(self) -> None:
        await self._channel.release(self)

    def clone(self) -> CosyVoiceLocal:
        return copy.copy(self)

    def set_speed(self, speed: float) -> None:
        """`speed` times the configured speed, within 0.5 to 2."""
        self._speed = min(max(self._usual_speed * speed, 0.5), 2.0)

    # --- requests -------------------------------------------------------------------------------

    async def _sentence(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        async with self._channel.use() as channel:
            await self._register(channel)
            text = "".join([speakable(piece) async for piece in texts])
            call = channel.unary_stream(INFERENCE)(self._request(text))
            async with aclosing(self._audio(call)) as audio:
                async for pcm in audio:
                    yield pcm

    async def _utterance(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        async with self._channel.use() as channel:
            await self._register(channel)
            call = channel.stream_stream(STREAM_INFERENCE)(self._requests(texts))
            async with aclosing(self._audio(call)) as audio:
                async for pcm in audio:
                    yield pcm

    async def _requests(self, texts: Replay[str]) -> AsyncGenerator[bytes, None]:
        """First how to speak, without a text; then texts alone."""
        yield self._request("")
        async for text in texts:
            yield write("Request", tts_text=speakable(text))

    def _request(self, text: str) -> bytes:
        mode = "zero_shot_by_spk_id" if self._mode == "register_spk" else self._mode
        who = {**self._given, "spk_id": self._voice}
        kind = f"{mode}_request"
        fields = {name: who[name] for name in parts(kind)}
        return write("Request", tts_text=text, speed=self._speed, **self._asked, **{kind: fields})

    async def _audio(self, call: Any) -> AsyncGenerator[bytes, None]:
        """PCM16 at the server's rate. Closing this cancels the request at the server."""
        import grpc

        try:
            async for sent in call:
                if pcm := self._pcm(_read("Response", sent).tts_audio):
                    yield pcm
        except grpc.RpcError:
            self._registered.clear()  # a server that was started anew knows nobody
            raise
        finally:
            call.cancel()

    def _pcm(self, audio: bytes) -> bytes:
        if self._asked["format"] == "pcm":
            return audio
        if len(audio) % 4:
            raise Unreadable("whole samples of 32 bits")
        import numpy as np

        return float_to_pcm(np.frombuffer(audio, dtype="<f4"))

    async def _register(self, channel: Any) -> None:
        """Give the recording to the server, once in this process for all sessions."""
        if self._mode != "register_spk" or self._registered:
            return
        request = write(
            "RegisterSpkRequest",
            spk_id=self.voices[0],
            prompt_text=self._given["prompt_text"],
            prompt_audio_bytes=self._given["prompt_audio"],
            ori_sample_rate=RATE_IN,
        )
        registered = await grpc_answer(channel.unary_unary(REGISTER)(request))
        answer = _read("RegisterSpkResponse", registered)
        if answer.status != REGISTERED:
            raise Refusal(400, "RegisterSpk")
        self._registered.add(self.voices[0])


def _read(name: str, sent: bytes) -> Any:
    try:
        return read(name, sent)
    except ValueError:
        raise Unreadable(name) from None


def _prompt(path: Path) -> bytes:
    """The recording as the server takes it: 32-bit floats at 16 kHz."""
    try:
        recording = read_wav(path, RATE_IN)
    except AudioError as error:
        raise ConfigError(f"prompt_wav: {error}") from None
    return pcm_to_float(recording.pcm).astype("<f4").tobytes()
