"""FastEnhancer: a recurrent network that takes noise out of speech, hop by hop."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from xtalk.audio import float_to_pcm, pcm_to_float
from xtalk.downloads import locate
from xtalk.errors import ConfigError
from xtalk.speech.interfaces import SpeechEnhancer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FastEnhancerS"]

DEFAULT = "fastenhancer-s"


class FastEnhancerS(SpeechEnhancer):
    """The network looks `n_fft - hop_size` samples ahead, so the audio is that much behind.

    Clones share the network, which never changes, and nothing else. What is held back comes with
    `flush`; what the network has learnt of the noise stays until `reset`.
    """

    inline = False

    _caches: dict[str, npt.NDArray[np.float32]]

    def __init__(
        self,
        model_path: Annotated[
            str | None,
            Field(
                description="an ONNX file, or a name for `xtalk models get`; None: fastenhancer-s"
            ),
        ] = None,
        n_fft: Annotated[int, Field(gt=0, description="window of the network, in samples")] = 512,
        hop_size: Annotated[int, Field(gt=0, description="step of the network, in samples")] = 256,
    ) -> None:
        self._hop = hop_size
        self._delay = n_fft - hop_size
        self._network = _Network(locate(model_path or DEFAULT), hop_size, self._delay)
        self.reset()

    def enhance(self, audio: bytes) -> bytes:
        """What is ready: whole hops, the look-ahead later than they came."""
        self._waiting += audio
        self._owed += len(audio) // 2
        size = 2 * self._hop
        ready = b""
        while len(self._waiting) >= size:
            ready += self._step(bytes(self._waiting[:size]))
            del self._waiting[:size]
        return ready

    def flush(self) -> bytes:
        """As many samples as are still owed, as if silence followed."""
        rest = b""
        while self._owed:
            hop = bytes(self._waiting).ljust(2 * self._hop, b"\0")
            self._waiting.clear()
            rest += self._step(hop)
        self._ahead = self._delay  # what the network still holds is of the silence
        return rest

    def _step(self, hop: bytes) -> bytes:
        clean = self._network.run(pcm_to_float(hop), self._caches)
        early = min(self._ahead, clean.size)
        self._ahead -= early
        pcm = float_to_pcm(clean[early:][: self._owed])
        self._owed -= len(pcm) // 2
        return pcm

    def reset(self) -> None:
        """Forget what was heard, what is held back and what is known of the noise."""
        self._caches = self._network.empty()
        self._waiting = bytearray()
        self._owed = 0  # samples that came and have not gone
        self._ahead = self._delay  # samples from before the first one, to be left out

    def clone(self) -> FastEnhancerS:
        twin = copy.copy(self)
        twin.reset()
        return twin


class _Network:
    """The ONNX file: `wav_in` and caches in, `wav_out` and the same caches out."""

    def __init__(self, path: Path, hop: int, delay: int) -> None:
        self._session = _load(path)
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        _check(path, shapes, outputs, hop, delay)
        shapes.pop("wav_in")
        self._shapes = shapes
        self._outputs = ["wav_out", *(_out(name) for name in shapes)]

    def empty(self) -> dict[str, npt.NDArray[np.float32]]:
        """The caches before the first hop."""
        import numpy as np

        return {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def run(
        self, hop: npt.NDArray[np.float32], caches: dict[str, npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """One hop, shape (hop,), in and out; changes the caches."""
        clean, *new = self._session.run(self._outputs, {"wav_in": hop[None], **caches})
        caches.update(zip(caches, new, strict=True))
        wave: npt.NDArray[np.float32] = clean[0]
        return wave


def _out(name: str) -> str:
    return name.replace("cache_in", "cache_out")


def _check(path: Path, inputs: dict[str, Any], outputs: list[str], hop: int, delay: int) -> None:
    """ConfigError when it is not a network of this kind and of these sizes."""
    found = f"model_path: {path} takes {', '.join(inputs)} and gives {', '.join(outputs)}"
    caches = [name for name in inputs if name != "wav_in"]
    expected = {"wav_out", *map(_out, caches)}
    if (
        "wav_in" not in inputs
        or not caches
        or not all(name.startswith("cache_in") for name in caches)
        or not expected <= set(outputs)
    ):
        raise ConfigError(
            f"{found}, expected wav_in, cache_in_0 ... and wav_out, cache_out_0 ...; FastEnhancer "
            "has this form as its wav2wav version"
        )
    wrong = {name: shape for name, shape in inputs.items() if not all(map(_is_size, shape))}
    if wrong:
        raise ConfigError(f"model_path: {path} leaves a size open, expected fixed ones: {wrong}")
    if inputs["wav_in"] != [1, hop]:
        raise ConfigError(
            f"hop_size: {path} takes {inputs['wav_in']} samples at a time, not [1, {hop}]"
        )
    if inputs[caches[0]][-1] != delay:
        raise ConfigError(
            f"n_fft: {path} keeps {inputs[caches[0]][-1]} samples, so n_fft is "
            f"{inputs[caches[0]][-1] + hop}, not {delay + hop}"
        )


def _is_size(length: Any) -> bool:
    return isinstance(length, int) and length > 0


def _load(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise ConfigError(f"model_path: {path} is a folder, expected an ONNX file")
    options = onnxruntime.SessionOptions()
    # The network is too small to gain from more threads, and they would spin.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each way in which a file is wrong
        raise ConfigError(f"model_path: onnxruntime cannot read {path}: {error}") from error
