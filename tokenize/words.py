"""Text → words: 分かち書き (putting spaces between the words of Japanese) by MeCab, or splitting at spaces and marks.

Each splitter is called with a text and gives its words; `aligned` gives the same words with their offsets, `tagged`
these with their part of speech (品詞), and `normal` the normalized text.

- MecabWords: the lattice of dictionary words with the cheapest path through it (Kudo, Yamamoto & Matsumoto 2004,
  "Applying Conditional Random Fields to Japanese Morphological Analysis"); the tokenizer of the Tohoku BERTs.
- BasicWords: the first half of BERT's own tokenizer (Devlin et al. 2019, arXiv:1810.04805; `tokenization.py` of
  google-research/bert), for English and multilingual models.
- WholeText: no splitting, for `do_word_tokenize: false`.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import fugashi

from .dictionaries import checked_options, dictionary_options
from .normalize import Aligned, normalized

# What MeCab prints: each word, known or unknown, and ASCII's unit separator after it; after the last another one, and a
# full stop, because fugashi strips white space at the end.
WORD_END = "\x1f"
PRINTING = f'-O "" --bos-format= --node-format="%m{WORD_END}" --unk-format="%m{WORD_END}" --eos-format="{WORD_END}."'
LONGEST_TEXT = 50_000  # characters; MeCab's time grows with the square, and a million overflow its stack
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class MecabWords:
    """Words by MeCab, after NFKC.

    dictionary: unidic_lite, ipadic or unidic; None when `option` names one itself (`-d FOLDER`).
    option: further options on MeCab's command line, of those that `checked_options` allows.
    """

    def __init__(self, dictionary: str | None, option: str | None, normalize: bool, lower: bool) -> None:
        options = f"{dictionary_options(dictionary)} {checked_options(option or '')}"
        self.printing, self.spacing = f"{options} {PRINTING}", f"{options} -O wakati"
        self.by_nodes = bool(option)  # further options may change what MeCab prints
        self.normalize = normalize
        self.lower = lower

    @property
    def tagger(self) -> Any:
        return mecab(self.printing, threading.get_ident())

    @property
    def spacing_tagger(self) -> Any:
        """Prints the words with spaces between them, the fastest form."""
        return mecab(self.spacing, threading.get_ident())

    def __call__(self, text: str) -> list[str]:
        surfaces = self.surfaces(self.normal(text))
        return [surface.lower() for surface in surfaces] if self.lower else surfaces

    def of_many(self, texts: Sequence[str]) -> list[str]:
        """The words of many texts in one list, with an empty one after the last of each."""
        normal = [self.normal(text) for text in texts]
        if self.by_nodes or self.lower or any(WORD_END in text or len(text) > LONGEST_TEXT for text in normal):
            return [word for text in texts for word in (*self(text), "")]
        return "".join(map(self.printed, normal)).split(WORD_END)[:-1]

    def printed(self, text: str) -> str:
        """The text with a WORD_END after each word, and another after the last."""
        if " " in text or text[-1:].isspace():  # a space may be part of a word, and fugashi strips it at the end
            return self.tagger.parse(text)[:-1]
        spaced = self.spacing_tagger.parse(text)
        return (spaced.replace(" ", WORD_END) + WORD_END if spaced else "") + WORD_END

    def normal(self, text: str) -> str:
        text = writable(text)
        return normalized("NFKC", text) if self.normalize else text

    def aligned(self, text: str) -> list[Aligned]:
        whole = Aligned.of(writable(text))
        if self.normalize:
            whole = whole.normalize("NFKC")
        words = []
        cursor = 0
        for surface in self.surfaces(whole.text):
            # MeCab skips spaces between words but keeps the order, so the next occurrence is the word.
            start = whole.text.index(surface, cursor)
            cursor = start + len(surface)
            word = whole.part(start, cursor)
            words.append(word.lower() if self.lower else word)
        return words

    def tagged(self, text: str) -> list[tuple[Aligned, str]]:
        """品詞 is the first fields of MeCab's features, in unidic as in ipadic: 名詞-普通名詞-一般."""
        features = (features[:4] for _, features in self.nodes(self.normal(text)))
        kinds = ["-".join(field for field in fields if field and field != "*") for fields in features]
        return list(zip(self.aligned(text), kinds, strict=True))

    def nodes(self, text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The surface and the features of each of MeCab's nodes of a normalized text."""
        for start in range(0, len(text), LONGEST_TEXT):
            found = self.tagger(text[start : start + LONGEST_TEXT])
            # Read at once: MeCab writes the nodes of its next text over these.
            yield from [(node.surface, tuple(node.feature)) for node in found]

    def surfaces(self, text: str) -> list[str]:
        """The words as they stand in a normalized text."""
        if self.by_nodes or WORD_END in text or len(text) > LONGEST_TEXT:
            parts = (text[start : start + LONGEST_TEXT] for start in range(0, len(text), LONGEST_TEXT))
            return [node.surface for part in parts for node in self.tagger(part)]
        return self.tagger.parse(text).split(WORD_END)[:-2]  # the same, and nearly twice as fast


@cache
def mecab(options: str, thread: int) -> Any:
    """One for all tokenizers of a thread: fugashi frees none, and each maps the whole dictionary.

    Two threads cannot share one, as it writes the words of its next text over those of the last.
    """
    try:
        return fugashi.GenericTagger(options)
    except RuntimeError as error:
        raise ValueError(
            f"MeCab cannot start with {options.split(' -O ')[0].strip() or 'its own settings'}: name an installed "
            "dictionary as mecab_dic in tokenizer_config.json"
        ) from error


def writable(text: str) -> str:
    """`text` as a C program takes it, at the same length."""
    # A NUL ends a string in C: it becomes a space. Half of a surrogate pair has no UTF-8 form: it becomes U+FFFD.
    return LONE_SURROGATE.sub("\ufffd", text.replace("\0", " "))


class BasicWords:
    """Words by whitespace, with each punctuation mark (and, if asked, each Chinese character) a word of its own.

    strip_accents: drop combining marks, é → e; None means the same as `lower`.
    compose: join letters and marks first (NFC), and lower a final Σ to ς, as BertJapaneseTokenizer does.
    """

    def __init__(self, lower: bool, strip_accents: bool | None, chinese_chars: bool, compose: bool) -> None:
        self.lower = lower
        self.strip_accents = lower if strip_accents is None else strip_accents
        self.chinese_chars = chinese_chars
        self.compose = compose

    def __call__(self, text: str) -> list[str]:
        return [word.text for word in self.aligned(text)]

    def aligned(self, text: str) -> list[Aligned]:
        whole = self.cleaned(text)
        words = []
        start = 0  # of the word that is being read
        for i, character in enumerate(whole.text):
            space = character.isspace()
            if space or is_punctuation(character) or (self.chinese_chars and is_chinese(character)):
                if start < i:
                    words.append(whole.part(start, i))
                if not space:
                    words.append(whole.part(i, i + 1))
                start = i + 1
        if start < len(whole.text):
            words.append(whole.part(start, len(whole.text)))
        return words

    def tagged(self, text: str) -> list[tuple[Aligned, str]]:
        return [(word, "") for word in self.aligned(text)]

    def normal(self, text: str) -> str:
        return self.cleaned(text).text

    def cleaned(self, text: str) -> Aligned:
        whole = Aligned.of(text).keep(is_text)
        if self.compose:
            whole = whole.normalize("NFC")
        if self.strip_accents:
            whole = whole.normalize("NFD").keep(lambda character: unicodedata.category(character) != "Mn")
        if self.lower:
            if not self.compose:
                whole = Aligned(whole.text.replace("Σ", "σ"), whole.spans)  # which lower() could make ς
            whole = whole.lower()
        return whole


@lru_cache(maxsize=1 << 16)
def is_text(character: str) -> bool:
    """Whether BERT keeps it: not U+FFFD, no control or unassigned character."""
    return character in "\t\n\r" or (character != "\ufffd" and not unicodedata.category(character).startswith("C"))


@lru_cache(maxsize=1 << 16)
def is_punctuation(character: str) -> bool:
    """Punctuation by Unicode, and all ASCII marks ($, +, ^ and others are symbols in Unicode)."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")


@lru_cache(maxsize=1 << 16)
def is_chinese(character: str) -> bool:
    """In a block of CJK ideographs: kanji, but not kana or hangul."""
    return any(first <= ord(character) <= last for first, last in IDEOGRAPHS)


class WholeText:
    """The whole text as one word."""

    def __call__(self, text: str) -> list[str]:
        return [text] if text else []

    def aligned(self, text: str) -> list[Aligned]:
        return [Aligned.of(text)] if text else []

    def tagged(self, text: str) -> list[tuple[Aligned, str]]:
        return [(word, "") for word in self.aligned(text)]

    def normal(self, text: str) -> str:
        return text
