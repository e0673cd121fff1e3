"""The members of an archive, one by one and never unpacked to disk; one that could do harm is refused.

A member whose name leads out of the archive's folder, or that is a link or a device, is a trap for those who unpack
archives; a small archive with very many or very large members fills the memory.
"""

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from .dataset import DataError

MOST_MEMBERS = 20_000
MOST_BYTES = 200_000_000  # unpacked


def members(path: Path, archive: BinaryIO | None = None) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all files in a .tar.gz, a .tar or a folder; of an open `archive`, `path` is only the name.

    Raises:
        DataError: a member leads out of the folder, or is no file and no folder; or there are too many, or they are
            too large. What a broken archive raises is BROKEN of distributed.py.
    """
    return of_folder(path) if archive is None and path.is_dir() else of_tar(path, archive or path.open("rb"))


def of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    limit, whole = Limit(folder), folder.resolve()
    for file in folder.rglob("*"):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            if not file.resolve().is_relative_to(whole):
                raise DataError(f"{file} is a link that leads out of {folder}: copy what it leads to (cp -rL)")
            limit.count(name, file.stat().st_size)
            yield name, file.read_bytes()


def of_tar(path: Path, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    limit = Limit(path)
    with file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = Bounded(gzip.GzipFile(fileobj=file) if packed else file, limit)
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                place = PureWindowsPath(member.name)  # it takes / and \ for what parts folders
                if place.drive or place.root or ".." in place.parts:
                    raise limit.harm(member.name, "leads out of its folder")
                if member.issparse() or not (member.isreg() or member.isdir()):
                    raise limit.harm(member.name, "is no file and no folder, but a link, a device or the like")
                limit.count(member.name, member.size)
                if member.isreg():
                    content = tar.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
        while stream.read(1 << 20):  # to the end, where gzip has its checksum
            pass


class Limit:
    """Counts the members of an archive and their bytes; DataError where there are more than are read."""

    def __init__(self, path: Path) -> None:
        self.path, self.members, self.bytes, self.last = path, 0, 0, ""

    def count(self, name: str, size: int) -> None:
        self.members, self.bytes, self.last = self.members + 1, self.bytes + size, name
        if self.members > MOST_MEMBERS:
            raise self.harm(name, f"is its member number {self.members:,}, and at most {MOST_MEMBERS:,} are read")
        if self.bytes > MOST_BYTES:
            raise self.harm(name, f"makes it larger than the {MOST_BYTES / 1e6:.0f} MB, unpacked, that are read")

    def harm(self, name: str, what: str) -> DataError:
        return DataError(f"{self.path} is refused: {name[:200]!r} {what}; get it again from its authors")


class Bounded:
    """A stream of which no more can be read than the limit allows, whatever the headers of its archive claim."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, limit: Limit) -> None:
        self.file, self.limit, self.read_so_far = file, limit, 0

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.read_so_far += len(content)
        if self.read_so_far > MOST_BYTES + 1024 * MOST_MEMBERS:  # with the members' headers
            raise self.limit.harm(self.limit.last, "is followed by more than can be read")
        return content
