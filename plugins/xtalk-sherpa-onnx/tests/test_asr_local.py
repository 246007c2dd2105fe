"""The recognisers of the process: every family there is a tone model for, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sherpa_onnx
import tone_paraformer
from tone_models import WORDS, ToneModels, tones_pcm, without_metadata
from xtalk_sherpa_onnx import catalogue, metadata
from xtalk_sherpa_onnx.asr_local import LocalASR, SherpaOnnxLocal
from xtalk_sherpa_onnx.asr_named import ParaformerLocal, SenseVoiceSmallLocal, ZipformerLocal
from xtalk_sherpa_onnx.recognisers import FAMILIES, Recogniser
from xtalk_sherpa_onnx.segments import OfflineSegment, joined, timed_words

from xtalk import schema
from xtalk.audio import RATE_IN, AudioFrame
from xtalk.errors import AudioError, ConfigError, ModelError
from xtalk.speech.interfaces import Transcript

SAID = ("hello", "world", "please", "stop")
TEXT = " ".join(SAID)
SOUND = tones_pcm(SAID, gap_s=0.12)  # frames of 60 ms must see the gap

# The kind -> its files among the tone models.
KINDS = {
    "online_paraformer": {
        "tokens": "paraformer_tokens",
        "encoder": "paraformer_encoder",
        "decoder": "paraformer_decoder",
    },
    "online_transducer": {
        "tokens": "tokens",
        "encoder": "transducer_encoder",
        "decoder": "transducer_decoder",
        "joiner": "transducer_joiner",
    },
    "online_zipformer2_ctc": {"tokens": "tokens", "model": "online_zipformer2_ctc"},
    "zipformer_ctc": {"tokens": "tokens", "model": "zipformer_ctc"},
    "wenet_ctc": {"tokens": "tokens", "model": "wenet_ctc"},
    "nemo_ctc": {"tokens": "nemo_tokens", "model": "nemo_ctc"},
    "sense_voice": {"tokens": "sense_voice_tokens", "model": "sense_voice"},
    "paraformer": {"tokens": "paraformer_tokens", "paraformer": "paraformer"},
}

Make = Callable[..., SherpaOnnxLocal]


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The files of the tests count as fetched, which saves each of them its trial."""
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def make(tone_models: ToneModels) -> Make:
    """A recogniser of a kind; `files` replaces some of its files."""

    def make(kind: str, files: Mapping[str, Path] | None = None, **params: Any) -> SherpaOnnxLocal:
        found = {role: file_of(tone_models, name) for role, name in KINDS[kind].items()}
        given = {role: str(path) for role, path in {**found, **(files or {})}.items()}
        return SherpaOnnxLocal(kind=kind, files=given, **params)

    return make


def file_of(models: ToneModels, name: str) -> Path:
    """A file of the tone models, or of the streaming Paraformer beside them."""
    part = name.removeprefix("paraformer_")
    if part not in ("encoder", "decoder"):
        found: Path = getattr(models, name)
        return found
    path = models.path(f"{name}.onnx")
    if not path.exists():
        getattr(tone_paraformer, part)(path)
    return path


async def frames(pcm: bytes, rate: int = RATE_IN) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), 640):
        yield AudioFrame(pcm[start : start + 640], rate)


def hear(asr: LocalASR, pcm: bytes = SOUND) -> list[Transcript]:
    async def collect() -> list[Transcript]:
        return [transcript async for transcript in asr.transcribe(frames(pcm))]

    return asyncio.run(collect())


# --- what is heard ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_hears_the_words(make: Make, kind: str) -> None:
    assert hear(make(kind))[-1].text == TEXT


@pytest.mark.parametrize("kind", ["online_transducer", "online_zipformer2_ctc"])
def test_an_online_recogniser_gives_each_word_as_it_comes(make: Make, kind: str) -> None:
    texts = [transcript.text for transcript in hear(make(kind))]
    assert texts == ["hello", "hello world", "hello world please", TEXT, TEXT]


