"""Texts to be labelled, row by row: a text a line, JSON lines, or a table with a header line.

Plain text and JSON lines of any length fit into memory, since they are read a line at a time; a table is read whole.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .dataset import DataError
from .encodings import AUTO, encoding_of, is_wide, lines_of
from .label_kinds import LABEL_KINDS
from .rows import RowError, decoded_lines, listed, refuse_broken_text
from .table import SUFFIXES, cell, choices_of, columns_of_objects, csv_fields, json_object, open_table, text_of

NAMES = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSON lines"}
EMPTY = ("", '""')  # what is no text: nothing, and an empty cell as a .csv writes it
LOOKED_AT = 100  # lines, for the first that is not blank
HEADER_CELL = 30  # characters; a longer cell is no name of a column


@dataclass(frozen=True)
class Row:
    """A row of the source. Where there is nothing to label, it still comes, with the reason."""

    id: str  # its own, or <file name>:<line>
    text: str
    fields: dict[str, Any] = field(default_factory=dict)  # its columns, as the source has them
    place: str = ""  # <file>:<line>
    reason: str = ""  # why it cannot be labelled
    bad: bool = False  # it could not be read
    pair: str | None = None  # the second text, where there is a column for it
    choices: tuple[str, ...] | None = None  # likewise

    @property
    def content(self) -> str | tuple[str, str | Sequence[str]]:
        """What is to be labelled: the text, or both, or a question and its choices."""
        second = self.choices or self.pair
        return self.text if second is None else (self.text, second)


class Beside(NamedTuple):
    """The columns of what a text may have beside it."""

    pair: str | None = None
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class Texts:
    """What `read_texts` gives."""

    rows: Iterable[Row]
    columns: list[str] | None  # those of a table or of plain text; None where each JSON object has its own
    notes: list[str] = field(default_factory=list)  # what was recognised, a sentence each
    again: bool = True  # the rows can be gone through more than once
    number: int | None = None  # of the rows, where it is known


@dataclass(frozen=True)
class RowsOfLines:
    """A row a line, read when they are gone through."""

    lines: Callable[[], Iterable[str]]
    row_of: Callable[[int, str], Row]

    def __iter__(self) -> Iterator[Row]:
        return (self.row_of(number, line) for number, line in enumerate(self.lines(), start=1))


def read_texts(
    source: str | Path | BinaryIO,
    text_column: str | None = None,
    bad_rows: str = "error",
    pair_column: str | None = None,
    choice_columns: Sequence[str] = (),
    encoding: str = AUTO,
) -> Texts:
    """The rows of a file, or of a stream of bytes (`sys.stdin.buffer`), in order; none is left out.

    The suffix of a file tells its format: .csv, .tsv or .jsonl; any other is plain text, a text a line. A stream, and
    plain text with a `text_column`, are recognised by their first lines.

    Args:
        text_column: where the text is ("text"; or, of a file without it, "question", with "context" as second text);
            not for plain text.
        bad_rows: `error`, or `skip`: a row that cannot be read is not labelled.
        pair_column: where the second text is, if the rows have two; not for plain text.
        choice_columns: where the choices are, if the rows are questions; in JSON also one column, which holds a list.
        encoding: as in `load`; of a stream `auto` is UTF-8.

    Raises:
        DataError: a row, or the format, cannot be read; the message names the line.
    """
    beside = Beside(pair_column, choice_columns)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        name, told = encoding_of(path, encoding)
        suffix, _, notes = format_of(path, lines_of(path, name), text_column)
        if suffix in (".csv", ".tsv"):
            return table_of(path, None, text_column, beside, bad_rows, notes, encoding)
        again = True
    else:
        name = "UTF-8" if encoding == AUTO else encoding
        if is_wide(name):
            raise DataError(f"{name} cannot be read line by line from standard input: give a --file")
        path, stream, told = Path("stdin"), decoded_lines(source, name), []
        suffix, seen, notes = format_of(path, stream, text_column)
        again = False
        if suffix in (".csv", ".tsv"):
            whole = [*seen, *stream]
            return table_of(path.with_suffix(suffix), whole, text_column, beside, bad_rows, notes, name)
    for column in [column for column in (pair_column, *choice_columns) if column and suffix != ".jsonl"]:
        raise DataError(f"{path} has a text a line, and no column {column!r}: give a .csv, .tsv or .jsonl")
    fields_of, column = (whole_object if suffix == ".jsonl" else plain), "text"
    if suffix == ".jsonl":
        first = next((line for line in (lines_of(path, name) if again else seen) if line.strip()), "")
        column, beside, notes = where_texts_are(path, columns_of_objects([first]), text_column, beside, notes)
    rows = RowsOfLines(
        lambda: lines_of(path, name) if again else chain(seen, stream),
        lambda number, line: row_of(path, number, line, fields_of, column, beside, bad_rows, name),
    )
    return Texts(rows, None if suffix == ".jsonl" else ["text"], [*told, *notes], again)


def where_texts_are(
    path: Path, columns: Sequence[str], column: str | None, beside: Beside, notes: list[str]
) -> tuple[str, Beside, list[str]]:
    """The columns that were named; or `text`; or, where that is not there, a question and its context, as in training,
    with a note that says so."""
    usual = LABEL_KINDS["answers"].columns
    question, context = usual["text"], usual["pair"]
    if column or beside.pair or beside.choices or "text" in columns or not {question, context} <= set(columns):
        return column or "text", beside, notes
    note = f"{path} has no column 'text': its columns {question!r} and {context!r} are read, as in training"
    return question, Beside(context), [note]


def table_of(
    path: Path,
    lines: list[str] | None,
    column: str | None,
    beside: Beside,
    bad_rows: str,
    notes: list[str],
    encoding: str,
) -> Texts:
    """`lines` are those of a stream in that encoding."""
    table = open_table(path, encoding, lines)
    columns = table.columns
    column, beside, notes = where_texts_are(path, columns, column, beside, notes)
    for use, name in (("text", column), ("pair", beside.pair), *(("choice", name) for name in beside.choices)):
        if name is not None and columns.count(name) != 1:
            raise DataError(
                f"{path} has {columns.count(name) or 'no'} columns named {name!r} for the {use}; its columns are "
                f"{listed(columns)}: name one of them (--{use}-column{'s' * (use == 'choice')})"
            )
    rows = [
        row_of(path, line, raw, table.fields_of, column, beside, bad_rows, table.encoding)
        for line, raw in table.records
    ]
    return Texts(rows, columns, [*notes, *table.notes], number=len(rows))


def row_of(
    path: Path,
    line: int,
    raw: str,
    fields_of: Callable[[int, str], dict[str, Any]],
    column: str,
    beside: Beside,
    bad_rows: str,
    encoding: str,
) -> Row:
    place, name = f"{path}:{line}", f"{path.name}:{line}"
    if not raw.strip():
        return Row(name, "", {}, place, "the line is blank")
    try:
        refuse_broken_text(raw, encoding)
        fields = fields_of(line, raw)
        name = cell(fields, "id") if fields.get("id") not in (None, "") else name
        named = [(column, "the text"), (beside.pair, "the second text")]
        for own, what in [*named, *((name, f"the choice {name!r}") for name in beside.choices)]:
            if own in fields and (fields[own] is None or str(fields[own]).strip() in EMPTY):
                return Row(name, "", fields, place, f"{what} is empty")
        pair = text_of(fields, beside.pair) if beside.pair else None
        choices = choices_of(fields, beside.choices) if beside.choices else None
        return Row(name, text_of(fields, column), fields, place, pair=pair, choices=choices)
    except RowError as error:
        if bad_rows != "skip":
            raise DataError(f"{place}: {error} (--bad-rows skip goes on, and leaves such rows unlabelled)") from error
        shown = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        try:
            fields = fields_of(line, shown)
        except RowError:
            fields = {}
        return Row(name, shown, fields, place, f"{place}: {error}", bad=True)


def plain(line: int, raw: str) -> dict[str, Any]:
    return {"text": raw}


def whole_object(line: int, raw: str) -> dict[str, Any]:
    """A JSON object that can be written again as JSON in UTF-8."""
    row = json_object(raw)
    try:
        written = json.dumps(row, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise RowError("the line has NaN or Infinity, which JSON lacks") from error
    refuse_broken_text(written)
    return row


# --- what lines without a telling suffix hold -------------------------------------------------------------------


def format_of(path: Path, lines: Iterator[str], column: str | None) -> tuple[str, list[str], list[str]]:
    """The suffix of a format ("" is plain text), the lines that were read to find it, and what there is to say of it.

    DataError for a stream that is a table, but without the column.
    """
    if path.suffix.lower() in SUFFIXES:
        return path.suffix.lower(), [], []
    is_stream = path == Path("stdin")
    where = "standard input" if is_stream else str(path)
    seen = []
    for line in islice(lines, LOOKED_AT):
        seen.append(line)
        if line.strip():
            break
    first = seen[-1] if seen else ""
    suffix = suffix_of(first, column or "text")
    if suffix in (".csv", ".tsv") and column and not is_stream:
        raise DataError(f"{path} looks like {NAMES[suffix]} with a column {column!r}: name it {path.stem}{suffix}")
    if suffix and (is_stream or column):
        return suffix, seen, [f"{where} is read as {NAMES[suffix]}, with the text in {column or 'text'!r}"]
    if column and first.strip():
        raise DataError(f"{path}:{len(seen)}: the first line is no JSON object, and no header with a column {column!r}")
    if suffix:
        return "", seen, [f"{where} looks like {NAMES[suffix]}, but is read as a text a line: name it *{suffix}"]
    marks = separators_of(first)
    second = next(lines, None) if marks else None
    seen += [] if second is None else [second]
    like = [mark for mark in marks if second and len(cells(second, mark)) in (0, len(cells(first, mark)))]
    if not like:
        return "", seen, []
    named = {"\t": "tabs", ",": "commas", ";": "semicolons"}[like[0]]
    what = f"{where} looks like a table, its columns {listed(cells(first, like[0]))} set apart by {named}"
    if not is_stream:
        return "", seen, [f"{what}, but is read as a text a line: name it *.csv or *.tsv"]
    raise DataError(
        f"{what}: say which of them has the text (--text-column), or give a .csv, .tsv or .txt file (--file)"
    )


def suffix_of(first: str, column: str) -> str:
    """The format that a first line tells by itself: a JSON object, or a header with the column; "" for none."""
    if first.lstrip().startswith("{"):
        try:
            json_object(first)
        except RowError:
            return ""
        return ".jsonl"
    return next((suffix for suffix, mark in ((".csv", ","), (".tsv", "\t")) if column in cells(first, mark)), "")


def cells(line: str, mark: str) -> list[str]:
    """The cells of a line; none where a quote is not closed."""
    if mark == "\t":
        return line.split("\t")
    try:
        return csv_fields(line if mark == "," else line.replace(";", ","))
    except RowError:
        return []


def separators_of(first: str) -> list[str]:
    """What may set columns apart, if the first line is a header: tabs, or commas or semicolons between short names."""
    found = ["\t"] if "\t" in first else []
    for mark in (",", ";"):
        names = cells(first, mark) if mark in first else []
        if len(names) > 1 and all(name and name == name.strip() and len(name) <= HEADER_CELL for name in names):
            found.append(mark)
    return found
