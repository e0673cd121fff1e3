"""Texts without labels: every format, every row in its place, and what is recognised without a suffix."""

import io
import tracemalloc
from pathlib import Path

import pytest

from tezukuri.data.dataset import DataError
from tezukuri.data.texts import read_texts

TABLE = "text,stars\n一,5\n二,1\n"


def pairs(source, *arguments) -> list[tuple[str, str]]:
    return [(row.id, row.text) for row in read_texts(source, *arguments).rows]


def stream(text: str) -> io.BytesIO:
    return io.BytesIO(text.encode())


def test_one_text_a_line_and_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + '一\r\n\r\n 二\n""\n三'.encode())
    texts = read_texts(path)
    assert pairs(path) == [("a.txt:1", "一"), ("a.txt:2", ""), ("a.txt:3", " 二"), ("a.txt:4", ""), ("a.txt:5", "三")]
    assert [row.reason for row in texts.rows] == ["", "the line is blank", "", "the text is empty", ""]
    assert texts.columns == ["text"] and texts.again and texts.notes == []
    assert list(texts.rows) == list(read_texts(str(path)).rows)


def test_a_stream_of_bytes() -> None:
    texts = read_texts(stream("一\n二\n"))
    assert not texts.again and [(row.id, row.text) for row in texts.rows] == [("stdin:1", "一"), ("stdin:2", "二")]
    assert pairs(stream("")) == []
    assert pairs(stream("\n\n一")) == [("stdin:1", ""), ("stdin:2", ""), ("stdin:3", "一")]


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "一", "id": 7}\n{"text": "二", "label": "x"}\n{"text": null}\n\n{"text": " "}\n')
    assert pairs(path)[:2] == [("7", "一"), ("a.jsonl:2", "二")]
    rows = list(read_texts(path).rows)
    assert [row.reason for row in rows[2:]] == ["the text is empty", "the line is blank", "the text is empty"]
    assert rows[0].fields == {"text": "一", "id": 7}
    assert pairs(stream('{"本文": "一"}\n'), "本文") == [("stdin:1", "一")]


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["cp932", "utf-16", "euc_jp"])
def test_other_encodings_are_shown_by_their_bytes_or_named(tmp_path: Path, encoding: str, suffix: str) -> None:
    line = {"txt": "{}\n", "csv": "{}\n", "jsonl": '{{"text": "{}"}}\n'}[suffix]
    path, texts = tmp_path / f"a.{suffix}", ["駅から近くて便利でした。", "部屋が狭くてがっかりです。"]
    lines = (["text\n"] if suffix == "csv" else []) + [line.format(text) for text in texts]
    path.write_text("".join(lines), encoding=encoding)
    named = read_texts(path, encoding=encoding)
    assert [row.text for row in named.rows] == texts and named.notes == []
    if encoding == "euc_jp":
        with pytest.raises(DataError, match=r"save the file as UTF-8, or name its encoding"):
            list(read_texts(path).rows)
    else:
        shown = read_texts(path)
        assert [row.text for row in shown.rows] == texts
        assert shown.notes[0].endswith("which its bytes show (--encoding names another)")
    if suffix == "txt" and encoding != "utf-16":
        assert [row.text for row in read_texts(io.BytesIO(path.read_bytes()), encoding=encoding).rows] == texts


def test_an_encoding_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("一", encoding="utf-8")
    with pytest.raises(DataError, match="no encoding is called 'sjiss'"):
        read_texts(path, encoding="sjiss")
    with pytest.raises(DataError, match="no encoding is called 'hex'"):
        read_texts(path, encoding="hex")
    with pytest.raises(DataError, match="utf-16 cannot be read line by line from standard input: give a --file"):
        read_texts(stream("一"), encoding="utf-16")


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv"])
def test_utf8_that_is_read_as_another_encoding_is_told(tmp_path: Path, suffix: str) -> None:
    path, text = tmp_path / f"a.{suffix}", "東京"
    path.write_text({"txt": text, "csv": f"text\n{text}", "jsonl": f'{{"text": "{text}"}}'}[suffix] + "\n", "utf-8")
    assert read_texts(path, encoding="utf-8-sig").notes == [] == read_texts(path).notes
    read = read_texts(path, encoding="cp932")
    assert next(iter(read.rows)).text != text
    assert read.notes == [f"a.{suffix} was read as cp932, as told, but its bytes are UTF-8 too: look at its texts"]


