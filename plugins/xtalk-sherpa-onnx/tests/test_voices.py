"""The voices: streaming, cancelling, speakers, pace, and the files that they need."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import onnx
import pytest
from tone_models import FREQUENCIES, PITCHES, RATE, ToneModels
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS, _pieces

from xtalk.errors import ConfigError
from xtalk.threads import run_in_thread

TEXT = "Hello world. Stop, please. Goodbye!"


def voice(models: ToneModels, name: str = "vits_two_voices", **how: Any) -> SherpaOnnxTTS:
    files = {"tokens": str(models.voice_tokens), "lexicon": str(models.lexicon)}
    options = {**files, **how.pop("options", {})}
    return SherpaOnnxTTS(str(getattr(models, name)), options=options, silence_scale=1, **how)


def change(path: Path, **metadata: str) -> None:
    """Write other metadata into a model."""
    model = onnx.load(path)
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key, entry.value)
    onnx.save(model, path)


def pitch(pcm: bytes) -> float:
    """The loudest frequency in Hz."""
    samples = np.frombuffer(pcm, "<i2")
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / samples.size)


# --- as it comes --------------------------------------------------------------------------------


def test_a_piece_is_passed_on_before_the_next_is_made() -> None:
    heard = threading.Event()

    def make(take: Any) -> None:
        assert take(b"one")
        assert heard.wait(5), "the first piece was held back"
        assert take(b"two")

    async def listen() -> list[bytes]:
        pieces = []
        async for piece in _pieces(make):
            pieces.append(piece)
            heard.set()
        return pieces

    assert anyio.run(listen) == [b"one", b"two"]


def test_closing_stops_what_makes_the_pieces() -> None:
    closed, told = threading.Event(), threading.Event()

    def make(take: Any) -> None:
        take(b"one")
        assert closed.wait(5)
        if take(b"two") is False:
            told.set()

    async def listen() -> None:
        async with aclosing(_pieces(make)) as pieces:
            await anext(pieces)
        closed.set()

    anyio.run(listen)
    assert told.wait(5)


def test_what_fails_while_it_speaks_is_raised() -> None:
    def make(take: Any) -> None:
        take(b"one")
        raise RuntimeError("the network broke")

    async def listen() -> None:
        async with aclosing(_pieces(make)) as pieces:
            assert await anext(pieces) == b"one"
            with pytest.raises(RuntimeError, match="the network broke"):
                await anext(pieces)

    anyio.run(listen)


def test_what_fails_when_nobody_listens_any_more_disturbs_nobody() -> None:
    failed = threading.Event()

    def make(take: Any) -> None:
        take(b"one")
        failed.set()
        raise RuntimeError("the network broke")

    async def listen() -> None:
        async with aclosing(_pieces(make)) as pieces:
            await anext(pieces)
            assert await run_in_thread(failed.wait, 5)

    complaints: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: complaints.append(what))
        await listen()
        gc.collect()

    asyncio.run(run())
    assert not complaints


def sentences(speaker: SherpaOnnxTTS, *, stop: bool = False) -> list[bytes]:
    """What sherpa-onnx calls back with; with `stop` it is told to stop at the first."""
    pieces: list[bytes] = []

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return not stop

    speaker._generate(TEXT, take)
    return pieces


@pytest.mark.parametrize("name", ["vits", "matcha", "kokoro"])
def test_sherpa_onnx_gives_a_sentence_at_a_time_and_can_be_stopped(
    tone_models: ToneModels, name: str
) -> None:
    if name == "vits":
        speaker = voice(tone_models)
    else:
        folder = str(getattr(tone_models, name))
        speaker = SherpaOnnxTTS(folder, vocoder=str(tone_models.vocoder))
    whole = sentences(speaker)
    assert len(whole) > 1
    assert sentences(speaker, stop=True) == whole[:1]


def test_kitten_speaks_though_it_never_calls_back(tone_models: ToneModels) -> None:
    pieces = sentences(SherpaOnnxTTS(str(tone_models.kitten)))
    assert len(pieces) == 1 and len(pieces[0]) > RATE


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!", "\x00\x01", "👋"])
def test_without_words_there_is_no_sound(tone_models: ToneModels, text: str) -> None:
    assert voice(tone_models).synthesize(text) == b""


def test_half_of_a_surrogate_pair_is_no_character(tone_models: ToneModels) -> None:
    speaker = voice(tone_models)
    assert len(speaker.synthesize("hello \ud800")) >= len(speaker.synthesize("hello"))


ENDLESS = [
    *("stop" + "!" * 1000, "! " * 1000 + "stop", "stop, " * 400),
    *("stop-" * 900, "stop’" * 900, "stop_" * 900),
    *("stop " * 900, "s" * 3000),
]


@pytest.mark.parametrize("reads", ["words", "phonemes"])
def test_no_text_ends_the_process_with_kokoro(
    tone_models: ToneModels, tmp_path: Path, reads: str
) -> None:
    """It would, over a piece of more than 510 symbols."""
    folder = shutil.copytree(tone_models.kokoro, tmp_path / "kokoro")
    if reads == "phonemes":
        (folder / "lexicon.txt").unlink()
        change(folder / "model.onnx", has_espeak="1")
    code = f"""
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS
voice = SherpaOnnxTTS({str(folder)!r})
for text in {ENDLESS!r}:
    print(text[:6], len(voice.synthesize(text)), flush=True)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"it ended after {done.stdout}"


