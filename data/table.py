"""Labelled texts in files of one's own: .tsv and .csv with a header line, .jsonl with an object a line.

A .tsv has no quoting; a .csv has that of RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180).
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .choices import meant_by, refuse_few
from .csv_rows import csv_fields, csv_records
from .dataset import BadRow, DataError, Example
from .encodings import AUTO, decode
from .label_kinds import LABEL_KINDS, NOTHING, names_in
from .label_names import look
from .rows import RowError, collect, listed, refuse_broken_text

SUFFIXES = (".csv", ".jsonl", ".tsv")
NONE = "none"  # in the place of a column's name: no column, also where there is one of the usual name
SPLIT_NAMES = {
    "train": "train", "dev": "dev", "test": "test",
    "training": "train", "学習": "train", "訓練": "train",
    "val": "dev", "valid": "dev", "validation": "dev", "検証": "dev", "開発": "dev",
    "testing": "test", "テスト": "test", "評価": "test",
}  # fmt: skip


class Table(NamedTuple):
    """A file, opened."""

    columns: list[str]
    records: Iterable[tuple[int, str]]  # (line number, raw row)
    fields_of: Callable[[int, str], dict[str, Any]]  # of a record, by column; RowError where it is broken
    encoding: str
    notes: list[str]


def read_table(
    path: Path,
    text_column: str,
    label_column: str,
    split_column: str | None,
    labels: Sequence[str] | None,
    pair_column: str | None = None,
    id_column: str | None = None,
    encoding: str = AUTO,
    merge_labels: bool = False,
    labels_are: str = "name",
    choice_columns: Sequence[str] = (),
) -> tuple[list[Example], list[BadRow], list[str]]:
    """Read a file in the format of its suffix; with notes of what was guessed.

    The columns "split" and "id" are used where they are there and nothing else is named ("none": no column); otherwise
    the split is "" and the id `<file>:<line>`. Labels are of one of LABEL_KINDS; with `merge_labels`, one need only
    look like one of `labels`. With `choice_columns` they are choices, see `meant_by`.
    DataError where a column is missing.
    """
    # The columns.
    kind, table = LABEL_KINDS[labels_are], open_table(path, encoding)
    columns = table.columns
    wanted: dict[str, Any] = {
        "text": text_column,
        "label": None if labels_are == NOTHING else label_column,
        "pair": pair_column,
    }
    for use, name in kind.columns.items():
        if wanted[use] in (None, use) and wanted[use] not in columns:
            wanted[use] = name
    text_column, label_column, pair_column = wanted.values()
    for use, column in (("split", split_column), ("id", id_column)):
        usual = use if use in columns and use not in wanted.values() else None
        wanted[use] = usual if column is None else None if column == NONE else column
    for use, named in [*wanted.items(), *(("choice", column) for column in choice_columns)]:
        if named and columns.count(named) != 1:
            without = (
                ", or say none where texts have no labels (tezukuri look, tezukuri adapt)" if use == "label" else ""
            )
            tasks = [of.task for of in LABEL_KINDS.values() if of.task and {*of.columns.values()} <= {*columns}]
            advice = f"name one of them (--{use}-column{'s' * (use == 'choice')}){without}"
            if tasks and labels_are == "name":
                advice = f"choose the task {tasks[0]}, which has such columns, or {advice}"
            raise DataError(
                f"{path} has {columns.count(named) or 'no'} columns named {named!r} for the {use}; its columns are "
                f"{listed(columns)}: {advice}"
            )
    of_split, of_id = wanted["split"], wanted["id"]
    used = Counter([*filter(None, (text_column, wanted["label"], pair_column)), *choice_columns])  # an id may be a text
    if twice := next((name for name, n in used.items() if n > 1), None):
        raise DataError(f"the column {twice!r} of {path} is named for two uses: name another one for one of them")
    looks = {look(label) for label in labels or ()} if merge_labels else set()

    # The rows.
    ids: set[str] = set()
    repeated: list[str] = []  # "'id' became 'new id'"
    nameless: list[int] = []  # lines without an id
    splits: Counter[str] = Counter()  # names of splits that are not ours
    unsure: list[int] = []  # lines whose label may mean one choice or another
    records = list(table.records)
    listed_choices = labels_are == "choice" and len(choice_columns) == 1
    most_have = usual_number(records, table.fields_of, choice_columns) if listed_choices else 0

    def parse(line: int, raw: str) -> Example:
        row = table.fields_of(line, raw)
        least = 1 if labels_are == NOTHING else 2
        choices = choices_of(row, choice_columns, least) if choice_columns else None
        if choices and most_have and len(choices) != most_have:
            raise RowError(f"{len(choices)} choices, where most rows have {most_have}")
        given: Any = row.get(label_column)
        if choices and labels_are != NOTHING:
            meant = meant_by(given if type(given) is int else cell(row, label_column), choices, choice_columns)
            unsure.extend([line] * (len(meant) > 1))
            given = meant[0]
        elif labels_are != NOTHING and not (kind.listed and isinstance(given, list | dict)):
            if isinstance(given, list | dict):
                raise RowError(
                    f"the label (column {label_column!r}) is a {type(given).__name__}, and not {kind.is_a}: lists are "
                    "for the tasks multilabel, tag and span"
                )
            given = cell(row, label_column).strip()
        if given == "" and not kind.listed:
            raise RowError(f"the label (column {label_column!r}) is empty")
        spans_of = text_of(row, pair_column or text_column) if kind.columns else ""
        try:
            label = kind.read(given, spans_of)
        except ValueError as error:
            raise RowError(f"the label {given!r:.80} (column {label_column!r}) {error}") from error
        for name in names_in(label):
            refuse_broken_text(name)
            if labels is not None and name not in labels and look(name) not in looks:
                raise RowError(f"label {name!r} (column {label_column!r}) is not one of {listed(labels)}")
        split = ""
        if of_split:
            name = unicodedata.normalize("NFKC", cell(row, of_split)).strip().lower()
            if name not in SPLIT_NAMES:
                unasked = "" if split_column else "; is it no split? say --split-column none"
                raise RowError(f"split {name!r} (column {of_split!r}) is not one of {listed(SPLIT_NAMES)}{unasked}")
            split = SPLIT_NAMES[name]
        text, pair = text_of(row, text_column), text_of(row, pair_column) if pair_column else None
        # An id for every row, and no two the same.
        own = cell(row, of_id) if of_id and (id_column or row.get(of_id) not in (None, "")) else ""
        id_ = own or f"{path.name}:{line}"
        while id_ in ids:
            id_ = f"{id_}:{line}"
        ids.add(id_)
        if of_id and not own:
            nameless.append(line)
        elif own and id_ != own:
            repeated.append(f"{own!r} on line {line} became {id_!r}")
        if split and name != split:
            splits[name] += 1
        return Example(id_, text, label, split, votes_of(row), pair, choices)

    examples, bad, *_ = collect(path, records, parse, table.encoding)
    notes = list(table.notes)
    if "pair" in columns and "pair" not in (*wanted.values(), *choice_columns):
        notes.append("the column 'pair' is not read: --pair-column pair takes it for second texts")
    if splits:
        notes.append("splits: " + ", ".join(f"{name} ({n} texts) is {SPLIT_NAMES[name]}" for name, n in splits.items()))
    if unsure:
        rows = "1 label is" if len(unsure) == 1 else f"{len(unsure)} labels are"
        notes.append(
            f"{rows} the text of one choice, and the column or number of another: taken as text first, then as column "
            f"(line {unsure[0]} is the first)"
        )
    if repeated:
        rows = "1 row" if len(repeated) == 1 else f"{len(repeated)} rows"
        notes.append(
            f"{rows} had the id of an earlier row in column {of_id!r}, and got the line added to it: {repeated[0]}"
            f"{', …' if repeated[1:] else ''} (--id-column names another column; none: ids are {path.name}:LINE)"
        )
    if nameless:
        rows = "1 row has" if len(nameless) == 1 else f"{len(nameless)} rows have"
        notes.append(f"{rows} no id in column {of_id!r}, and got {path.name}:LINE: line {nameless[0]} is the first")
    return examples, bad, notes


def choices_of(row: dict[str, Any], columns: Sequence[str], least: int = 2) -> tuple[str, ...]:
    """The choices in some columns, or, in JSON, the list in a single one; RowError where they are none."""
    only = row.get(columns[0]) if len(columns) == 1 else None
    if isinstance(only, list):
        if odd := [one for one in only if not isinstance(one, str) or not one.strip()]:
            raise RowError(f"a choice (column {columns[0]!r}) is no text but {odd[0]!r}")
        choices = tuple(only)
        refuse_broken_text("".join(choices))
    else:
        choices = tuple(text_of(row, column) for column in columns)
    if least > 1:
        refuse_few(choices)
    return choices


def usual_number(
    records: Iterable[tuple[int, str]], fields_of: Callable[[int, str], dict[str, Any]], columns: Sequence[str]
) -> int:
    """How many choices most records have, of equally many the first; 0 where none has any."""
    numbers: Counter[int] = Counter()
    for line, raw in records:
        with suppress(RowError):
            numbers[len(choices_of(fields_of(line, raw), columns))] += 1
    return numbers.most_common(1)[0][0] if numbers else 0


def open_table(path: Path, encoding: str = AUTO, lines: list[str] | None = None, suffix: str = "") -> Table:
    """The columns of a file and its records; DataError where the header cannot be read.

    `lines` are those of a stream in that encoding, for which `path` is only a name. `suffix` tells the format instead
    of the name's.
    """
    suffix = suffix or path.suffix.lower()
    lines, name, notes = (lines, encoding, []) if lines is not None else decode(path, encoding)
    if suffix == ".jsonl":
        return Table(columns_of_objects(lines), enumerate(lines, start=1), lambda _, raw: json_object(raw), name, notes)
    is_csv = suffix == ".csv"
    split_fields = csv_fields if is_csv else lambda raw, _: raw.split("\t")
    records = csv_records(path, lines) if is_csv else enumerate(lines, start=1)
    _, header = next(iter(records), (1, ""))
    try:
        refuse_broken_text(header, name)
        columns = split_fields(header, 1)
    except RowError as error:
        raise DataError(f"{path}:1: the header cannot be read: {error}") from error

    def fields_of(line: int, raw: str) -> dict[str, Any]:
        fields = split_fields(raw, line)
        if len(fields) != len(columns):
            raise RowError(f"{len(fields)} columns where the header has {len(columns)}")
        return dict(zip(columns, fields, strict=True))

    return Table(columns, records, fields_of, name, notes)


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct label names, sorted; as numbers if all are whole numbers."""
    names = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", name) for name in names):
        names.sort(key=int)
    return tuple(names)


