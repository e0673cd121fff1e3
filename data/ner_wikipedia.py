"""Sentences of the Japanese Wikipedia with their named entities, of eight kinds.

Source: Omi, 「Wikipedia を用いた日本語の固有表現抽出のデータセットの構築」, NLP 2021; Stockmark Inc.,
https://github.com/stockmarkteam/ner-wikipedia-dataset, licence CC BY-SA 3.0. There are no official splits.

ner.json is a list of {"curid": "3572156", "text": …, "entities": [{"name": …, "span": [0, 7], "type": "人名"}, …]}.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

from .dataset import Example, Span
from .reader import Card, Repository, elements, of_repository, read_each
from .rows import RowError, Rows, listed
from .table import cell, json_object, text_of

KINDS = ("人名", "法人名", "政治的組織名", "その他の組織名", "地名", "施設名", "製品名", "イベント名")
REPOSITORY = Repository(
    "stockmarkteam/ner-wikipedia-dataset",
    "5e525c2132c0e87cce890b8b92639a0cf357c1f3",
    {"all": ("ner.json", "2285c8e898642e8bea28f4e040036bcca03eb051")},
)
CARD = Card(
    "tag",
    "names of people, companies, places, … in sentences of Wikipedia",
    "5,343, split at random",
    "CC BY-SA 3.0",
    "Omi, NLP 2021; https://github.com/stockmarkteam/ner-wikipedia-dataset",
)


def read_ner_wikipedia(path: Path) -> Rows:
    return read_each(path, REPOSITORY.paths(), lambda _, file: (elements(file), parse))


def parse(line: int, raw: str) -> Example:
    row = json_object(raw)
    text, entities = text_of(row, "text"), row.get("entities")
    if not isinstance(entities, list):
        raise RowError("'entities' is no list")
    spans = tuple(sorted(span_of(text, entity) for entity in entities))
    for first, second in pairwise(spans):
        if second.start < first.end:
            raise RowError(f"two entities overlap: {text[slice(*first[:2])]!r} and {text[slice(*second[:2])]!r}")
    return Example(f"{cell(row, 'curid')}:{line}", text, spans, split="")


def span_of(text: str, entity: Any) -> Span:
    try:
        (start, end), name, kind = entity["span"], entity["name"], entity["type"]
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(f"an entity is not of the form name, span, type: {entity!r}") from error
    if kind not in KINDS:
        raise RowError(f"type {kind!r} is not one of {listed(KINDS)}")
    if type(start) is not int or type(end) is not int or not 0 <= start < end or text[start:end] != name:
        raise RowError(f"{name!r} does not stand at {start} to {end} of the text")
    return Span(start, end, kind)


NER_WIKIPEDIA = of_repository("ner-wikipedia", read_ner_wikipedia, KINDS, REPOSITORY, CARD)
