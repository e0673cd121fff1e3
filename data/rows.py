"""From the bytes of a file to examples, row by row; a bad row is named and hides none of the others."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .dataset import BadRow, DataError, Example

RAW_LENGTH = 80  # characters of a bad row that are kept
SHOWN = 10  # bad rows that an error message lists


class RowError(ValueError):
    """Why a row is no example; `collect` adds the file and the line."""


class Unwanted(Exception):  # noqa: N818  # no error
    """Why a row that is right is left out all the same; `collect` counts such rows, and a note says so."""


class Rows(NamedTuple):
    """What a file has."""

    examples: list[Example]
    bad: list[BadRow]
    unwanted: Mapping[str, int] = MappingProxyType({})  # why rows were left out → how many
    notes: Sequence[str] = ()


def decoded_lines(lines: Iterable[bytes], encoding: str = "UTF-8") -> Iterator[str]:
    r"""Lines without their ends (\n or \r\n; where there is no \n, \r) and without a byte-order mark.

    Bytes that are not of the encoding, one in which \n is a byte of its own, become lone surrogates (Python's
    "surrogateescape"); `refuse_broken_text` finds them.
    """
    for number, line in enumerate(lines):
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        whole = number == 0 and not line.endswith(b"\n")  # the only line
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        for part in line.split(b"\r") if whole else [line]:
            yield part.decode(encoding, "surrogateescape")


def read_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        return list(decoded_lines(file))


def refuse_broken_text(text: str, encoding: str | None = None) -> None:
    """RowError where a text has what cannot be written as UTF-8.

    `encoding` is what its bytes were read as; None where they can be nothing but UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code, column = ord(text[error.start]), error.start + 1
        if 0xDC80 <= code <= 0xDCFF:
            byte = code - 0xDC00
            told = ", or get it again" if encoding is None else ", or name its encoding"
            where = f"byte 0x{byte:02x} at character {column}"
            raise RowError(f"not {encoding or 'UTF-8'} ({where}); save the file as UTF-8{told}") from None
        raise RowError(f"half of a surrogate pair (\\u{code:04x} at character {column})") from None


def shown(text: str) -> str:
    """Without control codes, as a terminal may have it."""
    return "".join(character if character.isprintable() else " " for character in text)


def listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def collect(
    path: Path,
    records: Iterable[tuple[int, str]],
    parse: Callable[[int, str], Example],
    encoding: str | None = None,
) -> Rows:
    """Parse the records (line number, raw row) of one file; empty rows are skipped.

    A row is bad where `parse` raises RowError, and where its id is that of an earlier row; it is left out where `parse`
    raises Unwanted. `encoding` is as in `refuse_broken_text`.
    """
    examples: list[Example] = []
    bad: list[BadRow] = []
    unwanted: Counter[str] = Counter()
    line_of_id: dict[str, int] = {}
    for line, raw in records:
        if not raw:
            continue
        try:
            refuse_broken_text(raw, encoding)
            example = parse(line, raw)
            if not example.id:
                raise RowError("the id is empty")
            if example.id in line_of_id:
                raise RowError(f"the id {example.id!r} is already that of line {line_of_id[example.id]}")
        except Unwanted as reason:
            unwanted[str(reason)] += 1
            continue
        except RowError as error:
            shown = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            shown = shown if len(shown) <= RAW_LENGTH else shown[: RAW_LENGTH - 1] + "…"
            bad.append(BadRow(str(path), line, str(error), shown))
            continue
        line_of_id[example.id] = line
        examples.append(example)
    return Rows(examples, bad, unwanted)


def count_of(bad: Sequence[BadRow]) -> str:
    return "1 bad row" if len(bad) == 1 else f"{len(bad)} bad rows"


def refuse_bad_rows(bad: list[BadRow]) -> None:
    if bad:
        rows = "\n".join(f"  {row}" for row in bad[:SHOWN])
        more = f"\n  … and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        advice = "finetune, adapt, evaluate and prepare go on without them with --bad-rows skip"
        raise DataError(f"{count_of(bad)} in {bad[0].file} ({advice}):\n{rows}{more}")
