"""`tokenizer.json`, the file of the library `tokenizers`, read strictly: a unigram model with what stands around it.

A part that would change the ids and is not supported here is an error that names it.
https://huggingface.co/docs/tokenizers/components
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from .charsmap import CharacterMap, marks
from .recipe import Read, Recipe, Words
from .steps import BLANK, WHITE, Add, Lower, NormalForm, Replace, Step, Strip
from .template import Template
from .unigram_settings import LAYOUTS, Settings, add_tokens

UNKNOWN_PENALTY = 10.0
TEXT = ""  # in a template, among the names of tokens
EXPRESSIONS = (" {2,}", r"\s+", " +", r"\s{2,}|[\n\r\t]")  # that mean the same in Python as there, with `WHITE` for \s


def number_of(text: str) -> float:
    """A number as the library reads it: its digits, divided by a power of ten.

    The last bit is not always that of the nearest number, and between two ways to cut いいい the last bit may decide.
    """
    digits, _, exponent = text.lower().partition("e")
    whole, _, fraction = digits.partition(".")
    power = int(exponent or 0) - len(fraction)
    if abs(power) > 300:
        return float(text)
    return int(whole + fraction) * 10.0**power if power > 0 else int(whole + fraction) / 10.0**-power


def of_json(given: dict[str, Any], settings: Settings) -> Read:
    """The tokenizer of a `tokenizer.json`, whose names for the special tokens stand in `settings`."""
    try:
        return parse(given, settings)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"this is no tokenizer.json, or it is broken: {type(error).__name__} {error}") from error


def parse(given: dict[str, Any], settings: Settings) -> Read:
    model = given["model"]
    if model.get("type", "Unigram") != "Unigram" or "vocab" not in model:
        raise ValueError(f"its model is of the kind {model.get('type')!r}, and only 'Unigram' is supported")
    vocabulary = [str(piece) for piece, _ in model["vocab"]]
    scores = [float(score) for _, score in model["vocab"]]
    if model.get("unk_id") is None:
        raise ValueError("its model has no unk_id, a piece for unknown characters")
    # Tokens that stand outside the model: special ones, and others that are cut out of a text before all else.
    added = given.get("added_tokens") or []
    add_tokens(vocabulary, {token["content"]: token["id"] for token in added})
    layout = LAYOUTS.get(settings.tokenizer_class)  # the class's own names, where the settings have none
    usual = {name: token for name, token in (layout.special if layout else {}).items() if token in vocabulary}
    special_tokens = settings.special_tokens(usual | {"unk_token": vocabulary[model["unk_id"]]})
    special_tokens |= {token["content"]: token["content"] for token in added if token["special"]}
    cut_out = [token["content"] for token in added if not token["special"]]
    for token in added:
        for flag in ("single_word", "rstrip", "lstrip", "normalized"):
            if token[flag] and not (token["special"] and flag in ("lstrip", "normalized")):
                raise ValueError(f"the added token {token['content']!r} is {flag}, which is not supported")
    recipe = Recipe(
        vocabulary,
        dict(zip(vocabulary, scores, strict=False)),
        min(scores) - UNKNOWN_PENALTY,
        sums="d",
        steps=steps_of(given.get("normalizer")),
        words=words_of(given.get("pre_tokenizer")),
        byte_fallback=bool(model.get("byte_fallback", False)),
        joins=True,
        cut_out=cut_out,
        strips_left=[token["content"] for token in added if token["special"] and token["lstrip"]],
    )
    return Read(recipe, special_tokens, template_of(given.get("post_processor")))


def steps_of(given: dict[str, Any] | None) -> list[Step]:
    """The steps of a normalizer, none of None."""
    if given is None:
        return []
    kind = given["type"]
    if kind == "Sequence":
        return [step for one in given["normalizers"] for step in steps_of(one)]
    if kind not in NORMALIZERS:
        raise ValueError(f"its normalizer {kind} is not supported: only {', '.join(('Sequence', *NORMALIZERS))} are")
    return NORMALIZERS[kind](given)


def precompiled(given: dict[str, Any]) -> list[Step]:
    try:
        blob = base64.b64decode(given["precompiled_charsmap"] or "", validate=True)
    except binascii.Error as error:
        raise ValueError("its character map is broken") from error
    return [CharacterMap(blob, graphemes=True)] if blob else []


def replace(given: dict[str, Any]) -> list[Step]:
    pattern = given["pattern"]
    if "Regex" in pattern and pattern["Regex"] not in EXPRESSIONS:
        raise ValueError(f"its normalizer Replace has the expression {pattern['Regex']!r}, which is not supported")
    expression = pattern["Regex"].replace(r"\s", f"[{WHITE}]") if "Regex" in pattern else re.escape(pattern["String"])
    return [Replace(expression, given["content"])]


def without_accents(given: dict[str, Any]) -> list[Step]:
    return [Replace(f"[{marks()}]", "")]  # also those that take room (Mc), which BERT keeps


NORMALIZERS: dict[str, Callable[[dict[str, Any]], list[Step]]] = {
    "Precompiled": precompiled,
    "Replace": replace,
    "Strip": lambda given: [Strip(given.get("strip_left", True), given.get("strip_right", True))],
    "Prepend": lambda given: [Add(given["prepend"])],
    "Lowercase": lambda given: [Lower()],
    "StripAccents": without_accents,
    "NFC": lambda given: [NormalForm("NFC")],
    "NFD": lambda given: [NormalForm("NFD")],
    "NFKC": lambda given: [NormalForm("NFKC")],
    "NFKD": lambda given: [NormalForm("NFKD")],
}


def words_of(given: dict[str, Any] | None) -> Words:
    """What a pre-tokenizer does: WhitespaceSplit, then Metaspace, or one of them, or none."""
    if given is None:
        return Words()
    parts = given["pretokenizers"] if given["type"] == "Sequence" else [given]
    kinds = [part["type"] for part in parts]
    if kinds not in ([], ["WhitespaceSplit"], ["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise ValueError(
            f"its pre_tokenizer {', '.join(kinds)} is not supported: only WhitespaceSplit and Metaspace after it are"
        )
    if "Metaspace" not in kinds:
        return Words(at_white=bool(kinds))
    metaspace = parts[-1]
    if metaspace.get("replacement", BLANK) != BLANK:
        raise ValueError(f"its Metaspace puts {metaspace['replacement']!r} for a space: only {BLANK} is supported")
    scheme = metaspace.get("prepend_scheme") or ("always" if metaspace.get("add_prefix_space", True) else "never")
    return Words("WhitespaceSplit" in kinds, scheme, metaspace.get("split", True))


def template_of(given: dict[str, Any] | None) -> Template[str]:
    """Of a post-processor; without one nothing is put around a text."""
    if given is None:
        return Template((), (), ())
    kind = given["type"]
    if kind in ("BertProcessing", "RobertaProcessing"):
        first, last = (given["cls"][0],), (given["sep"][0],)
        return Template(first, last * 2, last) if kind == "RobertaProcessing" else Template(first, last, last, 1)
    if kind != "TemplateProcessing":
        raise ValueError(f"its post_processor {kind} is not supported: only TemplateProcessing is")
    single, pair = (
        [part["SpecialToken"]["id"] if "SpecialToken" in part else TEXT for part in given[name]]
        for name in ("single", "pair")
    )
    texts = [part["Sequence"] for part in given["pair"] if "Sequence" in part]
    if [text["id"] for text in texts] != ["A", "B"]:
        raise ValueError("its post_processor does not lay a pair as A and then B")
    a = pair.index(TEXT)
    b = pair.index(TEXT, a + 1)
    before, between, after = pair[:a], pair[a + 1 : b], pair[b + 1 :]
    if single != [*before, TEXT, *after]:
        raise ValueError("its post_processor puts other tokens around one text than around a pair")
    second = texts[1]["type_id"]
    # Tokens between the texts may have the type of either; they are given that of the first.
    for name, start, end, wanted, where in (
        ("single", 0, len(single), 0, "before a second text only 0"),
        ("pair", 0, a + 1, 0, "before a second text only 0"),
        ("pair", b, len(pair), second, "behind a second text only that text's own"),
    ):
        for part in [next(iter(part.values())) for part in given[name][start:end]]:
            if (own := part["type_id"]) != wanted:
                raise ValueError(f"its post_processor gives {part['id']!r} the type id {own}: {where} is read")
    return Template(tuple(before), tuple(between), tuple(after), second)
