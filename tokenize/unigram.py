"""The tokenizer of XLM-R, of the Japanese RoBERTas and of LUKE: SentencePiece's unigram model.

1. Steps normalize the text (`charsmap.py`, `steps.py`):  ｺｰﾋｰ を → ▁コーヒー▁を, where ▁ stands for a space
2. `pieces.py` cuts it into the likeliest pieces:  ▁コーヒー ▁を
3. `encoding.py` truncates what is too long for the model; `template.py` puts <s> and </s> around it.

It is read from SentencePiece's own file (`model_file.py`), and its ids are those of SentencePiece; or from
`tokenizer.json` (`tokenizer_json.py`), and its ids are those of the library `tokenizers`, which differ for rare texts.
Kudo & Richardson 2018, "SentencePiece", arXiv:1808.06226.
"""

import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from .encoding import Piece
from .model_file import of_model
from .normalize import Aligned
from .pieces import Cut, Unigram
from .recipe import Recipe
from .settings import read_object
from .steps import BLANK, WHITE
from .template import Template
from .tokenizer import Tokenizer, Word, split_at
from .tokenizer_json import number_of, of_json
from .unigram_settings import FILES, WANTED, Settings
from .words import LONE_SURROGATE

TEXTS_AT_ONCE = 1024  # so that what they become keeps to the processor's cache
BYTE = re.compile("<0x([0-9A-F]{2})>")
# Letters of scripts that put spaces between words: a piece that begins with one goes on with the word before it.
SPACED = re.compile("[A-Za-z\u00aa-\u0dff\u10a0-\u10ff\u1200-\u137f\u1e00-\u1fff\uac00-\ud7a3]")


