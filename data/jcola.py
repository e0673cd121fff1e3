"""JCoLA: sentences out of the literature on Japanese syntax, and whether linguists judge them acceptable.

Source: Someya, Sugimoto and Oseki, "JCoLA: Japanese Corpus of Linguistic Acceptability", LREC-COLING 2024
(arXiv:2309.12676); https://github.com/osekilab/JCoLA, version 1.0, licence CC BY-SA 4.0.

The labels of its test sets are not published. So our dev is its valid set in domain, from the textbooks that train is
from too, and our test is its valid set out of domain, from papers of a journal.

A line is JSON: {"uid": 3924, "source": …, "label": 1, "diacritic": "g", "sentence": …, "original": …}
"""

from pathlib import Path
from typing import Any

from .dataset import Example
from .reader import Card, Repository, of_repository, one_of, read_each, tables
from .rows import Rows
from .table import cell, text_of

NAMES = {"0": "unacceptable", "1": "acceptable"}
FOLDER = "data/jcola-v1.0"
REPOSITORY = Repository(
    "osekilab/JCoLA",
    "736d9eef3af04bb17e4cf59adf01325973234ff9",
    {
        "train": (f"{FOLDER}/in_domain_train-v1.0.json", "730a0b62390f3f2834df29cfbdb8e70fbe8de578"),
        "dev": (f"{FOLDER}/in_domain_valid-v1.0.json", "0dd6b07c3a5896e6de62b1447d74c41b5a2b9312"),
        "test": (f"{FOLDER}/out_of_domain_valid-v1.0.json", "fa0f9a31f049f9c80ec8b24c437da6c1b16756cd"),
    },
)
CARD = Card(
    "classify",
    "whether a sentence is acceptable; dev is in the domain of train, test out of it",
    "6,919 / 865 / 685",
    "CC BY-SA 4.0",
    "Someya et al., LREC-COLING 2024; https://github.com/osekilab/JCoLA",
)


def read_jcola(path: Path) -> Rows:
    return read_each(path, REPOSITORY.paths(), tables(".jsonl", ("uid", "label", "sentence"), parse))


def parse(split: str, _: int, row: dict[str, Any]) -> Example:
    label = NAMES[one_of(cell(row, "label"), NAMES, "label")]
    return Example(f"{split}-{cell(row, 'uid')}", text_of(row, "sentence"), label, split)


JCOLA = of_repository("jcola", read_jcola, tuple(NAMES.values()), REPOSITORY, CARD)
