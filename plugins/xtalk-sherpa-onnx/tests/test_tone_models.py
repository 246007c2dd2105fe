"""The tone models do with sherpa-onnx itself what the tests of the adaptors rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sherpa_onnx
from tone_models import RATE, ToneModels, tones

SAID = ["hello", "world", "stop", "weather", "please", "goodbye", "stop"]


def from_whole(models: ToneModels) -> dict[str, Callable[[], Any]]:
    make, tokens = sherpa_onnx.OfflineRecognizer, str(models.tokens)
    return {
        "zipformer_ctc": lambda: make.from_zipformer_ctc(str(models.zipformer_ctc), tokens),
        "wenet_ctc": lambda: make.from_wenet_ctc(str(models.wenet_ctc), tokens),
        "nemo_ctc": lambda: make.from_nemo_ctc(str(models.nemo_ctc), str(models.nemo_tokens)),
        "sense_voice": lambda: make.from_sense_voice(
            str(models.sense_voice), str(models.sense_voice_tokens)
        ),
        "paraformer": lambda: make.from_paraformer(
            str(models.paraformer), str(models.paraformer_tokens)
        ),
    }


@pytest.mark.parametrize(
    "kind", ["zipformer_ctc", "wenet_ctc", "nemo_ctc", "sense_voice", "paraformer"]
)
def test_a_recording_is_understood(tone_models: ToneModels, kind: str) -> None:
    recogniser = from_whole(tone_models)[kind]()
    stream = recogniser.create_stream()
    stream.accept_waveform(RATE, tones(SAID, gap_s=0.12))
    recogniser.decode_stream(stream)
    assert stream.result.text.split() == SAID


@pytest.mark.parametrize("kind", ["zipformer2_ctc", "transducer"])
def test_a_stream_is_understood(tone_models: ToneModels, kind: str) -> None:
    make, tokens = sherpa_onnx.OnlineRecognizer, str(tone_models.tokens)
    if kind == "transducer":
        recogniser = make.from_transducer(
            tokens=tokens,
            encoder=str(tone_models.transducer_encoder),
            decoder=str(tone_models.transducer_decoder),
            joiner=str(tone_models.transducer_joiner),
        )
    else:
        recogniser = make.from_zipformer2_ctc(tokens, str(tone_models.online_zipformer2_ctc))
    stream = recogniser.create_stream()
    for piece in np.array_split(tones(SAID), 40):
        stream.accept_waveform(RATE, piece)
        while recogniser.is_ready(stream):
            recogniser.decode_stream(stream)
    stream.input_finished()
    while recogniser.is_ready(stream):
        recogniser.decode_stream(stream)
    assert recogniser.get_result(stream).split() == SAID


@pytest.mark.parametrize("voice", ["vits", "vits_two_voices"])
def test_the_voice_says_what_the_recogniser_hears(tone_models: ToneModels, voice: str) -> None:
    vits = sherpa_onnx.OfflineTtsVitsModelConfig(
        model=str(getattr(tone_models, voice)),
        lexicon=str(tone_models.lexicon),
        tokens=str(tone_models.voice_tokens),
    )
    config = sherpa_onnx.OfflineTtsConfig(model=sherpa_onnx.OfflineTtsModelConfig(vits=vits))
    speech = sherpa_onnx.OfflineTts(config).generate("hello stop goodbye")
    recogniser = from_whole(tone_models)["zipformer_ctc"]()
    stream = recogniser.create_stream()
    stream.accept_waveform(speech.sample_rate, np.pad(speech.samples, 4000))
    recogniser.decode_stream(stream)
    assert stream.result.text.split() == ["hello", "stop", "goodbye"]
