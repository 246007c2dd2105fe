"""Voices as vectors, on sherpa-onnx: WeSpeaker, 3D-Speaker and NeMo networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_IN, pcm_to_float
from xtalk.errors import AudioError
from xtalk.speech.interfaces import SpeakerEncoder
from xtalk_sherpa_onnx.files import Threads, onnx_file, provider_of
from xtalk_sherpa_onnx.metadata import check_model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PyannoteSpeakerEncoder", "WespeakerResNet34"]

RESNET34 = "wespeaker_en_voxceleb_resnet34_LM"

# The names in the original's configurations, and the same weights as sherpa-onnx has them.
PYANNOTE_NAMES = {
    "pyannote/wespeaker-voxceleb-resnet34-LM": RESNET34,
    "hbredin/wespeaker-voxceleb-resnet34-LM": RESNET34,
}

Device = Annotated[str, Field(description="auto or cpu; cuda with a sherpa-onnx built for it")]
LeastSeconds = Annotated[
    float, Field(ge=0.1, description="shorter recordings are repeated until they are as long")
]


class WespeakerResNet34(SpeakerEncoder):
    """An embedding of a voice, of 256 numbers with the network that it is named after.

    Any number of threads may call it at once.
    """

    def __init__(
        self,
        model: Annotated[
            str, Field(description="an .onnx file, or a name of `xtalk models list`")
        ] = RESNET34,
        device: Device = "auto",
        min_duration_sec: LeastSeconds = 3.0,
        num_threads: Threads = 1,
    ) -> None:
        import sherpa_onnx

        path = onnx_file(model)
        check_model(path, "speaker embedding")
        self._least = round(min_duration_sec * RATE_IN)
        self._network: Any = sherpa_onnx.SpeakerEmbeddingExtractor(
            sherpa_onnx.SpeakerEmbeddingExtractorConfig(
                model=str(path), num_threads=num_threads, provider=provider_of(device)
            )
        )

    def extract(self, audio: bytes) -> npt.NDArray[np.float32]:
        """The embedding of PCM16 at 16 kHz, shape (dimensions,); AudioError without any audio."""
        import numpy as np

        samples = pcm_to_float(audio)
        if not samples.size:
            raise AudioError(f"{type(self).__name__} got no audio to hear a voice in")
        if samples.size < self._least:
            samples = np.resize(samples, self._least)  # repeats it
        stream = self._network.create_stream()
        stream.accept_waveform(RATE_IN, samples)
        stream.input_finished()
        return np.asarray(self._network.compute(stream), dtype=np.float32)


class PyannoteSpeakerEncoder(WespeakerResNet34):
    """The encoder of the original's configurations: the same network, without torch."""

    def __init__(
        self,
        model_name: Annotated[
            str,
            Field(
                description="pyannote/wespeaker-voxceleb-resnet34-LM, an .onnx file, or a name of "
                "`xtalk models list`"
            ),
        ] = "pyannote/wespeaker-voxceleb-resnet34-LM",
        device: Device = "auto",
        min_duration_sec: LeastSeconds = 3.0,
        num_threads: Threads = 1,
    ) -> None:
        model = PYANNOTE_NAMES.get(model_name, model_name)
        super().__init__(model, device, min_duration_sec, num_threads)
