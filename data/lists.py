"""Labelled texts in memory: lists, arrays, columns of a table."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from .choices import meant_by, refuse_few
from .dataset import SPLITS, DataError, Dataset, Example
from .label_kinds import LABEL_KINDS, names_in
from .label_names import merged
from .load import names_of, refuse_classes, with_splits
from .rows import RowError, listed, refuse_broken_text
from .table import class_order


def dataset_of(
    texts: Iterable[Any],
    labels: Iterable[Any],
    pairs: Iterable[Any] | None = None,
    splits: Iterable[str] | None = None,
    seed: int = 0,
    name: str = "texts",
    classes: Sequence[str] | None = None,
    merge_labels: bool = False,
    labels_are: str = "name",
) -> Dataset:
    """n texts with their labels (and second texts), in splits that are given or drawn by the seed, as those of a file.

    Pairs are `pairs`, or texts that are tuples of two. Where labels are choices, each text is a question with a list
    of its choices, and its label one of them or the number of one, from 0.

    A label's name is what `print` shows of it, without white space around it: 1 is "1". Its classes are `classes`, or
    all that there are, sorted; `merge_labels` joins those that look alike. Other labels than names are of one of
    LABEL_KINDS.

    Raises:
        DataError: a text is none, a label is missing or none of `classes`, there are more of the one than of the
            other, or none at all.
    """
    # Columns of n values each.
    texts, choices = in_a_list("texts", texts), None
    if labels_are == "choice":
        texts, choices = with_choices(texts)
    elif pairs is None and texts and all(isinstance(text, tuple) and len(text) == 2 for text in texts):
        texts, pairs = zip(*texts, strict=True)
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
            refuse_broken(f"{what}[{i}]", text)
    kind = LABEL_KINDS[labels_are]
    if "pair" in kind.columns and pairs is None:
        raise DataError("answers are stretches of a context: give each text as (question, context)")
    for i, label in enumerate(columns["labels"]):
        if not isinstance(label, str) and hasattr(label, "__len__") and not (kind.listed and listing(label)):
            raise DataError(f"labels[{i}] is {label!r}, and not {kind.is_a}: give such, or choose another task")
        missing = label is None or (not isinstance(label, str) and str(label).lower() in ("nan", "nat", "<na>"))
        if missing or (not kind.listed and not str(label).strip()):
            raise DataError(f"labels[{i}] is {label!r}: leave its text out, or give it a label")
    for i, split in enumerate(columns.get("splits", ())):
        if split not in SPLITS:
            raise DataError(f"splits[{i}] is {split!r}: choose one of {', '.join(SPLITS)}")
    if not n:
        raise DataError("there are no texts")
    refuse_classes(labels_are, classes, merge_labels)
    read: list[Any] = []
    for i, label in enumerate(columns["labels"]):
        if choices is not None:
            try:
                refuse_few(choices[i])
                read.append(meant_by(label, choices[i])[0])
            except RowError as error:
                raise DataError(f"texts[{i}]: {error}") from error
            continue
        text = columns["texts" if pairs is None else "pairs"][i] if kind.columns else ""
        if kind.listed and listing(label):
            own: Any = sorted(label) if isinstance(label, set | frozenset) else label
        else:
            own = str(label).strip()
        try:
            read.append(kind.read(own, text))
        except ValueError as error:
            raise DataError(f"labels[{i}] ({label!r}) {error}") from error
    pairs, splits = columns.get("pairs", [None] * n), columns.get("splits", [""] * n)
    columns["choices"] = choices or [None] * n
    examples = [
        Example(f"{name}:{i}", text, label, split, pair=pair, choices=own)
        for i, text, label, split, pair, own in zip(count(1), columns["texts"], read, splits, pairs, columns["choices"])
    ]
    # Their classes and splits.
    names = class_order(names_of(examples)) if classes is None else tuple(classes)
    joined: list[str] = []
    if merge_labels:
        examples, names, joined = merged(examples, names, own=classes or ())
        names = names if classes is not None else class_order(names)
    for i, example in enumerate(examples):
        for label in names_in(example.label):
            refuse_broken(f"labels[{i}]", label)
            if label not in names:
                raise DataError(f"labels[{i}] is {example.label!r}, which is not one of {listed(names)}")
    drawn = any(not example.split for example in examples)
    examples, notes = with_splits(examples, seed)
    return Dataset(name, names, examples, notes=[*joined, *notes], named=classes is not None, drawn=drawn)


def with_choices(texts: Sequence[Any]) -> tuple[list[Any], list[tuple[str, ...]]]:
    """n questions with choices → the questions, and the choices of each."""
    questions, choices = [], []
    for i, text in enumerate(texts):
        own = text[1] if isinstance(text, tuple | list) and len(text) == 2 else None
        if not isinstance(own, tuple | list) or not all(isinstance(one, str) and one.strip() for one in own):
            raise DataError(f"texts[{i}] is {text!r}: give a question and a list of its choices, (question, [a, b])")
        questions.append(text[0])
        choices.append(tuple(own))
        refuse_broken(f"texts[{i}], a choice", "".join(own))
    return questions, choices


def refuse_broken(where: str, text: str) -> None:
    """As `refuse_broken_text`."""
    try:
        refuse_broken_text(text)
    except RowError as error:
        raise DataError(f"{where}: {error}") from error


def listing(label: Any) -> bool:
    return isinstance(label, list | tuple | set | frozenset | dict)


def in_a_list(what: str, values: Iterable[Any]) -> Sequence[Any]:
    if isinstance(values, str):
        raise DataError(f"{what} is one text ({values[:20]!r}…): give a list of them")
    return list(values)
