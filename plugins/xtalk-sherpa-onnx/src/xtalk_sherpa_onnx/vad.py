"""Voice activity on sherpa-onnx: Silero's network, versions 4 and 5, or TEN's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from xtalk.audio import pcm_to_float
from xtalk.errors import AudioError, ConfigError
from xtalk.speech.interfaces import VAD
from xtalk_sherpa_onnx.files import Provider, onnx_file
from xtalk_sherpa_onnx.metadata import check_model, input_names, read_metadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SherpaOnnxVAD"]

SILERO_FRAME, TEN_FRAME = 512, 256
SILERO_INPUTS = (["input", "state", "sr"], ["input", "sr", "h", "c"])


class SherpaOnnxVAD(VAD):
    """Whether a frame holds speech. A frame of 32 ms takes about 0.1 ms on one core.

    sherpa-onnx tells the verdict and not the probability, so that is 0 or 1 here. Its verdict is
    speech from the second frame over the threshold on, until one is 0.15 under it. Every clone has
    a network of its own, since the state is inside it.
    """

    inline = True

    _context: npt.NDArray[np.float32]  # the samples before the frame that the network wants too

    def __init__(
        self,
        model: Annotated[
            str, Field(description="an .onnx file, or a name of `xtalk models list`")
        ] = "silero_vad",
        threshold: Annotated[
            float, Field(gt=0, lt=1, description="the probability from which a frame is speech")
        ] = 0.5,
        provider: Provider = "cpu",
    ) -> None:
        self._model = onnx_file(model)
        self._is_ten = _check(self._model)
        self._threshold = threshold
        self._provider = provider
        self.frame_samples = TEN_FRAME if self._is_ten else SILERO_FRAME
        self._start()

    def is_speech(self, frame: bytes) -> bool:
        """For exactly `frame_samples` samples; AudioError for any other length."""
        import numpy as np

        if len(frame) != 2 * self.frame_samples:
            raise AudioError(
                f"SherpaOnnxVAD takes frames of {2 * self.frame_samples} bytes, got {len(frame)}"
            )
        samples = np.concatenate((self._context, pcm_to_float(frame)))
        self._context = samples[self.frame_samples :]
        return bool(self._network.is_speech(samples))

    def reset(self) -> None:
        """Forget what was heard: no state, and silence before the first frame."""
        import numpy as np

        self._network.reset()
        overlap = self._network.window_size() - self.frame_samples
        self._context = np.zeros(overlap, dtype=np.float32)

    def clone(self) -> SherpaOnnxVAD:
        """Loads the network again, about 25 ms."""
        return SherpaOnnxVAD(str(self._model), self._threshold, self._provider)

    def _start(self) -> None:
        import sherpa_onnx

        config = sherpa_onnx.VadModelConfig(provider=self._provider)
        network: Any = config.ten_vad if self._is_ten else config.silero_vad
        network.model, network.threshold = str(self._model), self._threshold
        # The engine waits for more speech, and for more silence, by itself.
        network.min_speech_duration = network.min_silence_duration = 0.0
        self._network = sherpa_onnx.VadModel.create(config)
        self.reset()


def _check(model: Path) -> bool:
    """Whether it is TEN's network; ConfigError when it is neither that nor Silero's.

    Silero's has no metadata: sherpa-onnx ends the process where the inputs have other names.
    """
    metadata = read_metadata(model)
    if metadata is None:
        return False
    if metadata.get("model_type") == "ten-vad":
        check_model(model, "TEN voice activity")
        return True
    found = input_names(model)
    if found not in SILERO_INPUTS:
        raise ConfigError(
            f"{model} is no voice-activity network for sherpa-onnx: its inputs are "
            f"{', '.join(found)}, expected {' or '.join(map(', '.join, SILERO_INPUTS))}, or a "
            "ten-vad.onnx of the releases of k2-fsa/sherpa-onnx"
        )
    return False
