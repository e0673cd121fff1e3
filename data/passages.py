"""Text for pretraining: files with one passage a line, streamed in random order, never wholly in memory."""

import gzip
import random
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from .dataset import DataError

BUFFER = 20_000  # passages held in memory, to be given out in random order


def open_text(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise DataError(f"no such text: {path} is not a file")
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def count_lines(path: Path) -> int:
    try:
        with open_text(path) as lines:
            return sum(1 for _ in lines)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a broken gzip file ({error}): fetch it again") from error


def passages(paths: Sequence[Path], sizes: Sequence[int], seed: int | Sequence[int]) -> Iterator[str]:
    """Every line of every file that is not blank, once, in an order that depends on `seed` alone.

    The next line is from each file with a probability in proportion to the lines that it has left (`sizes`, by
    `count_lines`, at the start), and is swapped with one of BUFFER lines held in memory.

    Raises:
        DataError: a line is not UTF-8, and the message names file and line; or a file has become shorter.
    """
    order = random.Random(str(seed))
    left = list(sizes)
    readers = [enumerate(open_text(path), start=1) for path in paths]
    held: list[str] = []
    while any(left):
        (chosen,) = order.choices(range(len(paths)), weights=left)
        number, line = next(readers[chosen], (0, b""))
        if not number:
            raise DataError(
                f"{paths[chosen]} has fewer lines than were counted at the start: begin anew, and leave it as it is"
            )
        left[chosen] -= 1
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{paths[chosen]}:{number}: not UTF-8 ({error.reason}): convert the file to it, or remove the line"
            ) from error
        if not text:
            continue
        if len(held) < BUFFER:
            held.append(text)
            continue
        place = order.randrange(BUFFER)
        held[place], text = text, held[place]
        yield text
    order.shuffle(held)
    yield from held


def is_held_out(text: str, share: float = 0.002) -> bool:
    """Whether a passage is for validation: decided by its hash, whatever file it is in."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10_000 < share * 10_000
