"""Texts without labels, read one at a time, so that a file of any length fits into memory."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from .dataset import DataError
from .rows import RowError, decoded_lines, refuse_broken_text
from .table import cell, json_object, text_of


def read_texts(source: str | Path | BinaryIO, text_column: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield (id, text) for each line of a file or of a stream of bytes (`sys.stdin.buffer`).

    A line is a text. In a .jsonl file, or where `text_column` is given, it is a JSON object with the text in that
    column ("text") and perhaps an "id"; otherwise the id is `<file name>:<line>`. Lines of white space are skipped.

    Raises:
        DataError: a line cannot be read; the message names it.
    """
    stream: AbstractContextManager[Iterable[bytes]]
    if isinstance(source, str | Path):
        path = Path(source)
        if path.suffix.lower() in (".csv", ".tsv"):
            raise DataError(f"{path}: texts to judge are read from .jsonl, or from plain text with one text a line")
        if path.suffix.lower() == ".jsonl":
            text_column = text_column or "text"
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        stream = path.open("rb")
    else:
        path, stream = Path("stdin"), nullcontext(source)
    with stream as lines:
        for number, line in enumerate(decoded_lines(lines), start=1):
            if not line.strip():
                continue
            try:
                yield text_in(line, f"{path.name}:{number}", text_column)
            except RowError as error:
                raise DataError(f"{path}:{number}: {error}") from error


def text_in(line: str, default_id: str, text_column: str | None) -> tuple[str, str]:
    refuse_broken_text(line)
    if text_column is None:
        return default_id, line
    row = json_object(line)
    return (cell(row, "id") if "id" in row else default_id), text_of(row, text_column)
