"""JCommonsenseMorality: acts, and whether most people in Japan find them wrong.

Source: Takeshita, Rzepka and Araki, "JCommonsenseMorality: Japanese Dataset for Evaluating Commonsense Morality
Understanding", NLP 2023; https://github.com/Language-Media-Lab/commonsense-moral-ja, licence MIT.

A file is CSV with a header; its first column, which has no name, counts the rows: `,sent,label`
"""

from pathlib import Path
from typing import Any

from .dataset import Example
from .reader import Card, Repository, of_repository, one_of, read_each, tables
from .rows import Rows
from .table import cell, text_of

NAMES = {"0": "permissible", "1": "wrong"}
REPOSITORY = Repository(
    "Language-Media-Lab/commonsense-moral-ja",
    "1d232e86b0448a2686939a5e7bc1a3731637fe37",
    {
        "train": ("data/data_train.csv", "d671e87a47736dea9c2f8aea8b68f111f1df224f"),
        "dev": ("data/data_val.csv", "7554c19b1999aa4fa1bc4848c37393bf4ab2a4ac"),
        "test": ("data/data_test.csv", "58649dabd3d38c9cbc11610a007e5d7329a206de"),
    },
)
CARD = Card(
    "classify",
    "whether an act is wrong or permissible",
    "13,975 / 1,996 / 3,992",
    "MIT",
    "Takeshita et al., NLP 2023; https://github.com/Language-Media-Lab/commonsense-moral-ja",
)


def read_commonsense_moral(path: Path) -> Rows:
    return read_each(path, REPOSITORY.paths(), tables(".csv", ("", "sent", "label"), parse))


def parse(split: str, _: int, row: dict[str, Any]) -> Example:
    label = NAMES[one_of(cell(row, "label"), NAMES, "label")]
    return Example(f"{split}-{cell(row, '')}", text_of(row, "sent"), label, split)


COMMONSENSE_MORAL = of_repository("commonsense-moral", read_commonsense_moral, tuple(NAMES.values()), REPOSITORY, CARD)
