"""chABSA: sentences of annual reports of Japanese companies, and what they say of what.

Source: TIS Inc., "chABSA-dataset: aspect based sentiment analysis dataset in Japanese", 2018;
https://github.com/chakki-works/chABSA-dataset, licence CC BY 4.0.

There is a file of JSON for each of 230 reports: {"header": …, "sentences": [{"sentence_id": 0, "sentence": …,
"opinions": [{"target": …, "category": …, "polarity": "positive", "from": 11, "to": 16}, …]}, …]}. Of its opinions we
take the polarity of the sentence: that of all of them, neutral ones aside; sentences without an opinion, or with
positive and negative ones, are left out. With `label=polarities` all polarities of a sentence are its labels, and no
sentence is left out. There are no official splits.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from .dataset import DataError, Example
from .distributed import files_in, read_files
from .reader import Card, Reader, elements, joined, must_be_given
from .rows import RowError, Rows, Unwanted, collect, listed
from .table import cell, json_object, text_of

LABELS = ("negative", "positive")
POLARITIES = ("negative", "neutral", "positive")
ADDRESS = "https://github.com/chakki-works/chABSA-dataset"
CARD = Card(
    "classify",
    "sentiment of sentences of annual reports, of one polarity or of any; local copy only",
    "2,330, split at random",
    "CC BY 4.0",
    f"TIS Inc., 2018; {ADDRESS}",
)


Label = Literal["polarity", "polarities"]


def labels(label: Label = "polarity") -> tuple[str, ...]:
    return LABELS if label == "polarity" else POLARITIES


def read_chabsa(path: Path, label: Label = "polarity") -> Rows:
    names = [name for name in files_in(path) if name.endswith("_ann.json")]
    if not names:
        raise DataError(f"{path} has no file *_ann.json: give chABSA-dataset.zip, or its folder")
    parts = []
    for name, file in read_files(path, names).items():
        parse_one = partial(parse, Path(name).name.removesuffix("_ann.json"), label)
        parts.append(collect(file.place, elements(file, "sentences"), parse_one))
    return joined(parts)


def parse(report: str, label: Label, _: int, raw: str) -> Example:
    row = json_object(raw)
    text = text_of(row, "sentence")
    opinions = row.get("opinions")
    if not isinstance(opinions, list) or not all(isinstance(opinion, dict) for opinion in opinions):
        raise RowError("'opinions' is no list of objects")
    found = {str(opinion.get("polarity")) for opinion in opinions}
    if not found <= set(POLARITIES):
        raise RowError(f"a polarity is not one of {listed(POLARITIES)}")
    name = f"{report}-{cell(row, 'sentence_id')}"
    if label == "polarities":
        return Example(name, text, tuple(polarity for polarity in POLARITIES if polarity in found), split="")
    told = found - {"neutral"}
    if len(told) != 1:
        raise Unwanted("positive and negative at once" if told else "no opinion, or neutral ones only")
    return Example(name, text, told.pop(), split="")


CHABSA = Reader(
    read_chabsa,
    labels,
    must_be_given(f"chabsa is chABSA-dataset.zip, which {ADDRESS} links to (licence CC BY 4.0)"),
    card=CARD,
    folder=True,
)
