"""`tezukuri data`, and what it says of each data set."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tezukuri.data.load import READERS, load
from tezukuri.data.reader import Reader
from tezukuri.scripts.command import main as command

WHOLE = {
    "jrte": "jrte/pn.tsv",
    "jcola": "jcola",
    "commonsense-moral": "commonsense-moral-ja",
    "jrte-rte": "jrte",
    "jsts": "jglue",
    "stsb": "stsb-multi-mt",
    "jcommonsenseqa": "jglue",
}


def test_the_sizes_of_the_sample_are_those_that_are_stated() -> None:
    assert stated("sample") == found("sample", None)


def stated(name: str) -> list[int]:
    card = READERS[name].card
    assert card is not None
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+\d", card.sizes)]


def found(name: str, path: Path | None) -> list[int]:
    counts = Counter(example.split for example in load(name, path=path).examples)
    return [counts[split] for split in ("train", "dev", "test")]


@pytest.mark.parametrize("name", list(WHOLE))
def test_sizes_are_those_that_are_stated(data_folder: Path, name: str) -> None:
    assert found(name, data_folder / "data" / WHOLE[name]) == stated(name)


@pytest.mark.parametrize(
    ("name", "path"), [("chabsa", "chabsa/chABSA-dataset.zip"), ("ner-wikipedia", "ner-wikipedia")]
)
def test_sizes_without_splits(data_folder: Path, name: str, path: str) -> None:
    assert [len(load(name, path=data_folder / "data" / path).examples)] == stated(name)


def test_what_is_downloaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEZUKURI_CACHE", str(tmp_path))
    (tmp_path / "jsts" / "datasets").mkdir(parents=True)
    (tmp_path / "jsts" / "datasets" / "train.json").write_bytes(b"x" * 2_340_000)
    assert command(["data"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line and line[0] not in " \n"}
    assert list(READERS) == [name for name in rows if name in READERS]
    assert " ".join(rows["jsts"].split()) == "jsts score 12,451 / 1,457 / 1,589 CC BY-SA 4.0 2.3 MB"
    assert rows["jnli"].endswith("–") and rows["sample"].endswith("comes with tezukuri")
    assert str(tmp_path) in printed
    ends = {len(row) - len(row.rsplit("  ", 1)[-1].lstrip()) for name, row in rows.items() if name in READERS}
    assert len(ends) == 1  # one column


def test_one_data_set_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["data", "wrime"]) == 0
    printed = capsys.readouterr().out
    assert "\n    label=sentiment or emotion or emotions (sentiment)\n" in printed and "CC BY-NC-ND 4.0" in printed
    assert "https://github.com/ids-cv/wrime" in printed and "jnli" not in printed


def test_an_unknown_name_is_refused_and_one_without_a_card_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["data", "jglue"]) == 1
    assert "no data set is called 'jglue'; there are jrte, sample, wrime" in capsys.readouterr().err
    monkeypatch.setitem(READERS, "mine", Reader(READERS["sample"].read, ("a", "b"), lambda: Path("x")))
    assert command(["data", "mine"]) == 0
    assert re.search(r"^mine +–$", capsys.readouterr().out, re.MULTILINE)


def test_looking_through_labels_that_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stsb-ja-train.csv"
    path.write_text("".join(f"犬が{n}匹いる,猫が{n}匹いる,{n / 8}\n" for n in range(40)), encoding="utf-8")
    assert command(["check_data", "--data", "stsb", "--data-path", str(path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^all +36 \(100\.0 %\) +4 \(100\.0 %\)", printed, re.MULTILINE) and "look like" not in printed