@pytest.mark.parametrize("kind", ["online_transducer", "zipformer_ctc", "sense_voice"])
def test_words_have_their_times(make: Make, kind: str) -> None:
    words = hear(make(kind))[-1].words
    assert [word.text for word in words] == list(SAID)
    assert [word.start for word in words] == pytest.approx([0.3, 0.58, 0.86, 1.14], abs=0.07)


def test_sense_voice_tells_the_language(make: Make) -> None:
    assert hear(make("sense_voice"))[-1].lang == "en"


def test_the_text_before_an_endpoint_of_the_recogniser_is_kept(make: Make) -> None:
    asr = make("online_transducer", options={"enable_endpoint_detection": True})
    heard = hear(asr, tones_pcm(SAID[:2]) + tones_pcm(SAID[2:], lead_s=1.6))
    assert heard[-1].text == TEXT
    assert [each.stable for each in heard if each.text == "hello world please"] == [11]
    assert heard[-1].words[2].start == pytest.approx(2.88, abs=0.05)


def test_trap_77_partials_of_a_whole_recording_cost_no_square_of_its_length(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = make("zipformer_ctc")
    decoded: list[int] = []
    stream = asr._recogniser.sherpa.create_stream

    class Counted:
        def __init__(self) -> None:
            self.stream = stream()

        def accept_waveform(self, rate: int, samples: Any) -> None:
            decoded.append(len(samples))
            self.stream.accept_waveform(rate, samples)

    sherpa = SimpleNamespace(
        create_stream=Counted,
        decode_stream=lambda counted: asr._recogniser.sherpa.decode_stream(counted.stream),
    )
    Counted.result = property(lambda self: self.stream.result)  # type: ignore[attr-defined]
    hear(LocalASR(Recogniser("zipformer_ctc", {}, sherpa)), bytes(2 * RATE_IN * 30))
    assert decoded[0] >= RATE_IN
    assert sum(decoded) < 4 * RATE_IN * 30


def test_a_slow_model_gives_partials_for_a_fifth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = count(step=1.2)
    monkeypatch.setattr("xtalk_sherpa_onnx.segments.time.perf_counter", lambda: next(clock))
    decoded: list[int] = []
    stream = SimpleNamespace(
        accept_waveform=lambda rate, samples: decoded.append(len(samples) // rate),
        result=SimpleNamespace(text="", tokens=[], timestamps=[]),
    )
    segment = OfflineSegment(
        SimpleNamespace(create_stream=lambda: stream, decode_stream=lambda stream: None)
    )
    for _ in range(20):
        segment.push(bytes(2 * RATE_IN))
    assert decoded == [1, 7, 13, 20]


def test_the_event_loop_goes_on_while_it_decodes() -> None:
    class Stuck:
        """Decodes until somebody else has been at work."""

        def __init__(self) -> None:
            self.decoding, self.released = threading.Event(), threading.Event()

        def create_stream(self) -> Any:
            return SimpleNamespace(accept_waveform=lambda rate, samples: None)

        def is_ready(self, stream: Any) -> bool:
            self.decoding.set()
            assert self.released.wait(5), "the loop stood still"
            return False

        def get_result_all(self, stream: Any) -> Any:
            return SimpleNamespace(text="done", tokens=[], timestamps=[], start_time=0.0)

    stuck = Stuck()

    async def check() -> None:
        heard = LocalASR(Recogniser("online_transducer", {}, stuck)).transcribe(frames(bytes(3200)))
        first = asyncio.ensure_future(anext(heard))
        while not stuck.decoding.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        stuck.released.set()
        assert (await first).text == "done"
        await heard.aclose()  # type: ignore[attr-defined]

    asyncio.run(check())


@pytest.mark.parametrize("lead_ms", range(300, 1000, 70))
@pytest.mark.parametrize("kind", ["online_paraformer", "online_transducer"])
def test_the_last_word_is_heard_wherever_the_chunks_of_the_model_end(
    make: Make, kind: str, lead_ms: int
) -> None:
    sound = tones_pcm(SAID, gap_s=0.12, lead_s=lead_ms / 1000, tail_s=0.0)
    assert hear(make(kind), sound)[-1].text == TEXT


def test_the_tail_is_as_long_as_the_chunk_of_the_model(make: Make, tmp_path: Path) -> None:
    assert make("online_transducer")._recogniser.tail_s == 0.66  # chunks of 0.16 s
    assert make("online_paraformer")._recogniser.tail_s == 1.0


def test_frames_of_another_rate_are_understood(make: Make) -> None:
    pcm = tones_pcm(SAID, rate=48_000)

    async def last() -> str:
        heard = make("online_transducer").transcribe(frames(pcm, rate=48_000))
        return [transcript async for transcript in heard][-1].text

    assert asyncio.run(last()) == TEXT


def test_half_a_sample_is_refused(make: Make) -> None:
    with pytest.raises(AudioError, match="even number of bytes"):
        make("online_transducer").recognize(b"\0\0\0")


def test_tokens_of_another_model_are_told_in_a_sentence(make: Make, tmp_path: Path) -> None:
    """They are seen only where a word is to be written; silence brings out none."""
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("<blk> 0\n")
    with pytest.raises(ModelError, match="its tokens belong together"):
        hear(make("online_transducer", {"tokens": tokens}))


def test_hotwords_are_taken(make: Make, tmp_path: Path) -> None:
    words = tmp_path / "hotwords.txt"
    words.write_text("▁hello\n", "utf-8")
    options = {"decoding_method": "modified_beam_search", "hotwords_file": str(words)}
    assert hear(make("online_transducer", options=options))[-1].text == TEXT


# --- one model for all --------------------------------------------------------------------------


def test_equal_recognisers_share_one_loaded_model(make: Make) -> None:
    first, second = make("zipformer_ctc"), make("zipformer_ctc")
    assert first._recogniser is second._recogniser is first.clone()._recogniser
    assert make("zipformer_ctc", num_threads=2)._recogniser is not first._recogniser


@pytest.mark.parametrize("kind", ["online_transducer", "zipformer_ctc", "sense_voice"])
def test_trap_86_many_threads_decode_with_one_model_and_none_hears_another(
    make: Make, kind: str
) -> None:
    asr = make(kind)
    said = [[WORDS[(start + step) % len(WORDS)] for step in range(8)] for start in range(16)]
    with ThreadPoolExecutor(16) as pool:
        heard = list(pool.map(lambda each: asr.clone().recognize(tones_pcm(each)), said))
    assert heard == [" ".join(each) for each in said]


def test_a_model_is_freed_with_the_last_that_uses_it(make: Make) -> None:
    from xtalk_sherpa_onnx.recognisers import _loaded

    gc.collect()
    before = len(_loaded)
    asr = make("nemo_ctc", num_threads=3)
    assert len(_loaded) == before + 1
    del asr
    gc.collect()
    assert len(_loaded) == before


# --- what is refused, before it can end the process ---------------------------------------------


@pytest.mark.parametrize("kind", ["wenet_ctc", "nemo_ctc", "sense_voice", "online_zipformer2_ctc"])
def test_a_model_without_its_metadata_is_refused(make: Make, tmp_path: Path, kind: str) -> None:
    good = make(kind)._recogniser.files["model"]
    bad = without_metadata(good, tmp_path / "bad.onnx")
    with pytest.raises(ConfigError, match="metadata"):
        make(kind, {"model": bad})


def test_sherpa_onnx_itself_ends_the_process_for_it(
    tone_models: ToneModels, tmp_path: Path
) -> None:
    """The reason for the checks; when this fails they may go."""
    bad = without_metadata(tone_models.wenet_ctc, tmp_path / "bad.onnx")
    code = (
        "import sherpa_onnx, sys\n"
        "try: sherpa_onnx.OfflineRecognizer.from_wenet_ctc(sys.argv[1], sys.argv[2])\n"
        "except BaseException: pass\n"
        "print('still here')\n"
    )
    command = [sys.executable, "-c", code, str(bad), str(tone_models.tokens)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello there general\n", "line 1, is not a token and its number"),
        (b"<blk> 0\nfoo bar\n", "line 2, is not a token and its number"),
        (b"", "holds no tokens"),
        (b"\xff\xfe\x00", "is not a token"),
    ],
)
def test_a_file_that_holds_no_tokens_is_refused(
    make: Make, tmp_path: Path, content: bytes, message: str
) -> None:
    tokens = tmp_path / "tokens.txt"
    tokens.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        make("online_transducer", {"tokens": tokens})


BEAM = {"decoding_method": "modified_beam_search"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoding_methods": "x"}, "no option 'decoding_methods'; did you mean 'decoding_method'"),
        ({"decoding_method": "foo"}, "Unsupported decoding method: foo"),
        ({"max_active_paths": "four"}, "max_active_paths is 'four', expected something like 4"),
        ({"max_active_paths": True}, "max_active_paths is True"),
        ({"encoder": "x"}, "no option 'encoder'"),
        ({**BEAM, "hotwords_file": "none.txt"}, r"hotwords_file names none\.txt, which does not"),
        ({"hotwords_file": "HERE"}, "use --decoding-method=modified_beam_search"),
        ({**BEAM, "hotwords_file": "HERE", "modeling_unit": "zzz"}, "modeling_unit should be one"),
        ({**BEAM, "lm": "HERE"}, "Load model from .* failed"),
        ({"feature_dim": 0}, "sherpa-onnx does not load this online_transducer"),
        ({"rule_fsts": "a.fst,b.fst"}, r"rule_fsts names a\.fst"),
        ({"rule_fsts": "HERE"}, "sherpa-onnx does not load this online_transducer"),
    ],
)
def test_a_wrong_option_is_refused(
    make: Make, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    here = tmp_path / "here.txt"
    here.write_text("hello\n")
    given = {name: str(here) if value == "HERE" else value for name, value in options.items()}
    with pytest.raises(ConfigError, match=message):
        make("online_transducer", options=given)


def test_a_language_model_without_its_metadata_is_refused(
    make: Make, tone_models: ToneModels
) -> None:
    with pytest.raises(ConfigError, match="'num_layers' does not exist in the metadata"):
        make("online_transducer", options={**BEAM, "lm": str(tone_models.vits)})


@pytest.mark.parametrize("kind", ["online_zipformer2_ctc", "wenet_ctc", "paraformer"])
def test_a_kind_without_beam_search_refuses_it(make: Make, kind: str) -> None:
    with pytest.raises(ConfigError, match="modified_beam_search"):
        make(kind, options=BEAM)


def test_a_model_from_elsewhere_is_tried_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path))
    tried: list[str] = []
    monkeypatch.setattr(
        "xtalk_sherpa_onnx.recognisers._try", lambda kind, arguments, who: tried.append(kind)
    )
    for _ in range(2):
        make("wenet_ctc", num_threads=5)
    assert tried == ["wenet_ctc"]


