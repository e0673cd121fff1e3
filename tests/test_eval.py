"""Metrics, calibration, labels that differ, and the files of a run."""

import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tezukuri.data.dataset import Example, Span
from tezukuri.eval import plots, runs
from tezukuri.eval.judge import judge
from tezukuri.eval.neutral import ceiling, decide, neutral_label, shared_labels, tune_width
from tezukuri.eval.plots import curves
from tezukuri.eval.report import write_predictions, write_report
from tezukuri.eval.tasks.classify import Classify
from tezukuri.eval.tasks.metrics import METRICS, cross_entropy, expected_calibration_error, measure, scores, softmax

LABELS = ("negative", "normal", "positive")


def examples(labels):
    return [Example(f"e{i}", f"文{i}", label, "test") for i, label in enumerate(labels)]


def test_the_courses_published_confusion_matrix_gives_its_published_report(tmp_path):
    """Test split of the 2025 run of the course's Level 2: accuracy .8553, macro-F1 .8221."""
    matrix = [[62, 15, 1], [6, 93, 40], [0, 18, 318]]  # a row for each true class
    gold = [LABELS[t] for t in range(3) for p in range(3) for _ in range(matrix[t][p])]
    predicted = [LABELS[p] for t in range(3) for p in range(3) for _ in range(matrix[t][p])]
    result = scores(gold, predicted, LABELS)
    assert (round(result["accuracy"], 4), round(result["f1"], 4)) == (0.8553, 0.8221)
    logits = np.array([[5.0 if label == p else 0.0 for label in LABELS] for p in predicted])
    table = write_report(tmp_path, judge(Classify(LABELS), "test", examples(gold), logits, LABELS))
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
    assert rows["negative"] == ["negative", "0.9118", "0.7949", "0.8493", "78"]
    assert rows["normal"] == ["normal", "0.7381", "0.6691", "0.7019", "139"]
    assert rows["positive"] == ["positive", "0.8858", "0.9464", "0.9151", "336"]


def test_calibration_error_by_hand():
    # Two bins of fifteen: (0.6, 0.6667] has one wrong at 0.65; (0.8667, 0.9333] has right and wrong at 0.9.
    confidence, right = np.array([0.65, 0.9, 0.9]), np.array([False, True, False])
    assert expected_calibration_error(confidence, right) == pytest.approx((0.65 + abs(1 - 1.8)) / 3)


def test_an_upper_edge_belongs_to_its_bin():
    assert expected_calibration_error(np.array([0.5, 0.5001]), np.array([True, False]), bins=2) == pytest.approx(
        0.50005
    )


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_equals_its_definition(pairs):
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for b in range(15):
        inside = [(c, r) for c, r in pairs if edges[b] < c <= edges[b + 1] or c == b == 0]
        if inside:
            accuracy = np.mean([r for _, r in inside])
            expected += len(inside) / len(pairs) * abs(accuracy - np.mean([c for c, _ in inside]))
    confidence, right = map(np.array, zip(*pairs, strict=True))
    assert expected_calibration_error(confidence, right) == pytest.approx(expected, abs=1e-12)


def test_the_loss_is_torchs_mean_cross_entropy_and_survives_large_logits():
    logits = torch.randn(50, 3, dtype=torch.float64) * 10
    gold = torch.randint(3, (50,))
    expected = torch.nn.functional.cross_entropy(logits, gold)
    assert cross_entropy(logits.numpy(), gold.numpy()) == pytest.approx(float(expected), rel=1e-12)
    assert cross_entropy(np.array([[1e4, 0.0]]), np.array([1])) == 1e4
    assert np.allclose(softmax(np.array([[1e4, 0.0]])), [[1, 0]])


def test_a_class_that_is_never_predicted_counts_as_zero():
    result = measure(np.array([[2.0, 0, 0], [2.0, 0, 0]]), np.array([0, 2]), LABELS)
    assert tuple(result) == METRICS
    assert (result["accuracy"], result["recall"]) == (0.5, pytest.approx(1 / 3))
    assert result["precision"] == pytest.approx(0.5 / 3)
    with pytest.raises(ValueError, match="no example"):
        measure(np.empty((0, 3)), np.empty(0, dtype=int), LABELS)


def test_labels_in_another_order_are_matched_by_name():
    gold = examples(["positive", "negative", "normal"])
    logits = np.array([[3.0, 0, 1], [0, 4.0, 1], [0, 1, 5.0]])
    mine = judge(Classify(("positive", "negative", "normal")), "test", gold, logits, LABELS)
    sorted_ = judge(Classify(LABELS), "test", gold, logits[:, [1, 2, 0]], LABELS)
    assert mine.metrics == pytest.approx(sorted_.metrics) and mine.metrics["accuracy"] == 1.0
    assert mine.predicted == ["positive", "negative", "normal"]


