"""Splits that are cut: exact shares, every class everywhere, the same text on one side only."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tezukuri.data.dataset import DataError, Example
from tezukuri.data.load import load
from tezukuri.data.split import draw_splits

SHARES = {"dev": 0.1, "test": 0.1}


def examples_of(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(str(number), text, label, "") for number, (text, label) in enumerate(pairs)]


def distinct(**sizes: int) -> list[Example]:
    return examples_of(*[(f"{label} {number}", label) for label, size in sizes.items() for number in range(size)])


def counts(examples: list[Example], label: str) -> dict[str, int]:
    return dict(Counter(example.split for example in examples if example.label == label))


@settings(deadline=None, derandomize=True)
@given(st.integers(5, 300), st.integers(0, 5))
def test_shares_are_exact_within_one_example(size: int, seed: int) -> None:
    found = counts(draw_splits(distinct(a=size), SHARES, seed), "a")
    assert abs(found["dev"] - size / 10) <= 1
    assert abs(found["test"] - size / 10) <= 1
    assert abs(found["train"] - size * 0.8) <= 1


def test_a_class_of_three_is_in_every_split_and_a_smaller_one_in_train() -> None:
    examples = draw_splits(distinct(a=100, b=3, c=2), SHARES, seed=0)
    assert counts(examples, "a") == {"train": 80, "dev": 10, "test": 10}
    assert counts(examples, "b") == {"train": 1, "dev": 1, "test": 1}
    assert counts(examples, "c") == {"train": 2}


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from("xyz"))), st.integers(0, 3))
def test_a_text_is_in_one_split_and_nothing_else_changes(pairs: list[tuple[str, str]], seed: int) -> None:
    before = examples_of(*pairs)
    after = draw_splits(before, SHARES, seed)
    assert [(e.id, e.text, e.label) for e in after] == [(e.id, e.text, e.label) for e in before]
    splits = defaultdict(set)
    for example in after:
        splits[example.text].add(example.split)
    assert all(len(split) == 1 for split in splits.values())


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=8), st.integers(0, 3))
def test_three_texts_are_enough_for_every_split_however_often_they_occur(times: list[int], seed: int) -> None:
    pairs = [(f"text {number}", "a") for number, count in enumerate(times) for _ in range(count)]
    assert counts(draw_splits(examples_of(*pairs), SHARES, seed), "a").keys() == {"train", "dev", "test"}


def test_repeated_texts_do_not_spoil_the_shares() -> None:
    repeated = [("同じ", "a")] * 30 + [(f"別 {number}", "a") for number in range(70)]
    for seed in range(10):
        found = counts(draw_splits(examples_of(*repeated), SHARES, seed), "a")
        assert found == {"train": 80, "dev": 10, "test": 10}
    twice = [(f"{number // 2}", "a") for number in range(100)]
    assert counts(draw_splits(examples_of(*twice), SHARES, seed=0), "a") == {"train": 80, "dev": 10, "test": 10}


def test_the_seed_decides() -> None:
    examples = distinct(a=50, b=50)
    first = draw_splits(examples, SHARES, seed=1)
    assert first == draw_splits(examples, SHARES, seed=1)
    assert first != draw_splits(examples, SHARES, seed=2)
    assert [e.split for e in first[:10]] != ["test"] * 10  # not the first ones of the file


def table(path: Path, *splits: tuple[str, int]) -> Path:
    rows = [f"{split} {number}\t{number % 2}\t{split}\n" for split, size in splits for number in range(size)]
    path.write_text("text\tlabel\tsplit\n" + "".join(rows))
    return path


def test_a_file_without_splits_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "".join(f"t{number}\t{number % 2}\n" for number in range(100)))
    corpus = load(path, seed=3)
    assert {split: len(corpus.split(split)) for split in ("train", "dev", "test")} == {
        "train": 80,
        "dev": 10,
        "test": 10,
    }
    (note,) = corpus.notes
    assert "80 % train, 10 % dev and 10 % test" in note and "seed 3" in note
    assert load(path, seed=3).examples == corpus.examples != load(path, seed=4).examples


def test_a_missing_dev_split_is_cut_from_train(tmp_path: Path) -> None:
    corpus = load(table(tmp_path / "a.tsv", ("test", 10), ("train", 100)))
    assert Counter(e.label for e in corpus.split("dev")) == {"0": 5, "1": 5}
    assert all(example.text.startswith("train") for example in corpus.split("dev"))
    assert len(corpus.split("train")) == 90 and len(corpus.split("test")) == 10
    (note,) = corpus.notes
    assert "no dev split: 10 % of train" in note


def test_a_missing_test_split_is_noted(tmp_path: Path) -> None:
    corpus = load(table(tmp_path / "a.tsv", ("train", 20), ("dev", 10)))
    assert corpus.notes == ["no test split"]
    with pytest.raises(DataError, match=r"no examples in split 'test'; its splits are train \(20\), dev \(10\)"):
        corpus.split("test")


def test_a_file_of_one_split_stays_whole(tmp_path: Path) -> None:
    corpus = load(table(tmp_path / "a.tsv", ("test", 20)))
    assert len(corpus.split("test")) == 20
    assert corpus.notes == ["no train split", "no dev split"]
    corpus = load(table(tmp_path / "b.tsv", ("train", 20)))
    assert [note[:13] for note in corpus.notes] == ["no dev split:", "no test split"]


def test_a_named_data_set_that_has_only_train_gets_a_dev_split_by_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "train-v1.3.json"
    row = '{{"sentence_pair_id": "{0}", "sentence1": "犬が{0}匹", "sentence2": "猫が{0}匹", "label": "neutral"}}\n'
    path.write_text("".join(map(row.format, range(40))), encoding="utf-8")
    corpus = load("jnli", path=path)
    assert len(corpus.split("dev")) == 4 and len(corpus.split("train")) == 36 and not corpus.drawn
    assert corpus.notes[0].startswith("no dev split: 10 % of train drawn for it at random, class by class (seed 0)")
    assert load("jnli", path=path, seed=1).split("dev") != corpus.split("dev")
