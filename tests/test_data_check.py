"""Looking through labelled texts, and the command that does it."""

import json
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tezukuri.data.check import contradictions, duplicates, meant, near_duplicates
from tezukuri.data.dataset import Dataset, Example, Span
from tezukuri.scripts import check_data
from tezukuri.scripts.command import main as command

CLEAN = [
    ("駅から近くて便利でした。", "positive", "train"),
    ("部屋が狭い。", "negative", "train"),
    ("素泊まりで利用。", "normal", "dev"),
    ("朝食のパンが焼きたて！", "positive", "test"),
]


def examples_of(*rows: tuple[str, str, str]) -> list[Example]:
    return [Example(str(number), *row) for number, row in enumerate(rows, start=1)]


def ids(group: list[Example]) -> list[str]:
    return [example.id for example in group]


def test_nothing_is_found_where_there_is_nothing() -> None:
    examples = examples_of(*CLEAN)
    assert duplicates(examples) == [] and contradictions([]) == [] and near_duplicates(examples) == []
    assert near_duplicates([]) == []


def test_a_text_twice_is_a_duplicate_and_with_another_label_a_contradiction() -> None:
    examples = examples_of(*CLEAN, ("部屋が狭い。", "negative", "test"), ("素泊まりで利用。", "positive", "dev"))
    same = duplicates(examples)
    assert [ids(group) for group in same] == [["2", "5"], ["3", "6"]]
    assert [ids(group) for group in contradictions(same)] == [["3", "6"]]
    assert near_duplicates(examples) == []  # told already


def test_all_but_the_same_text_in_another_split_is_a_near_duplicate() -> None:
    near = ("駅から近くて便利でしたよ。", "positive", "test")
    ((alike, a, b),) = near_duplicates(examples_of(*CLEAN, near))
    assert (a.id, b.id) == ("1", "5") and alike == pytest.approx(24 / 25)
    assert near_duplicates(examples_of(*CLEAN, near), threshold=0.97) == []
    assert near_duplicates(examples_of(*CLEAN, (near[0], "positive", "train"))) == []
    ((_, a, b),) = near_duplicates(examples_of(*CLEAN, near, CLEAN[0]))  # the earlier one first, also where it repeats
    assert (a.id, b.id) == ("1", "5")


def test_widths_do_not_make_texts_different() -> None:
    rows = ("ＷｉＦｉが速い", "positive", "train"), ("WiFiが速い", "positive", "dev")
    assert [alike for alike, _, _ in near_duplicates(examples_of(*rows))] == [1.0]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.text("あい𠮷", min_size=1, max_size=14), st.just("x"), st.sampled_from(["train", "dev", "test"]))
    ),
    st.sampled_from([0.0, 0.5, 0.7, 0.8, 0.85, 0.9]),
)
def test_the_shared_bigrams_lose_no_pair(rows: list[tuple[str, str, str]], threshold: float) -> None:
    examples = examples_of(*dict.fromkeys(rows))
    every = {
        (a.id, b.id)
        for number, b in enumerate(examples)
        for a in examples[:number]
        if a.split != b.split and a.text != b.text
        if SequenceMatcher(None, a.text, b.text, autojunk=False).ratio() > threshold
    }
    assert {(a.id, b.id) for _, a, b in near_duplicates(examples, threshold)} == every


def test_the_flags_of_the_command_are_these() -> None:
    options = {name for action in check_data.parser()._actions for name in action.option_strings}
    expected = """
        --data --data-path --pair-column --choice-columns --id-column --encoding --classes --merge-labels
        --text-column --label-column --split-column --split-seed --dev-split --bad-rows --threshold --show --task"""
    assert options - {"-h", "--help"} == set(expected.split())


