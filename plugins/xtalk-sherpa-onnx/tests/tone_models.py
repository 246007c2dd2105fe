"""Models of a few KB, made by hand, with which the real sherpa-onnx hears and speaks in tones.

There are six words, and each is a tone. A recogniser compares, in every frame of the mel
filterbank, the bin of each word with the mean of all bins; that does not depend on the loudness.
A frame in which no bin stands out is blank. The voice says a word by its tone. Nothing is trained
and nothing is random, so texts come out exactly.

    models = ToneModels(folder)
    models.zipformer_ctc            the file; it is written when it is first asked for
    models.tokens
    tones(["hello", "world"])       float32 at 16 kHz
    tones_pcm(["hello", "world"])   the same as PCM16
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE = 16_000
WORDS = ("hello", "world", "stop", "weather", "please", "goodbye")
SYMBOLS = len(WORDS) + 1  # and the blank
MELS = 80
MEL_BINS = (18, 28, 38, 48, 58, 68)  # the tone of each word, as a bin of kaldi's filterbank
THRESHOLD = 5.0  # by how much (in nats) a bin must stand out of the mean to be a word

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


def _mel(hertz: float) -> float:
    return 1127 * float(np.log(1 + hertz / 700))


def _bin_centre(index: int, low: float = 20.0, high: float = 7600.0) -> float:
    """The frequency in the middle of one of kaldi's 80 mel bins, in Hz."""
    step = (_mel(high) - _mel(low)) / (MELS + 1)
    return 700 * float(np.exp((_mel(low) + (index + 1) * step) / 1127) - 1)


FREQUENCIES = tuple(map(_bin_centre, MEL_BINS))  # 578 to 5078 Hz