def test_a_fetched_model_without_options_needs_no_trial(
    tone_models: ToneModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path))
    monkeypatch.setattr("xtalk_sherpa_onnx.recognisers._try", None)
    folder = transducer(tone_models, tmp_path / "mine", "{part}.onnx")
    assert hear(SherpaOnnxLocal(model="mine", kind="online_transducer"))[-1].text == TEXT
    with pytest.raises(TypeError):
        SherpaOnnxLocal(model=str(folder), kind="online_transducer", options={"dither": 0.1})


# --- which files --------------------------------------------------------------------------------


def transducer(models: ToneModels, folder: Path, name: str) -> Path:
    """A folder of the releases of sherpa-onnx; `name` holds {part}."""
    folder.mkdir(exist_ok=True)
    for part in ("encoder", "decoder", "joiner"):
        source = getattr(models, f"transducer_{part}")
        shutil.copy(source, folder / name.format(part=part))
    shutil.copy(models.tokens, folder / "tokens.txt")
    return folder


def test_the_files_are_found_by_their_names(tone_models: ToneModels, tmp_path: Path) -> None:
    folder = transducer(tone_models, tmp_path, "{part}-epoch-99-avg-1-chunk-16-left-128.onnx")
    asr = SherpaOnnxLocal(model=str(folder), kind="online_transducer")
    assert hear(asr)[-1].text == TEXT