def test_two_labels_against_three(tmp_path):
    gold = examples(["positive", "negative", "normal", "normal"])
    logits = np.array([[0.0, 4.0], [4.0, 0.0], [0.1, 0.0], [0.0, 3.0]])
    plain = judge(Classify(("negative", "positive")), "test", gold, logits, LABELS)
    assert plain.predicted == ["positive", "negative", "negative", "positive"]
    assert plain.metrics["loss"] is None and plain.metrics["accuracy"] == 0.5 and plain.metrics["ece"] > 0
    assert "reaches 50.0% accuracy at best" in write_report(tmp_path, plain)
    banded = judge(Classify(("negative", "positive")), "test", gold, logits, LABELS, neutral="normal", width=0.2)
    assert banded.predicted == ["positive", "negative", "normal", "positive"]
    assert banded.metrics["accuracy"] == 0.75 and banded.metrics["ece"] is None
    assert "differ by less than 0.2 are called normal" in write_report(tmp_path, banded)
    assert json.loads((tmp_path / "test-metrics.json").read_text())["loss"] is None


def test_a_model_with_a_label_more_has_a_loss_and_no_ceiling(tmp_path):
    gold = examples(["positive", "negative", "normal"])
    logits = np.log(np.array([[0.1, 0.1, 0.2, 0.6], [0.5, 0.2, 0.2, 0.1], [0.1, 0.3, 0.4, 0.2]]))
    judgement = judge(Classify(("negative", "normal", "mixed", "positive")), "test", gold, logits, LABELS)
    assert judgement.predicted == ["positive", "negative", "mixed"]
    table = write_report(tmp_path, judgement)
    assert "macro avg     0.5000" in table and judgement.metrics["f1"] == pytest.approx(2 / 3)  # of four, of three
    assert table.endswith(
        "The data has no mixed: macro averages in the metrics are over its labels, in this table over all."
    )
    assert judgement.labels == (*LABELS, "mixed")
    assert judgement.metrics["loss"] == pytest.approx(-np.log([0.6, 0.5, 0.3]).mean())


def test_a_two_label_model_reaches_74_9_percent_on_jrte(data_folder):
    from tezukuri.data.load import load

    data = load("jrte", path=data_folder / "data" / "jrte" / "pn.tsv")
    reach = ceiling([example.label for example in data.split("test")], ("negative", "positive"))
    assert round(reach, 3) == 0.749


def test_the_band_is_tuned_to_the_best_macro_f1():
    rng = np.random.default_rng(0)
    doubt = rng.uniform(0, 1, 300)  # |p₁ - p₂|
    side = rng.integers(0, 2, 300)
    probabilities = np.stack([0.5 + doubt / 2, 0.5 - doubt / 2], axis=1)
    probabilities[side == 1] = probabilities[side == 1][:, ::-1]
    gold = ["normal" if d < 0.3 else ("negative", "positive")[s] for d, s in zip(doubt, side, strict=True)]
    width = tune_width(probabilities, gold, ("negative", "positive"), LABELS)
    assert 0.28 <= width <= 0.31
    assert decide(probabilities, ("negative", "positive"), "normal", 0.0).count("normal") == 0


def test_labels_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"labels 1 star, 2 stars, the data .* no name in common.*id2label"):
        shared_labels(("1 star", "2 stars"), LABELS)
    with pytest.raises(ValueError, match="a neutral band is for a model of two labels"):
        neutral_label(LABELS, LABELS)
    assert shared_labels(("positive", "mixed"), LABELS) == (*LABELS, "mixed")


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    folders = [runs.new_run(tmp_path, "tohoku-nlp/bert-base-japanese-v3") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(f.relative_to(tmp_path).parts[0] == "tohoku-nlp--bert-base-japanese-v3" for f in folders)
    assert all(len(f.relative_to(tmp_path).parts) == 3 for f in folders)


def test_the_model_folder_of_a_run_is_called_by_what_was_fine_tuned(tmp_path):
    model = tmp_path / "outputs" / "owner--name" / "2026-01-01" / "12-00-00" / "model"
    model.mkdir(parents=True)
    assert runs.folder_name(str(model)) == "owner--name"
    assert runs.folder_name(str(tmp_path / "outputs")) == "outputs"
    other = tmp_path / "somebody" / "projects" / "mine" / "model"
    other.mkdir(parents=True)
    assert runs.folder_name(str(other)) == "model"


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"f1": 0.5, "文": "日本語"})
    assert "日本語" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="Out of range float"):
        runs.write_json(path, {"f1": float("nan")})  # NaN is no JSON

    def no_space(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(runs.os, "replace", no_space)
    with pytest.raises(OSError, match="no space"):
        runs.write_json(path, {"f1": 0.9})
    assert json.loads(path.read_text(encoding="utf-8"))["f1"] == 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_predictions_are_read_back_whatever_ends_lines_in_their_texts(tmp_path):
    some = [Example(f"e{i}", f"前{mark}後", "a", "test") for i, mark in enumerate("\n\r\u2028\u2029\u0085\x1c")]
    judgement = judge(Classify(("a", "b")), "test", some, np.zeros((len(some), 2)), ("a", "b"))
    write_predictions(tmp_path, judgement)
    rows = runs.read_predictions(tmp_path, "test")
    assert rows and [row["text"] for row in rows] == [example.text for example in some]
    assert runs.read_predictions(tmp_path, "dev") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"id": "1", "label": "a", "predicted": "a"}\n{"id": "2", "lab',
            r"test\.jsonl:2 is broken .*: make that",
        ),
        (b"\xff\n", r"test\.jsonl:1 is broken"),
        ("[1]\n", r"test\.jsonl:1 is no prediction: it lacks id, label or predicted"),
        ('\n{"id": "1"}\n', r"test\.jsonl:2 is no prediction"),
    ],
)
def test_predictions_that_were_half_written_are_told_with_file_and_line(tmp_path, content, said):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "predictions-test.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        runs.read_predictions(tmp_path, "test")


