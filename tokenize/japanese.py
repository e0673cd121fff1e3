"""The tokenizer: text → ids and back, with the places of the tokens in the text.

One sentence's way, from characters to ids:

1. `words.py` puts it into a normal form (`normalize.py`) and parts it into words:  サ店でｺｰﾋｰ → サ店 で コーヒー
2. `wordpiece.py` cuts every word into pieces that the vocabulary has:  サ ##店 で コーヒー
3. `encoding.py` cuts what is too long for the model; [CLS] and [SEP] are put around it here.

Ids are those of transformers' BertJapaneseTokenizer and BertTokenizer, which the tests hold it against.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from .encoding import EncodedBatch, Encoding, check_truncation, truncate
from .settings import SPECIAL_TOKENS, Settings
from .vocabulary import read_vocabulary, word_splitter, write_vocabulary
from .wordpiece import TEXT_END, Piece, WordIds, character_ids, characters, wordpiece, wordpiece_ids
from .words import MecabWords

TEXTS_AT_ONCE = 1024  # MeCab's turn in a batch


class JapaneseTokenizer:
    """A vocabulary with the settings to use it by; can be pickled, and used in worker processes.

    vocabulary: the tokens; a token's id is its place. Raises ValueError when a special token is not among them.
    notes: what had to be assumed about the settings, a sentence each, for a report on loading.
    """

    def __init__(self, vocabulary: Sequence[str], settings: Settings | None = None) -> None:
        self.vocabulary = list(vocabulary)
        self.settings = settings or Settings()
        self.notes: list[str] = []
        ids = {token: i for i, token in enumerate(self.vocabulary)}
        for name in SPECIAL_TOKENS:
            token = getattr(self.settings, name)
            if token not in ids:
                raise ValueError(
                    f"the vocabulary of {len(ids)} tokens has no {token!r}: add it, or name the {name} that it has "
                    "in tokenizer_config.json"
                )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[token] for token in self.settings.special_tokens
        )
        # Taken out of the pieces that words are cut into: a text may say [SEP], but it cannot mean it.
        self.special_ids = {token: ids.pop(token) for token in dict.fromkeys(self.settings.special_tokens)}
        self.split = word_splitter(self.settings)
        by_wordpiece = self.settings.subword_tokenizer_type == "wordpiece"
        cut, cut_to_ids = (wordpiece, wordpiece_ids) if by_wordpiece else (characters, character_ids)
        self.pieces = partial(cut, ids=ids, unknown=self.unk_id)
        self.word_ids = WordIds(partial(cut_to_ids, ids=ids, unknown=self.unk_id))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "JapaneseTokenizer":
        """From a model's local folder: vocab.txt, and tokenizer_config.json where there is one.

        Raises FileNotFoundError without a vocabulary, ValueError for broken files and for settings that cannot be
        honoured, ModuleNotFoundError for a MeCab dictionary that is not installed.
        """
        folder = Path(folder)
        vocabulary = read_vocabulary(folder / "vocab.txt")
        settings, notes = Settings.of_folder(folder)
        try:
            tokenizer = cls(vocabulary, settings)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        tokenizer.notes = notes
        return tokenizer

    def save(self, folder: str | Path) -> None:
        """Write vocab.txt and tokenizer_config.json, for `from_pretrained` here and in transformers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_vocabulary(folder / "vocab.txt", self.vocabulary)
        written = json.dumps(self.settings.as_json(), ensure_ascii=False, indent=2)
        (folder / "tokenizer_config.json").write_text(written + "\n", encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @property
    def model_max_length(self) -> int | None:
        """The most tokens that the model takes, None where the settings do not say."""
        return self.settings.model_max_length

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without [CLS] and [SEP]; special tokens in it are plain text."""
        return [self.vocabulary[token.id] for token in self.tokens_of(text)]

    def encode(
        self,
        text: str,
        pair: str | None = None,
        max_length: int | None = None,
        truncation: str = "longest_first",
        special_tokens: bool = False,
    ) -> Encoding:
        """One text, or a pair, with the place of each token in it.

        max_length: the most tokens, special tokens counted; None for no limit.
        truncation: longest_first, only_first, only_second or head_tail (see `encoding.truncate`).
        special_tokens: whether "[MASK]" and the like in the text mean those tokens; otherwise they are plain text.

        Raises ValueError for a max_length that cannot be reached, TypeError for a text that is not a str.
        """
        check_truncation(truncation, pair is not None, max_length)
        first = self.tokens_of(text, special_tokens)
        second = None if pair is None else self.tokens_of(pair, special_tokens)
        first, second, truncated = truncate(first, second, max_length, truncation)
        tokens = [Piece(self.cls_id, 0, 0), *first, Piece(self.sep_id, 0, 0)]
        type_ids = [0] * len(tokens)
        if second is not None:
            tokens += [*second, Piece(self.sep_id, 0, 0)]
            type_ids += [1] * (len(second) + 1)
        return Encoding(
            ids=[token.id for token in tokens],
            type_ids=type_ids,
            tokens=[self.vocabulary[token.id] for token in tokens],
            offsets=[(token.start, token.end) for token in tokens],
            truncated=truncated,
        )

    def tokens_of(self, text: str, special_tokens: bool = False) -> list[Piece]:
        """Ids with the span of the text that each covers."""
        if not isinstance(text, str):
            raise TypeError(f"a text must be a str, not a {type(text).__name__} ({text!r})")
        if not special_tokens:
            return self.plain_tokens(text, 0)
        tokens: list[Piece] = []
        start = 0
        for part in re.split("(" + "|".join(map(re.escape, self.special_ids)) + ")", text):
            if part in self.special_ids:
                tokens.append(Piece(self.special_ids[part], start, start + len(part)))
            else:
                tokens += self.plain_tokens(part, start)
            start += len(part)
        return tokens

    def plain_tokens(self, text: str, before: int) -> list[Piece]:
        """Tokens of a stretch of text that has `before` characters before it."""
        tokens = []
        for word in self.split.aligned(text):
            for piece in self.pieces(word.text):
                start, end = word.span(piece.start, piece.end)
                tokens.append(Piece(piece.id, before + start, before + end))
        return tokens

    def encode_batch(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        max_length: int | None = None,
        truncation: str = "longest_first",
    ) -> EncodedBatch:
        """The same ids as `encode`, for many texts at once and without offsets: several times faster.

        texts: B of them, each with its pair from `pairs` where those are given. Special tokens are plain text.

        Raises ValueError for a max_length that cannot be reached and when there are more pairs or fewer, TypeError
        for a text that is not a str.
        """
        check_truncation(truncation, pairs is not None, max_length)
        firsts = list_of_texts("texts", texts)
        seconds = None if pairs is None else list_of_texts("pairs", pairs)
        if seconds is not None and len(seconds) != len(firsts):
            raise ValueError(f"{len(firsts)} texts but {len(seconds)} pairs: give one pair for each text")
        ids: list[int] = []
        lengths: list[int] = []  # of first and second segment in turn, special tokens counted
        truncated: list[bool] = []
        others = repeat(None, len(firsts)) if seconds is None else self.ids_of_many(seconds)
        for whole, its_pair in zip(self.ids_of_many(firsts), others, strict=True):
            first, second, cut = truncate(whole, its_pair, max_length, truncation)
            ids.append(self.cls_id)
            ids += first
            ids.append(self.sep_id)
            if second is not None:
                ids += second
                ids.append(self.sep_id)
            lengths += (len(first) + 2, 0 if second is None else len(second) + 1)
            truncated.append(cut)
        by_segment = np.array(lengths, dtype=np.int64).reshape(-1, 2)
        return EncodedBatch(
            ids=np.array(ids, dtype=np.int64),
            type_ids=np.repeat(np.tile(np.array([0, 1]), len(by_segment)), by_segment.ravel()),
            boundaries=np.concatenate([np.zeros(1, dtype=np.int64), by_segment.sum(axis=1).cumsum()]),
            truncated=np.array(truncated, dtype=bool),
        )

    def ids_of(self, text: str) -> list[int]:
        """The ids of `tokens_of`, without places."""
        return list(chain.from_iterable(map(self.word_ids.__getitem__, self.split(text))))

    def ids_of_many(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The ids of each text, as `ids_of` gives them.

        First MeCab reads many texts, then all their words are looked up: turn and turn about, each would find the
        processor's cache filled by the other.
        """
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            if isinstance(self.split, MecabWords):
                words = self.split.of_many(some)
            else:
                words = [word for text in some for word in (*self.split(text), "")]
            ids = list(chain.from_iterable(map(self.word_ids.__getitem__, words)))
            begin = 0
            for end in np.flatnonzero(np.array(ids) == TEXT_END).tolist():
                yield ids[begin:end]
                begin = end + 1

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The tokens as a text. Japanese comes back with spaces between its words: これ は テスト です 。

        What normalization changed stays changed, and unknown words are [UNK]. The form is that of transformers'
        `convert_tokens_to_string`. Raises IndexError for an id that is not in the vocabulary.
        """
        skipped = set(self.special_ids.values()) if skip_special_tokens else set()
        tokens = []
        for i in ids:
            if not 0 <= i < len(self.vocabulary):
                raise IndexError(f"id {i} is not in the vocabulary: its ids are 0 to {len(self.vocabulary) - 1}")
            if i not in skipped:
                tokens.append(self.vocabulary[i])
        return " ".join(tokens).replace(" ##", "").strip()


def list_of_texts(name: str, texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts, not one text ({texts[:20]!r}…)")
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] must be a str, not a {type(text).__name__} ({text!r})")
    return listed