@pytest.mark.parametrize(("int8", "taken"), [(True, "a.int8.onnx"), (False, "a.onnx")])
def test_of_two_precisions_one_is_taken(
    tone_models: ToneModels, tmp_path: Path, int8: bool, taken: str
) -> None:
    for name in ("a.onnx", "a.int8.onnx", "a.fp16.onnx"):
        shutil.copy(tone_models.zipformer_ctc, tmp_path / name)
    shutil.copy(tone_models.tokens, tmp_path / "tokens.txt")
    asr = SherpaOnnxLocal(model=str(tmp_path), kind="zipformer_ctc", int8=int8)
    assert asr._recogniser.files["model"] == tmp_path / taken


def test_several_files_that_fit_must_be_named(tone_models: ToneModels, tmp_path: Path) -> None:
    for name in ("{part}-a.onnx", "{part}-b.onnx"):
        transducer(tone_models, tmp_path, name)
    with pytest.raises(ConfigError, match=r"one encoder, .* encoder-a\.onnx, encoder-b\.onnx"):
        SherpaOnnxLocal(model=str(tmp_path), kind="online_transducer")
    chosen = {part: f"{part}-a.onnx" for part in ("encoder", "decoder", "joiner")}
    asr = SherpaOnnxLocal(model=str(tmp_path), kind="online_transducer", files=chosen)
    assert hear(asr)[-1].text == TEXT


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kind": "zipformer"}, "no kind 'zipformer', only .*; did you mean 'zipformer_ctc'"),
        ({}, "does not know of which kind the model .* set `kind` to one of online_transducer"),
        ({"kind": "whisper"}, r"whisper needs a file encoder \(\*encoder\*\), and .* has none"),
        ({"kind": "whisper", "files": {"encode": "x"}}, "did you mean 'encoder'"),
        ({"kind": "whisper", "files": {"encoder": "x.onnx"}}, r"there is no .*x\.onnx"),
    ],
)
def test_a_model_that_is_not_there_is_told(
    tmp_path: Path, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SherpaOnnxLocal(model=str(tmp_path), **params)


def test_a_file_is_no_folder(tone_models: ToneModels) -> None:
    with pytest.raises(ConfigError, match="is a file; `model` is the folder"):
        SherpaOnnxLocal(model=str(tone_models.zipformer_ctc), kind="zipformer_ctc")


@pytest.mark.parametrize(
    ("model", "params", "name"),
    [
        (SherpaOnnxLocal, {}, "sherpa-onnx-streaming-zipformer-en-2023-06-26"),
        (ZipformerLocal, {}, "sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20"),
        (SenseVoiceSmallLocal, {}, "sherpa-onnx-sense-voice-zh-en-ja-ko-yue-int8-2024-07-17"),
        (ParaformerLocal, {}, "sherpa-onnx-streaming-paraformer-bilingual-zh-en"),
        (ParaformerLocal, {"model": "paraformer-zh"}, "sherpa-onnx-paraformer-zh-2023-09-14"),
    ],
)
def test_a_type_without_its_model_says_which_to_get(
    model: type[LocalASR],
    params: dict[str, Any],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path))
    assert name in catalogue.KINDS
    with pytest.raises(ConfigError, match=f"run: xtalk models get {name}"):
        model(**params)


