"""What the table of data sets has of each: how it is fetched and read, and its card."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from .dataset import DataError, Example
from .distributed import File, find
from .download import cache_folder, download, git_hash
from .label_kinds import number_of
from .rows import RowError, Rows, collect, listed
from .table import cell, open_table

RAW = "https://raw.githubusercontent.com"
SPACE = re.compile(r"[\s,]*")


class Card(NamedTuple):
    """What to know of a data set before using it."""

    task: str  # the name of the task that it is for
    about: str
    sizes: str  # examples of each split
    licence: str
    source: str  # paper; address


class Reader(NamedTuple):
    """A data set that has a name.

    `read` takes the file, or the folder or archive, and options by keyword, each a Literal of what it may be, with a
    default; in `--data` they stand behind the name: `wrime:view=writer,neutral=keep`.
    """

    read: Callable[..., Rows]  # the examples, each in its split ("" where the data set has none), and its bad rows
    labels: tuple[str, ...] | Callable[..., tuple[str, ...]]  # in the order of the classes; or from the options
    fetch: Callable[[], Path]  # gives what `read` takes, and downloads it where it is not there yet
    shipped: bool = False  # whether the file comes with this package: no other can be named for it
    card: Card | None = None
    folder: bool = False  # whether `read` also takes a folder or an archive
    draw: Callable[[list[Example], int], tuple[list[Example], list[str]]] | None = None  # its own `with_splits`

    def options(self) -> dict[str, tuple[str, ...]]:
        """Option → its values, the default first."""
        hints = get_type_hints(self.read)
        found = {}
        for name, parameter in list(signature(self.read).parameters.items())[1:]:
            found[name] = tuple(sorted(get_args(hints.get(name)), key=lambda value: value != parameter.default))
        return found

    def chosen(self, name: str, told: str) -> dict[str, str]:
        """`view=writer,neutral=keep` as a dictionary; DataError for what is no option."""
        if not told:
            return {}
        options, chosen = self.options(), {}
        for part in told.split(","):
            key, _, value = part.partition("=")
            if key not in options:
                raise DataError(f"{name} has no option {key!r}; it has {listed(options)}")
            if value not in options[key]:
                raise DataError(f"{name}:{key} is {value!r}; choose one of {', '.join(options[key])}")
            if key in chosen:
                raise DataError(f"{name} is told {key} twice: leave one out")
            chosen[key] = value
        return chosen

    def classes(self, options: Mapping[str, str]) -> tuple[str, ...]:
        return self.labels(**options) if callable(self.labels) else self.labels


class Repository(NamedTuple):
    """Files of a git repository at one commit."""

    owner: str  # and repository: owner/name
    commit: str
    files: Mapping[str, tuple[str, str]]  # split, or what it is for → path, git's hash

    def paths(self, part: str = "") -> dict[str, str]:
        """Split → path; of a part of the data set, of files that are for `<part><split>`."""
        return {what[len(part) :]: path for what, (path, _) in self.files.items() if what.startswith(part)}

    def fetch(self, folder: str, licence: str) -> Path:
        """All files, in a folder of the cache, downloaded where they are not there yet; DataError where that fails."""
        for path, expected in self.files.values():
            url = f"{RAW}/{self.owner}/{self.commit}/{path}"
            try:
                download(url, cache_folder() / folder / path, expected, hash_of=git_hash)
            except DataError as error:
                raise DataError(
                    f"{error}: get {path} from https://github.com/{self.owner} yourself (licence {licence}) and give "
                    "its folder to finetune, evaluate or check_data as --data-path FOLDER, or as a guard NAME=FOLDER"
                ) from error
        return cache_folder() / folder


def of_repository(
    name: str,
    read: Callable[..., Rows],
    labels: tuple[str, ...] | Callable[..., tuple[str, ...]],
    repository: Repository,
    card: Card,
) -> Reader:
    """The row of a data set that is downloaded from a repository."""
    return Reader(read, labels, partial(repository.fetch, name, card.licence), card=card, folder=True)


def must_be_given(what: str) -> Callable[[], Path]:
    """The `fetch` of a data set that has no address."""

    def fetch() -> Path:
        raise DataError(f"{what}: give it to finetune, evaluate or check_data as --data-path FILE")

    return fetch


# --- reading several files of one form ----------------------------------------------------------------------------

Parse = Callable[[int, str], Example]
Open = Callable[[str, File], tuple[Iterable[tuple[int, str]], Parse]]


def read_each(path: Path, wanted: Mapping[str, str], open_file: Open) -> Rows:
    """The rows of those of some files (split → path in the repository) that are in a folder, an archive, or alone.

    `open_file(split, file)` gives the records (line, raw row) of a file and what parses one, as `collect` takes them.

    Raises:
        DataError: no such file is there, or one has no row that can be read, and so is likely another's.
    """
    files, notes = find(path, wanted)
    parts = []
    for split, file in files.items():
        rows = collect(file.place, *open_file(split, file))
        if not rows.examples and not rows.unwanted:
            why = f"{rows.bad[0]} (and none of its rows can be read)" if rows.bad else f"{file.place}:1: it is empty"
            raise DataError(f"{why}: is it the file that you mean?")
        parts.append(rows)
    return joined(parts, notes)


def joined(parts: Iterable[Rows], notes: Iterable[str] = ()) -> Rows:
    """The rows of several files as one."""
    whole, unwanted = Rows([], [], notes=list(notes)), Counter[str]()
    for rows in parts:
        whole.examples.extend(rows.examples)
        whole.bad.extend(rows.bad)
        unwanted.update(rows.unwanted)
    return whole._replace(unwanted=unwanted)


def tables(suffix: str, columns: Iterable[str], parse: Callable[[str, int, dict[str, Any]], Example]) -> Open:
    """How to open tables: .tsv or .csv with a header, or .jsonl. `parse(split, line, row)` makes an example of a row.

    A file without one of the columns is a DataError, which names its first line.
    """

    def open_file(split: str, file: File) -> tuple[Iterable[tuple[int, str]], Parse]:
        if not file.content.strip():
            raise DataError(f"{file.place} is empty: get it again")
        table = open_table(file.place, "UTF-8", file.lines(), suffix)
        if missing := [column for column in columns if column not in table.columns]:
            raise DataError(
                f"{file.place}:1: no column {few(missing)}; its columns are {few(table.columns)}: "
                "is it the file that you mean?"
            )
        return table.records, lambda line, raw: parse(split, line, table.fields_of(line, raw))

    return open_file


def json_text(file: File) -> str:
    """A file of JSON as text; DataError, with the line, where it is none."""
    try:
        text = file.content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        json.loads(text)
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file.place}:{line}: not UTF-8 (byte 0x{file.content[error.start]:02x}): get it again"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{file.place}:{error.lineno}: broken JSON: {error.msg} (character {error.colno})") from error
    except RecursionError as error:
        raise DataError(f"{file.place}:1: broken JSON: {error}") from error
    return text


def elements(file: File, key: str = "") -> Iterator[tuple[int, str]]:
    """(line, raw) of each element of a list in a file of JSON: the file itself, or the first under a key.

    DataError where the file is no JSON, or has no such list.
    """
    text = json_text(file)
    found = re.search(rf'"{key}"\s*:\s*\[' if key else r"\A\s*\[", text)
    if not found:
        raise DataError(f"{file.place}:1: no list {key or 'of objects'} in it: is it the file that you mean?")
    decoder, line, counted, at = json.JSONDecoder(), 1, 0, found.end()
    while (at := SPACE.match(text, at).end()) < len(text) and text[at] != "]":  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, at), at
        _, end = decoder.raw_decode(text, at)
        yield line, text[at:end]
        at = end


def few(names: Sequence[str]) -> str:
    return listed(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def number_in(row: dict[str, Any], column: str) -> float:
    """A number in a field; RowError where it is none."""
    value = cell(row, column)
    try:
        return number_of(value)
    except ValueError as error:
        raise RowError(f"{value!r} (column {column!r}) {error}") from error


def within(score: float, lowest: float, highest: float) -> float:
    """The score; RowError where it is out of its range."""
    if not lowest <= score <= highest:
        raise RowError(f"the score {score:g} is not from {lowest:g} to {highest:g}")
    return score


def one_of(value: Any, names: Collection[str], column: str) -> str:
    """A label as the file has it, which is one of those names; RowError where it is not."""
    if str(value) not in names:
        raise RowError(f"label {str(value)!r} (column {column!r}) is not one of {listed(names)}")
    return str(value)
