"""Load a recogniser and let it hear a second of silence, in a process that may end over it.

python -m xtalk_sherpa_onnx.trial < {"online": ..., "constructor": ..., "arguments": {...}}
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import sherpa_onnx


def hear_silence(recogniser: Any, online: bool) -> None:
    stream = recogniser.create_stream()
    stream.accept_waveform(16_000, np.zeros(16_000, np.float32))
    if not online:
        recogniser.decode_stream(stream)
        return
    while recogniser.is_ready(stream):
        recogniser.decode_stream(stream)


def main() -> None:
    job = json.load(sys.stdin)
    owner = sherpa_onnx.OnlineRecognizer if job["online"] else sherpa_onnx.OfflineRecognizer
    recogniser = getattr(owner, job["constructor"])(**job["arguments"])
    hear_silence(recogniser, job["online"])


if __name__ == "__main__":
    main()