def tones(
    words: Sequence[str],
    *,
    word_s: float = 0.16,
    gap_s: float = 0.08,
    lead_s: float = 0.3,
    tail_s: float = 0.5,
    rate: int = RATE,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The words, each a tone that swells and fades, with silence before, between and after."""
    time = np.arange(round(word_s * rate)) / rate
    swell = 0.5 * np.sin(np.pi * time / word_s)
    parts = [np.zeros(round(lead_s * rate))]
    for word in words:
        frequency = FREQUENCIES[WORDS.index(word)]
        parts += [swell * np.sin(2 * np.pi * frequency * time), np.zeros(round(gap_s * rate))]
    return np.concatenate([*parts, np.zeros(round(tail_s * rate))]).astype(np.float32)


def tones_pcm(words: Sequence[str], **how: Any) -> bytes:
    """`tones` as PCM16 mono."""
    return (tones(words, **how) * 32767).astype("<i2").tobytes()


class Graph:
    """An ONNX graph in the making. Values are names; an array becomes a constant."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = []

    def input(self, name: str, dtype: int, *shape: int | str) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: int, *shape: int | str) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def op(self, kind: str, *inputs: str | np.ndarray[Any, Any], **attributes: Any) -> str:
        """The value that an operator gives."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        result = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [result], **attributes))
        return result

    def _constant(self, array: np.ndarray[Any, Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def save(self, path: Path, **metadata: object) -> Path:
        graph = helper.make_graph(
            self._nodes, path.stem, self._inputs, self._outputs, self._constants
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        for key, value in metadata.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, str(value)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def without_metadata(path: Path, copy: Path, *keys: str) -> Path:
    """A copy of a model that lacks these keys, or all of them; sherpa-onnx ends the process."""
    model = onnx.load(path)
    kept = [entry for entry in model.metadata_props if keys and entry.key not in keys]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, copy)
    return copy


# --- numbers ------------------------------------------------------------------------------------


def f32(*values: Any) -> np.ndarray[Any, Any]:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def i64(*values: Any) -> np.ndarray[Any, Any]:
    return np.array(values[0] if len(values) == 1 else values, np.int64)


def projection(
    bins: Sequence[int] = MEL_BINS, *, spread: int = 0, frames: int = 1
) -> np.ndarray[Any, Any]:
    """From `frames` stacked mel frames to a score a word: how far its bin stands out of the mean.

    Shape (80 * frames, 7); the first column is the blank, whose score is a constant (`bias`).
    """
    weights = np.zeros((MELS, SYMBOLS), np.float32)
    for word, centre in enumerate(bins, start=1):
        near = range(max(0, centre - spread), min(MELS, centre + spread + 1))
        weights[list(near), word] = 1 / len(near)
        weights[:, word] -= 1 / MELS
    return np.tile(weights, (frames, 1)) / np.float32(frames)


def bias(threshold: float = THRESHOLD) -> np.ndarray[Any, Any]:
    return f32([threshold] + [0.0] * len(WORDS))


def scores(graph: Graph, features: str) -> str:
    """(N, T, 80) -> (N, T/4, 7): the scores of four frames together."""
    across = graph.op("Transpose", features, perm=[0, 2, 1])
    pooled = graph.op("AveragePool", across, kernel_shape=[4], strides=[4])
    along = graph.op("Transpose", pooled, perm=[0, 2, 1])
    return graph.op("Add", graph.op("MatMul", along, projection()), bias())


def slaney_bin(hertz: float) -> int:
    """The bin of NeMo's filterbank: 80 bins from 0 to 8000 Hz on Slaney's mel scale."""

    def mel(f: float) -> float:
        return f / (200 / 3) if f < 1000 else 15 + float(np.log(f / 1000) / (np.log(6.4) / 27))

    return round(mel(hertz) / mel(8000) * (MELS + 1) - 1)


# --- the models ---------------------------------------------------------------------------------


class ToneModels:
    """The files, in one folder; each is written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def _lines(self, name: str, lines: Sequence[str]) -> Path:
        path = self.path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    def _token_file(self, name: str, symbols: Sequence[str]) -> Path:
        return self._lines(name, [f"{symbol} {index}" for index, symbol in enumerate(symbols)])

    # --- recognition of whole recordings ---

    @cached_property
    def tokens(self) -> Path:
        """For all recognisers but those that have a file of their own below."""
        return self._token_file("tokens.txt", ["<blk>", *WORD_PIECES])

    @cached_property
    def zipformer_ctc(self) -> Path:
        return self._ctc("zipformer_ctc", "log_probs", model_type="zipformer2_ctc")

    @cached_property
    def wenet_ctc(self) -> Path:
        return self._ctc(
            "wenet_ctc",
            "logits",
            model_type="wenet_ctc",
            vocab_size=SYMBOLS,
            subsampling_factor=4,
        )

    def _ctc(self, name: str, output: str, **metadata: object) -> Path:
        graph = Graph()
        x = graph.input("x", FLOAT, "N", "T", MELS)
        lengths = graph.input("x_lens", INT64, "N")
        log_probs = graph.op("LogSoftmax", scores(graph, x), axis=-1)
        graph.output(output, log_probs, FLOAT, "N", "T4", SYMBOLS)
        graph.output(f"{output}_len", graph.op("Div", lengths, i64(4)), INT64, "N")
        return graph.save(self.path(f"{name}.onnx"), **metadata)

    @cached_property
    def nemo_tokens(self) -> Path:
        return self._token_file("nemo_tokens.txt", [*WORD_PIECES, "<blk>"])

    @cached_property
    def nemo_ctc(self) -> Path:
        """Its features lie across, its filterbank is another, and its blank is the last symbol."""
        bins = [slaney_bin(frequency) for frequency in FREQUENCIES]
        weights = np.roll(projection(bins, spread=1), -1, axis=1)
        graph = Graph()
        x = graph.input("audio_signal", FLOAT, "N", MELS, "T")
        length = graph.input("length", INT64, "N")
        pooled = graph.op("AveragePool", x, kernel_shape=[4], strides=[4])
        along = graph.op("Transpose", pooled, perm=[0, 2, 1])
        logits = graph.op("Add", graph.op("MatMul", along, weights), np.roll(bias(3.5), -1))
        log_probs = graph.op("LogSoftmax", logits, axis=-1)
        graph.output("logprobs", log_probs, FLOAT, "N", "T4", SYMBOLS)
        graph.output("length_out", length, INT64, "N")
        return graph.save(
            self.path("nemo_ctc.onnx"),
            model_type="EncDecCTCModelBPE",
            vocab_size=SYMBOLS - 1,
            subsampling_factor=4,
            normalize_type="",
        )

    @cached_property
    def sense_voice_tokens(self) -> Path:
        return self._token_file("sense_voice_tokens.txt", SENSE_VOICE_SYMBOLS)

    @cached_property
    def sense_voice(self) -> Path:
        """Seven frames stacked by six, and four symbols in front that tell of the recording."""
        count = len(SENSE_VOICE_SYMBOLS)
        weights, biases = np.zeros((7 * MELS, count), np.float32), np.full(count, -20, np.float32)
        weights[:, :SYMBOLS], biases[:SYMBOLS] = projection(frames=7), bias(3.5)
        about = np.zeros((1, 4, count), np.float32)
        for place, symbol in enumerate(("<|en|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>")):
            about[0, place, SENSE_VOICE_SYMBOLS.index(symbol)] = 30
        graph = Graph()
        x = graph.input("x", FLOAT, "N", "T", 7 * MELS)
        numbers = [graph.input(name, INT32, "N") for name in ("x_length", "language", "text_norm")]
        logits = graph.op("Add", graph.op("MatMul", x, weights), biases)
        batch = graph.op("Shape", x, start=0, end=1)
        shape = graph.op("Concat", batch, i64([4, count]), axis=0)
        logits = graph.op("Concat", graph.op("Expand", about, shape), logits, axis=1)
        logits = graph.op("Add", logits, unused(graph, *numbers))
        graph.output("logits", logits, FLOAT, "N", "T4", count)
        return graph.save(
            self.path("sense_voice.onnx"),
            model_type="sense_voice_ctc",
            vocab_size=count,
            blank_id=0,
            normalize_samples=1,
            with_itn=14,
            without_itn=15,
            lang_auto=0,
            lang_zh=3,
            lang_en=4,
            lang_ja=11,
            lang_ko=12,
            lang_yue=7,
            **STACKED_FRAMES,
        )

    @cached_property
    def paraformer_tokens(self) -> Path:
        return self._token_file("paraformer_tokens.txt", PARAFORMER_SYMBOLS)

    @cached_property
    def paraformer(self) -> Path:
        """One symbol where a tone begins, and the end of the sentence."""
        count = len(PARAFORMER_SYMBOLS)
        rows = np.zeros((SYMBOLS, count), np.float32)
        for word in range(1, SYMBOLS):
            rows[word, PARAFORMER_SYMBOLS.index(WORDS[word - 1])] = 50
        end = np.zeros((1, 1, count), np.float32)
        end[0, 0, PARAFORMER_SYMBOLS.index("</s>")] = 99
        graph = Graph()
        speech = graph.input("speech", FLOAT, "N", "T", 7 * MELS)
        lengths = graph.input("speech_lengths", INT32, "N")
        logits = graph.op("Add", graph.op("MatMul", speech, projection(frames=7)), bias(3.5))
        heard = graph.op("ArgMax", logits, axis=-1, keepdims=0)
        words = onsets(graph, heard)
        found = graph.op("Unsqueeze", graph.op("Gather", rows, words, axis=0), i64([0]))
        graph.output("logits", graph.op("Concat", found, end, axis=1), FLOAT, "N", "U", count)
        number = graph.op("Cast", graph.op("Shape", found, start=1, end=2), to=INT32)
        nothing = graph.op("Mul", lengths, np.array(0, np.int32))
        graph.output("token_num", graph.op("Add", number, nothing), INT32, "N")
        return graph.save(
            self.path("paraformer.onnx"),
            model_type="paraformer",
            vocab_size=count,
            **STACKED_FRAMES,
        )

    # --- recognition as it comes ---

    @cached_property
    def online_zipformer2_ctc(self) -> Path:
        """One layer, whose states pass through and change nothing."""
        chunk, width, context = 32, 8, 4
        states: dict[str, tuple[int, Sequence[int | str]]] = {
            "cached_key_0": (FLOAT, [context, "N", 2]),
            "cached_nonlin_attn_0": (FLOAT, [1, "N", context, 3 * width // 4]),
            "cached_val1_0": (FLOAT, [context, "N", 2]),
            "cached_val2_0": (FLOAT, [context, "N", 2]),
            "cached_conv1_0": (FLOAT, ["N", width, 1]),
            "cached_conv2_0": (FLOAT, ["N", width, 1]),
            "embed_states": (FLOAT, ["N", 128, 3, 19]),
            "processed_lens": (INT64, ["N"]),
        }
        graph = Graph()
        x = graph.input("x", FLOAT, "N", chunk, MELS)
        log_probs = graph.op("LogSoftmax", scores(graph, x), axis=-1)
        graph.output("log_probs", log_probs, FLOAT, "N", chunk // 4, SYMBOLS)
        for name, (dtype, shape) in states.items():
            graph.output(f"new_{name}", graph.input(name, dtype, *shape), dtype, *shape)
        return graph.save(
            self.path("online_zipformer2_ctc.onnx"),
            model_type="zipformer2",
            encoder_dims=width,
            query_head_dims=2,
            value_head_dims=2,
            num_heads=1,
            num_encoder_layers=1,
            cnn_module_kernels=3,
            left_context_len=context,
            T=chunk,
            decode_chunk_len=chunk,
        )

    @cached_property
    def transducer_encoder(self) -> Path:
        """Of the type lstm. Its state holds which words sound, so each is told at its onset."""
        graph = Graph()
        x = graph.input("x", FLOAT, "N", 16, MELS)
        h = graph.input("h", FLOAT, 1, "N", SYMBOLS)
        c = graph.input("c", FLOAT, 1, "N", 1)
        above = graph.op("Mul", graph.op("Sub", scores(graph, x), f32(THRESHOLD)), f32(10.0))
        words_only = f32([0.0] + [1.0] * len(WORDS))
        sounds = graph.op("Mul", graph.op("Clip", above, f32(0.0), f32(1.0)), words_only)
        before = graph.op("Concat", graph.op("Transpose", h, perm=[1, 0, 2]), sounds, axis=1)
        before = graph.op("Slice", before, i64([0]), i64([-1]), i64([1]))
        begins = graph.op("Mul", graph.op("Sub", sounds, before), f32(20.0))
        graph.output("encoder_out", begins, FLOAT, "N", 4, SYMBOLS)
        last = graph.op("Slice", sounds, i64([-1]), i64([1 << 30]), i64([1]))
        last = graph.op("Transpose", last, perm=[1, 0, 2])
        graph.output("next_h", last, FLOAT, 1, "N", SYMBOLS)
        graph.output("next_c", c, FLOAT, 1, "N", 1)
        return graph.save(
            self.path("transducer_encoder.onnx"),
            model_type="lstm",
            num_encoder_layers=1,
            T=16,
            decode_chunk_len=16,
            rnn_hidden_size=1,
            d_model=SYMBOLS,
        )

    @cached_property
    def transducer_decoder(self) -> Path:
        """Says nothing, whatever came before."""
        graph = Graph()
        y = graph.op("Cast", graph.input("y", INT64, "N", 2), to=FLOAT)
        silent = graph.op("MatMul", y, np.zeros((2, SYMBOLS), np.float32))
        graph.output("decoder_out", silent, FLOAT, "N", SYMBOLS)
        return graph.save(self.path("transducer_decoder.onnx"), vocab_size=SYMBOLS, context_size=2)

    @cached_property
    def transducer_joiner(self) -> Path:
        graph = Graph()
        encoded = graph.input("encoder_out", FLOAT, "N", SYMBOLS)
        decoded = graph.input("decoder_out", FLOAT, "N", SYMBOLS)
        logit = graph.op("Add", graph.op("Add", encoded, decoded), bias(10.0))
        graph.output("logit", logit, FLOAT, "N", SYMBOLS)
        return graph.save(self.path("transducer_joiner.onnx"), joiner_dim=SYMBOLS)

    # --- voices ---

    @cached_property
    def voice_tokens(self) -> Path:
        return self._token_file("voice_tokens.txt", VOICE_SYMBOLS)

    @cached_property
    def lexicon(self) -> Path:
        return self._lines("lexicon.txt", [f"{word} {word.upper()}" for word in WORDS])

    @cached_property
    def vits(self) -> Path:
        """One voice, which says a word as `tones` does: 160 ms of its tone and a gap of 40 ms."""
        return self._vits("vits", speakers=1)

    @cached_property
    def vits_two_voices(self) -> Path:
        """The same and a second voice, whose tones are half as high again."""
        return self._vits("vits_two_voices", speakers=2)

    @cached_property
    def two_voices(self) -> Path:
        """`vits_two_voices` in a folder, with its tokens and its lexicon."""
        return self._voice_folder("vits-tones", self.vits_two_voices)

    def _vits(self, name: str, speakers: int) -> Path:
        graph = Graph()
        x = graph.input("x", INT64, "N", "L")
        length = graph.input("x_length", INT64, "N")
        noise = graph.input("noise_scale", FLOAT, 1)
        length_scale = graph.input("length_scale", FLOAT, 1)
        noise_w = graph.input("noise_scale_w", FLOAT, 1)
        pitch = f32([1.0])
        if speakers > 1:
            pitch = graph.op("Gather", f32(PITCHES), graph.input("sid", INT64, 1))
        samples = sing(graph, x, length_scale, pitch)
        samples = graph.op("Add", samples, unused(graph, length, noise, noise_w))
        graph.output("y", graph.op("Reshape", samples, i64([1, 1, -1])), FLOAT, "N", 1, "S")
        return graph.save(
            self.path(f"{name}.onnx"),
            model_type="vits",
            comment="tones",
            language="English",
            sample_rate=RATE,
            add_blank=0,
            n_speakers=speakers,
            punctuation=" , . ! ?",
        )

    @cached_property
    def piper(self) -> Path:
        """A folder as Piper's voices are published; each phoneme is the tone of some word."""
        return self._voice_folder("vits-piper-tones", self._piper, ["_", "^", "$", *PHONEMES])

    @cached_property
    def _piper(self) -> Path:
        graph = Graph()
        symbols = graph.input("input", INT64, "N", "L")
        lengths = graph.input("input_lengths", INT64, "N")
        scales = graph.input("scales", FLOAT, 3)  # of noise, length, noise again
        samples = sing(graph, symbols, graph.op("Gather", scales, i64([1])), f32([1.0]))
        samples = graph.op("Add", samples, unused(graph, lengths))
        samples = graph.op("Reshape", samples, i64([1, 1, 1, -1]))
        graph.output("output", samples, FLOAT, "N", 1, 1, "S")
        return graph.save(
            self.path("piper.onnx"),
            model_type="vits",
            comment="piper",
            language="English",
            voice="en-us",
            has_espeak=1,
            n_speakers=1,
            sample_rate=RATE,
        )

    @cached_property
    def matcha(self) -> Path:
        """A folder whose network sings, since its vocoder passes on what it gets."""
        graph = Graph()
        x = graph.input("x", INT64, "N", "L")
        length = graph.input("x_length", INT64, "N")
        noise = graph.input("noise_scale", FLOAT, 1)
        samples = sing(graph, x, graph.input("length_scale", FLOAT, 1), f32([1.0]))
        samples = graph.op("Add", samples, unused(graph, length, noise))
        graph.output("mel", graph.op("Reshape", samples, i64([1, 1, -1])), FLOAT, "N", 1, "T")
        network = graph.save(
            self.path("matcha.onnx"),
            model_type="matcha-tts",
            sample_rate=RATE,
            n_speakers=1,
            use_eos_bos=0,
            pad_id=0,
            jieba=1,
            has_espeak=0,
        )
        return self._voice_folder("matcha-tones", network)

    @cached_property
    def vocoder(self) -> Path:
        graph = Graph()
        mel = graph.input("mel", FLOAT, "N", 1, "T")
        graph.output("audio", graph.op("Reshape", mel, i64([1, -1])), FLOAT, "N", "S")
        return graph.save(self.path("vocoder.onnx"), model_type="hifigan", sample_rate=RATE)

    @cached_property
    def kokoro(self) -> Path:
        """A folder of two voices; the style of a voice is its pitch."""
        network = self._styled("kokoro", style_dim="510,1,2")
        return self._voice_folder("kokoro-tones", network, styles=510)

    @cached_property
    def kitten(self) -> Path:
        """A folder of the same two voices."""
        network = self._styled("kitten", model_type="kitten-tts", style_dim="1,2")
        return self._voice_folder("kitten-tones", network, styles=1)

    def _styled(self, name: str, **metadata: object) -> Path:
        graph = Graph()
        tokens = graph.input("tokens", INT64, 1, "L")
        style = graph.input("style", FLOAT, 1, 2)
        length_scale = graph.op("Div", f32([1.0]), graph.input("speed", FLOAT, 1))
        pitch = graph.op("Gather", style, i64([0]), axis=1)
        samples = sing(graph, tokens, length_scale, pitch)
        graph.output("audio", graph.op("Reshape", samples, i64([-1])), FLOAT, "S")
        return graph.save(
            self.path(f"{name}.onnx"),
            sample_rate=RATE,
            n_speakers=len(PITCHES),
            speaker_names="alto,tenor",
            has_espeak=0,
            voice="en-us",
            **metadata,
        )

    def _voice_folder(
        self,
        name: str,
        network: Path,
        symbols: Sequence[str] | None = None,
        styles: int | None = None,
    ) -> Path:
        """A folder with the files of a voice under the names of the published archives."""
        folder = self.path(name)
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(network.read_bytes())
        if symbols is None:
            (folder / "lexicon.txt").write_bytes(self.lexicon.read_bytes())
        self._token_file(f"{name}/tokens.txt", symbols or VOICE_SYMBOLS)
        if styles is not None:
            voices = [np.full((styles, 1, 2), pitch, np.float32) for pitch in PITCHES]
            (folder / "voices.bin").write_bytes(np.concatenate(voices).tobytes())
        return folder

    # --- voice activity and noise ---

    @cached_property
    def vad(self) -> Path:
        """Of Silero's inputs. Speech is what is loud; its state is how loud it was before."""
        graph = Graph()
        samples = graph.input("input", FLOAT, "N", "L")
        state = graph.input("state", FLOAT, 2, "N", 128)
        rate = graph.input("sr", INT64)
        loudness = graph.op("ReduceMean", graph.op("Mul", samples, samples), keepdims=0)
        loudness = graph.op("Sqrt", loudness)
        before = graph.op("ReduceMean", state, keepdims=0)
        level = graph.op("Mul", graph.op("Add", loudness, before), f32(0.5))
        level = graph.op("Add", level, unused(graph, rate))
        speech = graph.op("Mul", graph.op("Sub", level, f32(0.01)), f32(2000.0))
        probability = graph.op("Reshape", graph.op("Sigmoid", speech), i64([1, 1]))
        graph.output("output", probability, FLOAT, "N", 1)
        graph.output("stateN", graph.op("Expand", level, i64([2, 1, 128])), FLOAT, 2, "N", 128)
        return graph.save(self.path("vad.onnx"))

    @cached_property
    def ten_vad(self) -> Path:
        """Of TEN's inputs: three frames of a mel spectrum, and four states that it passes on."""
        bins, window = 41, 768
        graph = Graph()
        features = graph.input("x", FLOAT, 1, 3, bins)
        level = graph.op("ReduceMean", features, keepdims=0)  # of logarithms; -44 in silence
        speech = graph.op("Sigmoid", graph.op("Add", level, f32(15.0)))
        graph.output("probability", graph.op("Reshape", speech, i64([1, 1])), FLOAT, 1, 1)
        for number in range(4):
            state = graph.input(f"state_{number}", FLOAT, 1, 64)
            graph.output(f"next_{number}", state, FLOAT, 1, 64)
        return graph.save(
            self.path("ten_vad.onnx"),
            model_type="ten-vad",
            mean=",".join(["0"] * bins),
            inv_stddev=",".join(["1"] * bins),
            window=",".join(["1"] * window),
        )

    @cached_property
    def denoiser(self) -> Path:
        """GTCRN that holds everything above 3 kHz to be noise, and everything below for speech."""
        bins = 257
        kept = np.arange(bins) < round(3000 / (RATE / 2) * bins)
        graph = Graph()
        spectrum = graph.input("mix", FLOAT, 1, bins, 1, 2)
        kept = kept.astype(np.float32).reshape(1, bins, 1, 1)
        graph.output("enh", graph.op("Mul", spectrum, kept), FLOAT, 1, bins, 1, 2)
        for cache in ("conv_cache", "tra_cache", "inter_cache"):
            graph.output(f"{cache}_out", graph.input(cache, FLOAT, 1, 2), FLOAT, 1, 2)
        return graph.save(
            self.path("denoiser.onnx"),
            model_type="gtcrn",
            sample_rate=RATE,
            n_fft=512,
            hop_length=256,
            window_length=512,
            window_type="hann_sqrt",
            version=1,
            conv_cache_shape="1,2",
            tra_cache_shape="1,2",
            inter_cache_shape="1,2",
        )

    # --- punctuation and speakers ---

    @cached_property
    def ct_punctuation(self) -> Path:
        """A table from a token to the mark that follows it."""
        tokens = ["<unk>", *SAID, "你", "好", "吗"]
        marks = ["<unk>", "_", "，", "。", "？", "、"]
        table = np.zeros((len(tokens), len(marks)), np.float32)
        table[:, marks.index("_")] = 1
        for token, mark in (("hello", "，"), ("world", "。"), ("you", "？"), ("吗", "？")):
            table[tokens.index(token), marks.index(mark)] = 5
        graph = Graph()
        found = graph.op("Gather", table, graph.input("inputs", INT32, 1, "T"), axis=0)
        lengths = graph.input("text_lengths", INT32, 1)
        found = graph.op("Add", found, unused(graph, lengths))
        graph.output("logits", found, FLOAT, 1, "T", len(marks))
        return graph.save(
            self.path("ct_punctuation.onnx"),
            model_type="ct_transformer",
            tokens="|".join(tokens),
            vocab_size=len(tokens),
            punctuations="|".join(marks),
            unk_symbol="<unk>",
        )

    @cached_property
    def bpe_vocab(self) -> Path:
        """Of `online_punctuation`."""
        return self._lines(
            "english punctuation/bpe.vocab",
            [f"{piece}\t{-index}" for index, piece in enumerate(PUNCTUATED_PIECES)],
        )

    @cached_property
    def online_punctuation(self) -> Path:
        """A table from a word to its case and to the mark that follows it."""
        count = len(PUNCTUATED_PIECES)
        case, mark = np.zeros((count, 4), np.float32), np.zeros((count, 4), np.float32)
        case[:, 0] = mark[:, 0] = 1
        for word in ("hello", "how", "i"):
            case[PUNCTUATED_PIECES.index(f"▁{word}"), 2] = 5
        for word, which in (("hello", 1), ("you", 3), ("thanks", 2), ("world", 2)):
            mark[PUNCTUATED_PIECES.index(f"▁{word}"), which] = 5
        graph = Graph()
        tokens = graph.input("token_ids", INT32, "N", "L")
        valid = graph.input("valid_ids", INT32, "N", "L")
        lengths = graph.input("label_lens", INT32, "N")
        first_piece = graph.op("Equal", valid, np.array(1, np.int32))
        edges = [graph.op("Equal", tokens, np.array(edge, np.int32)) for edge in (1, 2)]
        word = graph.op("Not", graph.op("Or", *edges))  # neither <s> nor </s>
        is_word = graph.op("Reshape", graph.op("And", first_piece, word), i64([-1]))
        words = graph.op("Compress", graph.op("Reshape", tokens, i64([-1])), is_word, axis=0)
        cases = graph.op("Gather", case, words, axis=0)
        nothing = graph.op("ReduceSum", unused(graph, lengths), keepdims=0)
        graph.output("case_logits", graph.op("Add", cases, nothing), FLOAT, "T", 4)
        graph.output("punct_logits", graph.op("Gather", mark, words, axis=0), FLOAT, "T", 4)
        assert self.bpe_vocab.exists()  # it belongs beside the network
        return graph.save(
            self.path("english punctuation/model.onnx"),
            COMMA=1,
            PERIOD=2,
            QUESTION=3,
            UPPER=1,
            CAP=2,
            MIX_CASE=3,
        )

    @cached_property
    def speaker(self) -> Path:
        """The mean and the spread of the spectrum, turned into 64 numbers: a voice is a timbre."""
        rng = np.random.default_rng(7)
        turn = np.linalg.qr(rng.normal(size=(2 * MELS, 2 * MELS)))[0][:, :64].astype(np.float32)
        graph = Graph()
        x = graph.input("x", FLOAT, "N", "T", MELS)
        mean = graph.op("ReduceMean", x, axes=[1], keepdims=1)
        apart = graph.op("Sub", x, mean)
        variance = graph.op("ReduceMean", graph.op("Mul", apart, apart), axes=[1], keepdims=0)
        spread = graph.op("Sqrt", graph.op("Add", variance, f32(1e-5)))
        shape = [graph.op("Squeeze", mean, i64([1])), spread]
        centred = [
            graph.op("Sub", part, graph.op("ReduceMean", part, axes=[1], keepdims=1))
            for part in shape
        ]
        both = graph.op("Concat", *centred, axis=1)
        graph.output("embs", graph.op("MatMul", both, turn), FLOAT, "N", 64)
        return graph.save(
            self.path("speaker.onnx"),
            framework="wespeaker",
            language="English",
            sample_rate=RATE,
            output_dim=64,
            normalize_samples=1,
            feature_normalize_type="",
            comment="tones",
        )


WORD_PIECES = [f"▁{word}" for word in WORDS]
SENSE_VOICE_SYMBOLS = [
    "<unk>",
    *WORD_PIECES,
    *("<|en|>", "<|zh|>", "<|NEUTRAL|>", "<|HAPPY|>", "<|Speech|>", "<|withitn|>", "<|woitn|>"),
]
PARAFORMER_SYMBOLS = ["<blank>", "<s>", "</s>", *WORDS, "<unk>"]
PITCHES = (1.0, 1.5)  # of the two voices, where there are two
PHONEMES = " ,.!?abdefhijklmnoprstuvwzæðŋɐɑɒɔəɚɛɜɡɪɹɾʃʊʌʒˈˌːθ"  # of espeak-ng's English, and marks
VOICE_SYMBOLS = ["_", *(word.upper() for word in WORDS), *" ,.!?"]
SAID = ("hello", "world", "how", "are", "you")  # what punctuation is tried on
PUNCTUATED_PIECES = [
    *("<unk>", "<s>", "</s>"),
    *(f"▁{word}" for word in (*SAID, "fine", "thanks", "i", "am")),
]
STACKED_FRAMES: Mapping[str, object] = {
    "lfr_window_size": 7,
    "lfr_window_shift": 6,
    "neg_mean": ",".join(["0"] * 7 * MELS),
    "inv_stddev": ",".join(["1"] * 7 * MELS),
}


def unused(graph: Graph, *inputs: str) -> str:
    """0, shape (1,), out of inputs that must be there; an unused one would be taken away."""
    total = f32([0.0])
    for value in inputs:
        number = graph.op("Cast", value, to=FLOAT)
        total = graph.op("Add", total, graph.op("Mul", number, f32(0.0)))
    return str(total)


def onsets(graph: Graph, heard: str) -> str:
    """(1, T) symbols a frame -> (words,): each word once, where it begins."""
    before = graph.op("Slice", heard, i64([0]), i64([-1]), i64([1]))
    before = graph.op("Concat", np.zeros((1, 1), np.int64), before, axis=1)
    changes = graph.op("Not", graph.op("Equal", heard, before))
    begins = graph.op("And", changes, graph.op("Greater", heard, i64(0)))
    flat = [graph.op("Squeeze", value, i64([0])) for value in (heard, begins)]
    return graph.op("Compress", *flat, axis=0)


def sing(graph: Graph, symbols: str, length_scale: str, pitch: str | np.ndarray[Any, Any]) -> str:
    """(1, L) of symbols -> (1, L, samples): a tone a word and a gap; silence for other symbols."""
    frequencies = f32([0.0, *FREQUENCIES, *[0.0] * 100])
    scaled = graph.op("Squeeze", graph.op("Mul", length_scale, f32(0.16 * RATE)), i64([0]))
    count = graph.op("Cast", scaled, to=INT64)
    time = graph.op("Cast", graph.op("Range", i64(0), count, i64(1)), to=FLOAT)
    hertz = graph.op("Mul", graph.op("Gather", frequencies, symbols), pitch)
    turns = graph.op("Mul", graph.op("Unsqueeze", hertz, i64([2])), time)
    wave = graph.op("Sin", graph.op("Mul", turns, f32(2 * np.pi / RATE)))
    part = graph.op("Div", time, graph.op("Cast", count, to=FLOAT))
    swell = graph.op("Mul", graph.op("Sin", graph.op("Mul", part, f32(np.pi))), f32(0.5))
    gap = i64([0, 0, 0, 0, 0, round(0.04 * RATE)])
    return graph.op("Pad", graph.op("Mul", wave, swell), gap)