def test_the_command_tells_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*CLEAN, ("部屋が狭い。", "normal", "dev"), ("駅から近くて便利でしたよ\x1b。", "positive", "test")]
    file = tmp_path / "reviews.tsv"
    file.write_text("".join("\t".join(row) + "\n" for row in [("text", "label", "split"), *rows]), encoding="utf-8")
    assert command(["check_data", "--data", str(file), "--threshold", "0.9"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("reviews.tsv: 6 texts, 0 bad rows left out\n")
    assert "positive          1 ( 50.0 %)      0 (  0.0 %)      2 (100.0 %)      3 ( 50.0 %)" in told
    assert "\ntexts that stand more than once: 1\n  部屋が狭い。  " in told
    assert "\nof them with contradicting labels: 1\n  部屋が狭い。  " in told
    assert "\npairs across splits more alike than 0.9: 1\n  0.9" in told and "\x1b" not in told
    assert "longest texts\n     14  " in told and "shortest texts\n      6  " in told


def test_a_label_named_all_keeps_its_row() -> None:
    examples = examples_of(("a", "all", "train"), ("b", "some", "train"))
    _, *rows = check_data.table(Dataset("x", ("all", "some"), examples))
    assert [row.split()[:2] for row in rows] == [["all", "1"], ["some", "1"], ["all", "2"]]


def test_the_list_is_cut_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "reviews.csv"
    rows = [f"{text},{label},train\n" * 2 for text, label, _ in CLEAN]
    file.write_text("text,label,split\n" + "".join(rows), encoding="utf-8")
    assert command(["check_data", "--data", str(file), "--show", "1"]) == 0
    assert "texts that stand more than once: 4\n" in (told := capsys.readouterr().out)
    assert "  … and 3 more (--show 4)\n" in told


@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "nan", "x"])
def test_a_threshold_is_from_0_to_1(threshold: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command(["check_data", "--data", "sample", "--threshold", threshold])
    assert "argument --threshold: " in capsys.readouterr().err


def test_choices_and_spans_are_compared_by_what_they_mean() -> None:
    def question(id_: str, label: int, *choices: str) -> Example:
        return Example(id_, "首都は？", label, "train", choices=choices)

    same = [question("1", 0, "東京", "大阪"), question("2", 1, "大阪", "東京"), question("3", 0, "京都", "奈良")]
    assert contradictions(duplicates(same)) == []
    wrong = [*same, question("4", 0, "大阪", "東京")]
    assert [ids(group) for group in contradictions(duplicates(wrong))] == [["1", "2", "4"]]
    assert meant(Example("1", "誰？", (Span(0, 2), Span(3, 5)), "dev", pair="太郎と花子")) == "太郎|花子"
    assert meant(Example("1", "東京", (Span(0, 2, "地名"),), "dev")) == "東京 地名"
    several = [Example(str(n), "駅", label, "train") for n, label in enumerate([("a", "b"), ("b", "a"), ("a",)])]
    assert contradictions(duplicates(several[:2])) == [] != contradictions(duplicates(several))


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("score", ("0.5", "2"), "scores: 0.5 to 2, mean 1.25"),
        ("multilabel", ("joy|trust", ""), r"joy +0 \(  0\.0 %\) +0 \(  0\.0 %\) +1 \( 50\.0 %\)"),
    ],
)
def test_labels_of_other_tasks_are_read_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, labels: tuple[str, ...], expected: str
) -> None:
    file = tmp_path / "mine.csv"
    rows = (f"{text},{label},test\n" for (text, *_), label in zip(CLEAN, labels, strict=False))
    file.write_text("text,label,split\n" + "".join(rows), encoding="utf-8")
    assert command(["check_data", "--data", str(file), "--task", task]) == 0
    told = capsys.readouterr().out
    assert (
        re.search(f"^{expected}", told, re.MULTILINE)
        and "look like" not in told
        and "labels of a single text" not in told
    )
    assert command(["check_data", "--data", str(file), "--bad-rows", "skip"]) == 0


@pytest.mark.parametrize(
    ("task", "label", "told"),
    [
        ("tag", [], "finetune would refuse these data: no training text of rows.jsonl has an entity"),
        ("score", 2, "finetune would refuse these data: all training texts of rows.jsonl have the score 2"),
        ("classify", "x", "finetune would refuse these data: rows.jsonl has one label only, 'x'"),
        ("tag", [[0, 1, "a"]], "kinds without an entity in train: 'b': they cannot be learned"),
    ],
)
def test_what_cannot_be_learned_is_said_before_training(tmp_path: Path, capsys, task: str, label, told: str) -> None:
    rows = [{"text": f"{n} 犬", "label": label, "split": "train"} for n in range(4)]
    rows.append(rows[0] | {"split": "dev", "text": "猫", "label": [[0, 1, "b"]] if label and task == "tag" else label})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert command(["check_data", "--data", str(path), "--task", task, "--label-column", "label"]) == 0
    assert told in capsys.readouterr().out


def test_each_thing_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label,split\n犬,"a\nb",train\n猫,b,train\n牛,b,dev\n,b,dev\n', encoding="utf-8")
    assert command(["check_data", "--data", str(path), "--bad-rows", "skip"]) == 0
    told = capsys.readouterr().out
    head, notes = told.split("\n\n")[0].split("\n", 1)
    assert head == "a.csv: 3 texts, 1 bad row left out" and notes.count("labels of a single text") == 1
    assert len(set(notes.splitlines())) == len(notes.splitlines())
    path.write_text("text,label\n" + "".join(f"犬{n},{n}\n" for n in range(40)), encoding="utf-8")
    assert command(["check_data", "--data", str(path)]) == 0
    assert capsys.readouterr().out.count("which look like numbers, not like classes") == 1
