"""Labelled texts in UTF-8 files of one's own: .tsv and .csv with a header line, .jsonl with an object a line.

A .tsv has no quoting. A .csv follows RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180): a field in quotes may hold
commas, line breaks and doubled quotes.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .dataset import BadRow, DataError, Example
from .rows import RowError, collect, listed, read_lines, refuse_broken_text

Record = tuple[int, str]  # line number, raw row
SUFFIXES = (".csv", ".jsonl", ".tsv")
SPLIT_NAMES = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}


def read_table(
    path: Path,
    text_column: str,
    label_column: str,
    split_column: str | None,
    labels: Sequence[str] | None,
    pair_column: str | None = None,
) -> tuple[list[Example], list[BadRow]]:
    """Read a file in the format of its suffix.

    The columns "split" and "id" are used where they are there; otherwise the split is "" and the id `<file>:<line>`.
    DataError where a column is missing.
    """
    # The columns.
    columns, records, fields_of = open_table(path)
    wanted = {"text": text_column, "label": label_column, "split": split_column, "pair": pair_column}
    for use, column in wanted.items():
        if column and columns.count(column) != 1:
            raise DataError(
                f"{path} has {columns.count(column) or 'no'} columns named {column!r} for the {use}; its columns are "
                f"{listed(columns)}: name one of them (--{use}-column)"
            )
    if "split" in columns:
        split_column = split_column or "split"

    # The rows.
    def parse(line: int, raw: str) -> Example:
        row = fields_of(raw)
        label, split = cell(row, label_column).strip(), ""
        if not label:
            raise RowError(f"the label (column {label_column!r}) is empty")
        if labels is not None and label not in labels:
            raise RowError(f"label {label!r} (column {label_column!r}) is not one of {listed(labels)}")
        if split_column:
            name = cell(row, split_column).strip().lower()
            if name not in SPLIT_NAMES:
                raise RowError(f"split {name!r} (column {split_column!r}) is not one of {listed(SPLIT_NAMES)}")
            split = SPLIT_NAMES[name]
        id_ = cell(row, "id") if "id" in row else f"{path.name}:{line}"
        pair = text_of(row, pair_column) if pair_column else None
        return Example(id_, text_of(row, text_column), label, split, votes_of(row), pair)

    return collect(path, records, parse)


def open_table(
    path: Path, lines: list[str] | None = None
) -> tuple[list[str], Iterable[Record], Callable[[str], dict[str, Any]]]:
    """The columns of a file, its records, and the function from a record to its fields.

    `lines` are those of a stream, for which `path` is only a name with the suffix.
    """
    lines = read_lines(path) if lines is None else lines
    if path.suffix.lower() == ".jsonl":
        return columns_of_objects(lines), enumerate(lines, start=1), json_object
    is_csv = path.suffix.lower() == ".csv"
    split_fields = csv_fields if is_csv else lambda raw: raw.split("\t")
    records = csv_records(lines) if is_csv else enumerate(lines, start=1)
    _, header = next(iter(records), (1, ""))
    try:
        refuse_broken_text(header)
        columns = split_fields(header)
    except RowError as error:
        raise DataError(f"{path}:1: the header cannot be read: {error}") from error

    def fields_of(raw: str) -> dict[str, Any]:
        fields = split_fields(raw)
        if len(fields) != len(columns):
            raise RowError(f"{len(fields)} columns where the header has {len(columns)}")
        return dict(zip(columns, fields, strict=True))

    return columns, records, fields_of


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct label names, sorted; as numbers if all are whole numbers."""
    names = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", name) for name in names):
        names.sort(key=int)
    return tuple(names)


def csv_fields(raw: str) -> list[str]:
    try:
        return next(csv.reader([raw], strict=True), [])
    except csv.Error as error:
        raise RowError(f"broken CSV: {error}") from error


def csv_records(lines: list[str]) -> Iterator[Record]:
    """Join the lines of fields in quotes; a quote that is never closed makes only its own line bad."""
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[i] + "\n" for i in range(start, len(lines))), strict=True)
        try:
            next(reader)
            end = start + reader.line_num
        except csv.Error:
            end = start + 1
        yield start + 1, "\n".join(lines[start:end])
        start = end


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
    """A field as a string; a number or true in JSON as Python writes it."""
    value = row.get(column)
    if value is None:
        raise RowError(f"no {column!r}; the columns of this row are {listed(row)}")
    if isinstance(value, dict | list):
        raise RowError(f"column {column!r} holds a {type(value).__name__}, not a name")
    refuse_broken_text(str(value))
    return str(value)


def votes_of(row: dict[str, Any]) -> dict[str, int] | None:
    """How many judges chose each label, where a row of JSON tells: {"votes": {"good": 2, "bad": 1}}."""
    votes = row.get("votes")
    told = isinstance(votes, dict) and votes and all(type(count) is int and count >= 0 for count in votes.values())
    return votes if told else None


def text_of(row: dict[str, Any], column: str) -> str:
    """The text of a row, which must not be empty; in JSON it must be a string."""
    text = cell(row, column)
    if not isinstance(row[column], str):
        raise RowError(f"the text (column {column!r}) is no string but {text}")
    if not text.strip():
        raise RowError(f"the text (column {column!r}) is empty")
    return text
