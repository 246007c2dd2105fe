"""Texts that can be searched: cut into passages, found by their words or by their vectors.

split(text) -> passages        summarise(text) -> its most telling sentences
Lexical                        by words (BM25), English and Chinese, no model needed
Vectors                        by meaning, with an embeddings model
Store                          what one conversation has been given; gone with it
"""

from __future__ import annotations

import heapq
import logging
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtalk.model_types import Embeddings

__all__ = ["Lexical", "Store", "Vectors", "split", "summarise", "tokens"]

log = logging.getLogger("xtalk.retrieval")

PASSAGE = 256  # characters
OVERLAP = 32
BATCH = 64  # passages that are embedded in one call
K1, B = 1.2, 0.75  # BM25's usual constants: how soon repetition saturates, how length counts

# Scripts without spaces between words; their characters and pairs stand for the words.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
RUN = re.compile(rf"([{CJK}]+)|[^\W_{CJK}]+")
SENTENCE_END = r"[。！？；]+|[.!?;]+(?=\s|$)"  # "3.14" and "e.g.x" end nothing
BREAKS = [re.compile(pattern) for pattern in (r"\n\s*\n", SENTENCE_END, r"\n", r"\s")]
SENTENCE = re.compile(rf"(?:{SENTENCE_END}|\n)\s*")

# --- pieces of text -----------------------------------------------------------------------------


def split(text: str, size: int = PASSAGE, overlap: int = OVERLAP) -> list[str]:
    """Passages of at most `size` characters that overlap a little, in order.

    Each ends at the end of a paragraph, else of a sentence, of a line, of a word: the first of
    these that lies in its second half. `overlap` must be less than half of `size`.
    """
    if not 0 <= overlap < size // 2:
        raise ValueError(f"overlap must be less than half of size {size}, found {overlap}")
    passages = []
    start = 0
    while start < len(text):
        end = _cut(text, start, size)
        if passage := text[start:end].strip():
            passages.append(passage)
        if end == len(text):
            break
        start = _back(text, end, overlap)
    return passages