# --- who speaks, and how ------------------------------------------------------------------------


def test_a_speaker_has_the_name_that_the_model_gives(tone_models: ToneModels) -> None:
    kokoro = SherpaOnnxTTS(str(tone_models.kokoro), voice="tenor")
    assert kokoro.voices == ("alto", "tenor")
    assert pitch(kokoro.synthesize("hello")) == pytest.approx(FREQUENCIES[0] * PITCHES[1], rel=0.01)
    kokoro.set_voice(["alto"])
    assert pitch(kokoro.synthesize("hello")) == pytest.approx(FREQUENCIES[0], rel=0.01)


def test_without_names_a_speaker_has_a_number(tone_models: ToneModels) -> None:
    speaker = voice(tone_models, voice=1)
    assert speaker.voices == ("0", "1")
    assert pitch(speaker.synthesize("hello")) == pytest.approx(FREQUENCIES[0] * 1.5, rel=0.01)
    speaker.set_voice(["0"])
    assert pitch(speaker.synthesize("hello")) == pytest.approx(FREQUENCIES[0], rel=0.01)


def test_a_configuration_can_name_the_speakers(tone_models: ToneModels) -> None:
    speaker = voice(tone_models, voices={"Anna": 1, "Otto": 0}, voice="Anna")
    assert speaker.voices == ("Anna", "Otto")
    assert pitch(speaker.synthesize("hello")) == pytest.approx(FREQUENCIES[0] * 1.5, rel=0.01)


@pytest.mark.parametrize("unknown", ["Bob", "2", "-1", "", "²", 2])
def test_an_unknown_speaker_is_refused(tone_models: ToneModels, unknown: str | int) -> None:
    with pytest.raises(ConfigError, match=f"voice: the model has no voice '{unknown}'"):
        voice(tone_models, voice=unknown)


def test_a_name_for_a_speaker_that_is_not_there_is_refused(tone_models: ToneModels) -> None:
    with pytest.raises(ConfigError, match="voices: Anna is speaker 7, but the model has 2"):
        voice(tone_models, voices={"Anna": 7})


@pytest.mark.parametrize("speed", [0.49, 1.51, -1.0, float("nan")])
def test_a_pace_out_of_range_is_refused(tone_models: ToneModels, speed: float) -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1\.5"):
        voice(tone_models).set_speed(speed)


def test_the_rate_is_that_of_the_model(tone_models: ToneModels, tmp_path: Path) -> None:
    shutil.copy(tone_models.vits, tmp_path / "model.onnx")
    change(tmp_path / "model.onnx", sample_rate="22050")
    files = {"tokens": str(tone_models.voice_tokens), "lexicon": str(tone_models.lexicon)}
    assert SherpaOnnxTTS(str(tmp_path), options=files).output_rate == 22_050


def test_clones_share_the_network(tone_models: ToneModels) -> None:
    speaker = voice(tone_models)
    assert speaker.clone()._tts is speaker._tts


# --- files --------------------------------------------------------------------------------------


