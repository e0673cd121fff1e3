"""Sentence vectors in two lines: texts in, a vector for each out; likeness, search and groups by their cosines.

Letters: n texts, m queries, H hidden size, k hits or groups.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, overload

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.model import most_tokens, vectors_of
from ..model.packing import Packed
from ..model.precision import choose_device, choose_precision
from ..tokenize.encoding import what_was_cut
from ..tokenize.tokenizer import Tokenizer, list_of_texts
from ..weights.architectures import architecture_of
from ..weights.load import Loaded, load_with_report, log
from ..weights.sentences import Vectors, read_vectors
from .classifier import READ_AHEAD
from .hits import Hit, nearest, require_one_size, unit
from .predict import in_batches, require_finite, texts_at_once

UNKNOWN = Vectors(normalise=False)  # of a folder that says nothing, as sentence-transformers takes it
QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")  # names of prompts, as sentence-transformers has them


class Encoder:
    """An encoder (without a head) with its tokenizer, and how the vector of a text is made of it.

    >>> encoder = Encoder.load("small")
    >>> encoder.encode(["駅から近い。", "駅に近いです。"]).shape
    (2, 384)
    """

    def __init__(
        self,
        encoder: nn.Module,
        tokenizer: Tokenizer,
        vectors: Vectors = UNKNOWN,
        device: str = "auto",
        precision: str = "auto",
        cut: Mapping[str, Any] | None = None,
    ) -> None:
        """cut: how texts were cut in training, `Loaded.cut`, where `vectors` do not say it."""
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.encoder: Any = encoder.to(self.device).eval()
        self.tokenizer = tokenizer
        self.vectors = vectors
        self.batch_size = texts_at_once(self.device)
        cut, room = cut or {}, most_tokens(encoder)
        if vectors.max_length and vectors.max_length > room:
            log.warning("max_length %d is more than the model can read: %d tokens", vectors.max_length, room)
        longest = vectors.max_length or cut.get("max_length") or tokenizer.model_max_length or room
        self.how = {"max_length": min(longest, room), "truncation": cut.get("truncation", "longest_first")}

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path,
        revision: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        pooling: str | None = None,
        normalise: bool | None = None,
        max_length: int | None = None,
    ) -> "Encoder":
        """An encoder from a folder or the hub, also that of a model with a head, whose head is left out.

        Args:
            precision: auto, fp32, bf16 or fp16.
            pooling, normalise, max_length: as in `Vectors`; by default as the folder says.

        Raises:
            CheckpointError: as `tezukuri.load`, or its vectors are made in a way that is not known here.
        """
        loaded = load_with_report(name_or_folder, "encode", revision=revision)
        assert loaded.folder
        said = read_vectors(loaded.folder)
        asked: dict[str, Any] = {"pooling": pooling, "normalise": normalise, "max_length": max_length}
        vectors = replace(said or UNKNOWN, **{name: value for name, value in asked.items() if value is not None})
        loaded.report.notes += notes_on(loaded, said, vectors)
        if loaded.report.notes:
            log.warning("%s", loaded.report)
        return cls(loaded.model, loaded.tokenizer, vectors, device, precision, loaded.cut)

    @property
    def size(self) -> int:
        """H."""
        return self.encoder.config.hidden_size

    def encode(self, texts: Iterable[str], prompt: str | None = None, batch_size: int | None = None) -> np.ndarray:
        """n texts → vectors (n, H), fp32. How many texts were cut is logged as a warning.

        prompt: the name of what stands before each text (`Vectors.prompts`), "" for nothing; by default the model's.
        batch_size: 64 where it is not given, on a GPU 256.
        """
        texts = list_of_texts("texts", texts)  # all of them are looked at before anything is computed
        found = list(self.stream(texts, prompt, batch_size, read_ahead=max(1, len(texts))))
        return np.stack(found) if found else np.empty((0, self.size), dtype=np.float32)

    def stream(
        self,
        texts: Iterable[str],
        prompt: str | None = None,
        batch_size: int | None = None,
        read_ahead: int = READ_AHEAD,
    ) -> Iterator[np.ndarray]:
        """A vector (H,) for each text, in their order, in constant memory; the rest is as in `encode`.

        read_ahead: how many batches are read, tokenized and sorted by length together.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if isinstance(texts, str):
            raise TypeError(f"texts must be a list of texts, not one text ({texts[:20]!r}…)")
        before, texts, batch_size = self.vectors.before(prompt), iter(texts), batch_size or self.batch_size
        number = 0
        cut: list[int] = []  # the tokens of each text that was cut, before
        while some := list(islice(texts, read_ahead * batch_size)):
            some = list_of_texts("texts", some, number)
            encodings = self.tokenizer.encode_batch([before + text for text in some], **self.how)
            found = in_batches(self.encoder, self.pooled, (self.size,), encodings, batch_size, self.precision, None)
            require_finite(found.isfinite().all(dim=1), range(number, number + len(some)))
            assert encodings.whole is not None
            number, cut = number + len(some), cut + encodings.whole[encodings.truncated].tolist()
            yield from found.numpy()
        if cut:
            log.warning("texts: %s", what_was_cut(number, len(cut), sum(cut), max(cut), self.how["max_length"]))

    def pooled(self, packed: Packed) -> Tensor:
        """A packed batch → (B, H)."""
        first = self.vectors.pooling == "first"
        output = self.encoder(packed, first_only=first)  # the first token itself, and not what a pooler makes of it
        found = (output.hidden if first else vectors_of(output, packed, self.vectors.pooling)).float()
        return F.normalize(found, dim=1) if self.vectors.normalise else found

    def similarity(self, a: Sequence[str] | np.ndarray, b: Sequence[str] | np.ndarray) -> np.ndarray:
        """The cosines (n, m) of n texts, or vectors (n, H), with m others."""
        one, other = self.of(a), self.of(b)
        require_one_size(one, other)
        return unit(one) @ unit(other).T

    @overload
    def search(self, queries: str, corpus: Sequence[str] | np.ndarray, k: int = ...) -> list[Hit]: ...  # type: ignore[overload-overlap]  # a str is a Sequence[str]
    @overload
    def search(
        self, queries: Sequence[str] | np.ndarray, corpus: Sequence[str] | np.ndarray, k: int = ...
    ) -> list[list[Hit]]: ...
    def search(
        self, queries: str | Sequence[str] | np.ndarray, corpus: Sequence[str] | np.ndarray, k: int = 10
    ) -> list[Hit] | list[list[Hit]]:
        """For one query a list of the k most similar of the corpus, for several a list of such lists; see `nearest`.

        Texts of queries have the prompt `query`, those of the corpus `document` (or `passage`, or `corpus`), where the
        model has one of that name, else its default.

        corpus: texts, or vectors (n, H) that were made of them.
        """
        asked = [queries] if isinstance(queries, str) else queries
        corpus = corpus if are_vectors(corpus) else list_of_texts("corpus", corpus)
        found = nearest(self.of(asked, self.usual(QUERY)), self.of(corpus, self.usual(DOCUMENT)), k)
        if not are_vectors(corpus):
            found = [[hit._replace(text=corpus[hit.number]) for hit in hits] for hits in found]
        return found[0] if isinstance(queries, str) else found

    def cluster(self, texts: Sequence[str] | np.ndarray, k: int, seed: int = 0) -> np.ndarray:
        """k groups of texts, or of vectors (n, H), by k-means on vectors of length 1 → the number (n,) of each's group.

        To name a group, look at the texts next to the mean of its vectors: `search(mean[None], vectors)`.
        """
        from sklearn.cluster import KMeans

        vectors = self.of(texts)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError("vectors to be grouped are (n, H), of finite numbers: leave out texts that have none")
        vectors = unit(vectors)
        if not 1 <= k <= len(vectors):
            raise ValueError(f"{len(vectors)} texts cannot make {k} groups: choose from 1 to {len(vectors)}")
        return np.asarray(KMeans(k, n_init=10, random_state=seed).fit_predict(vectors))

    def of(self, texts: Sequence[str] | np.ndarray, prompt: str | None = None) -> np.ndarray:
        """Vectors as they are, texts encoded."""
        return texts if are_vectors(texts) else self.encode(texts, prompt)

    def usual(self, names: Sequence[str]) -> str | None:
        """The first of these prompts that the model has."""
        return next((name for name in names if name in self.vectors.prompts), None)

    def fingerprint(self) -> str:
        """Of its weights, and of how vectors are made: what was made by equal ones can be compared."""
        told = hashlib.sha256(repr((self.vectors.pooling, self.vectors.normalise, self.how)).encode())
        for name, parameter in self.encoder.named_parameters():
            told.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
        return told.hexdigest()

    def __repr__(self) -> str:
        return f"Encoder({self.size} numbers: {self.vectors}; on {self.device})"


def are_vectors(given: Any) -> TypeGuard[np.ndarray]:
    """Whether it is an array of numbers; one of strings holds texts."""
    return isinstance(given, np.ndarray) and given.dtype.kind in "fiu"


def notes_on(loaded: Loaded, said: Vectors | None, vectors: Vectors) -> list[str]:
    """What somebody may not expect of a folder that was not made for sentence vectors."""
    notes = []
    heads = architecture_of(loaded.model)[1].names.heads
    trained = tuple(prefix for use, prefix in heads.items() if use not in ("encode", "fill-mask"))
    if any(name.startswith(trained) for name in loaded.report.left_out):
        notes.append("the model was trained for another task: vectors are those of its encoder, without its head")
    if said is None:
        notes.append(f"it does not say how vectors are made (no modules.json): {vectors.described}, without a prompt")
    return notes
