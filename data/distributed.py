"""Files as the authors of a data set distribute them: in a folder, in a .zip or .tar archive, or alone; also as .gz.

Names are the paths inside the folder or archive, with `/` and without `.gz`. Files whose names begin with a dot, as
macOS adds them to archives, are left out.
"""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .dataset import DataError
from .rows import decoded_lines

BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError, RuntimeError)


class File(NamedTuple):
    """A file that was read."""

    place: Path  # as messages name it: inside the folder or archive
    content: bytes

    def lines(self) -> list[str]:
        r"""As `decoded_lines` gives them."""
        return list(decoded_lines(io.BytesIO(self.content)))


def files_in(path: Path) -> list[str]:
    """The names of all files in a folder or archive, or that of the file."""
    names = (name for name, _ in members(path, wanted=()))
    return sorted(name for name in names if not PurePosixPath(name).name.startswith("."))


def read_files(path: Path, names: Collection[str]) -> dict[str, File]:
    """Name → file, of some of `files_in`; DataError where one, or the archive, is broken."""
    alone = path.is_file() and files_in(path) == [plain(path.name)]
    return {
        name: File(path if alone else path / name, content) for name, content in members(path, names) if name in names
    }


def members(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all files; the content only of those that are wanted."""
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                name = plain(file.relative_to(path).as_posix())
                if file.is_file():
                    yield name, unpacked(file.name, file.read_bytes()) if name in wanted else b""
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    name = plain(info.filename)
                    if not info.is_dir():
                        yield name, unpacked(info.filename, archive.read(info)) if name in wanted else b""
        elif path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
            with tarfile.open(path) as tar:
                for member in tar:
                    name = plain(member.name)
                    if member.isfile() and (file_ := tar.extractfile(member)):
                        yield name, unpacked(member.name, file_.read()) if name in wanted else b""
        elif path.suffix == ".zip":
            raise zipfile.BadZipFile("it is no zip file, or its end is missing")
        else:
            name = plain(path.name)
            yield name, unpacked(path.name, path.read_bytes()) if name in wanted else b""
    except BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}): it is cut or broken, get it again") from error


def plain(name: str) -> str:
    return name.removesuffix(".gz")


def unpacked(name: str, content: bytes) -> bytes:
    return gzip.decompress(content) if name.endswith(".gz") else content


def find(path: Path, wanted: Mapping[str, str]) -> tuple[dict[str, File], list[str]]:
    """Of the wanted files (split → path in the authors' repository) those that are there, and notes of the others.

    A file is found by its name, and where several have that name, as in the whole repository of several data sets, by
    its folders. A single file may have any name where only one is wanted.

    Raises:
        DataError: none is there, or a file or archive is broken.
    """
    names = files_in(path)
    if path.is_file() and names == [plain(path.name)] and len(wanted) == 1:
        chosen = dict.fromkeys(wanted, names[0])
    else:
        alike = {split: max([(shared(goal, name), -len(name), name) for name in names], default=(0, 0, ""))
                 for split, goal in wanted.items()}  # fmt: skip
        # All of them lie as deep in their folders; a file of the same name elsewhere is another data set's.
        most = max(parts for parts, _, _ in alike.values())
        chosen = {split: name for split, (parts, _, name) in alike.items() if most and parts == most}
    if not chosen:
        files = ", ".join(PurePosixPath(goal).name for goal in wanted.values())
        what = "is none of" if path.is_file() and len(names) == 1 else "has none of"
        raise DataError(f"{path} {what} the files of this data set, {files}")
    read = read_files(path, set(chosen.values()))
    for file in read.values():
        if file.content.startswith(b"version https://git-lfs."):
            raise DataError(f"{file.place} is a pointer of git-lfs instead of the file: run git lfs pull in its folder")
    alone = path.is_file() and names == [plain(path.name)]
    missing = [f"{PurePosixPath(goal).name} is not in {path}: no {split}" for split, goal in wanted.items()
               if split not in chosen and not alone]  # fmt: skip
    return {split: read[name] for split, name in chosen.items()}, missing


def shared(goal: str, name: str) -> int:
    """How many of their last parts, counted from the end, two paths have in common."""
    pairs = zip(reversed(goal.split("/")), reversed(name.split("/")), strict=False)
    return len(list(takewhile(lambda parts: parts[0] == parts[1], pairs)))
