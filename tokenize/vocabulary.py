"""The vocabulary, in which a token's id is its place: read, written, or made from texts.

`vocab.txt` (google-research/bert) has one token a line, in UTF-8.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .settings import JAPANESE, Settings
from .wordpiece import CONTINUES, LONGEST_WORD
from .words import BasicWords, MecabWords, WholeText


def read_vocabulary(path: Path) -> list[str]:
    """Raises FileNotFoundError, ValueError (not UTF-8)."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no vocabulary at {path}: give the folder of a BERT with a vocab.txt (a tokenizer.json alone will not do)"
        )
    try:
        with path.open(encoding="utf-8") as lines:
            return [line.rstrip("\n") for line in lines]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error


def write_vocabulary(path: Path, vocabulary: list[str]) -> None:
    for number, token in enumerate(vocabulary):
        if "\n" in token or "\r" in token:
            raise ValueError(f"token {number}, {token!r}, holds a line break and cannot be a line of {path}")
    path.write_text("".join(token + "\n" for token in vocabulary), encoding="utf-8", newline="\n")


def word_splitter(settings: Settings) -> MecabWords | BasicWords | WholeText:
    """What splits a text into words under these settings."""
    if not settings.do_word_tokenize:
        return WholeText()
    if settings.word_tokenizer_type == "mecab":
        return MecabWords(
            settings.mecab_dic, settings.mecab_option, normalize=settings.normalize_text, lower=settings.do_lower_case
        )
    return BasicWords(
        lower=settings.do_lower_case,
        strip_accents=settings.strip_accents,
        chinese_chars=settings.tokenize_chinese_chars,
        compose=settings.tokenizer_class == JAPANESE,
    )


def vocabulary_of(texts: Iterable[str], settings: Settings | None = None, least: int = 2) -> list[str]:
    """A vocabulary for training from scratch, whatever the order of the texts.

    The special tokens; every character, alone and (for WordPiece) with ## before it; and for WordPiece the words seen
    at least `least` times, the most frequent first.
    """
    settings = settings or Settings()
    split = word_splitter(settings)
    counts = Counter(run for text in texts for word in split(text) for run in word.split())
    characters = sorted({character for word in counts for character in word})
    vocabulary = [*settings.special_tokens, *characters]
    if settings.subword_tokenizer_type == "wordpiece":
        vocabulary += [CONTINUES + character for character in characters]
        frequent = [word for word, count in counts.items() if count >= least and len(word) <= LONGEST_WORD]
        vocabulary += sorted(frequent, key=lambda word: (-counts[word], word))
    return list(dict.fromkeys(vocabulary))
