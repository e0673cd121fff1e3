"""The encoding of a file of one's own: the one that is named, or the one that its bytes show."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .dataset import DataError
from .rows import decoded_lines

AUTO = "auto"
MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
KANA = re.compile(
    "[ぁ-ゖァ-ー]"
)  # neither kanji nor kana of half width: other encodings, read as cp932, are full of them
OTHER_FILES = {  # first bytes → what it is
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"PAR1\x15": "a Parquet file",
    b"\x1f\x8b": "compressed by gzip",
    b"%PDF-": "a PDF",
}
LOOKED_AT = 1 << 15  # bytes of a file that is not read whole
NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class Decoded(NamedTuple):
    """The lines of a file without their ends; bytes that could not be decoded are lone surrogates in them."""

    lines: list[str]
    encoding: str
    notes: list[str]  # what was guessed, or looks wrong


def decode(path: Path, encoding: str = AUTO) -> Decoded:
    r"""Read a file whose lines end in \n or \r\n; where there is no \n, in \r.

    Raises:
        DataError: the encoding is not known, or not that of the file.
    """
    content = path.read_bytes()
    refuse_no_text(path, content, encoding)
    name = recognised(content) if encoding == AUTO else encoding
    try:
        text = content.decode(name, "surrogateescape").removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(f"no encoding is called {encoding!r}: give --encoding auto, utf-8, cp932, euc_jp, …") from error
    except UnicodeError as error:
        raise DataError(f"{path} is not {name} ({error}): name its encoding (--encoding)") from error
    notes = notes_on(path, encoding, name, content)
    lines = text.split("\n")
    if len(lines) == 1 and "\r" in text.rstrip("\r"):
        lines = text.split("\r")
        notes.append(f"the lines of {path.name} end in \\r alone, as old Macs write them")
    return Decoded([line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])], name, notes)


def encoding_of(path: Path, encoding: str = AUTO) -> tuple[str, list[str]]:
    """The encoding of a file that is not read whole, as `decode` tells it, and notes, both by whole lines at its
    beginning."""
    with path.open("rb") as file:
        begins = file.read(LOOKED_AT)
    if len(begins) == LOOKED_AT:
        begins = begins[: max(map(begins.rfind, (b"\n", b"\r"))) + 1] or begins
    refuse_no_text(path, begins, encoding)
    name = recognised(begins) if encoding == AUTO else encoding
    is_wide(name)  # raises where there is none of that name
    return name, notes_on(path, encoding, name, begins)


def refuse_no_text(path: Path, begins: bytes, encoding: str) -> None:
    for mark, what in OTHER_FILES.items():
        if begins.startswith(mark):
            raise DataError(f"{path} is {what}, and no text: save it as .csv or .jsonl in UTF-8")
    if encoding == AUTO and 0 in begins[:2]:
        raise DataError(f"{path} is no text, or UTF-16 without its mark: name its encoding (--encoding utf-16-le)")


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a file, as `decode` has them, but read when they are gone through, unless a character has two bytes
    or more."""
    if is_wide(encoding):
        yield from decode(path, encoding).lines
        return
    with path.open("rb") as file:
        yield from decoded_lines(file, encoding)


def is_wide(encoding: str) -> bool:
    r"""Whether a character has two bytes or more, also a \n; DataError where there is no such encoding."""
    try:
        "".encode(encoding)  # not so of `hex` and the like
        return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    except LookupError as error:
        raise DataError(f"no encoding is called {encoding!r}: give --encoding auto, utf-8, cp932, euc_jp, …") from error


def notes_on(path: Path, encoding: str, name: str, content: bytes) -> list[str]:
    """What was guessed where `auto` was told, or looks wrong where another encoding was."""
    if encoding == AUTO and name != "UTF-8":
        return [f"{path.name} was read as {name}, which its bytes show (--encoding names another)"]
    if not codecs.lookup(name).name.startswith("utf-8") and not content.isascii() and is_utf8(content):
        return [f"{path.name} was read as {name}, as told, but its bytes are UTF-8 too: look at its texts"]
    return []


def recognised(content: bytes) -> str:
    """UTF-16 by its mark; cp932, Japanese Windows's own, where the whole is that and Japanese; otherwise UTF-8."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    if is_utf8(content):
        return "UTF-8"
    try:
        foreign = NOT_ASCII.findall(content.decode("cp932"))
    except UnicodeDecodeError:
        return "UTF-8"
    # Lines of UTF-8 can be cp932 too, but hardly a line of Japanese in cp932 is UTF-8.
    lines = [line for line in content.split(b"\n") if not line.isascii()]
    hardly_utf8 = 10 * sum(map(is_utf8, lines)) <= len(lines)
    japanese = 5 * len(KANA.findall("".join(foreign))) > len(foreign)
    return "cp932" if japanese and hardly_utf8 else "UTF-8"


def is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
