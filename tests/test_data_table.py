"""Files of one's own: TSV, CSV and JSONL."""

import json
from pathlib import Path

import pytest

from tezukuri.data.dataset import DataError, Dataset
from tezukuri.data.load import load
from tezukuri.data.table import class_order


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(corpus: Dataset) -> list[str]:
    return [example.text for example in corpus.examples]


def bad(corpus: Dataset) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in corpus.bad_rows]


def test_the_three_formats_give_the_same_examples(tmp_path: Path) -> None:
    rows = [("r1", "よい", "good", "train"), ("r2", "だめ、残念", "bad", "dev"), ("r3", "普通", "good", "test")]
    header = ("id", "text", "label", "split")
    tsv = written(tmp_path / "a.tsv", "".join("\t".join(row) + "\n" for row in (header, *rows)))
    csv = written(tmp_path / "a.csv", "".join(",".join(row) + "\n" for row in (header, *rows)))
    jsonl = written(
        tmp_path / "a.jsonl", "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
    )
    for path in (tsv, csv, jsonl):
        corpus = load(path)
        assert [(e.id, e.text, e.label, e.split) for e in corpus.examples] == rows
        assert (corpus.name, corpus.labels, corpus.notes) == (path.name, ("bad", "good"), [])
        assert all(example.votes is None for example in corpus.examples)


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    path = written(tmp_path / "a.TSV", "星\t本文\t区分\tsplit\n5\tよい\ttest\tx\n1\tだめ\ttrain\ty\n")
    corpus = load(str(path), text_column="本文", label_column="星", split_column="区分")
    assert [(e.id, e.text, e.label, e.split) for e in corpus.examples] == [
        ("a.TSV:2", "よい", "5", "test"),
        ("a.TSV:3", "だめ", "1", "train"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.tsv", "body\tlabel\nよい\t1\n"), ("a.csv", "body,label\nよい,1\n"), ("a.jsonl", '{"body": "x", "label": 1}')],
)
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, name: str, content: str) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(DataError, match=r"no columns named 'text' .* its columns are 'body', 'label': .*--text-column"):
        load(path)
    with pytest.raises(DataError, match=r"no columns named 'part' for the split.*--split-column"):
        load(path, text_column="body", split_column="part")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 2 columns named 'label'"):
        load(written(tmp_path / "a.tsv", "text\tlabel\tlabel\nよい\t1\t2\n"))


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one of '\.csv', '\.jsonl', '\.tsv'"):
        load(written(tmp_path / "a.xlsx", "text"))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n", "\n\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError):
        load(written(tmp_path / name, content))


def test_a_file_of_a_header_alone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no examples"):
        load(written(tmp_path / "a.tsv", "text\tlabel\n"))


def test_csv_quoting(tmp_path: Path) -> None:
    content = 'text,label\r\n"一行目\r\n二行目, ""引用"" です",1\r\n\r\n次,0\r\n短い\r\n'
    path = written(tmp_path / "a.csv", content)
    corpus = load(path, bad_rows="skip")
    assert texts(corpus) == ['一行目\n二行目, "引用" です', "次"]
    assert [example.id for example in corpus.examples] == ["a.csv:2", "a.csv:5"]
    assert bad(corpus) == [(6, "1 columns where the header has 2")]


