"""The simple classifiers beside a model's scores: what they learn, from what, and where they are told of."""

import csv
import re

import numpy as np
import pytest
from sklearn.metrics import f1_score
from test_scripts import only_run

from tezukuri.data.dataset import Example
from tezukuri.data.load import load as load_data
from tezukuri.eval import baselines
from tezukuri.eval.baselines import MAJORITY, TFIDF, comparison_line, learn
from tezukuri.eval.judge import judge
from tezukuri.eval.tasks.classify import Classify
from tezukuri.scripts.command import main as command

THINGS = ("部屋", "浴室", "食堂", "玄関", "廊下", "客室", "別館", "庭園")


def some(split: str, things=THINGS) -> list[Example]:
    """Good, bad and plain words: three of the labels are `good`."""
    kinds = (("広い", "good"), ("清潔な", "good"), ("静かな", "good"), ("狭い", "bad"), ("汚い", "bad"))
    texts = [(f"{what}{thing}でした。", label) for thing in things for what, label in kinds]
    return [Example(f"{split}-{i}", text, label, split) for i, (text, label) in enumerate(texts)]


def test_the_majority_is_that_of_training_and_tfidf_reads_the_words():
    found = learn(some("train", THINGS[:6]))
    test = [e for e in some("test", THINGS[6:]) if e.label == "bad"]
    answers = found.answers(test)
    assert found.majority == "good" and found.left_out is None
    assert answers == {MAJORITY: ["good"] * len(test), TFIDF: ["bad"] * len(test)}


def test_the_standing_is_that_of_the_texts_that_are_judged():
    test = some("test", THINGS[6:])  # six good ones, four bad ones
    judgement = judge(Classify(("bad", "good")), "test", test, np.eye(2)[[1] * 9 + [0]], ("bad", "good"))
    found = learn(some("train", THINGS[:6])).beside(judgement, ("bad", "good"))
    gold = [e.label for e in test]
    assert found[MAJORITY].accuracy == 0.6 and found[TFIDF].accuracy == 1.0
    assert found[MAJORITY].f1 == pytest.approx(f1_score(gold, ["good"] * 10, average="macro"))
    assert found[MAJORITY].p == 1.0  # one text that only the model has right
    assert found[TFIDF].p == pytest.approx(2 / 2**3)  # three that only TF-IDF has


def test_the_second_text_of_a_pair_is_read():
    pairs = [Example(str(i), THINGS[i // 2], "ab"[i % 2], "train", pair=("はい", "いいえ")[i % 2]) for i in range(16)]
    found = learn(pairs)
    assert found.answers(pairs)[TFIDF] == [e.label for e in pairs]


def test_what_cannot_be_learned_or_takes_long_is_left_out_and_told(monkeypatch):
    assert learn([]) is None
    same = learn([e for e in some("train") if e.label == "good"])
    assert set(same.answers(some("test"))) == {MAJORITY} and same.left_out == "all training texts have the same label"
    monkeypatch.setattr(baselines, "WORK", 2 * sum(len(e.text) for e in some("train")))
    assert learn(some("train")).regression is not None
    monkeypatch.setattr(baselines, "WORK", baselines.WORK - 1)
    long = learn(some("train"))
    judgement = judge(Classify(("bad", "good")), "test", some("test"), np.eye(2)[[1] * 40], ("bad", "good"))
    standings = long.beside(judgement, ("bad", "good"))
    line = "for comparison: majority 0.600 accuracy (TF-IDF left out: it would take long on so many texts)"
    assert comparison_line(standings, long.left_out) == line


def test_finetune_ends_with_the_baselines_beside_its_scores(tmp_path, capsys):
    data = load_data("sample")
    with (tmp_path / "mine.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for split, n in (("train", 60), ("dev", 12), ("test", 30)):
            writer.writerows((e.text, e.label, split) for e in data.split(split)[:n])
    training = ["--model", "scratch", "--epochs", "1", "--no-report", "--output-dir", str(tmp_path)]
    assert command(["finetune", "--data", str(tmp_path / "mine.csv"), *training]) == 0
    said = capsys.readouterr().out
    mine = load_data(tmp_path / "mine.csv")
    found = learn(mine.split("train"))
    gold = [e.label for e in mine.split("test")]
    scores = {
        name: np.mean(np.array(answers) == np.array(gold))
        for name, answers in found.answers(mine.split("test")).items()
    }
    line = f"for comparison: majority {scores[MAJORITY]:.3f}, TF-IDF {scores[TFIDF]:.3f} accuracy"
    assert re.search(rf"^loss .*\n{re.escape(line)}$", said, re.MULTILINE) and only_run(tmp_path)
