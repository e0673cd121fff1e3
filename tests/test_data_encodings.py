"""Which encoding a file is in."""

import re
from pathlib import Path

import pytest

from tezukuri.data.dataset import DataError
from tezukuri.data.encodings import decode, encoding_of
from tezukuri.data.load import load

ROWS = [
    ("駅から近くて便利でした。", "良い"),
    ("部屋が狭く、壁も薄い。", "悪い"),
    ("〜～①㈱髙﨑", "良い"),
    ("ｶﾀｶﾅ", "悪い"),
]
TABLE = "本文,評価\r\n" + "".join(f"{text},{label}\r\n" for text, label in ROWS)
COLUMNS = {"text_column": "本文", "label_column": "評価"}


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "reviews.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", ""), ("utf-8-sig", ""), ("cp932", "cp932"), ("utf-16", "UTF-16")],
)
def test_the_encodings_of_japanese_tables_are_recognised_and_told(tmp_path: Path, encoding: str, named: str) -> None:
    table = TABLE.replace("〜", "") if encoding == "cp932" else TABLE  # cp932 has only one of the two waves
    corpus = load(file_of(tmp_path, table.encode(encoding)), **COLUMNS)
    expected = [(text.replace("〜", "") if named == "cp932" else text, label) for text, label in ROWS]
    assert [(e.text, e.label) for e in corpus.examples] == expected and corpus.bad_rows == []
    told = [note for note in corpus.notes if "was read as" in note]
    assert told == ([f"reviews.csv was read as {named}, which its bytes show (--encoding names another)"] * bool(named))


def test_utf_16_of_the_other_byte_order_and_json_lines(tmp_path: Path) -> None:
    rows = '{"text": "よい", "label": "a"}\n{"text": "だめ", "label": "b"}\n'
    path = tmp_path / "a.jsonl"
    path.write_bytes(("\ufeff" + rows).encode("utf-16-be"))
    assert [e.text for e in load(path).examples] == ["よい", "だめ"]
    path.write_bytes(rows.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"UTF-16 without its mark: name its encoding \(--encoding utf-16-le\)"):
        load(path)
    assert [e.text for e in load(path, encoding="utf-16-le").examples] == ["よい", "だめ"]
    path.write_bytes(("\ufeff" + rows).encode("utf-16-le")[:-1])
    with pytest.raises(DataError, match=r"a\.jsonl is not UTF-16 \("):
        load(path)


@pytest.mark.parametrize("encoding", ["euc_jp", "gbk", "big5", "euc_kr", "cp1252"])
def test_what_is_not_japanese_in_cp932_is_not_taken_for_it(tmp_path: Path, encoding: str) -> None:
    texts = {"gbk": "房间很干净", "big5": "房間很乾淨", "euc_kr": "방이 깨끗해요", "cp1252": "déjà vu, élève éé"}
    text = texts.get(encoding, "部屋がきれいでした")
    path = file_of(tmp_path, ("text,label\n" + f'"{text}",1\n' * 9).encode(encoding))
    with pytest.raises(DataError, match=r"not UTF-8 \(byte .*; save the file as UTF-8, or name its encoding"):
        load(path)
    with pytest.raises(DataError, match=r"has no examples: all of its 9 rows are bad, the first is .*csv:2: not UTF-8"):
        load(path, bad_rows="skip")
    assert load(path, encoding=encoding).examples[0].text == text


def test_utf_8_with_a_broken_byte_is_not_cp932(tmp_path: Path) -> None:
    """Though its bytes are: read so, it would be mojibake without a word."""
    content = "text,label\n近い,1\n".encode() + "あい,1\n".encode("cp932")
    assert content.decode("cp932").split("\n")[1] == "霑代＞,1"
    corpus = load(file_of(tmp_path, content), bad_rows="skip")
    assert [e.text for e in corpus.examples] == ["近い"] and corpus.bad_rows[0].line == 3


def test_each_review_of_the_sample_is_recognised_even_alone(tmp_path: Path) -> None:
    for example in load("sample").examples[::9]:
        if re.search("[ぁ-ゖ].*[ぁ-ゖ]", example.text):
            path = file_of(tmp_path, f"text,label\n{example.text.replace(',', '')},1\n".encode("cp932"))
            assert decode(path).encoding == "cp932", example.text


def test_the_encoding_that_is_named_decides(tmp_path: Path) -> None:
    path = file_of(tmp_path, "text,label\nよい,1\nだめ,0\n".encode("cp932") + b"\x81\x20,1\n")
    with pytest.raises(DataError, match="csv:2: not UTF-8"):  # not the whole file is cp932
        load(path)
    corpus = load(path, encoding="cp932", bad_rows="skip")
    assert [e.text for e in corpus.examples] == ["よい", "だめ"]
    assert corpus.bad_rows[0].reason.startswith("not cp932 (byte 0x81 at character 1)")
    with pytest.raises(DataError, match="no encoding is called 'shift-jiss': give --encoding auto, utf-8, cp932"):
        load(path, encoding="shift-jiss")
    path = file_of(tmp_path, "text,label\nよよ,1\n".encode())
    assert decode(path, "utf-8").notes == []
    assert "its bytes are UTF-8 too: look at its texts" in decode(path, "cp932").notes[0]


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_lines_of_old_macs_are_lines_and_that_is_told(tmp_path: Path, encoding: str) -> None:
    table = TABLE.replace("〜", "").replace("\r\n", "\r")
    corpus = load(file_of(tmp_path, table.encode(encoding)), **COLUMNS)
    assert [e.label for e in corpus.examples] == [label for _, label in ROWS]
    assert "the lines of reviews.csv end in \\r alone, as old Macs write them" in corpus.notes


@pytest.mark.parametrize(
    ("begins", "what"), [(b"PK\x03\x04", "Excel's .xlsx"), (b"PAR1\x15", "a Parquet file"), (b"\x1f\x8b", "gzip")]
)
def test_files_that_are_no_text_are_named(tmp_path: Path, begins: bytes, what: str) -> None:
    path = file_of(tmp_path, begins + b"\x00\xff")
    with pytest.raises(DataError, match=f"is .*{re.escape(what)}.*: save it as .csv or .jsonl"):
        load(path)
    with pytest.raises(DataError, match=re.escape(what)):
        encoding_of(path)