def _cut(text: str, start: int, size: int) -> int:
    end = start + size
    if end >= len(text):
        return len(text)
    for pattern in BREAKS:
        # One character more, so that what decides about a full stop is seen.
        ends = [m.end() for m in pattern.finditer(text, start + size // 2, end + 1)]
        if fit := [at for at in ends if at <= end]:
            return fit[-1]
    return end


def _back(text: str, end: int, overlap: int) -> int:
    """Where the next passage begins: `overlap` before the cut, not in the middle of a word."""
    word = re.compile(rf"(?<=\s)\S|[{CJK}]").search(text, end - overlap, end)
    return word.start() if word else end


def summarise(text: str, most: int = 6) -> str:
    """The sentences that say what the text is about, in their order; a short text as it is.

    At most `most` and a third of all. A sentence counts by how frequent its longer words are
    in the text, those of nearly every sentence left out, and by how early it stands.
    """
    text = text.strip()
    if len(text) <= 80:
        return text
    sentences = [s[:PASSAGE] for s in _sentences(text)]
    bags = [set(tokens(sentence)) for sentence in sentences]
    frequency = Counter(token for bag in bags for token in bag if _tells(token))

    def weight(index: int) -> float:
        bag = bags[index]
        telling = sum(n * (1 - n / len(bags)) for n in (frequency[token] for token in bag))
        return telling / (len(bag) + 3) * (1 + 1 / (1 + index))

    count = max(1, min(most, len(sentences) // 3))
    best = heapq.nlargest(count, range(len(sentences)), key=weight)
    return " ".join(sentences[index] for index in sorted(best))


def _tells(token: str) -> bool:
    """Articles and prepositions are short, in English; a single ideograph is half a word."""
    return len(token) > 3 or (len(token) == 2 and not token.isascii())


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for match in SENTENCE.finditer(text):
        if sentence := text[start : match.end()].strip():
            yield sentence
        start = match.end()
    if rest := text[start:].strip():
        yield rest


def tokens(text: str) -> list[str]:
    """Words in lower case; of Chinese, Japanese and Korean each character and each pair."""
    found = []
    for match in RUN.finditer(text.casefold()):
        run = match[0]
        if match[1]:
            found += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
        else:
            found.append(run)
    return found


# --- finding ------------------------------------------------------------------------------------


class Lexical:
    """Okapi BM25 over the words of numbered passages."""

    def __init__(self) -> None:
        self._postings: dict[str, list[tuple[int, int]]] = {}
        self._lengths: list[int] = []
        self._total = 0

    def add(self, bags: Sequence[Counter[str]]) -> None:
        """More passages, as the counts of their tokens."""
        for bag in bags:
            index = len(self._lengths)
            length = sum(bag.values())
            self._lengths.append(length)
            self._total += length
            for token, count in bag.items():
                self._postings.setdefault(token, []).append((index, count))

    def search(self, query: str, k: int) -> list[int]:
        """The passages that share words with the query, best first, `k` at most."""
        scores: dict[int, float] = {}
        passages = len(self._lengths)
        mean = self._total / passages if passages else 1.0
        for token in set(tokens(query)):
            found = self._postings.get(token, ())
            rarity = math.log(1 + (passages - len(found) + 0.5) / (len(found) + 0.5))
            for index, count in found:
                length = 1 - B + B * self._lengths[index] / mean
                gain = rarity * count * (K1 + 1) / (count + K1 * length)
                scores[index] = scores.get(index, 0.0) + gain
        return heapq.nlargest(k, scores, key=lambda index: (scores[index], -index))


class Vectors:
    """Cosine similarity over the vectors of numbered passages."""

    def __init__(self) -> None:
        self._rows: Any = None

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    def add(self, vectors: Sequence[Sequence[float]]) -> None:
        import numpy as np

        rows = _unit(np.asarray(vectors, dtype=np.float32))
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])

    def search(self, vector: Sequence[float], k: int) -> list[int]:
        """The passages nearest to the vector, best first."""
        import numpy as np

        if self._rows is None:
            return []
        nearness = self._rows @ _unit(np.asarray([vector], dtype=np.float32))[0]
        return [int(index) for index in np.argsort(-nearness, kind="stable")[:k]]


def _unit(rows: Any) -> Any:
    import numpy as np

    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


class Store:
    """The passages of one conversation, in memory. Every method blocks; any thread may call.

    With an embeddings model the passages are found by their vectors, as soon as all have one.
    Until then, and for good after the model failed, they are found by their words.
    """

    def __init__(self, embeddings: Embeddings | None = None) -> None:
        self._lock = threading.Lock()
        self._embeddings = embeddings
        self._passages: list[str] = []
        self._lexical = Lexical()
        self._vectors = Vectors()

    def __len__(self) -> int:
        return len(self._passages)

    def add(self, text: str) -> int:
        """Make a text searchable by its words; the number of its passages."""
        passages = split(text)
        bags = [Counter(tokens(passage)) for passage in passages]
        with self._lock:
            self._passages += passages
            self._lexical.add(bags)
        return len(passages)

    def embed(self) -> bool:
        """Give the next passages without a vector theirs; whether there are more to do."""
        model, done = self._embeddings, len(self._vectors)
        batch = self._passages[done : done + BATCH]
        if model is None or not batch:
            return False
        vectors = model.embed_documents(batch)
        if len(vectors) != len(batch):
            raise ValueError(f"{len(batch)} passages were embedded as {len(vectors)} vectors")
        with self._lock:
            if self._embeddings is not None:  # given up meanwhile
                self._vectors.add(vectors)
        return self._embeddings is not None and done + BATCH < len(self._passages)

    def give_up_vectors(self) -> None:
        """Find passages by their words from now on."""
        with self._lock:
            self._embeddings, self._vectors = None, Vectors()

    def search(self, query: str, k: int = 4) -> list[str]:
        """The `k` passages that fit the query best, best first; none when nothing fits."""
        vector = self._vector_of(query)
        with self._lock:
            if vector is not None and len(self._vectors) == len(self._passages):
                found = self._vectors.search(vector, k)
            else:
                found = self._lexical.search(query, k)
            return [self._passages[index] for index in found]

    def _vector_of(self, query: str) -> Sequence[float] | None:
        model = self._embeddings
        if model is None or len(self._vectors) != len(self._passages):
            return None
        try:
            return model.embed_query(query)
        except Exception:
            # Whatever somebody's model raises: words still find something.
            log.exception("%s could not embed a query", type(model).__name__)
            return None
