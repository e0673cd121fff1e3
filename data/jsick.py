"""JSICK: does one caption entail another? SICK, translated into Japanese by hand and judged anew.

Source: Yanaka and Mineshima, "Compositional Evaluation on Japanese Textual Entailment and Similarity", TACL 2022;
https://github.com/verypluming/JSICK, licence CC BY 4.0.

jsick/jsick.tsv has a header; we take pair_ID, data (train, trial or test; trial is our dev), sentence_A_Ja,
sentence_B_Ja and entailment_label_Ja.
"""

from pathlib import Path
from typing import Any

from .dataset import Example
from .reader import Card, Reader, must_be_given, one_of, read_each, tables
from .rows import RowError, Rows, listed
from .table import cell, text_of

CLASSES = ("entailment", "contradiction", "neutral")
SPLITS = {"train": "train", "trial": "dev", "test": "test"}
COLUMNS = ("pair_ID", "data", "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja")
ADDRESS = "https://github.com/verypluming/JSICK"
CARD = Card(
    "classify",
    "whether a caption of a picture entails another, translated from SICK; local copy only",
    "4,500 / 500 / 4,927",
    "CC BY 4.0",
    f"Yanaka and Mineshima, TACL 2022; {ADDRESS}",
)


def read_jsick(path: Path) -> Rows:
    return read_each(path, {"all": "jsick/jsick.tsv"}, tables(".tsv", COLUMNS, parse))


def parse(_: str, __: int, row: dict[str, Any]) -> Example:
    if (split := cell(row, "data")) not in SPLITS:
        raise RowError(f"split {split!r} (column 'data') is not one of {listed(SPLITS)}")
    label = one_of(row["entailment_label_Ja"], CLASSES, "entailment_label_Ja")
    texts = text_of(row, "sentence_A_Ja"), text_of(row, "sentence_B_Ja")
    return Example(f"jsick-{cell(row, 'pair_ID')}", texts[0], label, SPLITS[split], pair=texts[1])


JSICK = Reader(
    read_jsick,
    CLASSES,
    must_be_given(f"jsick is jsick/jsick.tsv of {ADDRESS} (licence CC BY 4.0)"),
    card=CARD,
    folder=True,
)
