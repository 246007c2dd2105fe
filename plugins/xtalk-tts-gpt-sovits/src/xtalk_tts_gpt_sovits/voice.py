"""The voice of GPT-SoVITS, behind its own server (`api_v2.py`)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import Field

from xtalk.audio import RATE_OUT, AudioFrame
from xtalk.remote import SOUND_S, Remote, explained
from xtalk.speech.remote import RemoteVoice, wav_answer
from xtalk_tts_gpt_sovits.references import read_references

__all__ = ["GPTSoVITS"]

SPEEDS = (0.5, 1.5)


class GPTSoVITS(RemoteVoice):
    """GPT-SoVITS. Its voices are recordings on the server, named in the configuration."""

    def __init__(
        self,
        ref_audio_paths: Annotated[
            list[str] | str | None,
            Field(
                description="recordings by their paths on the server: the first is spoken after,"
                " the others lend their tone. A folder on this machine stands for its recordings"
            ),
        ] = None,
        text_lang: Annotated[str, Field(description="what the texts are in")] = "zh",
        prompt_lang: Annotated[str, Field(description="what the recording is in")] = "zh",
        prompt_text: Annotated[str, Field(description="what is said in the recording")] = "",
        host: Annotated[str, Field(description="where the server runs")] = "127.0.0.1",
        port: Annotated[int, Field(gt=0, le=65_535, description="the server's port")] = 9880,
        sample_rate: Annotated[
            int,
            Field(ge=8000, le=RATE_OUT, description="Hz; what the server sends is converted to it"),
        ] = RATE_OUT,
        speed_factor: Annotated[float, Field(gt=0, description="1 is the usual pace")] = 1.0,
        media_type: Annotated[Literal["wav"], Field(description="what the server sends")] = "wav",
        timeout: Annotated[
            float,
            Field(gt=0, description="seconds until the answer begins, and between its pieces"),
        ] = SOUND_S,
        streaming_mode: Annotated[
            bool | Literal[0, 1, 2, 3],
            Field(
                description="whether the server sends a sentence in parts as it makes them; newer"
                " servers tell 1 (best, slowest) from 2 and 3 (fastest)"
            ),
        ] = False,
        top_k: Annotated[int, Field(ge=1, description="of the sampling")] = 5,
        top_p: Annotated[float, Field(gt=0, le=1, description="of the sampling")] = 1.0,
        temperature: Annotated[float, Field(gt=0, description="of the sampling")] = 1.0,
        text_split_method: Annotated[
            str, Field(description="how the server cuts a text; cut0 not at all, cut5 at each mark")
        ] = "cut5",
        batch_size: Annotated[int, Field(ge=1, description="parts made at one time")] = 1,
        batch_threshold: Annotated[float, Field(gt=0, description="how batches are cut")] = 0.75,
        split_bucket: Annotated[bool, Field(description="sort parts by length")] = True,
        fragment_interval: Annotated[
            float, Field(ge=0, description="seconds of silence between parts")
        ] = 0.3,
        seed: Annotated[int, Field(ge=-1, description="-1 takes another one each time")] = -1,
        parallel_infer: Annotated[bool, Field(description="make parts in parallel")] = True,
        repetition_penalty: Annotated[float, Field(gt=0, description="of the sampling")] = 1.35,
        sample_steps: Annotated[int, Field(ge=1, description="steps of the V3 model")] = 32,
        super_sampling: Annotated[bool, Field(description="of the V3 model")] = False,
        voices: Annotated[
            dict[str, str | dict[str, Any]] | None,
            Field(
                description="voices by name: a path on the server, or a table of `ref_audio_path`,"
                " `prompt_text`, `prompt_lang` and `aux_ref_audio_paths`"
            ),
        ] = None,
    ) -> None:
        check = "check that its server (api_v2.py) runs and that it has the reference recording"
        super().__init__(
            Remote(name="GPT-SoVITS", check=check, timeout_s=timeout), output_rate=sample_rate
        )
        paths = [ref_audio_paths] if isinstance(ref_audio_paths, str) else ref_audio_paths
        self._reference, self._references = read_references(
            paths or [], voices or {}, prompt_text, prompt_lang
        )
        self.voices = tuple(self._references)
        self._url = f"http://{host}:{port}/tts"
        self._speed = 1.0
        self._speed_factor = speed_factor
        self._options = {
            "text_lang": text_lang,
            "media_type": media_type,
            "streaming_mode": streaming_mode,
            "top_k": top_k,
            "top_p": top_p,
            "temperature": temperature,
            "text_split_method": text_split_method,
            "batch_size": batch_size,
            "batch_threshold": batch_threshold,
            "split_bucket": split_bucket,
            "fragment_interval": fragment_interval,
            "seed": seed,
            "parallel_infer": parallel_infer,
            "repetition_penalty": repetition_penalty,
            "sample_steps": sample_steps,
            "super_sampling": super_sampling,
        }

    def set_voice(self, voice_names: list[str]) -> None:
        """By name: the configuration knows the paths, and nobody else may give one."""
        for name in voice_names:
            if name in self._references:
                self._reference = self._references[name]
                return
        raise ValueError(
            f"GPT-SoVITS has no voice {' or '.join(map(repr, voice_names))}; "
            f"its configuration names {', '.join(self.voices)}"
        )

    def set_speed(self, speed: float) -> None:
        """0.5 to 1.5 times the pace of the configuration; ValueError outside."""
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ValueError(f"a speed lies between {SPEEDS[0]} and {SPEEDS[1]}, got {speed:g}")
        self._speed = speed

    async def request(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        async with (
            self.http.use() as client,
            client.stream("POST", self._url, json=self._body(text)) as response,
            aclosing(wav_answer(await explained(response, _reason), self.output_rate)) as frames,
        ):
            async for frame in frames:
                yield frame

    def _body(self, text: str) -> dict[str, Any]:
        asked = {"text": text, "speed_factor": self._speed_factor * self._speed}
        return {**self._options, **self._reference.asked(), **asked}


def _reason(answer: Mapping[str, Any]) -> str:
    """The parameter with which the server's message begins; "tts" for all that fails later."""
    found = re.match(r"\w+", answer["message"])
    return found[0] if found else ""
