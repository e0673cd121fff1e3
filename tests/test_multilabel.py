"""Several labels of a text: the head beside the reference, thresholds, and a table through every command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sklearn.metrics import f1_score
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.label_kinds import label_cell, names_of
from tezukuri.data.load import load
from tezukuri.eval.tasks.multilabel import Multilabel
from tezukuri.model.heads import LabelsHead
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.weights.architectures import ARCHITECTURES

WORDS, LABELS = ("犬", "猫", "鳥", "馬"), ("cat", "dog")
TRAINED = {"model": "scratch", "precision": "fp32", "batch_size": 8, "lr": 3e-3}


def rows_of(n: int) -> list[tuple[str, str, str]]:
    """Whether a text speaks of dogs, of cats, of both, or of neither."""
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        words = random.choice(WORDS, 2)
        told = [name for word, name in (("猫", "cat"), ("犬", "dog")) if word in words]
        split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
        found.append(("と".join(words), "|".join(told), split))
    return found


ROWS = rows_of(96)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "split"), *ROWS])
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    return tezukuri.finetune(
        table, task="multilabel", epochs=5, regularizer=["r-drop", "fgm"], output_dir=folder, **TRAINED
    )


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_logits_loss_and_gradients_equal_the_oracles(kind):
    ours, oracle = twins(Model(encoder(kind), ["a", "b", "c"], LabelsHead))
    assert oracle.config.problem_type == "multi_label_classification"
    encodings = texts_for(ours.config)
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]])
    logits = ours(pack(encodings)).logits
    loss = ours.classifier.loss(logits, targets).sum() / len(targets)
    theirs = oracle(**padded(encodings, ours.config.pad_token_id), labels=targets)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle)


def test_how_far_two_answers_are_apart():
    head, (p, q) = LabelsHead(4, 3), torch.randn(2, 5, 3)
    one, other = (torch.distributions.Bernoulli(logits=logits) for logits in (p, q))
    there, back = (torch.distributions.kl_divergence(*pair).mean() for pair in ((one, other), (other, one)))
    torch.testing.assert_close(head.apart(p, q), there)
    torch.testing.assert_close(head.apart(p, q, both_ways=True), there + back)


def test_its_scores_are_those_of_sklearn_and_thresholds_are_the_best():
    task, random = Multilabel(["a", "b", "c"]), np.random.default_rng(0)
    targets = (random.random((60, 3)) < [0.5, 0.2, 0.0]).astype(np.float32)
    logits = (random.normal(size=(60, 3)) + 2 * targets - [0, 3, 0]).astype(np.float32)
    before = task.measure(logits, targets)
    found = task.probabilities(logits) >= 0.5
    for name in ("micro", "macro"):
        assert before[f"{name}_f1"] == pytest.approx(f1_score(targets, found, average=name, zero_division=0))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(*map(torch.from_numpy, (logits, targets)))
    assert before["loss"] == pytest.approx(float(loss))
    task.adjust(logits, targets)
    assert task.thresholds[2] == 0.5  # none of the texts has it
    for column in range(2):
        grid = [f1_score(targets[:, column], task.probabilities(logits)[:, column] >= t, zero_division=0)
                for t in np.linspace(0, 1, 201)]  # fmt: skip
        own = f1_score(targets[:, column], task.found(logits)[:, column])
        assert own >= max(grid)
    assert task.measure(logits, targets)["macro_f1"] > before["macro_f1"]
    again = Multilabel(["c", "b", "a"])
    again.restore(json.loads(json.dumps(task.kept())))
    assert again.thresholds.tolist() == task.thresholds.tolist()[::-1]


def test_a_label_that_is_best_told_of_all_texts_is_told_of_all():
    task, logits = Multilabel(["a", "b"]), np.array([[-3.0, -3], [-2, -2], [-1, 2]])
    task.adjust(logits, np.array([[1, 0], [1, 0], [1, 1]], dtype=np.float32))
    assert task.answers(logits) == [("a",), ("a",), ("a", "b")]


def test_it_is_learned_and_loaded_with_its_thresholds(run):
    assert run.scores["dev"]["micro_f1"] > 0.8 and run.log[-1]["train_r-drop"] > 0
    thresholds = run.task.thresholds.tolist()
    assert json.loads((run.folder / "model" / "config.json").read_text())["tezukuri"]["task"]["thresholds"] == dict(
        zip(LABELS, thresholds, strict=True)
    )
    for again in (tezukuri.Run.load(run.folder, "cpu").classifier, tezukuri.Classifier.load(run.folder / "model")):
        assert again.task.thresholds.tolist() == thresholds
    assert run.classifier("犬と猫").label == ("cat", "dog") and run.classifier("馬と鳥").label == ()


def test_predict_and_evaluate(run, table, tmp_path, capsys):
    model = ["--model", str(run.folder / "model"), "--precision", "fp32"]
    assert command(["predict", *model, "--file", str(table), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["predicted"] == list(run.classifier(ROWS[0][0]).label) and set(rows[0]["probabilities"]) == {*LABELS}
    assert command(["predict", *model, "--file", str(table), "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["predicted"] for row in written] == ["|".join(row["predicted"]) for row in rows]
    assert "probability_dog" in written[0]
    capsys.readouterr()
    assert command(["evaluate", *model, "--data", str(table), "--output-dir", str(tmp_path)]) == 0
    (file,) = tmp_path.rglob("test-metrics.json")
    assert json.loads(file.read_text()) == pytest.approx(dict(run.scores["test"]), abs=1e-5)


def test_the_reference_gives_its_logits(run):
    encodings = run.scorer.encode([row[0] for row in ROWS[:5]])
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(run.folder / "model").eval()
    with torch.no_grad():
        logits = theirs(**padded(list(encodings))).logits
    np.testing.assert_allclose(run.scorer.logits(encodings), logits.numpy(), rtol=1e-4, atol=1e-4)
    assert theirs.config.problem_type == "multi_label_classification" and theirs.config.id2label[1] == "dog"


def test_labels_of_a_text_are_a_list_or_stand_in_a_cell(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "label": ["x", "y"], "split": "train"}\n{"text": "b", "label": "y | z", "split": "dev"}\n'
        '{"text": "c", "label": [], "split": "test"}\n', encoding="utf-8",
    )  # fmt: skip
    data = load(tmp_path / "a.jsonl", labels_are="names")
    assert [e.label for e in data.examples] == [("x", "y"), ("y", "z"), ()] and data.labels == ("x", "y", "z")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: label 'z' \(column 'label'\) is not one of 'x', 'y'"):
        load(tmp_path / "a.jsonl", labels_are="names", labels=["x", "y"])
    with pytest.raises(ValueError, match="--merge-labels is for texts of one label each"):
        load(tmp_path / "a.jsonl", labels_are="names", merge_labels=True)
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": [1]}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.jsonl:1: the label \[1\] \(column 'label'\) has 1, which is no name"):
        load(tmp_path / "b.jsonl", labels_are="names")


@pytest.mark.parametrize("names", [("喜び|信頼", "怒り"), ("[喜び]",), ("喜び", "怒り"), ()])
def test_names_come_back_from_the_cell_of_a_table(names):
    cell = label_cell(names)
    assert isinstance(cell, str) and names_of(cell) == names


def test_what_cannot_be_learned_is_refused(tmp_path):
    texts = ["犬", "猫", "馬"]
    with pytest.raises(ValueError, match=r"labels\[1\] is None"):
        tezukuri.finetune(texts=texts, labels=[["a"], None, []], task="multilabel")
    with pytest.raises(ValueError, match="no text of texts has a label"):
        tezukuri.finetune(texts=texts, labels=[[], [], []], task="multilabel", output_dir=tmp_path)
    named = Dataset("x", ("a", "b"), [Example("1", "犬", "a", "train")])
    with pytest.raises(ValueError, match="x has a label 'a', which is none of the task multilabel"):
        tezukuri.finetune(named, task="multilabel", output_dir=tmp_path)


def test_lists_in_memory_come_back_from_the_runs_folder(tmp_path):
    texts, labels = [row[0] for row in ROWS[:40]], [row[1].split("|") if row[1] else [] for row in ROWS[:40]]
    run = tezukuri.finetune(
        texts=texts, labels=labels, task="multilabel", epochs=1, regularizer="none", output_dir=tmp_path, **TRAINED
    )
    again = tezukuri.Run.load(run.folder, "cpu")
    assert [e.label for e in again.data.examples] == [tuple(names) for names in labels] and again.data.labels == LABELS