class UnigramTokenizer(Tokenizer):
    """special_tokens: by name; template: where they stand (see `Tokenizer`).

    written: the files that it was read from, which `save` writes again.
    """

    files: ClassVar[Mapping[str, str]] = {" or ".join(FILES): "no SentencePiece model"}

    def __init__(
        self,
        recipe: Recipe,
        special_tokens: Mapping[str, str],
        template: Template[str],
        model_max_length: int | None = None,
        written: Mapping[str, bytes] | None = None,
    ) -> None:
        lacking = [name for name in WANTED if name not in special_tokens]
        if lacking:
            raise ValueError(f"no {' and no '.join(lacking)} is named: name it in tokenizer_config.json")
        if not all(map(math.isfinite, [*recipe.scores.values(), recipe.unknown])):
            raise ValueError("a piece's score is not a number")
        super().__init__(recipe.vocabulary, special_tokens, template, model_max_length)
        self.recipe = recipe
        self.written = dict(written or {})
        self.files = {name: "no SentencePiece model" for name in self.written} or type(self).files  # type: ignore[misc]
        scores = {piece: score for piece, score in recipe.scores.items() if piece not in self.special_ids}
        self.unigram = Unigram(scores, recipe.unknown, recipe.sums)
        self.cut_out = {token: self.piece_ids[token] for token in recipe.cut_out if token not in self.special_ids}
        self.joins = recipe.joins or not recipe.byte_fallback
        self.bytes = [self.piece_ids.get(f"<0x{byte:02X}>", self.unk_id) for byte in range(256)]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "UnigramTokenizer":
        """From tokenizer.json, or else a .model, with tokenizer_config.json.

        FileNotFoundError where there is neither; ValueError, naming the file, for what is broken or not supported.
        """
        folder = Path(folder)
        path = next((folder / name for name in FILES if (folder / name).is_file()), None)
        if path is None:
            raise FileNotFoundError(f"no tokenizer in {folder}: it has none of {', '.join(FILES)}")
        settings = Settings.of_folder(folder)
        content = path.read_bytes()
        as_object = read_object(path, number_of) if path.suffix == ".json" else {}
        try:
            read = of_json(as_object, settings) if path.suffix == ".json" else of_model(content, settings)
            if lost := sorted(settings.plain - {*read.special_tokens.values(), *read.recipe.cut_out}):
                raise ValueError(
                    f"the added token {lost[0]!r} is not special, and such ones are read from the added_tokens of a "
                    "tokenizer.json alone: write it there, or among additional_special_tokens"
                )
            written = {path.name: content, "tokenizer_config.json": settings.as_json(read.special_tokens)}
            tokenizer = cls(read.recipe, read.special_tokens, read.template, settings.model_max_length, written)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        tokenizer.notes = settings.notes
        return tokenizer

    def save(self, folder: str | Path) -> None:
        """Write the files that it was read from, for `from_pretrained` here and in transformers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as aside:  # the files appear whole or not at all
            for name, content in self.written.items():
                Path(aside, name).write_bytes(content)
            for file in sorted(Path(aside).iterdir()):
                file.replace(folder / file.name)

    # --- text → ids ----------------------------------------------------------------------------------------------

    def normal(self, text: str) -> str:
        text = LONE_SURROGATE.sub("\ufffd", text)
        for step in self.recipe.steps:
            text = step.text(text)
        return text

    def aligned(self, text: str) -> Aligned:
        whole = Aligned.of(LONE_SURROGATE.sub("\ufffd", text))
        for step in self.recipe.steps:
            whole = step.aligned(whole)
        return whole

    def parts(self, text: str, special_tokens: bool) -> Iterator[tuple[int, str, int | None]]:
        found = list(super().parts(text, special_tokens))
        for (start, part, token), (_, following, _) in pairwise([*found, (0, "", None)]):
            stripped = token is None and following in self.recipe.strips_left
            yield start, part.rstrip(WHITE) if stripped else part, token

    def words_with_pieces(self, text: str, first: bool = True) -> Iterator[tuple[int, Aligned, list[Piece]]]:
        """Where the part of the text begins that a word counts its places from; the word, and its pieces."""
        for start, part, token in split_at(self.cut_out, text):
            if token is not None:
                yield start, Aligned.of(part), [Piece(token, 0, len(part))]
                continue
            for word in self.recipe.words.of(self.aligned(part), first and not start):
                yield start, word, self.pieces_of_word(word.text)

    def texts_of_words(self, text: str) -> list[str]:
        """The words alone, for which no places are kept, unless the text's first character may have been dropped."""
        normal = self.normal(text)
        if self.recipe.words.blank == "first" and normal[:1] != text[:1]:
            return [word.text for word in self.recipe.words.of(self.aligned(text))]
        return self.recipe.words.of_text(normal)

    def pieces_of(self, text: str) -> list[Piece]:
        return self.placed(text, first=True)

    def pieces_after(self, text: str) -> list[Piece]:
        return self.placed(text, first=False)

    def placed(self, text: str, first: bool) -> list[Piece]:
        pieces = []
        for start, word, found in self.words_with_pieces(text, first):
            for token_id, begin, end in found:
                a, b = word.span(begin, end)
                pieces.append(Piece(token_id, start + a, start + b))
        return pieces

    def pieces_of_word(self, word: str) -> list[Piece]:
        return self.pieces_of_cut(word, self.unigram.cut(word))

    def pieces_of_cut(self, word: str, cut: Cut) -> list[Piece]:
        """Neighbouring unknown characters are one unknown piece, or the pieces of their bytes."""
        pieces: list[Piece] = []
        for begin, end in zip(cut.places, cut.places[1:], strict=False):
            found = word[begin:end]
            if found in self.unigram.scores:
                pieces.append(Piece(self.piece_ids[found], begin, end))
            elif self.joins and pieces and pieces[-1].id == self.unk_id:
                pieces[-1] = pieces[-1]._replace(end=end)
            else:
                pieces.append(Piece(self.unk_id, begin, end))
        return (
            [byte for piece in pieces for byte in self.as_bytes(word, piece)] if self.recipe.byte_fallback else pieces
        )

    def ids_of_cut(self, word: str, cut: Cut) -> tuple[int, ...]:
        return tuple(piece.id for piece in self.pieces_of_cut(word, cut))

    def as_bytes(self, word: str, piece: Piece) -> list[Piece]:
        """An unknown piece as those of its bytes, where the vocabulary has all; each has the place of the whole."""
        ids = [self.bytes[byte] for byte in word[piece.start : piece.end].encode("utf-8")]
        if piece.id != self.unk_id or self.unk_id in ids:
            return [piece]
        return [piece._replace(id=byte) for byte in ids]

    def ids_of_many(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            words = [self.texts_of_words(text) for text in some]
            for text, of_text, ids in zip(some, words, self.unigram.cut_many(words, self.ids_of_cut), strict=True):
                if self.cut_out and any(token in text for token in self.cut_out):
                    yield [piece.id for piece in self.pieces_of(text)]
                # Rounding may decide, or neighbouring unknown pieces be one.
                elif ids is None or ids.count(self.unk_id) > (0 if self.recipe.byte_fallback else 1):
                    yield [piece.id for word in of_text for piece in self.pieces_of_word(word)]
                else:
                    yield ids

    # --- and back ------------------------------------------------------------------------------------------------

    def continues(self) -> np.ndarray:
        """A piece without ▁ goes on where it is a byte, or begins with a letter of a script that has spaces.

        Japanese has none, and pieces of kana and kanji are words, or nearly.
        """
        return np.array(
            [SPACED.match(token) is not None or BYTE.fullmatch(token) is not None for token in self.vocabulary]
        )

    def joined(self, tokens: Iterable[str]) -> str:
        """駅 から 近い。, as SentencePiece decodes: ▁ becomes a space, and bytes the characters that they make up."""
        parts: list[str] = []
        run = bytearray()
        for token in [*tokens, ""]:
            byte = BYTE.fullmatch(token)
            if byte and self.recipe.byte_fallback:
                run.append(int(byte[1], 16))
                continue
            parts += (run.decode("utf-8", errors="replace"), token)
            run.clear()
        return "".join(parts).replace(BLANK, " ").strip()

    def normal_form(self, text: str) -> str:
        return self.normal(text).replace(BLANK, " ").strip()

    def words_of(self, text: str) -> Iterator[Word]:
        """What begins with ▁ and goes on to the next: for Japanese mostly a whole text."""
        for start, word, pieces in self.words_with_pieces(text):
            begins = [i for i, piece in enumerate(pieces) if not i or word.text.startswith(BLANK, piece.start)]
            for first, last in zip(begins, [*begins[1:], len(pieces)], strict=True):
                begin, end = pieces[first].start, pieces[last - 1].end
                a, b = word.span(begin, end)
                inside = word.text[begin:end].removeprefix(BLANK) or BLANK
                yield Word(inside, (start + a, start + b), "", [self.vocabulary[i] for i, _, _ in pieces[first:last]])
