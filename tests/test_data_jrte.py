"""The JRTE corpus: the real file where it is at hand, and small files of its format."""

from collections import Counter
from pathlib import Path

import pytest

from tezukuri.data.dataset import BadRow, DataError, Example
from tezukuri.data.load import load

GOOD = 'a1\t1\t駅から近い。\t{"1": 3}\ttrain\n'


def jrte_file(folder: Path, *rows: str | bytes) -> Path:
    path = folder / "rows.tsv"
    path.write_bytes(b"".join(row if isinstance(row, bytes) else row.encode() for row in rows))
    return path


def test_the_real_corpus_has_its_published_splits_labels_and_votes(data_folder: Path) -> None:
    corpus = load("jrte", path=data_folder / "data" / "jrte" / "pn.tsv")
    assert corpus.name == "jrte"
    assert corpus.labels == ("negative", "normal", "positive")
    assert [len(corpus.split(split)) for split in ("train", "dev", "test")] == [3888, 1112, 553]
    test = Counter(example.label for example in corpus.split("test"))
    assert test == {"negative": 78, "normal": 139, "positive": 336}
    assert corpus.bad_rows == [] and corpus.notes == []
    for example in corpus.examples:
        assert example.votes is not None and sum(example.votes.values()) == 3
        assert example.votes[example.label] == max(example.votes.values())


def test_columns_names_of_labels_and_votes(tmp_path: Path) -> None:
    path = jrte_file(
        tmp_path,
        'x1\t-1\t"狭い"と感じた。\t{"-1": 2, "0": 1}\tdev\n',
        'x2\t0\t 普通です \t{"0": 3}\ttest\n',
    )
    corpus = load("jrte", path=path)
    assert corpus.examples == [
        Example("x1", '"狭い"と感じた。', "negative", "dev", {"negative": 2, "normal": 1}),
        Example("x2", " 普通です ", "normal", "test", {"normal": 3}),
    ]
    assert corpus.labels == ("negative", "normal", "positive")  # also those that no example has


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b\t1\t狭い。\ttrain\n", "4 tab-separated columns instead of 5"),
        ('b\t2\t狭い。\t{"1": 3}\ttrain\n', "label '2' (column 2) is not one of '-1', '0', '1'"),
        ('b\t\t狭い。\t{"1": 3}\ttrain\n', "label '' (column 2)"),
        ('b\t1\t \u3000\t{"1": 3}\ttrain\n', "the text (column 3) is empty"),
        ("b\t1\t狭い。\t{1: 3}\ttrain\n", "the votes (column 4) are not JSON"),
        ("b\t1\t狭い。\t[3]\ttrain\n", "the votes (column 4) are not JSON"),
        ("b\t1\t狭い。\t{}\ttrain\n", "the votes (column 4) are not JSON"),
        ('b\t1\t狭い。\t{"9": 3}\ttrain\n', "the votes (column 4) are not JSON"),
        ('b\t1\t狭い。\t{"1": "3"}\ttrain\n', "the votes (column 4) have a count"),
        ('b\t1\t狭い。\t{"1": -3}\ttrain\n', "the votes (column 4) have a count"),
        ('b\t1\t狭い。\t{"1": 3}\tvalid\n', "split 'valid' (column 5) is not one of 'train', 'dev', 'test'"),
        (b'b\t1\tab\x83\t{"1": 3}\ttrain\n', "not UTF-8 (byte 0x83 at character 7)"),
        ('a1\t1\t狭い。\t{"1": 3}\ttrain\n', "the id 'a1' is already that of line 1"),
        ('\t1\t狭い。\t{"1": 3}\ttrain\n', "the id is empty"),
    ],
)
def test_a_bad_row_is_named_and_hides_no_other(tmp_path: Path, row: str | bytes, reason: str) -> None:
    path = jrte_file(tmp_path, GOOD, "\n", row, GOOD.replace("a1", "a2"))
    with pytest.raises(DataError) as raised:
        load("jrte", path=path)
    assert "1 bad row in" in str(raised.value) and "--bad-rows skip" in str(raised.value)
    assert f"{path}:3: {reason}" in str(raised.value)

    corpus = load("jrte", path=path, bad_rows="skip")
    assert [example.id for example in corpus.examples] == ["a1", "a2"]
    (bad,) = corpus.bad_rows
    assert (bad.file, bad.line) == (str(path), 3) and bad.reason.startswith(reason)


def test_an_error_lists_the_first_ten_bad_rows_and_the_total(tmp_path: Path) -> None:
    path = jrte_file(tmp_path, GOOD, *["bad\n"] * 25)
    with pytest.raises(DataError) as raised:
        load("jrte", path=path)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("25 bad rows in")
    assert [line.split(":")[1] for line in lines[1:11]] == [str(number) for number in range(2, 12)]
    assert lines[11:] == ["  … and 15 more"]


def test_a_bad_row_is_kept_short_and_printable(tmp_path: Path) -> None:
    path = jrte_file(tmp_path, GOOD, b"\x83\xff" + "長".encode() * 500)
    (bad,) = load("jrte", path=path, bad_rows="skip").bad_rows
    assert isinstance(bad, BadRow)
    assert bad.raw.startswith("\\x83\\xff長") and bad.raw.endswith("長…") and len(bad.raw) == 80
    str(bad).encode()


def test_windows_line_ends_and_a_byte_order_mark_are_taken_off(tmp_path: Path) -> None:
    path = jrte_file(tmp_path, b"\xef\xbb\xbf", GOOD.replace("\n", "\r\n"), GOOD.replace("a1", "a2").rstrip("\n"))
    assert [(example.id, example.split) for example in load("jrte", path=path).examples] == [
        ("a1", "train"),
        ("a2", "train"),
    ]


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    corpus = load("jrte", path=jrte_file(tmp_path, GOOD))
    for name in ("test", "validation"):
        with pytest.raises(DataError, match=rf"jrte has no examples in split '{name}'; its splits are train \(1\)"):
            corpus.split(name)


def test_what_load_cannot_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such data: 'jrt' is not a file; did you mean jrte\?"):
        load("jrt")
    with pytest.raises(DataError, match=r"none of the files of this data set, pn\.tsv"):
        load("jrte", path=tmp_path)
    with pytest.raises(DataError, match="--data-path is for --data jrte"):
        load("sample", path=jrte_file(tmp_path, GOOD))
    with pytest.raises(DataError, match="it is empty: is it the file that you mean"):
        load("jrte", path=jrte_file(tmp_path, "\n"))
    with pytest.raises(DataError, match="the classes of jrte are 'negative', 'normal', 'positive', in this order"):
        load("jrte", path=jrte_file(tmp_path, GOOD), labels=["positive", "negative", "normal"])
    with pytest.raises(ValueError, match='bad_rows is "error" or "skip"'):
        load("jrte", path=jrte_file(tmp_path, GOOD), bad_rows="ignore")  # type: ignore[arg-type]
