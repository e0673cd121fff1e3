"""Files of one's own: TSV, CSV and JSONL."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tezukuri.data.csv_rows import csv_fields, csv_records
from tezukuri.data.dataset import DataError, Dataset
from tezukuri.data.lists import dataset_of
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
    comma = written(tmp_path / "a.csv", "".join(",".join(row) + "\n" for row in (header, *rows)))
    jsonl = written(
        tmp_path / "a.jsonl", "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
    )
    for path in (tsv, comma, jsonl):
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


@pytest.mark.parametrize(
    ("columns", "task"), [(("question", "context", "answers"), "span"), (("text", "entities"), "tag")]
)
def test_columns_of_another_task_name_it(tmp_path: Path, columns: tuple[str, ...], task: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps(dict.fromkeys(columns, "駅")), encoding="utf-8")
    with pytest.raises(DataError, match=f"choose the task {task}, which has such columns, or name one of them"):
        load(path)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 2 columns named 'label'"):
        load(written(tmp_path / "a.tsv", "text\tlabel\tlabel\nよい\t1\t2\n"))


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one of '\.csv', '\.jsonl', '\.tsv'"):
        load(written(tmp_path / "a.xlsx", "text"))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n", "\n\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError, match=rf"{name} has no columns named 'text' for the text"):
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


def test_a_quote_that_is_never_closed_is_named_and_nothing_after_it_is_guessed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\nよい,1\n"だめ,0\nまあまあ,0\n"ふつう",0\n普通,0\n')
    with pytest.raises(DataError, match=r"a\.csv:3: the quote that opens here is never closed, and the 3 lines after"):
        load(path, bad_rows="skip")


def test_a_stray_quote_makes_one_row_bad_whole(tmp_path: Path) -> None:
    """Lines of a long text, which look like rows, are no rows, whatever is wrong with its quotes."""
    long = '"一行目\n二行目は "名言" の行,1\n三行目,偽物",0\n'
    path = written(tmp_path / "a.csv", f'text,label\nよい,1\n{long}"ふ"つ,0\n12" の鍋,0\n普通,0\n')
    corpus = load(path, bad_rows="skip")
    assert texts(corpus) == ["よい", '12" の鍋', "普通"] and corpus.labels == ("0", "1")
    (line, reason), (other, _) = bad(corpus)
    assert (line, other) == (3, 6) and "the quote that opens on line 3 is not closed before a comma" in reason
    assert "(lines 3 to 5 are this one row)" in reason
    path = written(tmp_path / "b.csv", 'more,text,label\n"一\n二","三 "四" 五",0\nあ,い,0\n')
    ((line, reason),) = bad(load(path, bad_rows="skip"))
    assert line == 2 and "the quote that opens on line 3 is not closed" in reason


def test_a_field_may_be_of_any_length(tmp_path: Path) -> None:
    long = "あ,1\n" * 40_000  # longer than what Python's csv module takes
    path = written(tmp_path / "a.csv", f'text,label\n"{long}",0\nよい,1\n{"い" * 200_000},0\n')
    corpus = load(path)
    assert texts(corpus) == [long, "よい", "い" * 200_000] and corpus.labels == ("0", "1")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.text('a",\nあ', max_size=6), min_size=2, max_size=2), min_size=1), st.booleans())
def test_what_the_csv_module_writes_is_read(rows: list[list[str]], quoted: bool) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL).writerows(rows)
    lines = buffer.getvalue().split("\n")[:-1]
    assert [csv_fields(raw, line) for line, raw in csv_records(Path("a.csv"), lines)] == rows


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.text('a",', max_size=6), min_size=1))
def test_every_line_is_in_one_row_whatever_its_quotes(lines: list[str]) -> None:
    try:
        rows = list(csv_records(Path("a.csv"), lines))
    except DataError as error:
        assert "never closed" in str(error)
    else:
        assert "\n".join(raw for _, raw in rows) == "\n".join(lines)


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
        ('{"text": "よい", "label": NaN}', "no 'label' (it is nan); the columns of this row are 'text', 'label'"),
        (
            '{"text": "よい", "label": [1]}',
            "the label (column 'label') is a list, and not the name of a class: lists are for the tasks",
        ),
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


def test_a_column_has_one_use_but_for_an_id(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"the column 'text' of .* is named for two uses"):
        load(path, pair_column="text")
    assert load(path, id_column="text").examples[0].id == "a"


def test_half_a_surrogate_pair_in_a_list_makes_a_row_bad(tmp_path: Path) -> None:
    """It could be written into no file of the run."""
    path = written(tmp_path / "a.jsonl", '{"text": "a", "label": ["x", "\\ud83d"]}\n{"text": "b", "label": ["x"]}\n')
    assert bad(load(path, labels_are="names", bad_rows="skip")) == [
        (1, "half of a surrogate pair (\\ud83d at character 1)")
    ]
    rows = '{"text": "a", "label": 0, "c": ["x", "\\ud83d"]}\n{"text": "b", "label": 0, "c": ["x", "y"]}\n'
    found = bad(load(written(path, rows), choice_columns=["c"], bad_rows="skip"))
    assert found == [(1, "half of a surrogate pair (\\ud83d at character 2)")]
    rows = '{"text": "a", "label": "x", "votes": {"x": 2, "\\ud83d": 1}}\n{"text": "b", "label": "x"}\n'
    assert [line for line, _ in bad(load(written(path, rows), bad_rows="skip"))] == [1]
    with pytest.raises(DataError, match=r"labels\[1\]: half of a surrogate pair"):
        dataset_of(["a", "b"], ["x", "\ud83d"])
    with pytest.raises(DataError, match=r"texts\[0\], a choice: half of a surrogate pair"):
        dataset_of([("a", ["x", "\ud83d"])], [0], labels_are="choice")


def test_a_row_of_jsonl_without_the_split_of_the_others_is_bad(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 1, "split": "train"}\n')
    assert bad(load(path, bad_rows="skip")) == [(1, "no 'split'; the columns of this row are 'text', 'label'")]


def test_a_header_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv:1: the header cannot be read: not UTF-8 \(byte 0xff"):
        load(written(tmp_path / "a.csv", b"\xff\xff,label\n" + "よい,1\n".encode()), text_column="本文")


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
    names += ["training", "学習", "訓練", "検証", "開発", "testing", "テスト", "ﾃｽﾄ", "評価"]
    path = written(tmp_path / "a.tsv", "text\tlabel\tsplit\n" + "".join(f"x\t1\t{name}\n" for name in names))
    corpus = load(path)
    assert [e.split for e in corpus.examples] == [
        *["train", "dev", "dev", "dev", "dev", "test", "dev"],
        *["train", "train", "train", "dev", "dev", "test", "test", "test", "test"],
    ]
    assert (
        corpus.notes[0].startswith("splits: val (1 texts) is dev, ") and "テスト (2 texts) is test" in corpus.notes[0]
    )


HOTELS = "id,text,label,split\n" + "".join(f"h{n % 3},部屋 {n},{n % 2},train\n" for n in range(6))


def test_an_id_that_repeats_is_told_and_made_one_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", HOTELS)
    corpus = load(path)
    assert [e.id for e in corpus.examples] == ["h0", "h1", "h2", "h0:5", "h1:6", "h2:7"] and not corpus.bad_rows
    assert corpus.notes[0].startswith(
        "3 rows had the id of an earlier row in column 'id', and got the line added to it: 'h0' on line 5 became 'h0:5'"
    )
    assert [e.id for e in load(path, id_column="none").examples] == [f"a.csv:{line}" for line in range(2, 8)]
    assert [e.id for e in load(path, id_column="text").examples] == [f"部屋 {n}" for n in range(6)]
    with pytest.raises(DataError, match=r"no columns named 'hotel' for the id.*--id-column"):
        load(path, id_column="hotel")
    path = written(tmp_path / "b.csv", "id,text,label\n,よい,1\nx,だめ,0\n,ふつう,0\nx:5,あ,0\nx,い,0\nx:5,う,0\n")
    corpus = load(path)
    assert [e.id for e in corpus.examples] == ["b.csv:2", "x", "b.csv:4", "x:5", "x:6", "x:5:7"]
    assert "2 rows have no id in column 'id', and got b.csv:LINE: line 2 is the first" in corpus.notes


def test_a_column_called_pair_that_is_not_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,pair,label\nよい,だめ,1\nだめ,よい,0\n")
    assert "the column 'pair' is not read: --pair-column pair takes it for second texts" in load(path).notes
    for read in ({"pair_column": "pair"}, {"text_column": "pair"}):
        assert "column 'pair'" not in str(load(path, **read).notes)


def test_a_column_called_split_need_not_be_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label,split\n" + "".join(f"t{n},{n % 2},yes\n" for n in range(40)))
    with pytest.raises(DataError, match=r"'評価'; is it no split\? say --split-column none"):
        load(path)
    corpus = load(path, split_column="none")
    assert "split at random" in corpus.notes[0] and len(corpus.split("train")) == 32
    path = written(tmp_path / "b.csv", "id,split\nよい,yes\nだめ,no\n")
    corpus = load(path, text_column="id", label_column="split")  # taken for what they are named for, and no more
    assert corpus.labels == ("no", "yes") and [e.id for e in corpus.examples] == ["b.csv:2", "b.csv:3"]


def test_the_columns_of_a_corpus_are_its_own() -> None:
    for told, message in (({"id_column": "x"}, "leave out --id-column"), ({"encoding": "cp932"}, "sample is UTF-8")):
        with pytest.raises(DataError, match=message):
            load("sample", **told)
