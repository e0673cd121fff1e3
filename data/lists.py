"""Labelled texts in memory: lists, arrays, columns of a table."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from .dataset import SPLITS, DataError, Dataset, Example
from .load import with_splits
from .table import class_order


def dataset_of(
    texts: Iterable[Any],
    labels: Iterable[Any],
    pairs: Iterable[Any] | None = None,
    splits: Iterable[str] | None = None,
    seed: int = 0,
    name: str = "texts",
) -> Dataset:
    """n texts with their labels (and second texts), in splits that are given or drawn by the seed, as those of a file.

    A label's name is what `print` shows of it: 1 is "1".

    Raises:
        DataError: a text is none, a label is missing, there are more of the one than of the other, or none at all.
    """
    # Columns of n values each.
    given = {"texts": texts, "labels": labels, "pairs": pairs, "splits": splits}
    columns = {what: in_a_list(what, values) for what, values in given.items() if values is not None}
    n = len(columns["texts"])
    for what, column in columns.items():
        if len(column) != n:
            raise DataError(f"there are {n} texts, but {len(column)} {what}: give one for each text")
    # Their values.
    for what in ("texts", "pairs"):
        for i, text in enumerate(columns.get(what, ())):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{what}[{i}] is {text!r}: leave it out, or give it a text")
    for i, label in enumerate(columns["labels"]):
        if label is None or label != label or not str(label).strip():  # NaN differs from itself
            raise DataError(f"labels[{i}] is {label!r}: leave its text out, or give it a label")
    for i, split in enumerate(columns.get("splits", ())):
        if split not in SPLITS:
            raise DataError(f"splits[{i}] is {split!r}: choose one of {', '.join(SPLITS)}")
    if not n:
        raise DataError("there are no texts")
    pairs, splits = columns.get("pairs", [None] * n), columns.get("splits", [""] * n)
    examples = [
        Example(f"{name}:{i}", text, str(label), split, pair=pair)
        for i, text, label, split, pair in zip(count(1), columns["texts"], columns["labels"], splits, pairs)
    ]
    drawn = any(not example.split for example in examples)
    examples, notes = with_splits(examples, seed)
    return Dataset(name, class_order(example.label for example in examples), examples, notes=notes, drawn=drawn)


def in_a_list(what: str, values: Iterable[Any]) -> Sequence[Any]:
    if isinstance(values, str):
        raise DataError(f"{what} is one text ({values[:20]!r}…): give a list of them")
    return list(values)
