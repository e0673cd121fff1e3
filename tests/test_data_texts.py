"""Texts without labels."""

import io
import tracemalloc
from pathlib import Path

import pytest

from tezukuri.data.dataset import DataError
from tezukuri.data.texts import read_texts


def test_one_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "一\r\n\r\n 二\n三".encode())
    assert list(read_texts(path)) == [("a.txt:1", "一"), ("a.txt:3", " 二"), ("a.txt:4", "三")]
    assert list(read_texts(str(path))) == list(read_texts(path))


def test_a_stream_of_bytes() -> None:
    assert list(read_texts(io.BytesIO("一\n二\n".encode()))) == [("stdin:1", "一"), ("stdin:2", "二")]


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "一", "id": 7}\n{"text": "二", "label": "x"}\n')
    assert list(read_texts(path)) == [("7", "一"), ("a.jsonl:2", "二")]
    stream = io.BytesIO('{"本文": "一"}\n'.encode())
    assert list(read_texts(stream, text_column="本文")) == [("stdin:1", "一")]


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("a.txt", b"\x83\n", "a.txt:2: not UTF-8 (byte 0x83 at character 1)"),
        ("a.jsonl", b"{\n", "a.jsonl:2: broken JSON"),
        ("a.jsonl", b"3\n", "a.jsonl:2: the line is JSON, but not an object"),
        ("a.jsonl", b'{"texts": "a"}\n', "a.jsonl:2: no 'text'; the columns of this row are 'texts'"),
        ("a.jsonl", b'{"text": " "}\n', "a.jsonl:2: the text (column 'text') is empty"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_before_it(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"text": "a"}\n' + line)
    texts = read_texts(path)
    next(texts)
    with pytest.raises(DataError) as raised:
        next(texts)
    assert str(raised.value).startswith(str(path.parent / reason))


def test_a_table_is_not_taken_for_plain_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one text a line"):
        next(read_texts(tmp_path / "a.csv"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("とても静かな部屋でした。\n" * 50_000)
    tracemalloc.start()
    count = sum(1 for _ in read_texts(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000 and peak < 200_000 < path.stat().st_size
