"""`tokenizer_config.json`, read strictly and written back.

The names and defaults are those of transformers' BertJapaneseTokenizer and BertTokenizer. A setting that would change
the ids and is not supported here is an error that names it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

JAPANESE, BERT = "BertJapaneseTokenizer", "BertTokenizer"
CLASSES = {JAPANESE: JAPANESE, BERT: BERT, "BertTokenizerFast": BERT}  # tokenizer_class in files → the class meant
WORD_TOKENIZERS = ("mecab", "basic")
SUBWORD_TOKENIZERS = ("wordpiece", "character")
SPECIAL_TOKENS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")

# Which settings each class reads; transformers ignores the others, so they may stand in a file.
READ = {
    JAPANESE: ("do_lower_case", "do_word_tokenize", "word_tokenizer_type", "subword_tokenizer_type"),
    BERT: ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
}
MECAB = ("mecab_dic", "mecab_option", "normalize_text")

# Settings that are not supported, with the values that change nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "never_split": (None, []),
    "do_subword_tokenize": (None, True),
    "do_basic_tokenize": (None, True),
    "truncation_side": (None, "right"),
    "additional_special_tokens": (None, []),
    "extra_special_tokens": (None, [], {}),
}
TYPES: dict[str, Any] = {"mecab_kwargs": dict, "added_tokens_decoder": dict, "model_max_length": int | float}
# Models that were made with ipadic and do not say so: Tohoku's first.
TOHOKU = ("cl-tohoku", "tohoku-nlp")
KINDS = ("", "-whole-word-masking", "-char", "-char-whole-word-masking")
MADE_WITH_IPADIC = {f"bert-base-japanese{kind}" for kind in KINDS}
# Models whose files name no class, and what transformers takes for them.
OF_MODELS = {
    "albert": "AlbertTokenizer",
    "camembert": "CamembertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
UNLIMITED = 10**9  # transformers writes 10³⁰ for an unknown model_max_length


@dataclass(frozen=True)
class Settings:
    """Everything but the vocabulary. Without arguments: those of the Tohoku BERTs of version 2 and 3."""

    tokenizer_class: str = JAPANESE
    word_tokenizer_type: str = "mecab"  # or basic
    subword_tokenizer_type: str = "wordpiece"  # or character
    do_word_tokenize: bool = True
    do_lower_case: bool = False
    strip_accents: bool | None = None  # basic, BertTokenizer only; None: as do_lower_case
    tokenize_chinese_chars: bool = False  # basic, BertTokenizer only
    mecab_dic: str | None = "unidic_lite"
    mecab_option: str | None = None
    normalize_text: bool = True  # NFKC before MeCab
    pad_token: str = "[PAD]"
    unk_token: str = "[UNK]"
    cls_token: str = "[CLS]"
    sep_token: str = "[SEP]"
    mask_token: str = "[MASK]"
    model_max_length: int | None = None  # tokens

    def __post_init__(self) -> None:
        one_of("tokenizer_class", self.tokenizer_class, (JAPANESE, BERT))
        one_of("word_tokenizer_type", self.word_tokenizer_type, WORD_TOKENIZERS)
        one_of("subword_tokenizer_type", self.subword_tokenizer_type, SUBWORD_TOKENIZERS)
        types = self.word_tokenizer_type, self.subword_tokenizer_type
        if self.tokenizer_class == BERT and types != ("basic", "wordpiece"):
            raise ValueError(f"a {BERT} has word_tokenizer_type 'basic' and subword_tokenizer_type 'wordpiece' only")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, field.type):  # type: ignore[arg-type]  # a type here, not its name
                raise ValueError(f"tokenizer setting {field.name} is {value!r}, but must be {field.type}")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """[PAD], [UNK], [CLS], [SEP] and [MASK], by this model's names for them."""
        return tuple(getattr(self, name) for name in SPECIAL_TOKENS)

    @classmethod
    def of_folder(cls, folder: Path) -> tuple["Settings", list[str]]:
        """The settings of a model's folder, and a sentence for each thing that had to be assumed.

        ValueError for broken JSON, or a setting that is not supported; the message names the file.
        """
        # The class, named in a file or assumed.
        path = folder / "tokenizer_config.json"
        given = read_object(path)
        notes = []
        name = class_of(folder)
        if name is None:
            japanese = any(given.get(key) is not None for key in ("word_tokenizer_type", "mecab_kwargs"))
            name = JAPANESE if japanese else BERT
            found = "names no tokenizer_class" if given else "has no settings" if path.is_file() else "is missing"
            why = "as its other settings are those of one" if japanese else "with the defaults of transformers"
            notes.append(f"{path} {found}: assumed the tokenizer to be a {name}, {why}")
        # As in transformers, the older file for special tokens counts unless the newer one lists them all.
        if "added_tokens_decoder" not in given:
            given |= read_object(folder / "special_tokens_map.json")
        added_tokens = read_object(folder / "added_tokens.json")
        try:
            one_of("tokenizer_class", name, tuple(CLASSES))
            settings = cls.of_json(given | {"tokenizer_class": CLASSES[name]}, added_tokens)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
        # The dictionary, named there or assumed.
        by_mecab = settings.do_word_tokenize and settings.word_tokenizer_type == "mecab"
        if by_mecab and not names_dictionary(settings.mecab_option or ""):
            if settings.mecab_dic is None:
                notes.append(f"{path} names no MeCab dictionary: this machine's own is read, which may be another")
            elif "mecab_dic" not in (given.get("mecab_kwargs") or {}):
                owner, name = owner_and_name(folder)
                if name in MADE_WITH_IPADIC and owner in (None, *TOHOKU):
                    settings = replace(settings, mecab_dic="ipadic")
                    why = f"read with ipadic, with which Tohoku's {name} was made"
                else:
                    why = (
                        f"assumed {settings.mecab_dic}, the default of transformers; where the model was made with "
                        'another, write it there ("mecab_kwargs": {"mecab_dic": "ipadic"})'
                    )
                notes.append(f"{path} names no MeCab dictionary: {why}")
        return settings, notes

    @classmethod
    def of_json(cls, given: dict[str, Any], added_tokens: dict[str, Any]) -> "Settings":
        """From the contents of tokenizer_config.json (with its tokenizer_class) and added_tokens.json."""
        check(given, REFUSED, TYPES)
        # What the class reads, over its defaults in transformers.
        name = given["tokenizer_class"]
        values: dict[str, Any] = {"word_tokenizer_type": "basic"}
        if name == BERT:
            values |= {"do_lower_case": True, "tokenize_chinese_chars": True}
        values |= {key: given[key] for key in READ[name] if given.get(key) is not None}
        if values["word_tokenizer_type"] == "mecab":
            mecab = given.get("mecab_kwargs") or {}
            for key in mecab:
                if key not in MECAB:
                    raise ValueError(f"setting mecab_kwargs.{key} is not supported: only {', '.join(MECAB)} are")
            values |= mecab
        # The special tokens and the length.
        for key in SPECIAL_TOKENS:
            if given.get(key) is not None:
                values[key] = content(given[key])
        if (longest := longest_of(given)) is not None:
            values["model_max_length"] = longest
        settings = cls(tokenizer_class=name, **values)
        decoder = given.get("added_tokens_decoder") or {}
        for token in [*map(content, decoder.values()), *added_tokens]:
            if token not in settings.special_tokens:
                raise ValueError(f"added token {token!r} is not supported: only the five special tokens are")
        return settings

    def as_json(self) -> dict[str, Any]:
        """The contents of a tokenizer_config.json that transformers reads as the same tokenizer."""
        every = asdict(self)
        keys = ["tokenizer_class", *READ[self.tokenizer_class], *SPECIAL_TOKENS, "model_max_length"]
        written = {key: every[key] for key in keys if every[key] is not None}
        if self.word_tokenizer_type == "mecab":
            written["mecab_kwargs"] = {key: every[key] for key in MECAB}
        return written


