"""Simple answers beside the scores of tasks that are none of classes."""

import numpy as np
import pytest
from scipy.stats import pearsonr

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval import yardsticks
from tezukuri.eval.tasks.choose import Choose
from tezukuri.eval.tasks.multilabel import Multilabel
from tezukuri.eval.tasks.score import Score
from tezukuri.eval.yardsticks import OVERLAP, YARDSTICKS, overlap, yardstick_line

WORDS = ("犬がいる", "猫がいる", "鳥がいる", "馬がいる", "雨が降る")
DRAWN = np.random.default_rng(0).choice(WORDS, (60, 3))


def split(number: int) -> str:
    return "train" if number < 40 else "dev"


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [("犬がいる", "犬がいる", 1), ("犬がいる", "猫がいる", 2 / 3), ("犬", "犬", 1), ("犬", "犬が", 0)],
)
def test_bigrams_are_counted_by_hand(one, other, share):
    assert overlap(one, other) == overlap(other, one) == pytest.approx(share)


def test_pairs_get_a_line_through_their_overlaps_and_texts_tfidf(monkeypatch):
    alike = [Example(str(i), a, 5.0 - 3 * (a != b), split(i), pair=b) for i, (a, b, _) in enumerate(DRAWN)]
    data = Dataset("x", (), alike, task="score")
    task, train, dev = Score.of(data), data.split("train"), data.split("dev")
    found = YARDSTICKS["score"](task, train, dev)
    assert list(found) == ["mean", OVERLAP] and found["mean"]["pearson"] == 0
    gold, shares = [e.label for e in dev], [overlap(e.text, e.pair) for e in dev]
    assert found[OVERLAP]["pearson"] == pytest.approx(pearsonr(shares, gold)[0])
    mean = np.mean([e.label for e in train])
    assert found["mean"]["mae"] == pytest.approx(np.abs(np.array(gold) - mean).mean(), rel=1e-5)
    single = [Example(e.id, e.text, float("犬" in e.text), e.split) for e in alike]
    train, dev = single[:40], single[40:]
    found = YARDSTICKS["score"](Score(), train, dev)
    assert found["TF-IDF with ridge"]["pearson"] > 0.9
    monkeypatch.setattr(yardsticks, "WORK", 10)
    assert "TF-IDF left out: it would take long" in yardstick_line(YARDSTICKS["score"](Score(), train, dev))


def test_equal_overlaps_of_choices_count_as_a_draw():
    words, task = tuple(WORDS[:3]), Choose(["0", "1", "2"])
    asked = [Example("1", "雨が降る", 0, "dev", choices=words), Example("2", "猫がいる", 1, "dev", choices=words)]
    found = YARDSTICKS["choose"](task, asked, asked)
    assert found["chance"]["accuracy"] == pytest.approx(1 / 3)
    assert found[OVERLAP]["accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert yardstick_line(found) == "for comparison: chance: accuracy 0.333; overlap of bigrams: accuracy 0.667"


def test_each_label_has_a_regression_unless_all_texts_have_it_or_none():
    names = ("dog", "cat", "all", "none")
    sets = [
        tuple(n for n, w in zip(names, ("犬", "猫", "がいる"), strict=False) if w in a or n == "all") for a, *_ in DRAWN
    ]
    examples = [Example(str(i), a, own, split(i)) for i, ((a, *_), own) in enumerate(zip(DRAWN, sets, strict=True))]
    task = Multilabel(names)
    task.thresholds[:] = 0.99  # of a model, and none of these
    (found,) = YARDSTICKS["multilabel"](task, examples[:40], examples[40:]).values()
    assert found["micro_f1"] == pytest.approx(1)  # the words tell all
    assert found["macro_f1"] == pytest.approx(0.75)


def test_finetune_ends_with_them(tmp_path, capsys):
    texts, labels = [(a, [b, c]) for a, b, c in DRAWN if b != c], [0 for _, b, c in DRAWN if b != c]
    told = {"model": "scratch", "epochs": 1, "regularizer": "none", "output_dir": tmp_path}
    tezukuri.finetune(texts=texts, labels=labels, task="choose", **told)
    assert "\nfor comparison: chance: accuracy 0.500; overlap of bigrams: accuracy 0." in capsys.readouterr().out
