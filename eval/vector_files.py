"""The vectors of the rows of a file, in files: .npy with a .csv and a .json beside it, .parquet, or .jsonl.

Every row of the source is there, in its order; one without a text has no vector, and a reason.

Letters: n rows, H hidden size.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import DataError
from ..data.rows import SHOWN
from ..data.texts import Row
from ..model.precision import name_of
from ..weights.files import read_json
from .encoder import Encoder
from .runs import csv_line, whole_file

Embedded = Iterator[tuple[Row, np.ndarray | None]]
COLUMNS = ("id", "text", "no_vector")  # the last is why there is none
AT_ONCE = 1024  # rows of a group in a .parquet


def embedded(encoder: Encoder, rows: Iterable[Row], prompt: str | None, batch_size: int | None = None) -> Embedded:
    """Each row with its vector (H,), in order, in constant memory; None where it has no text."""
    waiting: deque[Row] = deque()

    def texts() -> Iterator[str]:
        for row in rows:
            waiting.append(row)
            if not row.reason:
                yield row.text

    for vector in encoder.stream(texts(), prompt, batch_size):
        while waiting[0].reason:
            yield waiting.popleft(), None
        yield waiting.popleft(), vector
    yield from ((row, None) for row in waiting)


@dataclass
class Without:
    """The rows that went through without a vector: how many, and of the first of them where and why."""

    number: int = 0
    shown: list[str] = field(default_factory=list)

    def counting(self, rows: Embedded) -> Embedded:
        for row, vector in rows:
            if vector is None:
                self.add(row)
            yield row, vector

    def add(self, row: Row) -> None:
        self.number += 1
        if self.number <= SHOWN:
            self.shown.append(f"no vector for {row.reason if row.bad else f'{row.place}: {row.reason}'}")

    def sentences(self) -> list[str]:
        return [*self.shown, *([f"and for {self.number - SHOWN} more"] if self.number > SHOWN else [])]


def key_of(row: Row) -> bytes:
    """What the fingerprint of all texts is made of."""
    return json.dumps(None if row.reason else row.text).encode() + b"\n"


def made_by(encoder: Encoder, model: str, prompt: str | None) -> dict[str, Any]:
    """What is to be known of vectors to use them again."""
    vectors = encoder.vectors
    how = {"pooling": vectors.pooling, "normalise": vectors.normalise, **encoder.how}
    how["precision"] = name_of(encoder.precision)
    return {"model": model, "fingerprint": encoder.fingerprint(), **how, "prompt": vectors.before(prompt)}


# --- writing ----------------------------------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    """All files that are written for an output of that name."""
    return [path, *(path.with_suffix(suffix) for suffix in (".csv", ".json") if path.suffix.lower() == ".npy")]


def write_npy(path: Path, rows: Embedded, number: int, size: int, made: Mapping[str, Any]) -> None:
    """(n, H) fp32, with NaN where there is no vector; a .csv of the rows, line by line, and in a .json what made it."""
    array_file, table_file, told_file = files_of(path)
    found, texts = 0, hashlib.sha256()
    with whole_file(told_file) as told, whole_file(table_file) as table, whole_file(array_file) as array:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (number, size)}
        np.lib.format.write_array_header_1_0(array, shape)
        table.write(csv_line(COLUMNS).encode() + b"\n")
        for row, vector in rows:
            array.write((np.full(size, np.nan) if vector is None else vector).astype("<f4").tobytes())
            table.write(csv_line((row.id, row.text, row.reason)).encode("utf-8") + b"\n")
            texts.update(key_of(row))
            found += 1
        if found != number:
            raise DataError(f"the file had {number} rows, and now has {found}: leave it alone while it is read")
        content = {**made, "rows": number, "size": size, "texts": texts.hexdigest()}
        told.write((json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))


def write_jsonl(path: Path, rows: Embedded, number: int, size: int, made: Mapping[str, Any]) -> None:
    """An object a row; its numbers have as many digits as fp32 needs."""
    with whole_file(path) as file:
        for row, vector in rows:
            answer = {"no_vector": row.reason} if vector is None else {"vector": [float(str(x)) for x in vector]}
            line = json.dumps({"id": row.id, "text": row.text} | answer, ensure_ascii=False)
            file.write(line.encode("utf-8") + b"\n")


def write_parquet(path: Path, rows: Embedded, number: int, size: int, made: Mapping[str, Any]) -> None:
    """A table of id, text, vector and no_vector; what made it is in the metadata, under `tezukuri`."""
    arrow, parquet = libraries()
    texts = [(name, arrow.string()) for name in COLUMNS]
    schema = arrow.schema(
        [*texts[:2], ("vector", arrow.list_(arrow.float32())), *texts[2:]], metadata={"tezukuri": json.dumps(made)}
    )
    with whole_file(path) as file, parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(rows, AT_ONCE)):
            columns = [
                [row.id for row, _ in some],
                [row.text for row, _ in some],
                [vector for _, vector in some],
                [row.reason or None for row, _ in some],
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('a .parquet needs: pip install "tezukuri[parquet]", or write .npy') from error
    return pyarrow, pyarrow.parquet


WRITERS: dict[str, Callable[[Path, Embedded, int, int, Mapping[str, Any]], None]] = {
    ".npy": write_npy, ".parquet": write_parquet, ".jsonl": write_jsonl,
}  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------


def read_npy(path: Path, encoder: Encoder, rows: Sequence[Row], source: str) -> tuple[np.ndarray, str]:
    """The vectors (n, H) of these rows, left on disk, and the prompt that stood before each text.

    source: the name of the rows' file, for messages.

    Raises:
        ValueError: they were made by another model, or of other rows, or are broken.
    """
    told_file = path.with_suffix(".json")
    if path.suffix.lower() != ".npy" or not path.is_file() or not told_file.is_file():
        raise DataError(f"{path} is no .npy with a {told_file.name} beside it: make both (tezukuri embed)")
    made = read_json(told_file)
    if made.get("fingerprint") != encoder.fingerprint():
        raise DataError(
            f"{path} was made by another model ({made.get('model')}), or in another way: make it anew (tezukuri embed)"
        )
    texts = hashlib.sha256(b"".join(map(key_of, rows))).hexdigest()
    if made.get("rows") != len(rows) or made.get("texts") != texts:
        found = f"{made.get('rows')} rows" if made.get("rows") != len(rows) else "other texts"
        raise DataError(f"{path} was made of {found}, and {source} has {len(rows)} rows: make it anew (tezukuri embed)")
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}): make it anew (tezukuri embed)") from error
    if vectors.shape != (len(rows), encoder.size):
        raise DataError(f"{path} has the shape {vectors.shape}, not {(len(rows), encoder.size)}: make it anew")
    return vectors, str(made.get("prompt", ""))
