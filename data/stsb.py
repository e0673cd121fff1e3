"""The STS benchmark, in English and translated into Japanese by machine: how alike two sentences are in meaning.

Source: Cer et al., "SemEval-2017 Task 1: Semantic Textual Similarity", SemEval 2017; translated by May, "Machine
translated multilingual STS benchmark dataset", 2021; https://github.com/PhilipMay/stsb-multi-mt, licence CC BY-SA 4.0.

A row of CSV without a header is: sentence, sentence, score from 0 to 5.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from .csv_rows import csv_fields, csv_records
from .dataset import Example
from .distributed import File
from .reader import Card, Parse, Repository, number_in, of_repository, read_each, within
from .rows import RowError, Rows
from .table import text_of

REPOSITORY = Repository(
    "PhilipMay/stsb-multi-mt",
    "30de0dec4ee199b7f42351d3f1a0b19592955385",
    {
        "ja-train": ("data/stsb-ja-train.csv", "0e723454c892f3ab49cb024d12cb2db2818881f7"),
        "ja-dev": ("data/stsb-ja-dev.csv", "75d87b106e41d0b4af8330294ec5d59fd37d14e3"),
        "ja-test": ("data/stsb-ja-test.csv", "8e4e9ff5b09d3d648fbb509dc3e42a55a1eb7979"),
        "en-train": ("data/stsb-en-train.csv", "596cc42269dc43533990603e48354b6ff0b13521"),
        "en-dev": ("data/stsb-en-dev.csv", "effc444a5d6db9624ed4f87e4261f91c19a06e66"),
        "en-test": ("data/stsb-en-test.csv", "ca3fdcddf3788d15df26ddeb10d80a94ee23fd70"),
    },
)
CARD = Card(
    "score",
    "how alike two sentences are in meaning, 0 to 5; in Japanese by machine, or in English",
    "5,749 / 1,500 / 1,379",
    "CC BY-SA 4.0",
    "Cer et al., SemEval 2017; https://github.com/PhilipMay/stsb-multi-mt",
)


def read_stsb(path: Path, language: Literal["ja", "en"] = "ja") -> Rows:
    return read_each(path, REPOSITORY.paths(f"{language}-"), open_file)


def open_file(split: str, file: File) -> tuple[Iterable[tuple[int, str]], Parse]:
    return csv_records(file.place, file.lines()), lambda line, raw: parse(split, line, raw)


def parse(split: str, line: int, raw: str) -> Example:
    fields = csv_fields(raw, line)
    if len(fields) != 3:
        raise RowError(f"{len(fields)} columns instead of 3 (sentence, sentence, score)")
    row = dict(zip(("1", "2", "3"), fields, strict=True))
    score = within(number_in(row, "3"), 0, 5)
    return Example(f"{split}-{line}", text_of(row, "1"), score, split, pair=text_of(row, "2"))


STSB = of_repository("stsb", read_stsb, ("score",), REPOSITORY, CARD)
