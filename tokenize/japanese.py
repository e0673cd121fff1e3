"""The tokenizer of Japanese BERTs, and of BERT itself: words, then WordPiece or characters.

1. `words.py` normalizes the text (`normalize.py`) and splits it into words:  サ店でｺｰﾋｰ → サ店 で コーヒー
2. `wordpiece.py` splits every word into pieces of the vocabulary:  サ ##店 で コーヒー
3. `encoding.py` truncates what is too long for the model; `template.py` puts [CLS] and [SEP] around it.

Its ids equal those of transformers' BertJapaneseTokenizer and BertTokenizer.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np

from .encoding import Piece
from .settings import BERT, CLASSES, SPECIAL_TOKENS, Settings, read_object
from .template import Template
from .tokenizer import Tokenizer, Word
from .vocabulary import read_vocabulary, word_splitter, write_vocabulary
from .wordpiece import CONTINUES, TEXT_END, WordIds, character_ids, characters, wordpiece, wordpiece_ids
from .words import MecabWords

TEXTS_AT_ONCE = 1024  # that MeCab reads before their words are looked up: both keep to the processor's cache
KANA = re.compile("[ぁ-ゖァ-ヺ]")


class JapaneseTokenizer(Tokenizer):
    """A vocabulary with the settings to use it by."""

    files: ClassVar[Mapping[str, str]] = {"vocab.txt": "no WordPiece model"}

    def __init__(self, vocabulary: Sequence[str], settings: Settings | None = None) -> None:
        self.settings = settings = settings or Settings()
        special_tokens = dict(zip(SPECIAL_TOKENS, settings.special_tokens, strict=True))
        template = Template((settings.cls_token,), (settings.sep_token,), (settings.sep_token,), second_type=1)
        super().__init__(vocabulary, special_tokens, template, settings.model_max_length)
        self.cls_id, self.sep_id = self.special_ids[settings.cls_token], self.special_ids[settings.sep_token]
        self.split = word_splitter(self.settings)
        by_wordpiece = self.settings.subword_tokenizer_type == "wordpiece"
        to_pieces, to_ids = (wordpiece, wordpiece_ids) if by_wordpiece else (characters, character_ids)
        self.pieces_of_word = partial(to_pieces, ids=self.piece_ids, unknown=self.unk_id)
        self.word_ids = WordIds(partial(to_ids, ids=self.piece_ids, unknown=self.unk_id))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "JapaneseTokenizer":
        """From vocab.txt, and tokenizer_config.json where there is one.

        ValueError for settings that are not supported, ModuleNotFoundError for a dictionary that is not installed.
        """
        folder = Path(folder)
        vocabulary = read_vocabulary(folder / "vocab.txt")
        settings, notes = Settings.of_folder(folder)
        try:
            tokenizer = cls(vocabulary, settings)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        tokenizer.notes = notes + unsaid(folder, vocabulary, settings)
        return tokenizer

    def save(self, folder: str | Path) -> None:
        """Write vocab.txt and tokenizer_config.json, for `from_pretrained` here and in transformers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = json.dumps(self.settings.as_json(), ensure_ascii=False, indent=2)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as aside:  # the files appear whole or not at all
            write_vocabulary(Path(aside, "vocab.txt"), self.vocabulary)
            Path(aside, "tokenizer_config.json").write_text(written + "\n", encoding="utf-8")
            for file in sorted(Path(aside).iterdir()):
                file.replace(folder / file.name)

    def pieces_of(self, text: str) -> list[Piece]:
        pieces = []
        for word in self.split.aligned(text):
            for piece in self.pieces_of_word(word.text):
                start, end = word.span(piece.start, piece.end)
                pieces.append(Piece(piece.id, start, end))
        return pieces

    def ids_of_many(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            if isinstance(self.split, MecabWords):
                words = self.split.of_many(some)
            else:
                words = [word for text in some for word in (*self.split(text), "")]
            ids = list(chain.from_iterable(map(self.word_ids.__getitem__, words)))
            begin = 0  # of the next text: each ends with a TEXT_END
            for end in np.flatnonzero(np.array(ids) == TEXT_END).tolist():
                yield ids[begin:end]
                begin = end + 1

    def continues(self) -> np.ndarray:
        return np.array([token.startswith(CONTINUES) for token in self.vocabulary])

    def joined(self, tokens: Iterable[str]) -> str:
        """これ は テスト です 。, as transformers' `convert_tokens_to_string`."""
        return " ".join(tokens).replace(f" {CONTINUES}", "").strip()

    def normal_form(self, text: str) -> str:
        return self.split.normal(text)

    def words_of(self, text: str) -> Iterator[Word]:
        for word, part_of_speech in self.split.tagged(text):
            pieces = [self.vocabulary[piece.id] for piece in self.pieces_of_word(word.text)]
            yield Word(word.text, word.span(0, len(word.text)), part_of_speech, pieces)


def unsaid(folder: Path, vocabulary: Sequence[str], settings: Settings) -> list[str]:
    """A note where a Japanese vocabulary is read without MeCab and no setting asks for that."""
    path = folder / "tokenizer_config.json"
    given = read_object(path)
    asked = given.get("word_tokenizer_type") or CLASSES.get(str(given.get("tokenizer_class"))) == BERT
    # In the vocabularies of English and Chinese BERTs kana are below one token in a hundred.
    kana = sum(KANA.search(token) is not None for token in vocabulary)
    if asked or not settings.do_word_tokenize or settings.word_tokenizer_type == "mecab" or kana < len(vocabulary) / 50:
        return []
    stripped = settings.tokenizer_class == BERT and (settings.strip_accents or settings.do_lower_case)
    return [
        (
            f"{path} does not say how words are split, and the vocabulary is Japanese: texts are split at spaces and "
            f"marks, without MeCab{', and が becomes か' if stripped else ''}; for MeCab write there "
            '{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}'
        )
    ]