def test_a_quote_that_is_never_closed_spoils_one_line_of_a_csv(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\nよい,1\n"だめ,0\nまあまあ,0\n"ふ"つ,0\n普通,0\n')
    corpus = load(path, bad_rows="skip")
    assert texts(corpus) == ["よい", "まあまあ", "普通"]
    assert [(line, reason[:10]) for line, reason in bad(corpus)] == [(3, "broken CSV"), (5, "broken CSV")]


def test_tsv_is_raw(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\n"よい\t1\nと言った"\t0\n')
    assert texts(load(path)) == ['"よい', 'と言った"']


@pytest.mark.parametrize(("name", "comma"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_byte_order_mark_and_windows_line_ends(tmp_path: Path, name: str, comma: str) -> None:
    lines = [f"text{comma}label", f"よい{comma}good", f"だめ{comma}bad", ""]
    path = written(tmp_path / name, b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    corpus = load(path)
    assert texts(corpus) == ["よい", "だめ"]
    assert corpus.labels == ("bad", "good")


def test_jsonl_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a", "label": "x"}\r\n{"text": "b", "label": "y"}\r\n')
    assert texts(load(path)) == ["a", "b"]


def test_unusual_line_separators_are_characters_of_the_text(tmp_path: Path) -> None:
    for name, comma in (("a.tsv", "\t"), ("a.csv", ",")):
        path = written(tmp_path / name, f"text{comma}label\n一\u2028二\x0b三\x85四{comma}1\n")
        assert texts(load(path)) == ["一\u2028二\x0b三\x85四"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b\tよい\tgood", "3 columns where the header has 4"),
        ("b\tよい\tgood\ttrain\t", "5 columns where the header has 4"),
        ("b\t \tgood\ttrain", "the text (column 'text') is empty"),
        ("b\tよい\t \ttrain", "the label (column 'label') is empty"),
        ("b\tよい\tgreat\ttrain", "label 'great' (column 'label') is not one of 'good', 'bad'"),
        ("b\tよい\tgood\t", "split '' (column 'split') is not one of 'train', 'dev'"),
        ("b\tよい\tgood\tall", "split 'all' (column 'split') is not one of 'train', 'dev'"),
        ("a\tよい\tgood\ttrain", "the id 'a' is already that of line 2"),
        (b"b\t\xe3\x81\tgood\ttrain", "not UTF-8 (byte 0xe3 at character 3)"),
    ],
)
@pytest.mark.parametrize(("suffix", "comma"), [(".tsv", "\t"), (".csv", ",")])
def test_bad_rows_of_a_table(tmp_path: Path, row: str | bytes, reason: str, suffix: str, comma: str) -> None:
    middle = row if isinstance(row, bytes) else row.encode()
    content = b"id\ttext\tlabel\tsplit\na\tX\tgood\ttrain\n" + middle + b"\nc\tY\tbad\ttrain\n"
    path = written(tmp_path / f"a{suffix}", content.replace(b"\t", comma.encode()))
    with pytest.raises(DataError) as raised:
        load(path, labels=["good", "bad"])
    assert f"{path}:3: {reason}" in str(raised.value)
    corpus = load(path, labels=["good", "bad"], bad_rows="skip")
    assert sorted(texts(corpus)) == ["X", "Y"]
    assert corpus.labels == ("good", "bad")
    assert len(corpus.bad_rows) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"text": "よい", "label": ', "broken JSON: Expecting value (character 25)"),
        ('["よい", 1]', "the line is JSON, but not an object"),
        ('{"label": 1}', "no 'text'; the columns of this row are 'label'"),
        ('{"text": "よい"}', "no 'label'; the columns of this row are 'text'"),
        ('{"text": null, "label": 1}', "no 'text'"),
        ('{"text": "よい", "label": null}', "no 'label'"),
        ('{"text": "よい", "label": [1]}', "column 'label' holds a list, not a name"),
        ('{"text": 5, "label": 1}', "the text (column 'text') is no string but 5"),
        ('{"text": "", "label": 1}', "the text (column 'text') is empty"),
        ('{"text": "\\ud83d", "label": 1}', "half of a surrogate pair (\\ud83d at character 1)"),
        (b'{"text": "\xff", "label": 1}', "not UTF-8 (byte 0xff at character 11)"),
        ("[" * 100_000, "broken JSON"),
    ],
)
def test_bad_rows_of_jsonl(tmp_path: Path, row: str | bytes, reason: str) -> None:
    middle = row if isinstance(row, bytes) else row.encode()
    good = b'{"text": "X", "label": 1}\n'
    path = written(tmp_path / "a.jsonl", good + middle + b"\n" + good)
    corpus = load(path, bad_rows="skip")
    assert texts(corpus) == ["X", "X"]
    ((line, found),) = bad(corpus)
    assert line == 2 and found.startswith(reason)


def test_a_row_of_jsonl_without_the_split_of_the_others_is_bad(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 1, "split": "train"}\n')
    assert bad(load(path, bad_rows="skip")) == [(1, "no 'split'; the columns of this row are 'text', 'label'")]


def test_a_header_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv:1: the header cannot be read: not UTF-8 \(byte 0x96"):
        load(written(tmp_path / "a.csv", "本文,label\nよい,1\n".encode("cp932")), text_column="本文")


def test_json_labels_become_names(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": value, "id": number} for number, value in enumerate([10, 9, True, 1.5])]
    corpus = load(written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert [example.label for example in corpus.examples] == ["10", "9", "True", "1.5"]
    assert [example.id for example in corpus.examples] == ["0", "1", "2", "3"]


def test_the_order_of_the_classes() -> None:
    assert class_order(["10", "-1", "9", "9"]) == ("-1", "9", "10")
    assert class_order(["10", "9", "x"]) == ("10", "9", "x")
    assert class_order(["9" * 5000, "1"]) == ("1", "9" * 5000)  # too long for Python to take as a number


def test_labels_are_the_classes_in_their_order(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "text\tlabel\nよい\tgood\nだめ\t bad \n")
    assert load(path, labels=("good", "so-so", "bad")).labels == ("good", "so-so", "bad")
    with pytest.raises(DataError, match="a label is named twice"):
        load(path, labels=("good", "bad", "good"))


def test_names_of_splits(tmp_path: Path) -> None:
    names = ["train", "dev", "val", "valid", "validation", "test", " Dev "]
    path = written(tmp_path / "a.tsv", "text\tlabel\tsplit\n" + "".join(f"x\t1\t{name}\n" for name in names))
    assert [e.split for e in load(path).examples] == ["train", "dev", "dev", "dev", "dev", "test", "dev"]