def test_a_fetched_model_is_found_by_its_name_with_its_kind(
    tone_models: ToneModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path))
    name = "sherpa-onnx-streaming-zipformer-en-20M-2023-02-17"
    transducer(tone_models, tmp_path / name, "{part}-epoch-99-avg-1.int8.onnx")
    assert hear(SherpaOnnxLocal(model=name))[-1].text == TEXT


# --- the tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_names_the_files_that_sherpa_onnx_wants(kind: str) -> None:
    family = FAMILIES[kind]
    owner = sherpa_onnx.OnlineRecognizer if family.online else sherpa_onnx.OfflineRecognizer
    if not hasattr(owner, family.constructor):
        pytest.skip(f"sherpa-onnx {sherpa_onnx.__version__} has no {kind}")
    takes = inspect.signature(getattr(owner, family.constructor)).parameters
    needed = {name for name, each in takes.items() if each.default is each.empty}
    assert set(family.files) == needed
    assert set(family.checks) <= needed
    assert set(family.checks.values()) <= {*metadata.KEYS, *metadata.TYPED_KEYS}


def test_every_recogniser_of_sherpa_onnx_has_its_family() -> None:
    for owner, online in (
        (sherpa_onnx.OnlineRecognizer, True),
        (sherpa_onnx.OfflineRecognizer, False),
    ):
        made = {name for name in dir(owner) if name.startswith("from_")}
        known = {each.constructor for each in FAMILIES.values() if each.online is online}
        assert made <= known