def json_object(raw: str) -> dict[str, Any]:
    try:
        row = json.loads(raw)
    except json.JSONDecodeError as error:
        raise RowError(f"broken JSON: {error.msg} (character {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise RowError(f"broken JSON: {error}") from error
    if not isinstance(row, dict):
        raise RowError("the line is JSON, but not an object")
    return row


def columns_of_objects(lines: list[str]) -> list[str]:
    """Every key of the objects, in the order of their first use; bad lines are for `collect` to name."""
    columns: dict[str, None] = {}
    for line in lines:
        try:
            columns |= dict.fromkeys(json_object(line))
        except RowError:
            continue
    return list(columns)


def cell(row: dict[str, Any], column: str) -> str:
    """A field as a string; a number or true in JSON as Python writes it, its NaN is none."""
    value = row.get(column)
    if value is None or value != value:  # NaN differs from itself
        empty = f" (it is {value})" if column in row else ""
        raise RowError(f"no {column!r}{empty}; the columns of this row are {listed(row)}")
    if isinstance(value, dict | list):
        raise RowError(f"column {column!r} holds a {type(value).__name__}, not a name")
    refuse_broken_text(str(value))
    return str(value)


def votes_of(row: dict[str, Any]) -> dict[str, int] | None:
    """How many judges chose each label, where a row of JSON tells: {"votes": {"good": 2, "bad": 1}}."""
    votes = row.get("votes")
    if not votes or not isinstance(votes, dict) or not all(type(n) is int and n >= 0 for n in votes.values()):
        return None
    refuse_broken_text("".join(votes))
    return votes


def text_of(row: dict[str, Any], column: str) -> str:
    """The text of a row, which must not be empty; in JSON it must be a string."""
    text = cell(row, column)
    if not isinstance(row[column], str):
        raise RowError(f"the text (column {column!r}) is no string but {text}")
    if not text.strip():
        raise RowError(f"the text (column {column!r}) is empty")
    return text
