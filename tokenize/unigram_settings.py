"""`tokenizer_config.json` of a SentencePiece tokenizer, and what each class of tokenizers adds to its pieces.

Names, defaults and ids are those of transformers' classes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .settings import check, class_of, content, longest_of, read_object
from .template import Template

# Where the pieces stand, under one of these names; the first that is there is read.
FILES = ("tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
WANTED = ("pad_token", "unk_token", "mask_token")  # by every tokenizer
TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
TYPES: dict[str, Any] = (
    dict.fromkeys(TOKENS, str | dict)
    | {
        "added_tokens_decoder": dict,
        "additional_special_tokens": list,
        "extra_ids": int,
        "model_max_length": int | float,
    }
    | dict.fromkeys(("do_lower_case", "add_bos_token", "add_eos_token"), bool)
)
GENERIC = "PreTrainedTokenizerFast"  # whose files say everything
REFUSED: dict[str, tuple[Any, ...]] = {
    "sp_model_kwargs": (None, {}),
    "truncation_side": (None, "right"),
    "split_by_punct": (None, False),
}


@dataclass(frozen=True)
class Layout:
    """What a class adds to the pieces of a `.model`, and where its special tokens stand, by their names."""

    special: Mapping[str, str]  # the tokens, unless tokenizer_config.json names others
    before: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    first: tuple[str, ...] = ()  # tokens in the place of the model's first `dropped` pieces
    dropped: int = 0
    last: tuple[str, ...] = ()

    def template(self, special_tokens: Mapping[str, str], given: Mapping[str, Any]) -> Template[str]:
        left_out = {name for name in ("bos_token", "eos_token") if given.get(f"add_{name}") is False}
        # A T5Tokenizer with a cls_token is that of rinna's RoBERTa, whose page asks for [CLS] before a text.
        before = self.before or (("cls_token",) if "cls_token" in special_tokens else ())
        before, between, after = (
            tuple(special_tokens[name] for name in names if name not in left_out)
            for names in (before, self.between, self.after)
        )
        return Template(before, between, after)


ROBERTA = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
    "cls_token": "<s>", "mask_token": "<mask>",
}  # fmt: skip
XLM_R = Layout(
    ROBERTA,
    before=("cls_token",),
    between=("sep_token", "sep_token"),
    after=("sep_token",),
    first=("<s>", "<pad>", "</s>", "<unk>"),
    dropped=3,
    last=("<mask>",),
)
LAYOUTS = {
    "XLMRobertaTokenizer": XLM_R,
    "MLukeTokenizer": XLM_R,
    "CamembertTokenizer": Layout(
        ROBERTA,
        XLM_R.before,
        XLM_R.between,
        XLM_R.after,
        first=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
        dropped=1,
        last=("<mask>",),
    ),
    "T5Tokenizer": Layout(
        {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        between=("eos_token",),
        after=("eos_token",),
    ),
    "LlamaTokenizer": Layout(
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        before=("bos_token",),
        between=("bos_token",),
    ),
}
ONLY_JSON = ("AlbertTokenizer", "DebertaV2Tokenizer", GENERIC, "TokenizersBackend")
# Every class by its names: that of the slow tokenizer and that of the fast one.
CLASSES = {name: name for name in (*LAYOUTS, *ONLY_JSON)} | {
    f"{name}Fast": name for name in (*LAYOUTS, *ONLY_JSON[:2]) if name != "MLukeTokenizer"
}


OWN = {"MLukeTokenizer": ("<ent>", "<ent2>")}  # special tokens that a class adds whatever its files say


@dataclass
class Settings:
    """What the files beside the pieces say."""

    tokenizer_class: str
    given: dict[str, Any]
    added: dict[str, int]  # tokens with their ids
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_folder(cls, folder: Path) -> "Settings":
        path = folder / "tokenizer_config.json"
        given = read_object(path)
        added = {}
        if "added_tokens_decoder" not in given:
            given |= read_object(folder / "special_tokens_map.json")
            added = read_object(folder / "added_tokens.json")
        name, notes = class_of(folder), []
        if name is None:
            name = GENERIC
            notes.append(f"{path} names no tokenizer_class: everything was taken from tokenizer.json")
        try:
            check(given, REFUSED, TYPES)
            added |= {token_of(token): int(i) for i, token in (given.get("added_tokens_decoder") or {}).items()}
            settings = cls(CLASSES.get(str(name), str(name)), given, added, notes)
            settings.special_tokens()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return settings

    @property
    def model_max_length(self) -> int | None:
        return longest_of(self.given)

    @property
    def plain(self) -> set[str]:
        """Added tokens that are not special: they are cut out of a text before all else."""
        decoder = self.given.get("added_tokens_decoder")
        if decoder is None:  # added_tokens.json, which does not tell
            named = [token_of(self.given[name]) for name in TOKENS if self.given.get(name) is not None]
            return set(self.added) - {*named, *self.extra, *OWN.get(self.tokenizer_class, ())}
        return {content(token) for token in decoder.values() if isinstance(token, dict) and not token.get("special")}

    @property
    def extra(self) -> list[str]:
        """Special tokens without a name of their own."""
        names = ("additional_special_tokens", "extra_special_tokens")  # the latter since transformers 5
        lists = [self.given[name] for name in names if isinstance(self.given.get(name), list)]
        return [token_of(token) for one in lists for token in one]

    def special_tokens(self, defaults: Mapping[str, str] | None = None) -> dict[str, str]:
        """By name: those that are named, over the defaults; the others by themselves."""
        found = {name: token_of(self.given[name]) for name in TOKENS if self.given.get(name) is not None}
        plain = self.plain
        added = [token for token in self.added if token not in plain]
        return dict(defaults or {}) | found | {token: token for token in [*added, *self.extra]}

    def as_json(self, special_tokens: Mapping[str, str]) -> bytes:
        """The contents of a tokenizer_config.json that is read as these settings."""
        written = self.given | {"tokenizer_class": self.tokenizer_class}
        written |= {name: token for name, token in special_tokens.items() if name in TOKENS}
        if self.added and "added_tokens_decoder" not in self.given:
            plain = self.plain
            written["added_tokens_decoder"] = {
                str(i): {"content": token, "special": token not in plain} for token, i in self.added.items()
            }
        return (json.dumps(written, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def token_of(token: Any) -> str:
    found = content(token)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{token!r} is no token")
    return found


def add_tokens(vocabulary: list[str], added: Mapping[str, int]) -> None:
    """Append to the vocabulary the tokens that a file adds; ValueError where an id is not the token's place."""
    for token, i in added.items():
        if type(i) is not int or i < 0:
            raise ValueError(f"the added token {token!r} has the id {i!r}, which is no whole number from 0")
    for token, i in sorted(added.items(), key=lambda item: item[1]):
        if i == len(vocabulary):
            vocabulary.append(token)
        if i >= len(vocabulary) or vocabulary[i] != token:
            there = f"there is {vocabulary[i]!r}" if i < len(vocabulary) else f"the last id is {len(vocabulary) - 1}"
            raise ValueError(f"the added token {token!r} has the id {i}, where {there}")
