"""Labelled texts that are in memory already: lists, arrays, columns of a table."""

from collections.abc import Iterable, Sequence
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
    """n texts with their labels (and second texts), in splits that are given or cut by the seed, as those of a file.

    A label is called by what it looks like when it is printed: 1 is "1".

    Raises:
        DataError: a text is none, a label is missing, there are more of the one than of the other, or none at all.
    """
    columns: dict[str, Sequence[Any]] = {"texts": in_a_list("texts", texts), "labels": in_a_list("labels", labels)}
    columns |= {} if pairs is None else {"pairs": in_a_list("pairs", pairs)}
    columns |= {} if splits is None else {"splits": in_a_list("splits", splits)}
    n = len(columns["texts"])
    for what, column in columns.items():
        if len(column) != n:
            raise DataError(f"there are {n} texts, but {len(column)} {what}: give one for each text")
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
    examples = [
        Example(f"{name}:{i + 1}", text, str(label), split, pair=pair)
        for i, (text, label, pair, split) in enumerate(
            zip(
                columns["texts"],
                columns["labels"],
                columns.get("pairs", [None] * n),
                columns.get("splits", [""] * n),
                strict=True,
            )
        )
    ]
    examples, notes = with_splits(examples, seed)
    return Dataset(name, class_order(example.label for example in examples), examples, notes=notes)


def in_a_list(what: str, values: Iterable[Any]) -> Sequence[Any]:
    if isinstance(values, str):
        raise DataError(f"{what} is one text ({values[:20]!r}…): give a list of them")
    return list(values)