@pytest.mark.parametrize("encoding", ["cp932", "utf-16"])
def test_a_long_first_line_does_not_hide_the_encoding(tmp_path: Path, encoding: str) -> None:
    path, text = tmp_path / "a.txt", "駅から近い。" * 4000
    path.write_bytes(f"部屋が狭い。\r{text}".encode(encoding) if encoding == "cp932" else text.encode(encoding))
    read = read_texts(path)
    assert [row.text for row in read.rows][-1] == text and len(read.notes) == 1


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_is_read_as_finetune_reads_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text('id,本文,stars\nx,"一,\n""二""",=1+1\n\n,"",3\n,三,4\n', encoding="utf-8")
        first, lines = '一,\n"二"', ["a.csv:4", "a.csv:5", "a.csv:6"]
    else:
        path.write_text('id\t本文\tstars\nx\t一,"二"\t=1+1\n\n\t""\t3\n\t三\t4\n', encoding="utf-8")
        first, lines = '一,"二"', ["a.tsv:3", "a.tsv:4", "a.tsv:5"]
    texts = read_texts(path, "本文")
    rows = list(texts.rows)
    assert texts.columns == ["id", "本文", "stars"] and texts.number == 4
    assert [row.id for row in rows] == ["x", *lines] and [row.text for row in rows] == [first, "", "", "三"]
    assert [row.reason for row in rows] == ["", "the line is blank", "the text is empty", ""]
    assert rows[0].fields == {"id": "x", "本文": first, "stars": "=1+1"}
    with pytest.raises(DataError, match=r"no columns named 'text' for the text; its columns are 'id', '本文', 'stars'"):
        read_texts(path)


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("a.txt", b"\x83\n", "a.txt:2: not UTF-8 (byte 0x83 at character 1)"),
        ("a.jsonl", b"{\n", "a.jsonl:2: broken JSON"),
        ("a.jsonl", b"3\n", "a.jsonl:2: the line is JSON, but not an object"),
        ("a.jsonl", b'{"texts": "a"}\n', "a.jsonl:2: no 'text'; the columns of this row are 'texts'"),
        ("a.jsonl", b'{"text": 3}\n', "a.jsonl:2: the text (column 'text') is no string but 3"),
        ("a.jsonl", b'{"text": "a", "x": NaN}\n', "a.jsonl:2: the line has NaN or Infinity"),
        ("a.jsonl", b'{"text": "a", "x": "\\ud800"}\n', "a.jsonl:2: half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_before_it(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"text": "a"}\n' + line + b'{"text": "b"}\n')
    rows = iter(read_texts(path).rows)
    next(rows)
    with pytest.raises(DataError) as raised:
        next(rows)
    assert str(raised.value).startswith(str(path.parent / reason)) and "--bad-rows skip" in str(raised.value)
    good, bad, after = read_texts(path, bad_rows="skip").rows
    assert bad.bad and bad.reason.startswith(str(path.parent / reason)) and not good.reason and not after.reason


def test_a_bad_byte_in_a_table_costs_one_row_and_none_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"n,text\n1,a\n2,b\xff\n3,c,d\n4,e\n")
    with pytest.raises(DataError, match=r"a\.csv:3: not UTF-8 \(byte 0xff"):
        read_texts(path)
    rows = list(read_texts(path, bad_rows="skip").rows)
    assert [row.bad for row in rows] == [False, True, True, False]
    assert rows[1].fields == {"n": "2", "text": "b\\xff"} and rows[2].fields == {} and rows[3].text == "e"
    assert "a.csv:4: 3 columns where the header has 2" in rows[2].reason