def test_a_cell_with_any_end_of_line_is_one_cell_to_every_reader_of_csv(tmp_path):
    rows = [
        {"text": f"前{mark}後", "last": f"終{mark}"} for mark in ("", "\r", "\r\n", "\n", "\u2028", "\x85", '"', ",")
    ]
    runs.write_csv(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    assert (tmp_path / "rows.csv").read_bytes().startswith("text,last\n前後,終\n".encode())


def test_pictures_are_drawn_even_with_japanese_labels_and_without_training_rows(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(plots, "fonts", lambda: ["DejaVu Sans"])  # as on a machine without a Japanese font
    labels = ("良い", "悪い")
    judgement = judge(Classify(labels), "test", examples(["良い", "悪い"]), np.array([[1.0, 0], [0, 1]]), labels)
    write_report(tmp_path, judgement)
    row = {"epoch": 0, "train_loss": None, "dev_loss": 1.1, "dev_accuracy": 0.3, "dev_f1": 0.2, "dev_ece": 0.1}
    for picture in ((tmp_path / "confusion_matrix.png").read_bytes(), curves([row])):
        assert picture.startswith(b"\x89PNG") and len(picture) > 5000
    assert [record.getMessage() for record in caplog.records] == [
        "no font here has the characters of the labels: the picture shows boxes; install Noto Sans CJK JP"
    ]


def test_labels_with_dollars_are_drawn_as_they_are(tmp_path, caplog):
    """Two of them begin and end a formula in matplotlib, and such a one is an error."""
    labels = ("$\\frac$", "100$~200$", "a_b^{$", "ok")
    gold = examples(["$\\frac$", "100$~200$", "ok"])
    write_report(tmp_path, judge(Classify(labels), "$^$", gold, np.eye(4)[:3], labels))
    assert (tmp_path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG") and caplog.records == []
    picture = plots.attention_map(torch.eye(3), ["$\\x$", "$_$", "b"], "$^$ of $", "svg")
    assert b"$^$ of $" in picture
    assert b"$\\x$" in picture


def test_a_picture_of_many_classes_has_the_most_frequent_confusions_and_says_so(tmp_path, monkeypatch):
    labels = tuple(f"class {n} " + "x" * 5000 for n in range(600))
    gold = [labels[n] for n in range(600)] + [labels[7]] * 3 + [labels[599]] * 2
    predicted = [labels[n] for n in range(600)] + [labels[400]] * 3 + [labels[3]] * 2
    shown = plots.most_confused(gold, predicted, labels)
    assert len(shown) == plots.MOST_CLASSES and {labels[n] for n in (3, 7, 400, 599)} <= set(shown)
    assert shown == sorted(shown, key=labels.index)
    drawn = []
    monkeypatch.setattr(plots, "png", lambda figure: drawn.append(figure) or b"")
    plots.confusion_matrix(gold, predicted, labels, "test: 605 texts")
    (axes,) = drawn[0].axes
    assert axes.get_title() == "test: 605 texts\n20 of 600 classes, those of the most frequent confusions"
    assert max(drawn[0].get_size_inches()) < 30 and all(len(t.get_text()) < 50 for t in axes.get_xticklabels())
    row, column = shown.index(labels[7]), shown.index(labels[400])
    assert axes.images[0].get_array()[row, column] == 3
    assert plots.most_confused(gold[:2], predicted[:2], labels[:3]) == list(labels[:3])


def test_a_picture_of_many_kinds_has_the_most_frequent_ones_and_says_so(monkeypatch):
    """Also of names that are alike where they are cut."""
    drawn = []
    monkeypatch.setattr(plots, "png", lambda figure: drawn.append(figure) or b"")
    gold = [tuple(Span(n, n + 1, "x" * 50 + f"{n}") for n in range(many)) for many in (2, 25)]
    for some, title in ((gold[:1], "F1 of each kind"), (gold, "F1 of the 20 most frequent of 25 kinds")):
        plots.f1_of_kinds(some, some, (), "test")
        axes = drawn[-1].axes[0]
        assert title in axes.get_title()
        assert len({bar.get_y() for bar in axes.patches}) == len(axes.get_yticklabels()) == len(axes.patches)


def test_a_picture_that_fails_is_a_warning_in_one_line_and_no_error(tmp_path, caplog):
    def fails(what):
        raise MemoryError(f"Unable to allocate {what}\nand more")

    plots.write_picture(tmp_path / "curves.png", fails, "9 GiB")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / 'curves.png'} was not drawn (MemoryError: Unable to allocate 9 GiB); all else of the run is whole"
    )
    assert list(tmp_path.iterdir()) == []
