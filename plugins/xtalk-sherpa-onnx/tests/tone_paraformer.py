"""A streaming Paraformer by hand: its encoder finds where tones begin, its decoder names them.

sherpa-onnx gives the encoder 18 frames of 60 ms at a time, of which 8 were in the last call, and
uses the weights of 10 in the middle. Where the weights add up to 1 the decoder says a symbol.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tone_models import (
    FLOAT,
    INT32,
    INT64,
    MELS,
    PARAFORMER_SYMBOLS,
    STACKED_FRAMES,
    SYMBOLS,
    WORDS,
    Graph,
    bias,
    i64,
    projection,
    unused,
)


def encoder(path: Path) -> Path:
    """(1, T, 560) -> which word each frame is, and 1 where it begins."""
    graph = Graph()
    speech = graph.input("speech", FLOAT, "N", "T", 7 * MELS)
    length = graph.input("speech_lengths", INT32, "N")
    # sherpa-onnx multiplies the frames by the root of encoder_output_size
    weights = projection(frames=7) / np.float32(np.sqrt(SYMBOLS))
    logits = graph.op("Add", graph.op("MatMul", speech, weights), bias(3.5))
    heard = graph.op("ArgMax", logits, axis=-1, keepdims=0)
    before = graph.op("Slice", heard, i64([0]), i64([-1]), i64([1]))
    before = graph.op("Concat", np.zeros((1, 1), np.int64), before, axis=1)
    changes = graph.op("Not", graph.op("Equal", heard, before))
    begins = graph.op("And", changes, graph.op("Greater", heard, i64(0)))
    graph.output("enc", graph.op("Gather", np.eye(SYMBOLS, dtype=np.float32), heard), FLOAT, *ENC)
    graph.output("enc_len", length, INT32, "N")
    graph.output("alphas", graph.op("Cast", begins, to=FLOAT), FLOAT, "N", "T")
    return graph.save(
        path,
        vocab_size=len(PARAFORMER_SYMBOLS),
        encoder_output_size=SYMBOLS,
        decoder_num_blocks=1,
        decoder_kernel_size=2,
        **STACKED_FRAMES,
    )


def decoder(path: Path) -> Path:
    """(1, U, 7) words -> the symbols of the words."""
    rows = np.zeros((SYMBOLS, len(PARAFORMER_SYMBOLS)), np.float32)
    for word in range(1, SYMBOLS):
        rows[word, PARAFORMER_SYMBOLS.index(WORDS[word - 1])] = 50
    graph = Graph()
    enc = graph.input("enc", FLOAT, *ENC)
    lengths = [graph.input("enc_len", INT32, "N")]
    embeddings = graph.input("acoustic_embeds", FLOAT, "N", "U", SYMBOLS)
    lengths.append(graph.input("acoustic_embeds_len", INT32, "N"))
    cache = graph.input("in_cache_0", FLOAT, "N", SYMBOLS, 1)
    first = graph.op("ReduceSum", enc, i64([1, 2]), keepdims=0)
    logits = graph.op("MatMul", embeddings, rows)
    logits = graph.op("Add", logits, unused(graph, *lengths, first))
    graph.output("logits", logits, FLOAT, "N", "U", len(PARAFORMER_SYMBOLS))
    graph.output("sample_ids", graph.op("ArgMax", logits, axis=-1, keepdims=0), INT64, "N", "U")
    graph.output("out_cache_0", cache, FLOAT, "N", SYMBOLS, 1)
    return graph.save(path)


ENC = ("N", "T", SYMBOLS)
