"""Silero VAD: the probability that a frame of 32 ms holds speech."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from xtalk.audio import RATE_IN, pcm_to_float
from xtalk.errors import AudioError, ConfigError
from xtalk.speech.interfaces import VAD

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["MODEL_FILE", "SileroVAD"]

MODEL_FILE = Path(__file__).with_name("model") / "silero_vad_16k_op15.onnx"

# The model looks at the last samples of the frame before, too.
CONTEXT = 64


class SileroVAD(VAD):
    """A recurrent network of 1.3 MB; a frame takes about 0.1 ms on one core.

    Clones share the network, which never changes, and nothing else. A frame changes the state,
    so hand each one either to `is_speech` or to `speech_probability`, not to both.
    """

    inline = True
    frame_samples = 512

    _input: npt.NDArray[np.float32]  # the context and the frame, shape (1, 576)
    _state: npt.NDArray[np.float32]  # shape (2, 1, 128)

    def __init__(
        self,
        threshold: Annotated[
            float, Field(gt=0, lt=1, description="the probability from which a frame is speech")
        ] = 0.5,
        model_path: Annotated[
            str | None, Field(description="another ONNX file of the same inputs; None: ours")
        ] = None,
    ) -> None:
        self.threshold = threshold
        self._session = _load(MODEL_FILE if model_path is None else Path(model_path))
        self.reset()

    def speech_probability(self, frame: bytes) -> float:
        """0 to 1, for exactly 512 samples; AudioError for any other length."""
        if len(frame) != 2 * self.frame_samples:
            raise AudioError(
                f"SileroVAD takes frames of {2 * self.frame_samples} bytes, got {len(frame)}"
            )
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = pcm_to_float(frame)
        inputs = {"input": self._input, "state": self._state, "sr": self._rate}
        probability, self._state = self._session.run(None, inputs)
        return float(probability[0, 0])

    def is_speech(self, frame: bytes) -> bool:
        return self.speech_probability(frame) >= self.threshold

    def reset(self) -> None:
        """Forget what was heard: no state, and silence before the first frame."""
        import numpy as np

        self._rate = np.array(RATE_IN, dtype=np.int64)
        self._input = np.zeros((1, CONTEXT + self.frame_samples), dtype=np.float32)
        self._state = np.zeros((2, 1, 128), dtype=np.float32)

    def clone(self) -> SileroVAD:
        twin = copy.copy(self)
        twin.reset()
        return twin


def _load(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise ConfigError(f"model_path: there is no file {path}")
    options = onnxruntime.SessionOptions()
    # The network is too small to gain from more threads, and they would spin.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
