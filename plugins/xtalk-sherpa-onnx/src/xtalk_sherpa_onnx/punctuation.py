"""Punctuation on sherpa-onnx: CT-Transformer (Chinese and English) and CNN-BiLSTM (English)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from xtalk.errors import ConfigError
from xtalk.speech.interfaces import PuntRestorer
from xtalk_sherpa_onnx.files import Threads, onnx_file, provider_of
from xtalk_sherpa_onnx.metadata import check_model

__all__ = ["CTPunctRestorer"]

CT_PUNC = "sherpa-onnx-punct-ct-transformer-zh-en-vocab272727-2024-04-12"

# The network knows Chinese marks only; after a Latin word they become what is written there.
MARK_AFTER_LATIN = re.compile(r"(?<=[A-Za-z0-9'’])([，。？！、])\s*(?=(\S?))")
SCORED_PIECE = re.compile(r"\S+\s+[-+.\de]+\s*")
LATIN = {"，": ",", "。": ".", "？": "?", "！": "!", "、": ","}


class CTPunctRestorer(PuntRestorer):
    """Marks between the words of a bare transcript; with the English network also capitals.

    Any number of threads may call it at once.
    """

    def __init__(
        self,
        model_name: Annotated[
            str,
            Field(
                description="ct-punc, a folder, an .onnx file, or a name of `xtalk models list`; "
                "one with a bpe.vocab beside it is the English network"
            ),
        ] = "ct-punc",
        device: Annotated[str, Field(description="auto, cpu or cuda")] = "cpu",
        hub: Annotated[str, Field(description="of the original; not used here")] = "ms",
        disable_update: Annotated[bool, Field(description="of the original; not used here")] = True,
        num_threads: Threads = 1,
    ) -> None:
        model = onnx_file(CT_PUNC if model_name == "ct-punc" else model_name)
        load = _load_english if _vocabulary(model).exists() else _load_ct
        self._add = load(model, num_threads, provider_of(device))

    def restore(self, text: str) -> str:
        """The text with marks; a text without words as it is."""
        speakable = text.encode("utf-8", "replace").decode()
        if not any(character.isalnum() for character in speakable):
            return text
        return self._add(speakable)

    def restore_batch(self, texts: Sequence[str]) -> list[str]:
        return [self.restore(text) for text in texts]


def _vocabulary(model: Path) -> Path:
    return model.parent / "bpe.vocab"


def _load_ct(model: Path, num_threads: int, provider: str) -> Callable[[str], str]:
    import sherpa_onnx

    check_model(model, "ct_transformer punctuation")
    network = sherpa_onnx.OfflinePunctuationModelConfig(
        ct_transformer=str(model), num_threads=num_threads, provider=provider
    )
    punctuation = sherpa_onnx.OfflinePunctuation(sherpa_onnx.OfflinePunctuationConfig(network))
    return lambda text: _latin_marks(punctuation.add_punctuation(text))


def _latin_marks(text: str) -> str:
    def latin(mark: re.Match[str]) -> str:
        return LATIN[mark[1]] + (" " if mark[2] else "")

    return MARK_AFTER_LATIN.sub(latin, text)


def _check_vocabulary(path: Path) -> None:
    """Each line must be a piece of a word and its score, or sherpa-onnx ends the process."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not SCORED_PIECE.fullmatch(line):
            raise ConfigError(f"{path}, line {number}, is not a piece of a word and its score")


def _load_english(model: Path, num_threads: int, provider: str) -> Callable[[str], str]:
    import sherpa_onnx

    check_model(model, "online punctuation")
    _check_vocabulary(_vocabulary(model))
    network = sherpa_onnx.OnlinePunctuationModelConfig(
        cnn_bilstm=str(model),
        bpe_vocab=str(_vocabulary(model)),
        num_threads=num_threads,
        provider=provider,
    )
    punctuation = sherpa_onnx.OnlinePunctuation(sherpa_onnx.OnlinePunctuationConfig(network))
    add: Callable[[str], str] = punctuation.add_punctuation_with_case
    return add
