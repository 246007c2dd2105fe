"""What is particular to voice activity, punctuation, speakers and noise suppression."""

from __future__ import annotations

import shutil
import threading
import wave
from pathlib import Path

import anyio
import numpy as np
import pytest
from tone_models import RATE, WORDS, ToneModels, tones_pcm
from xtalk_sherpa_onnx.enhancer import SherpaOnnxDenoiser
from xtalk_sherpa_onnx.files import provider_of
from xtalk_sherpa_onnx.punctuation import CTPunctRestorer
from xtalk_sherpa_onnx.speaker import PyannoteSpeakerEncoder, WespeakerResNet34
from xtalk_sherpa_onnx.vad import SherpaOnnxVAD

from xtalk import schema
from xtalk.audio import Framer, float_to_pcm, silence
from xtalk.errors import AudioError, ConfigError
from xtalk.plugins import Plugins
from xtalk.registry import Registry
from xtalk.testing.recordings import recording

ROOT = Path(__file__).parents[3]

# The network of another plugin, and recordings of people: beside the checkout, or nowhere.
SILERO = ROOT / "plugins/xtalk-vad-silero/src/xtalk_vad_silero/model/silero_vad_16k_op15.onnx"
PEOPLE = ROOT.parent / "shared" / "speech"


def share_of_speech(vad: SherpaOnnxVAD, pcm: bytes) -> float:
    verdicts = [vad.is_speech(frame) for frame in Framer(vad.frame_samples).push(pcm)]
    return sum(verdicts) / len(verdicts)


# --- voice activity -----------------------------------------------------------------------------


def test_trap_50_the_slot_takes_a_type_from_the_configuration(tone_models: ToneModels) -> None:
    found = Registry(Plugins.load({})).find("vad", "SherpaOnnxVAD")
    vad = schema.build(found.cls, {"model": str(tone_models.vad)})
    assert isinstance(vad, SherpaOnnxVAD)


def test_trap_50_each_session_has_a_state_of_its_own_that_can_be_reset(
    tone_models: ToneModels,
) -> None:
    vad = SherpaOnnxVAD(str(tone_models.vad))
    other = vad.clone()
    loud, quiet = float_to_pcm(0.5 * np.ones(512)), bytes(1024)
    assert [vad.is_speech(frame) for frame in (loud, loud, quiet)] == [False, True, True]
    assert not other.is_speech(quiet)
    vad.reset()
    assert not vad.is_speech(quiet)


@pytest.mark.parametrize("samples", [0, 511, 513, 1024])
def test_a_frame_of_another_size_is_refused(tone_models: ToneModels, samples: int) -> None:
    vad = SherpaOnnxVAD(str(tone_models.vad))
    with pytest.raises(AudioError, match=f"1024 bytes, got {2 * samples}"):
        vad.is_speech(bytes(2 * samples))


def test_the_threshold_reaches_the_network(tone_models: ToneModels) -> None:
    soft = float_to_pcm(0.02 * np.ones(512))  # 0.24 in the first frame, then more
    heard = {}
    for threshold in (0.1, 0.6):
        vad = SherpaOnnxVAD(str(tone_models.vad), threshold)
        heard[threshold] = [vad.is_speech(soft), vad.is_speech(soft)]
    assert heard == {0.1: [False, True], 0.6: [False, False]}


def test_another_network_is_refused(tone_models: ToneModels) -> None:
    """sherpa-onnx would end the process over the names of the inputs."""
    with pytest.raises(ConfigError, match=r"inputs are x, x_lens, expected input, state, sr or"):
        SherpaOnnxVAD(str(tone_models.zipformer_ctc))


@pytest.mark.skipif(not SILERO.exists(), reason="Silero's network is not in this checkout")
def test_silero_itself_hears_speech_and_no_noise() -> None:
    vad = SherpaOnnxVAD(str(SILERO))
    assert share_of_speech(vad, recording("what-time-is-it").pcm) > 0.3
    vad.reset()
    assert share_of_speech(vad, silence(1.0, RATE).pcm) == 0
    noise = np.random.default_rng(1).normal(0, 0.05, 5 * RATE)
    assert share_of_speech(vad, float_to_pcm(noise)) == 0


@pytest.mark.skipif(not SILERO.exists(), reason="Silero's network is not in this checkout")
@pytest.mark.parametrize("name", ["austen-0870", "austen-0880", "austen-0930", "jfk"])
def test_silero_itself_hears_people(name: str) -> None:
    path = PEOPLE / f"{name}.wav"
    if not path.exists():
        pytest.skip(f"{path.name}, a recording of a person, is not beside the checkout")
    with wave.open(str(path)) as file:
        pcm = file.readframes(file.getnframes())
    assert share_of_speech(SherpaOnnxVAD(str(SILERO)), pcm) > 0.5


# --- punctuation --------------------------------------------------------------------------------