def names_dictionary(option: str) -> bool:
    """Whether MeCab's options have a -d."""
    return re.search(r"(^|\s)(-d|--dicdir)", option) is not None


def owner_and_name(folder: Path) -> tuple[str | None, str]:
    """Of a model in the hub's cache; of any other folder, such as a clone, None and its own name."""
    folder = folder.resolve()
    in_cache, *names = folder.parent.parent.name.split("--")  # models--OWNER--NAME/snapshots/COMMIT
    return (names[0], names[1]) if in_cache == "models" and len(names) == 2 else (None, folder.name)


def class_of(folder: Path) -> Any:
    """The tokenizer_class that a folder's files name, or that goes with the model; None where neither is known."""
    named = (read_object(folder / name).get("tokenizer_class") for name in ("tokenizer_config.json", "config.json"))
    return next(filter(None, named), None) or OF_MODELS.get(str(read_object(folder / "config.json").get("model_type")))


def check(given: Mapping[str, Any], refused: Mapping[str, tuple[Any, ...]], types: Mapping[str, Any]) -> None:
    """Raise ValueError, by name, for settings that would change the ids and are not supported, or of another type."""
    for key, harmless in refused.items():
        if given.get(key) not in harmless:
            raise ValueError(f"setting {key} = {given[key]!r} is not supported")
    for key, kinds in types.items():
        if not isinstance(given.get(key), kinds | None):
            raise ValueError(f"setting {key} = {given[key]!r} is not of the type that it must be")


def longest_of(given: Mapping[str, Any]) -> int | None:
    """The tokens that a text may have; None where that is not known."""
    longest = given.get("model_max_length")
    return int(longest) if longest is not None and 1 <= longest < UNLIMITED else None


def content(token: Any) -> str:
    """A token as files write it: itself, or an object that holds it."""
    return token["content"] if isinstance(token, dict) and "content" in token else token


def one_of(name: str, value: Any, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise ValueError(f"setting {name} = {value!r} is not supported: only {', '.join(supported)} are")


def read_object(path: Path, number: Callable[[str], float] = float) -> dict[str, Any]:
    """The JSON object in a file, empty when there is no such file; `number` reads what has a point or an exponent."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=number)
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, but must hold a JSON object {{…}}")
    return found
