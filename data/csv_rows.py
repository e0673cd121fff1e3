"""Rows of CSV (RFC 4180): fields in quotes may hold commas, line breaks and doubled quotes, and be of any length.

Python's csv module refuses fields of more than 131,072 characters, and cannot tell where a broken row ends.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .dataset import DataError
from .rows import RowError

# A field in quotes, or one without; only a field's first character opens quotes.
FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|((?!")[^,]*))(?=,|\Z)')


def csv_records(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(line number, row): the lines of fields in quotes joined. A row that is broken is one row all the same.

    Raises:
        DataError: a quote is never closed, so that nobody can tell which of the lines after it are rows.
    """
    start, quoted = 0, False
    for end, line in enumerate(lines, start=1):
        quoted = in_quotes_after(line, quoted)
        if not quoted:
            yield start + 1, "\n".join(lines[start:end])
            start = end
    if quoted:
        opened = stray_quote("\n".join(lines[start:]), start + 1)
        raise DataError(
            f"{path}:{opened}: the quote that opens here is never closed, and the {len(lines) - opened} lines after it "
            'may be rows or its text: close it, or write a quote inside a text twice ("")'
        )


def in_quotes_after(line: str, quoted: bool) -> bool:
    """Whether a field in quotes goes on after a line, before which one went on or not."""
    if '"' not in line:
        return quoted
    ours = quoted  # whether the field at hand began with a quote; in others quotes are plain characters
    before, *pieces = line.split('"')
    opens = not before
    for piece in pieces:
        if quoted:
            quoted = False
        else:
            quoted = ours = opens or before.endswith(",") or (ours and "," not in before)
        before, opens = piece, False
    return quoted


def csv_fields(raw: str, line: int = 1) -> list[str]:
    """The fields of a row that begins on a line."""
    fields: list[str] = []
    place = 0
    while raw:
        found = FIELD.match(raw, place)
        if found is None:
            last = line + raw.count("\n")
            whole = f" (lines {line} to {last} are this one row)" if last > line else ""
            raise RowError(
                f"broken CSV: the quote that opens on line {stray_quote(raw, line)} is not closed before a comma or "
                f'the end of the line{whole}; write a quote inside a text twice ("")'
            )
        fields.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        if found.end() == len(raw):
            break
        place = found.end() + 1
    return fields


def stray_quote(raw: str, line: int) -> int:
    """The line on which the first field opens that is not closed as it should; `line` is that of the row."""
    place = 0
    while place <= len(raw) and (found := FIELD.match(raw, place)):
        place = found.end() + 1
    return line + raw.count("\n", 0, place)