def test_a_length_scale_reaches_sherpa_onnx(tone_models: ToneModels) -> None:
    usual = len(voice(tone_models).synthesize("hello"))
    slow = len(voice(tone_models, options={"length_scale": 2.0}).synthesize("hello"))
    assert slow > 1.5 * usual


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"colour": "red"}, "no 'colour' of a vits model; it knows length_scale, lexicon"),
        ({"data_dir": "espeak-ng-data"}, "no 'data_dir' of a vits model"),
        ({"length_scale": "long"}, "length_scale of a vits model cannot be 'long'"),
        ({"lexicon": "/nowhere/lexicon.txt"}, "lexicon: there is no .*nowhere"),
        ({"lexicon": "lexicon-xx"}, "run: xtalk models get lexicon-xx"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    tone_models: ToneModels, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        voice(tone_models, options=options)


def test_a_file_that_is_missing_beside_the_model_is_named(
    tone_models: ToneModels, tmp_path: Path
) -> None:
    folder = shutil.copytree(tone_models.kokoro, tmp_path / "kokoro")
    (folder / "tokens.txt").unlink()
    with pytest.raises(ConfigError, match=r"needs its tokens, and there is no .*tokens\.txt"):
        SherpaOnnxTTS(str(folder))


def test_a_network_in_the_format_of_onnxruntime_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ort").write_bytes(b"\x18\0\0\0ORTM" + bytes(100))
    with pytest.raises(ConfigError, match=r"model\.ort is in onnxruntime's own format"):
        SherpaOnnxTTS(str(tmp_path / "model.ort"))


@pytest.mark.parametrize("tokens", ["", "a b c\n", "HELLO one\n", "_ 0\nHELLO\n"])
def test_tokens_that_cannot_be_read_are_refused(
    tone_models: ToneModels, tmp_path: Path, tokens: str
) -> None:
    folder = shutil.copytree(tone_models.kokoro, tmp_path / "kokoro")
    (folder / "tokens.txt").write_text(tokens)
    with pytest.raises(ConfigError, match=r"tokens\.txt"):
        SherpaOnnxTTS(str(folder))


def test_speakers_of_another_model_are_refused(tone_models: ToneModels, tmp_path: Path) -> None:
    folder = shutil.copytree(tone_models.kokoro, tmp_path / "kokoro")
    shutil.copy(tone_models.kitten / "voices.bin", folder)
    with pytest.raises(ConfigError, match=r"voices\.bin has 16 bytes, but .* takes 8160"):
        SherpaOnnxTTS(str(folder))


def test_a_vocoder_of_another_rate_is_refused(tone_models: ToneModels, tmp_path: Path) -> None:
    shutil.copy(tone_models.vocoder, tmp_path)
    change(tmp_path / "vocoder.onnx", sample_rate="22050")
    with pytest.raises(ConfigError, match=r"makes sound at 22050 Hz, but the model .* 16000 Hz"):
        SherpaOnnxTTS(str(tone_models.matcha), vocoder=str(tmp_path / "vocoder.onnx"))


def test_a_model_without_a_lexicon_is_refused_in_a_sentence(
    tone_models: ToneModels, tmp_path: Path
) -> None:
    shutil.copy(tone_models.vits, tmp_path / "model.onnx")
    shutil.copy(tone_models.voice_tokens, tmp_path / "tokens.txt")
    with pytest.raises(ConfigError, match="lexicon"):
        SherpaOnnxTTS(str(tmp_path))


def test_of_several_networks_the_one_that_is_not_quantised_is_taken(
    tone_models: ToneModels, tmp_path: Path
) -> None:
    folder = shutil.copytree(tone_models.kokoro, tmp_path / "kokoro")
    (folder / "model.int8.onnx").write_bytes(b"not this one")
    assert SherpaOnnxTTS(str(folder)).voices == ("alto", "tenor")


@pytest.mark.parametrize("names", [[], ["a.onnx", "b.onnx"]])
def test_a_folder_that_does_not_hold_one_network_is_refused(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = ", ".join(names) or "none"
    with pytest.raises(ConfigError, match=rf"expected one \.onnx file in .*found {found}"):
        SherpaOnnxTTS(str(tmp_path))


def test_a_rule_that_is_not_there_is_named(tone_models: ToneModels) -> None:
    with pytest.raises(ConfigError, match=r"rule_fsts: there is no .*number\.fst"):
        voice(tone_models, rule_fsts=["/nowhere/number.fst"])
