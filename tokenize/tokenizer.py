"""The base of all tokenizers: text → ids and back, with the offsets of the tokens in the text.

A kind brings a `Template`, the names of its files, and the methods at the end of `Tokenizer`; `kinds.py` lists them.

Letters: B texts in a batch, T tokens of all of them, V vocabulary.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .encoding import EncodedBatch, Encoding, Piece, check_truncation, truncate
from .normalize import Span
from .template import Template


@dataclass(frozen=True)
class Word:
    """A word, before it is split into pieces."""

    text: str  # normalized
    span: Span  # where it stands in the original text
    part_of_speech: str  # 品詞 by MeCab's dictionary (名詞-普通名詞-一般); empty without MeCab
    pieces: list[str]


class Tokenizer(ABC):
    """A vocabulary with a way to split texts into its tokens; can be pickled.

    vocabulary: the tokens; a token's id is its place. ValueError where a special token is not among them.
    special_tokens: by name, pad_token, unk_token and mask_token among them: {"pad_token": "[PAD]", …}.
    template: the special tokens around texts.
    model_max_length: the most tokens that the model takes, None where nothing says it.
    notes: what had to be assumed about the settings, a sentence each, for the load report.
    """

    # File that a kind is read from (`a or b`: the first of them that is there) → what a repository without it is.
    files: ClassVar[Mapping[str, str]]

    def __init__(
        self,
        vocabulary: Sequence[str],
        special_tokens: Mapping[str, str],
        template: Template[str],
        model_max_length: int | None = None,
    ) -> None:
        self.vocabulary = list(vocabulary)
        ids = {token: i for i, token in enumerate(self.vocabulary)}
        for name, token in special_tokens.items():
            if token not in ids:
                raise ValueError(
                    f"the vocabulary of {len(ids)} tokens has no {token!r}: add it, or name the {name} that it has "
                    "in tokenizer_config.json"
                )
        # Words are never split into these: [SEP] in a text is plain text.
        self.special_ids = {token: ids.pop(token) for token in dict.fromkeys(special_tokens.values())}
        if strange := sorted(template.special - self.special_ids.keys()):
            raise ValueError(f"{strange[0]!r} is put around texts, but is none of the special tokens")
        self.piece_ids = ids
        self.pad_id, self.unk_id, self.mask_id = (
            self.special_ids[special_tokens[name]] for name in ("pad_token", "unk_token", "mask_token")
        )
        self.template = template.map(self.special_ids.__getitem__)
        self.model_max_length = model_max_length
        self.notes: list[str] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vocab_size} tokens)"

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without special tokens; "[SEP]" in it is plain text."""
        return [self.vocabulary[token.id] for token in self.tokens_of(text)]

    def encode(
        self,
        text: str,
        pair: str | None = None,
        max_length: int | None = None,
        truncation: str = "longest_first",
        special_tokens: bool = False,
    ) -> Encoding:
        """One text, or a pair, with the offsets of each token.

        max_length: the most tokens, special tokens counted; ValueError where it cannot be reached.
        truncation: longest_first, only_first, only_second or head_tail (see `encoding.truncate`).
        special_tokens: whether "[MASK]" and the like in the text mean those tokens.
        """
        paired = pair is not None
        added = self.template.added(paired)
        check_truncation(truncation, paired, max_length, added)
        first = self.tokens_of(text, special_tokens)
        second = None if pair is None else self.tokens_of(pair, special_tokens)
        first, second, truncated = truncate(first, second, max_length, truncation, added)
        tokens = self.template.map(without_place).around(first, second)
        of_second = len(second or ()) + self.template.added_by_type(paired)[1]
        return Encoding(
            ids=[token.id for token in tokens],
            type_ids=[0] * (len(tokens) - of_second) + [self.template.second_type] * of_second,
            tokens=[self.vocabulary[token.id] for token in tokens],
            offsets=[(token.start, token.end) for token in tokens],
            truncated=truncated,
        )

    def encode_batch(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        max_length: int | None = None,
        truncation: str = "longest_first",
        offsets: bool = False,
    ) -> EncodedBatch:
        """The same ids as `encode` for B texts (and their pairs); several times faster, unless with offsets."""
        # The arguments.
        paired = pairs is not None
        added = self.template.added(paired)
        check_truncation(truncation, paired, max_length, added)
        firsts = list_of_texts("texts", texts)
        seconds = None if pairs is None else list_of_texts("pairs", pairs)
        if seconds is not None and len(seconds) != len(firsts):
            raise ValueError(f"{len(firsts)} texts but {len(seconds)} pairs: give one pair for each text")
        # Texts are read as ids, or as pieces, which are ids with offsets.
        read: Callable[[Sequence[str]], Iterable[list[Any]]] = self.ids_of_many
        template: Template[Any] = self.template
        if offsets:
            read, template = lambda some: map(self.pieces_of, some), template.map(without_place)
        # Truncated, and laid end to end.
        tokens: list[Any] = []
        lengths: list[int] = []  # of first and second text in turn
        truncated: list[bool] = []
        whole_lengths: list[int] = []
        others = repeat(None, len(firsts)) if seconds is None else read(seconds)
        for whole, its_pair in zip(read(firsts), others, strict=True):
            first, second, shortened = truncate(whole, its_pair, max_length, truncation, added)
            template.lay(tokens, first, second)
            lengths += (len(first), len(second or ()))
            truncated.append(shortened)
            whole_lengths.append(len(whole) + len(its_pair or ()) + added)
        # As arrays.
        by_type = np.array(lengths, dtype=np.int64).reshape(-1, 2) + template.added_by_type(paired)  # (B, 2)
        numbers = np.array(tokens, dtype=np.int64).reshape(-1, 3 if offsets else 1)
        return EncodedBatch(
            ids=np.ascontiguousarray(numbers[:, 0]),
            type_ids=np.repeat(np.tile(np.array([0, template.second_type]), len(by_type)), by_type.ravel()),
            boundaries=np.concatenate([np.zeros(1, dtype=np.int64), by_type.sum(axis=1).cumsum()]),
            truncated=np.array(truncated, dtype=bool),
            offsets=numbers[:, 1:] if offsets else None,
            special_ids=self.template.special,
            whole=np.array(whole_lengths, dtype=np.int64),
        )

    def tokens_of(self, text: str, special_tokens: bool = False) -> list[Piece]:
        """Text → ids with offsets."""
        if not isinstance(text, str):
            raise TypeError(f"a text must be a str, not a {type(text).__name__} ({text!r})")
        tokens: list[Piece] = []
        for start, part, special_id in self.parts(text, special_tokens):
            read = self.pieces_after if start else self.pieces_of
            pieces = read(part) if special_id is None else [Piece(special_id, 0, len(part))]
            tokens += (Piece(i, start + begin, start + end) for i, begin, end in pieces) if start else pieces
        return tokens

    def ids_of(self, text: str) -> list[int]:
        return next(iter(self.ids_of_many([text])))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Ids → text, normalized. IndexError for an id outside the vocabulary."""
        skipped = set(self.special_ids.values()) if skip_special_tokens else set()
        tokens = []
        for i in ids:
            if not 0 <= i < len(self.vocabulary):
                raise IndexError(f"id {i} is not in the vocabulary: its ids are 0 to {len(self.vocabulary) - 1}")
            if i not in skipped:
                tokens.append(self.vocabulary[i])
        return self.joined(tokens)

    def normalised(self, text: str, special_tokens: bool = False) -> str:
        """The normalized text, with special tokens as they are."""
        parts = self.parts(text, special_tokens)
        return "".join(self.normal_form(part) if special_id is None else part for _, part, special_id in parts)

    def words(self, text: str, special_tokens: bool = False) -> Iterator[Word]:
        """The words of a text; a special token is a word."""
        for start, part, special_id in self.parts(text, special_tokens):
            words = self.words_of(part) if special_id is None else [Word(part, (0, len(part)), "", [part])]
            for word in words:
                yield replace(word, span=(start + word.span[0], start + word.span[1]))

    def parts(self, text: str, special_tokens: bool) -> Iterator[tuple[int, str, int | None]]:
        """(start, part, special token's id or None) of the special tokens and of the stretches between them."""
        return split_at(self.special_ids if special_tokens else {}, text)

    # --- what a kind brings; texts are plain text here -----------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_pretrained(cls, folder: str | Path) -> "Tokenizer":
        """From a model's local folder; errors name the file."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write what `from_pretrained` reads."""

    @abstractmethod
    def pieces_of(self, text: str) -> list[Piece]:
        """Text → ids with offsets."""

    def pieces_after(self, text: str) -> list[Piece]:
        """`pieces_of` a text that stands after a special token; overridden by a kind that reads it otherwise."""
        return self.pieces_of(text)

    def ids_of_many(self, texts: Sequence[str]) -> Iterable[list[int]]:
        """The ids of `pieces_of` for each text; overridden by a kind that is faster without offsets."""
        return ([piece.id for piece in self.pieces_of(text)] for text in texts)

    @abstractmethod
    def continues(self) -> np.ndarray:
        """(V,) bool, which tokens continue the word of the token before them; special tokens do not count."""

    @abstractmethod
    def joined(self, tokens: Iterable[str]) -> str:
        """Tokens → text."""

    @abstractmethod
    def normal_form(self, text: str) -> str:
        """The normalized text."""

    @abstractmethod
    def words_of(self, text: str) -> Iterable[Word]:
        """The words of a text."""


def split_at(tokens: Mapping[str, int], text: str) -> Iterator[tuple[int, str, int | None]]:
    """(start, part, id or None) of the tokens in a text, of several at a place the longest, and of what is between."""
    start = 0
    expression = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
    for part in re.split(f"({expression})", text) if tokens else [text]:
        yield start, part, tokens.get(part)
        start += len(part)


def without_place(token_id: int) -> Piece:
    """A special token: it stands for no stretch of the text."""
    return Piece(token_id, 0, 0)


def list_of_texts(name: str, texts: Iterable[str], first: int = 0) -> list[str]:
    """TypeError where it is none; `first` is the number of the first of them."""
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts, not one text ({texts[:20]!r}…)")
    listed = list(texts)
    for i, text in enumerate(listed, start=first):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] must be a str, not a {type(text).__name__} ({text!r})")
    return listed
