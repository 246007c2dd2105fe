"""Noise suppression on sherpa-onnx: GTCRN, frame by frame."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_IN, float_to_pcm, pcm_to_float
from xtalk.errors import ConfigError
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk_sherpa_onnx.files import Provider, Threads, onnx_file
from xtalk_sherpa_onnx.metadata import check_model

__all__ = ["SherpaOnnxDenoiser"]


class SherpaOnnxDenoiser(SpeechEnhancer):
    """GTCRN as it comes: what goes in comes out, as many samples, in order, less noisy.

    It is behind by up to two hops of the network (with the published one 32 ms); `flush` gives
    that out and forgets what was heard. Every clone has a network of its own, since the state is
    inside it.
    """

    def __init__(
        self,
        model: Annotated[
            str, Field(description="an .onnx file, or a name of `xtalk models list`")
        ] = "gtcrn_simple",
        num_threads: Threads = 1,
        provider: Provider = "cpu",
    ) -> None:
        import sherpa_onnx

        self._arguments = (model, num_threads, provider)
        path = onnx_file(model)
        rate = check_model(path, "gtcrn denoiser").get("sample_rate", str(RATE_IN))
        if rate != str(RATE_IN):
            raise ConfigError(f"{path} works at {rate} Hz; the microphone comes at {RATE_IN}")
        network = sherpa_onnx.OfflineSpeechDenoiserModelConfig(
            num_threads=num_threads, provider=provider
        )
        network.gtcrn.model = str(path)
        config = sherpa_onnx.OnlineSpeechDenoiserConfig(model=network)
        self._network: Any = sherpa_onnx.OnlineSpeechDenoiser(config)

    def enhance(self, audio: bytes) -> bytes:
        return float_to_pcm(self._network.run(pcm_to_float(audio), RATE_IN).samples)

    def flush(self) -> bytes:
        return float_to_pcm(self._network.flush().samples)

    def reset(self) -> None:
        self._network.reset()

    def clone(self) -> SherpaOnnxDenoiser:
        return SherpaOnnxDenoiser(*self._arguments)
