"""Bootstrap intervals: against scipy, against scoring each draw by itself, and whether they hold the truth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import f1_score

from tezukuri.eval import statistics as module
from tezukuri.eval.judge import Judgement, judge
from tezukuri.eval.statistics import DRAWS, drawn_scores, intervals
from tezukuri.eval.tasks.classify import Classify
from tezukuri.eval.tasks.metrics import expected_calibration_error

LABELS = ("negative", "normal", "positive")


def judged(n: int, seed: int = 0, too_sure: float = 2.0, **options) -> Judgement:
    """n texts whose labels are drawn by a softmax; the model's logits are `too_sure` times as large as the true ones.

    options: of `judge`.
    """
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 3)) * 2 - [2, 0, 0]  # the first class is rare
    gold = (logits + random.gumbel(size=(n, 3))).argmax(axis=1)
    examples = [SimpleNamespace(id=str(i), text="文", label=LABELS[label]) for i, label in enumerate(gold)]
    columns = [LABELS.index(label) for label in options.get("model_labels", LABELS)]
    task = Classify(options.pop("model_labels", LABELS))
    return judge(task, "test", examples, too_sure * logits[:, columns], **{"data_labels": LABELS} | options)


def test_accuracy_and_loss_have_the_intervals_of_scipy():
    judgement = judged(400)
    right = np.array(judgement.gold) == np.array(judgement.predicted)
    losses = -np.log([row[LABELS.index(g)] for row, g in zip(judgement.probabilities, judgement.gold, strict=True)])
    found = intervals(judgement, LABELS)
    for name, values in (("accuracy", right.astype(float)), ("loss", losses)):
        resampled = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, batch=2_000, rng=1)
        theirs = resampled.confidence_interval
        assert found[name] == pytest.approx((theirs.low, theirs.high), abs=0.06 * (theirs.high - theirs.low))


def test_each_draw_is_scored_as_if_its_texts_were_the_data():
    judgement = judged(8)
    draws = np.random.default_rng(1).multinomial(8, np.full(8, 1 / 8), size=50)
    found = drawn_scores(judgement, LABELS, draws)
    gold, predicted, confidence = (
        np.array(judgement.gold),
        np.array(judgement.predicted),
        judgement.probabilities.max(axis=1),
    )
    without_negative = 0
    for number, draw in enumerate(draws):
        i = np.repeat(np.arange(8), draw)
        assert found["accuracy"][number] == pytest.approx((gold == predicted)[i].mean())
        f1 = f1_score(gold[i], predicted[i], labels=LABELS, average="macro", zero_division=0)
        assert found["f1"][number] == pytest.approx(f1)
        ece = expected_calibration_error(confidence[i], (gold == predicted)[i])
        assert found["ece"][number] == pytest.approx(ece)
        without_negative += "negative" not in {*gold[i], *predicted[i]}
    assert without_negative  # such a class counts 0


def test_an_upper_edge_belongs_to_its_bin():
    judgement = judged(2)
    edge = np.linspace(0, 1, 16)[9]
    gold = [LABELS.index(label) for label in judgement.gold]
    probabilities = np.zeros((2, 3))
    probabilities[[0, 1], gold] = edge, edge + 0.01
    judgement = replace(judgement, probabilities=probabilities, predicted=[judgement.gold[0], "none of them"])
    found = drawn_scores(judgement, LABELS, np.ones((1, 2)))["ece"]
    assert found == pytest.approx(expected_calibration_error(probabilities.max(axis=1), np.array([True, False])))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"accuracy", "f1", "loss", "ece"}),
        ({"model_labels": ("positive", "negative", "normal")}, {"accuracy", "f1", "loss", "ece"}),
        ({"model_labels": ("negative", "positive")}, {"accuracy", "f1", "ece"}),
        ({"model_labels": ("negative", "positive"), "neutral": "normal", "width": 0.4}, {"accuracy", "f1"}),
    ],
    ids=["as the data", "in another order", "a label less", "with a band"],
)
def test_every_score_of_the_judgement_has_an_interval_around_it(options, names):
    judgement = judged(200, **options)
    as_they_are = drawn_scores(judgement, LABELS, np.ones((1, 200)))
    assert {name: float(drawn[0]) for name, drawn in as_they_are.items()} == pytest.approx(
        {name: judgement.metrics[name] for name in names}
    )
    found = intervals(judgement, LABELS)
    assert found.keys() == names
    assert all(low < judgement.metrics[name] < high for name, (low, high) in found.items())


def test_four_times_the_texts_halve_the_interval():
    few, many = (intervals(judged(n), LABELS) for n in (500, 2000))
    for name in ("accuracy", "f1", "loss", "ece"):
        ratio = (few[name][1] - few[name][0]) / (many[name][1] - many[name][0])
        assert ratio == pytest.approx(2, abs=0.35), name


def test_the_interval_of_ece_holds_the_truth_where_percentiles_do_not():
    """Thirty sets of 200 texts; the truth is that of 100,000."""
    truth = judged(100_000, seed=99, too_sure=1.3).metrics["ece"]
    held = by_percentiles = 0
    for seed in range(30):
        judgement = judged(200, seed, too_sure=1.3)
        low, high = intervals(judgement, LABELS)["ece"]
        assert 0 <= low <= judgement.metrics["ece"] <= high
        held += low <= truth <= high
        draws = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=400)
        low, high = np.quantile(drawn_scores(judgement, LABELS, draws)["ece"], [0.025, 0.975])
        by_percentiles += low <= truth <= high
    assert held >= 26 and by_percentiles <= 10


def test_a_score_that_no_draw_reaches_is_in_its_interval():
    """Confidences so near to accuracy that every draw is further away."""
    examples = [SimpleNamespace(id="", text="", label="a" if i < 75 else "b") for i in range(100)]
    judgement = judge(Classify(("a", "b")), "test", examples, np.log([[0.7501, 0.2499]] * 100), ("a", "b"))
    low, high = intervals(judgement, ("a", "b"))["ece"]
    assert low == 0 and high == judgement.metrics["ece"] == pytest.approx(0.0001)


def test_draws_come_a_few_at_a_time_and_are_the_same(monkeypatch):
    judgement, sizes = judged(50), []
    whole = intervals(judgement, LABELS)
    monkeypatch.setattr(module, "AT_ONCE", 7 * 50)
    monkeypatch.setattr(module, "drawn_scores", lambda *given: sizes.append(given[2].shape) or drawn_scores(*given))
    parts = intervals(judgement, LABELS)
    assert {name: pytest.approx(interval) for name, interval in whole.items()} == parts
    assert sizes == [(7, 50)] * (DRAWS // 7) + [(DRAWS % 7, 50)]


def test_a_probability_of_zero_does_not_make_all_draws_infinite():
    examples = [SimpleNamespace(id="", text="", label=label) for label in ("a", "b", "b")]
    judgement = judge(Classify(("a", "b")), "test", examples, np.array([[1.0, 0], [0, 1], [900, 0]]), ("a", "b"))
    assert judgement.probabilities[2, 1] == 0
    low, high = intervals(judgement, ("a", "b"))["loss"]
    assert low == pytest.approx(np.log1p(np.exp(-1))) and 300 < high < 800