def test_the_catalogue_names_kinds_that_there_are() -> None:
    assert set(catalogue.KINDS.values()) <= set(FAMILIES)
    assert {each.name for each in catalogue.RECOGNISERS} == set(catalogue.KINDS)


# --- the original's types -----------------------------------------------------------------------

CONFIG = """
asr:
  model: {tokens: symbols.txt, encoder: e.onnx, decoder: d.onnx, joiner: j.onnx, num_threads: 2}
  decoding: {method: modified_beam_search, max_active_paths: 3, sample_rate: 16000, chunk_secs: 0.5}
  hotwords: {file: hotwords.txt, score: 2.0}
  lm: {lm_path: "", lm_scale: 0.1}
  lodr: {fst: "", scale: -0.1}
  lang: {modeling_unit: cjkchar}
  penalty: {blank_penalty: 0.5, tail_padding_sec: 0.3}
"""


@pytest.fixture
def original_zipformer(tone_models: ToneModels, tmp_path: Path) -> Path:
    """A folder as the original's: a config.yaml names the files."""
    for part in ("encoder", "decoder", "joiner"):
        shutil.copy(getattr(tone_models, f"transducer_{part}"), tmp_path / f"{part[0]}.onnx")
    shutil.copy(tone_models.tokens, tmp_path / "symbols.txt")
    (tmp_path / "hotwords.txt").write_text("▁hello\n", "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    return tmp_path


def test_zipformer_reads_the_config_of_the_original(original_zipformer: Path) -> None:
    asr = ZipformerLocal(str(original_zipformer))
    config = asr._recogniser.sherpa.config
    assert config.decoding_method == "modified_beam_search"
    assert (config.max_active_paths, config.hotwords_score) == (3, 2.0)
    assert config.blank_penalty == 0.5
    assert config.model_config.num_threads == 2
    assert config.hotwords_file == str(original_zipformer / "hotwords.txt")
    assert asr.stream_chunk_bytes_hint() == 16_000  # 0.5 s
    assert asr._tail_s == 0.3
    assert hear(asr)[-1].text == TEXT


def test_the_tail_of_the_configuration_wins_over_that_of_the_folder(
    original_zipformer: Path,
) -> None:
    assert ZipformerLocal(str(original_zipformer), tail_padding_sec=0.8)._tail_s == 0.8


@pytest.mark.parametrize("text", ["asr: [1, 2]", "model: {}", "asr: {model: 3}", "{", "\x00"])
def test_a_config_that_is_none_is_told(original_zipformer: Path, text: str) -> None:
    (original_zipformer / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml is not YAML with a section `asr`"):
        ZipformerLocal(str(original_zipformer))


@pytest.fixture
def sense_voice(tone_models: ToneModels, tmp_path: Path) -> str:
    shutil.copy(tone_models.sense_voice, tmp_path / "model.onnx")
    shutil.copy(tone_models.sense_voice_tokens, tmp_path / "tokens.txt")
    return str(tmp_path)


@pytest.fixture
def paraformer(tone_models: ToneModels, tmp_path: Path) -> str:
    shutil.copy(tone_models.paraformer, tmp_path / "model.onnx")
    shutil.copy(tone_models.paraformer_tokens, tmp_path / "tokens.txt")
    return str(tmp_path)


def test_sense_voice_passes_language_and_itn_on(sense_voice: str) -> None:
    asr = SenseVoiceSmallLocal(sense_voice, language="zh", use_itn=False)
    config = asr._recogniser.sherpa.config.model_config.sense_voice
    assert (config.language, config.use_itn) == ("zh", False)


def test_paraformer_takes_ncpu_as_its_threads(paraformer: str) -> None:
    asr = ParaformerLocal(paraformer, ncpu=2)
    assert asr._recogniser.sherpa.config.model_config.num_threads == 2


def test_what_does_nothing_here_is_told(sense_voice: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        SenseVoiceSmallLocal(sense_voice)
        assert not caplog.messages
        SenseVoiceSmallLocal(sense_voice, merge_vad=False, ban_emo_unk=True)
    assert caplog.messages == [
        "SenseVoiceSmallLocal ignores merge_vad, ban_emo_unk: sherpa-onnx has no such setting"
    ]


@pytest.mark.parametrize(
    ("chunk_size", "told"), [(None, False), ([0, 10, 5], False), ([0, 8, 4], True)]
)
def test_the_chunks_of_the_originals_default_are_not_told(
    paraformer: str, caplog: pytest.LogCaptureFixture, chunk_size: list[int] | None, told: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        ParaformerLocal(paraformer, chunk_size=chunk_size)
    message = "ParaformerLocal ignores chunk_size: sherpa-onnx has no such setting"
    assert caplog.messages == [message] * told


def test_sense_voice_refuses_a_language_that_it_does_not_have() -> None:
    with pytest.raises(ConfigError, match="language"):
        schema.check(SenseVoiceSmallLocal, {"language": "xx"}, "asr.params")


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("hello", "world", "hello world"),
        ("你好", "世界", "你好世界"),
        ("你好", "world", "你好 world"),
        ("", "world", "world"),
        ("hello", "", "hello"),
    ],
)
def test_texts_are_joined_as_their_script_is_written(before: str, after: str, text: str) -> None:
    assert joined(before, after) == text


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([" he", "llo", " you"], ["hello", "you"]),
        (["▁he", "llo", "▁you"], ["hello", "you"]),
        (["你", "好", "ok"], ["你", "好", "ok"]),
        (["<|en|>", " yes"], ["yes"]),
        ([" ", "a"], ["a"]),
    ],
)
def test_tokens_make_words(tokens: list[str], words: list[str]) -> None:
    times = [0.1 * number for number in range(len(tokens))]
    assert [word.text for word in timed_words(tokens, times)] == words


def test_a_word_ends_where_its_last_token_begins() -> None:
    (word,) = timed_words([" he", "l", "lo"], [0.5, 0.6, 0.7], offset=1.0)
    assert (word.start, word.end) == (1.5, 1.7)


def test_tokens_without_times_are_no_words() -> None:
    assert timed_words(["a", "b"], []) == ()