def test_trap_54_the_restorer_has_a_slot_and_can_be_awaited(tone_models: ToneModels) -> None:
    found = Registry(Plugins.load({})).find("punt_restorer", "CTPunctRestorer")
    restorer = schema.build(found.cls, {"model_name": str(tone_models.ct_punctuation)})
    assert anyio.run(restorer.async_restore, "你好吗") == "你好吗？"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello world how are you", "hello, world. how are you?"),
        ("你好吗", "你好吗？"),
        ("hello 你好吗", "hello, 你好吗？"),
        ("   ", "   "),
        ("", ""),
        ("…!", "…!"),
    ],
)
def test_marks_suit_the_script_before_them(
    tone_models: ToneModels, text: str, expected: str
) -> None:
    assert CTPunctRestorer(str(tone_models.ct_punctuation)).restore(text) == expected


def test_the_english_network_also_capitalises(tone_models: ToneModels) -> None:
    restorer = CTPunctRestorer(str(tone_models.online_punctuation))
    assert restorer.restore("hello world how are you") == "Hello, world. How are you?"
    assert restorer.restore_batch(["i am fine", "thanks"]) == ["I am fine", "thanks."]


@pytest.mark.parametrize("vocabulary", [b"hello\n", b"hello world\n", b"<html>\n", b"\xff\xfe\0"])
def test_a_vocabulary_that_is_none_is_refused(
    tone_models: ToneModels, tmp_path: Path, vocabulary: bytes
) -> None:
    """sherpa-onnx would end the process."""
    folder = shutil.copytree(tone_models.online_punctuation.parent, tmp_path / "english")
    (folder / "bpe.vocab").write_bytes(vocabulary)
    with pytest.raises(ConfigError, match=r"bpe\.vocab, line 1, is not a piece of a word and"):
        CTPunctRestorer(str(folder))


def test_the_original_configuration_of_punctuation_is_taken(tone_models: ToneModels) -> None:
    params = {"device": "cpu", "hub": "ms", "disable_update": True}
    model = str(tone_models.ct_punctuation)
    assert schema.build(CTPunctRestorer, {**params, "model_name": model}).restore("吗") == "吗？"


# --- speakers -----------------------------------------------------------------------------------


def test_a_short_recording_is_repeated(tone_models: ToneModels) -> None:
    encoder = WespeakerResNet34(str(tone_models.speaker), min_duration_sec=3)
    second = tones_pcm(WORDS[:2], lead_s=0.1, tail_s=0.1)
    once, thrice = encoder.extract(second), encoder.extract(second * 6)
    assert encoder.similarity(once, thrice) > 0.99


def test_no_audio_has_no_voice(tone_models: ToneModels) -> None:
    with pytest.raises(AudioError, match="PyannoteSpeakerEncoder got no audio"):
        PyannoteSpeakerEncoder(str(tone_models.speaker)).extract(b"")


def test_an_embedding_is_float32(tone_models: ToneModels) -> None:
    vector = WespeakerResNet34(str(tone_models.speaker)).extract(tones_pcm(WORDS))
    assert vector.shape == (64,) and vector.dtype == np.float32


def test_trap_86_many_threads_use_one_network(tone_models: ToneModels) -> None:
    encoder = WespeakerResNet34(str(tone_models.speaker))
    voices = [tones_pcm(WORDS[:3] * 3), tones_pcm(WORDS[3:] * 3)]
    alone = [encoder.extract(voice) for voice in voices]
    found: list[tuple[int, np.ndarray]] = []

    def listen(which: int) -> None:
        found.extend((which, encoder.extract(voices[which])) for _ in range(10))

    threads = [threading.Thread(target=listen, args=(number % 2,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(np.allclose(vector, alone[which], atol=1e-5) for which, vector in found)


@pytest.mark.parametrize(
    ("device", "provider"),
    [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda"), ("mps", "coreml")],
)
def test_a_device_of_torch_is_a_provider(device: str, provider: str) -> None:
    assert provider_of(device) == provider


def test_an_unknown_device_is_refused(tone_models: ToneModels) -> None:
    with pytest.raises(ConfigError, match="device is 'abacus', expected auto, cpu, cuda or mps"):
        PyannoteSpeakerEncoder(str(tone_models.speaker), device="abacus")


# --- noise --------------------------------------------------------------------------------------


def test_it_is_behind_by_less_than_two_hops(tone_models: ToneModels) -> None:
    denoiser = SherpaOnnxDenoiser(str(tone_models.denoiser))
    given = taken = 0
    for size in [320] * 50:
        given += size
        taken += len(denoiser.enhance(bytes(2 * size))) // 2
        assert 0 <= given - taken < 2 * 256
    assert taken + len(denoiser.flush()) // 2 == given


def test_a_denoiser_of_another_rate_is_refused(tone_models: ToneModels, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tone_models.denoiser)
    for entry in model.metadata_props:
        entry.value = "48000" if entry.key == "sample_rate" else entry.value
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match=r"other\.onnx works at 48000 Hz"):
        SherpaOnnxDenoiser(str(tmp_path / "other.onnx"))
