"""SentencePiece's `.model` file: a protocol buffer, of which a few fields are read by hand.

Fields and their numbers: `sentencepiece_model.proto` of google/sentencepiece. The encoding (a varint with number and
wire type before each field): https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .charsmap import CharacterMap
from .recipe import Read, Recipe, Words
from .steps import BLANK, Add, Lower, OneSpace, Outside, Replace, Step, Strip
from .unigram_settings import LAYOUTS, Settings, add_tokens

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of pieces
UNIGRAM = 1
UNKNOWN_PENALTY = 10.0  # an unknown character is less likely by so much than the least likely piece
MOST_EXTRA = 10_000
LARGEST = 0.1  # score of a piece, at the least
KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}  # of models


@dataclass(frozen=True)
class ModelFile:
    """What a unigram model says. Of the pieces, a piece's id is its place."""

    pieces: list[str]
    scores: list[float]  # log probabilities
    kinds: list[int]
    charsmap: bytes  # empty: nothing is normalized
    dummy_prefix: bool  # ▁ before the text
    remove_extra_blanks: bool
    escape_blanks: bool  # a blank becomes ▁
    blank_as_suffix: bool  # ▁ after words
    byte_fallback: bool  # an unknown character becomes the pieces of its UTF-8 bytes


def read_model(content: bytes) -> ModelFile:
    """Raises ValueError where it is broken or not a unigram model."""
    try:
        return parse(content)
    except (ValueError, IndexError, KeyError, struct.error, AttributeError, TypeError) as error:
        why = str(error) if type(error) is ValueError else "it is broken"
        raise ValueError(f"this is no unigram model of SentencePiece: {why}") from error


def parse(content: bytes) -> ModelFile:
    pieces: list[dict[int, Any]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in fields_of(content):
        if number == 1:
            pieces.append(dict(fields_of(value)))
        elif number == 2:
            trainer |= fields_of(value)
        elif number == 3:
            normalizer |= fields_of(value)
    if not pieces:
        raise ValueError("it has no pieces")
    kind = trainer.get(3, UNIGRAM)
    if kind != UNIGRAM:
        raise ValueError(f"it is of the kind {KINDS.get(kind, kind)!r}, and only 'unigram' is supported")
    return ModelFile(
        pieces=[piece[1].decode("utf-8") for piece in pieces],
        scores=[struct.unpack("<f", piece.get(2, bytes(4)))[0] for piece in pieces],
        kinds=[piece.get(3, NORMAL) for piece in pieces],
        charsmap=normalizer.get(2, b""),
        dummy_prefix=bool(normalizer.get(3, True)),
        remove_extra_blanks=bool(normalizer.get(4, True)),
        escape_blanks=bool(normalizer.get(5, True)),
        blank_as_suffix=bool(trainer.get(24, False)),
        byte_fallback=bool(trainer.get(35, False)),
    )


def fields_of(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an int, or the bytes of a float, a text or an inner message."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        wire, size = key & 7, 0
        if wire == 0:
            value, at = varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("it is no protocol buffer")
        if at + size > len(message):
            raise ValueError("its end is missing")
        yield key >> 3, message[at : at + size]
        at += size


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place, seven bits a byte, the lowest first; and the place after it."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def of_model(content: bytes, settings: Settings) -> Read:
    """The tokenizer of a `.model`; its special tokens, and where they stand, by the tokenizer's class."""
    model = read_model(content)
    layout = LAYOUTS.get(settings.tokenizer_class)
    if layout is None:
        raise ValueError(
            f"the ids of {settings.tokenizer_class} are read from a tokenizer.json only; a .model needs one of "
            f"{', '.join(LAYOUTS)} as tokenizer_class in tokenizer_config.json"
        )
    vocabulary = [*layout.first, *model.pieces[layout.dropped :], *layout.last]
    if settings.tokenizer_class == "T5Tokenizer":
        extra = settings.given.get("extra_ids")
        if extra is not None and not 0 <= extra <= MOST_EXTRA:
            raise ValueError(f"setting extra_ids = {extra} is not supported: only 0 to {MOST_EXTRA} are")
        vocabulary += [f"<extra_id_{i}>" for i in reversed(range(100 if extra is None else extra))]
    add_tokens(vocabulary, settings.added)
    special_tokens = settings.special_tokens(layout.special)
    recipe = Recipe(
        vocabulary,
        *scores_of(model),
        sums="f",
        steps=[*([Lower()] if settings.given.get("do_lower_case") else []), *steps_of(model)],
        words=Words(),
        byte_fallback=model.byte_fallback,
        joins=False,
    )
    if settings.tokenizer_class == "T5Tokenizer" and "cls_token" in special_tokens:
        settings.notes.append(
            f"{special_tokens['cls_token']} stands before each text, as the page of rinna's RoBERTa asks; the "
            "T5Tokenizer of transformers puts none there"
        )
    return Read(recipe, special_tokens, layout.template(special_tokens, settings.given))


def steps_of(model: ModelFile) -> list[Step]:
    """As `normalizer.cc` of google/sentencepiece.

    One difference: of a text that the character map drops as a whole, such as a lone control character, nothing is left
    here; there a ▁ is, unless extra blanks are removed at that end.
    """
    steps: list[Step] = []
    if model.charsmap:
        steps.append(CharacterMap(model.charsmap, graphemes=False))
        kept = [piece for piece, kind in zip(model.pieces, model.kinds, strict=True) if kind == USER_DEFINED]
        if kept and model.remove_extra_blanks and "  " in "".join(kept):
            raise ValueError("it removes extra blanks, and has a user's piece of several: that is not supported")
        if kept:
            steps = [Outside(steps[0], kept)]
    if model.remove_extra_blanks:
        steps += [Strip(right=False, characters=" "), OneSpace()]
    if model.dummy_prefix and not model.blank_as_suffix:
        steps.append(Add(" "))
    if model.escape_blanks:
        steps.append(Replace(" ", BLANK))
    blank = BLANK if model.escape_blanks else " "
    if model.remove_extra_blanks:
        steps.append(Strip(left=False, characters=blank))
    if model.dummy_prefix and model.blank_as_suffix:
        steps.append(Add(blank, behind=True))
    return steps


def scores_of(model: ModelFile) -> tuple[dict[str, float], float]:
    """Of the pieces that a text may have, and of an unknown character. As `unigram_model.cc`, in single precision."""
    found = list(zip(model.pieces, model.scores, model.kinds, strict=True))
    normal = [score for _, score, kind in found if kind == NORMAL]
    scores = {piece: score for piece, score, kind in found if kind == NORMAL}
    # A user's own piece is better than any other, so that it is always chosen, and a longer one is better yet.
    largest = max(LARGEST, *normal)
    for piece, _, kind in found:
        if kind == USER_DEFINED:
            scores[piece] = float(np.float32(len(piece.encode("utf-8")) * largest - 0.1))
    return scores, float(np.float32(min(normal, default=0.0)) - np.float32(UNKNOWN_PENALTY))