@pytest.mark.parametrize(
    ("text", "column", "columns", "said"),
    [
        (TABLE, None, ["text", "stars"], "standard input is read as CSV, with the text in 'text'"),
        ("\ufeff" + TABLE, None, ["text", "stars"], "read as CSV"),
        ("text\n一\n二\n", None, ["text"], "read as CSV"),
        (TABLE.replace(",", "\t"), None, ["text", "stars"], "read as TSV"),
        (TABLE.replace("text", "本文"), "本文", ["本文", "stars"], "read as CSV, with the text in '本文'"),
        ('{"text": "一"}\n{"text": "二"}\n', None, None, "read as JSON lines"),
    ],
)
def test_a_table_on_standard_input_is_recognised_and_that_is_said(text, column, columns, said) -> None:
    texts = read_texts(stream(text), column)
    assert texts.columns == columns and said in texts.notes[0]
    assert [row.text for row in texts.rows] == ["一", "二"]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("review,stars\n一,5\n", None, r"its columns 'review', 'stars' set apart by commas: say which"),
        ("review\tstars\n一\t5\n", None, r"'review', 'stars' set apart by tabs: say which"),
        ("pn1\t" + "とても長い文" * 9 + "\t1\npn2\t二\t0\n", None, "set apart by tabs"),
        ("text;stars\n一;5\n", None, "set apart by semicolons: say which of them has the text"),
        ('review,stars\n"一\n二",5\n', None, "set apart by commas"),
        (
            "review,stars\n一,5\n",
            "text",
            r"stdin:1: the first line is no JSON object, and no header with a column",
        ),
        ("\n一\n", "text", "stdin:2: the first line is no JSON object"),
    ],
)
def test_a_table_that_cannot_be_told_is_refused_in_a_sentence(text, column, message) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_texts(stream(text), column)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "駅から近い,静か\n部屋が狭い\n",  # one comma, then none
        "Good, but noisy\nNear, and clean\n",  # a space after the comma, as in prose
        "とても長い文がここに続きます。とても長い文がここに続きます。とても長い文,二\n三,四\n",
        "{よい\n",
        "よい\n",
        "a,b\n",  # nothing after it
    ],
)
def test_prose_is_no_table(text) -> None:
    texts = read_texts(stream(text))
    assert texts.notes == [] and [row.text for row in texts.rows] == text.splitlines()


def test_plain_text_in_a_file_stays_so_with_a_word_where_it_looks_like_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text, said in ((TABLE, "looks like CSV, but"), ("a,b\n1,2\n", "looks like a table"), ("よい\n", None)):
        path.write_text(text, encoding="utf-8")
        texts = read_texts(path)
        assert [row.text for row in texts.rows] == text.splitlines()
        assert said in texts.notes[0] if said else texts.notes == []
    path.write_text(TABLE, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt looks like CSV with a column 'text': name it a\.csv"):
        read_texts(path, "text")


@pytest.mark.parametrize("line", ["とても静かな部屋でした。\n", '{"text": "とても静かな部屋でした。"}\n', "\n"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / ("a.jsonl" if line.startswith("{") else "a.txt")
    path.write_text(line * 10_000)
    tracemalloc.start()
    count = sum(1 for _ in read_texts(path).rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000 and peak < 200_000


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl"])
def test_old_macs_lines_are_lines(tmp_path: Path, suffix: str, end: str) -> None:
    """They end in a carriage return alone; the whole would else be one text, or a header without rows."""
    comma = {".csv": ",", ".tsv": "\t"}.get(suffix)
    lines = {".txt": ["一", "二"], ".jsonl": ['{"text": "一"}', '{"text": "二"}']}.get(suffix)
    lines = lines or [f"text{comma}label", f"一{comma}a", f"二{comma}b"]
    path = tmp_path / f"mac{suffix}"
    path.write_bytes("".join(line + end for line in lines).encode())
    texts = read_texts(path)
    assert [row.text for row in texts.rows] == ["一", "二"]
    told = suffix in (".csv", ".tsv") and end == "\r"
    assert texts.notes == [f"the lines of mac{suffix} end in \\r alone, as old Macs write them"] * told
    assert [row.text for row in read_texts(stream("".join(line + end for line in lines))).rows] == ["一", "二"]


def test_a_carriage_return_within_lines_is_a_character_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("一\r二\n三\r四".encode())
    assert pairs(path) == [("a.txt:1", "一\r二"), ("a.txt:2", "三\r四")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_questions_with_contexts_are_found_as_in_training(suffix, tmp_path):
    path = tmp_path / f"asked{suffix}"
    rows = "question,context\nどこ?,東京\n" if suffix == ".csv" else '\n{"question": "どこ?", "context": "東京"}\n'
    path.write_text(rows, encoding="utf-8")
    texts = read_texts(path)
    assert [row.content for row in texts.rows if not row.reason] == [("どこ?", "東京")]
    assert "columns 'question' and 'context' are read, as in training" in texts.notes[0]
    path.write_text(rows.replace("東京", "あの東京"), encoding="cp932")
    assert len(read_texts(path).notes) == 2, "of the encoding, and of the columns"
    path.write_text(rows, encoding="utf-8")
    assert [row.content for row in read_texts(path, "question").rows if not row.reason] == ["どこ?"], "as was asked"
    if suffix == ".jsonl":
        assert [row.pair for row in read_texts(stream(rows)).rows] == [None, "東京"]
