"""A score for a text or a pair: the head beside the reference, and a table of numbers through every command."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import pearsonr, spearmanr
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.lists import dataset_of
from tezukuri.eval.tasks.score import Score
from tezukuri.eval.tasks.table import TASKS, require_labels
from tezukuri.model.heads import ScoreHead
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.train.loop import fine_tune
from tezukuri.weights.architectures import ARCHITECTURES
from tezukuri.weights.load import load_ready_classifier

WORDS = ("犬", "猫", "鳥", "馬")
TRAINED = {"model": "scratch", "precision": "fp32", "batch_size": 8, "lr": 3e-3}


def rows_of(n: int) -> list[tuple[str, str, float, str]]:
    """How many words of the first text are dogs, on a scale from 40 to 100."""
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        words, others = random.choice(WORDS, (2, 3))
        split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
        found.append(("と".join(words), "と".join(others), 40.0 + 20 * int((words == "犬").sum()), split))
    return found


ROWS = rows_of(150)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "other", "points", "split"), *ROWS])
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    told = ["--label-column", "points", "--task", "score", "--epochs", "6", "--regularizer", "none"]
    told += [f"--{name.replace('_', '-')}={value}" for name, value in TRAINED.items()]
    assert command(["finetune", "--data", str(table), *told, "--output-dir", str(folder)]) == 0
    (one,) = folder.glob("*/*/*")
    return tezukuri.Run.load(one, "cpu")


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_logits_loss_and_gradients_equal_the_oracles(kind):
    ours, oracle = twins(Model(encoder(kind), ["score"], ScoreHead))
    assert oracle.config.problem_type == "regression" and oracle.config.num_labels == 1
    encodings = texts_for(ours.config)
    logits = ours(pack(encodings)).logits
    targets = logits.detach()[:, 0] + torch.tensor([0.5, -0.3, 0.2, -0.1, 0.4])
    loss = ours.classifier.loss(logits, targets[:, None]).sum() / len(targets)
    theirs = oracle(**padded(encodings, ours.config.pad_token_id), labels=targets)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle, atol=1e-5)  # a difference of two logits is known to fewer digits


def test_a_head_at_another_scale_is_settled_to_the_same_function():
    head, x = ScoreHead(8, 1), torch.randn(5, 8)
    head.begin(torch.tensor([[10.0], [30.0], [50.0]]))
    before = head(x)
    torch.testing.assert_close(before, head.shift + head.scale * (x @ head.weight.T + head.bias))
    assert (head.scale, head.shift) == (pytest.approx(16.33, abs=0.01), 30)
    head.settle()
    torch.testing.assert_close(head(x), before)
    torch.testing.assert_close(torch.nn.functional.linear(x, head.weight, head.bias), before)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(x.bfloat16()).dtype == torch.float32


def test_its_scores_are_those_of_scipy():
    task, random = Score(), np.random.default_rng(0)
    task.range = (0.0, 1.0)
    logits = random.normal(size=(40, 1)).astype(np.float32)
    gold = (logits > 0).astype(np.float32) + random.integers(2, size=(40, 1)).astype(np.float32)  # with ties
    found = task.measure(logits, gold)
    assert found["loss"] == pytest.approx(float(((logits - gold) ** 2).mean()))
    assert found["pearson"] == pytest.approx(pearsonr(logits[:, 0], gold[:, 0])[0])
    assert found["spearman"] == pytest.approx(spearmanr(logits[:, 0], gold[:, 0])[0])
    assert found["mae"] == pytest.approx(float(np.abs(np.clip(logits, 0, 1) - gold).mean()))
    assert task.answers(logits) == pytest.approx(np.clip(logits[:, 0], 0, 1), abs=1e-5)
    assert task.measure(logits, np.ones_like(gold))["spearman"] == 0  # not defined
    task.range = (1 / 3, 2 / 3)  # rounded to six digits, they lie outside
    assert set(task.answers(np.array([[-1.0], [0.5], [2.0]]))) == {1 / 3, 0.5, 2 / 3}
    with pytest.raises(ValueError, match="there is no example"):
        task.measure(logits[:0], gold[:0])


def test_it_is_learned_at_its_scale_and_chosen_by_spearman(run):
    log = run.log
    assert log[0]["dev_mae"] < 25  # it begins at the mean
    assert max(row["dev_spearman"] for row in log) > 0.7
    scores = json.loads((run.folder / "val-metrics.json").read_text())
    assert scores["spearman"] == pytest.approx(max(row["dev_spearman"] for row in log[1:]), abs=1e-6)
    assert run.judge("dev").metrics == pytest.approx(scores, abs=1e-4)
    assert {"curves.png", "scatter.png"} <= {path.name for path in run.folder.iterdir()}
    assert (run.folder / "scatter.png").read_bytes()[1:4] == b"PNG" and (run.folder / "report.html").exists()


def test_answers_are_numbers_in_the_range_of_the_data(run, table, tmp_path, capsys):
    arguments = ["predict", "--model", str(run.folder / "model"), "--file", str(table), "--precision", "fp32"]
    assert command([*arguments, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answers = [row["predicted"] for row in rows]
    assert all(type(answer) is float and 40 <= answer <= 100 for answer in answers) and rows[0]["probabilities"] == {}
    assert np.corrcoef(answers, [row[2] for row in ROWS])[0, 1] > 0.7
    assert answers[:9] == pytest.approx([one.label for one in run.classifier([row[0] for row in ROWS[:9]])], abs=1e-3)
    assert command([*arguments, "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [float(row["predicted"]) for row in written] == answers
    assert list(written[0])[4:] == ["predicted", "truncated", "not_labelled"]
    assert command(["predict", "--model", str(run.folder / "model"), "犬と犬と犬", "--precision", "int8"]) == 0
    assert "labels" not in (said := capsys.readouterr().err) and "in int8 answers differ a little from fp32's" in said
    assert command(["predict", "--model", str(run.folder / "model"), "犬と犬と犬"]) == 0
    assert capsys.readouterr().out.split()[-1] == "犬と犬と犬"


def test_the_reference_loads_it_and_we_load_the_references(run, tmp_path):
    texts = [row[0] for row in ROWS[:7]]
    encodings = run.scorer.encode(texts)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(run.folder / "model").eval()
    with torch.no_grad():
        logits = theirs(**padded(list(encodings))).logits
    np.testing.assert_allclose(run.scorer.logits(encodings), logits.numpy(), rtol=1e-4, atol=1e-3)
    assert theirs.config.problem_type == "regression"
    theirs.config.problem_type = None  # as most such models on the hub have it
    theirs.save_pretrained(tmp_path / "theirs")
    run.tokenizer.save(tmp_path / "theirs")
    loaded = load_ready_classifier(tmp_path / "theirs")
    assert type(loaded.model.classifier) is ScoreHead
    again = tezukuri.Classifier.load(tmp_path / "theirs", device="cpu", precision="fp32")
    assert again.task.name == "score"
    expected = logits[:, 0].clip(40, 100).tolist()  # the reference passes on what it does not know
    assert [one.label for one in again(texts)] == pytest.approx(expected, abs=1e-3)


def test_evaluate_judges_it(run, table, tmp_path, capsys):
    arguments = ["evaluate", "--model", str(run.folder / "model"), "--output-dir", str(tmp_path), "--precision", "fp32"]
    assert command([*arguments, "--data", str(table), "--label-column", "points"]) == 0
    printed = capsys.readouterr().out
    (judged,) = {path.parent for path in tmp_path.rglob("scatter.png")}
    assert "spearman" in printed and f"page    {judged / 'report.html'}" in printed
    before = (judged / "failures.jsonl").read_bytes()
    assert command(["failures", str(judged), "--language", "ja"]) == 0
    assert (judged / "failures.jsonl").read_bytes() == before and (run.folder / "report.html").is_file()
    for name, *given, what in (
        ("failures", str(run.folder), "--retrain", "2", "--retrain is for labels of classes, and the task of"),
        ("probe", "--model", str(run.folder / "model"), "problem_type is regression"),
        ("compare", "--method", "fgm", "--", "--task", "score", "by accuracy and F1 of classes, which the task score"),
    ):
        assert command([name, *given]) == 1
        assert what in capsys.readouterr().err
    assert command([*arguments, "--data", str(table), "--label-column", "points", "--neutral-band", "auto"]) == 1
    assert "--neutral-band is for classes" in capsys.readouterr().err
    texts, points = [row[0] for row in ROWS], [row[2] for row in ROWS]
    found = tezukuri.evaluate((texts, points), model=str(run.folder / "model"), output_dir=str(tmp_path), report=False)
    assert found.scores["pearson"] > 0.7


@pytest.mark.parametrize(
    "names", [["r-drop", "fgm", "ema"], ["smart:weight=0.1"], ["lora"], ["hidden-mixup"]], ids="+".join
)
def test_it_is_learned_with_regularizers_from_pairs_in_memory(names, tmp_path):
    pairs, points = [row[:2] for row in ROWS], [row[2] for row in ROWS]
    run = tezukuri.finetune(
        texts=pairs, labels=points, task="score", epochs=3, regularizer=names, output_dir=tmp_path, **TRAINED
    )
    assert run.log[-1]["train_loss"] < run.log[1]["train_loss"] and run.task.pairs
    again = tezukuri.Classifier.load(run.folder / "model", device="cpu", precision="fp32")
    assert again(pairs[0]).label == pytest.approx(run.classifier(pairs[0]).label, abs=1e-2)


@pytest.mark.parametrize("name", ["focal", "label-smoothing", "supcon", "temperature"])
def test_regularizers_of_classes_are_refused_by_name(name, table, tmp_path):
    with pytest.raises(ValueError, match=f"the regularizer {name} is for classes, and the head .* is ScoreHead"):
        tezukuri.finetune(table, label_column="points", task="score", regularizer=name, output_dir=tmp_path, **TRAINED)


def test_a_label_that_is_no_number_is_named_with_file_and_line(table, tmp_path, capsys):
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace("40.0", "?").replace("60.0", "?").replace("80.0", "?").replace("100.0", "?")
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["finetune", "--data", str(tmp_path / "a.csv"), "--label-column", "points", "--task", "score"]
    assert command(arguments) == 1
    told = capsys.readouterr().err
    assert "a.csv:4: the label '?' (column 'points') is no number: " in told


@pytest.mark.parametrize(
    ("labels", "options", "told"),
    [
        ([1.0, float("nan"), 2.0], {}, r"labels\[1\] is nan"),
        ([1.0, "high", 2.0], {}, r"labels\[1\] \('high'\) is no number"),
        ([1.0, 2.0, 3.0], {"classes": ["1", "2"]}, "scores are numbers, and have no classes"),
    ],
)
def test_what_cannot_be_learned_is_refused(labels, options, told):
    with pytest.raises(ValueError, match=told):
        tezukuri.finetune(texts=["犬", "猫", "馬"], labels=labels, task="score", model="scratch", **options)


def test_a_task_is_told_from_the_labels_that_it_cannot_have(tmp_path):
    with pytest.raises(ValueError, match=r"sample has a label '.*', which is none of the task score"):
        tezukuri.finetune("sample", task="score", output_dir=tmp_path)
    one = [Example(str(i), f"犬{i}", 3.0, split) for i, split in enumerate(["train", "train", "dev"])]
    with pytest.raises(ValueError, match="all training texts of x have the score 3: nothing can be learned"):
        tezukuri.finetune(Dataset("x", (), one), task="score", output_dir=tmp_path)
    with pytest.raises(ValueError, match=r"x has a label 3\.0, which is none of the task classify"):
        tezukuri.finetune(Dataset("x", (), one), output_dir=tmp_path)


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    """The scale of the head is that of the same texts."""
    texts, points = [row[0] for row in ROWS], [row[2] for row in ROWS]
    told = {"task": "score", "regularizer": "none", "epochs": 2, **TRAINED}
    data = dataset_of(texts, points, labels_are="number")
    data.examples = [replace(e, label=int(e.label)) for e in data.examples]  # which a file gives back as floats
    whole = tezukuri.finetune(data, output_dir=tmp_path / "a", **told)

    def broken(*arguments, **more):
        rows = fine_tune(*arguments, **more)
        yield next(rows)
        yield next(rows)
        raise KeyboardInterrupt

    monkeypatch.setattr("tezukuri.train.finetune.fine_tune", broken)
    with pytest.raises(KeyboardInterrupt):
        tezukuri.finetune(data, output_dir=tmp_path / "b", **told)
    monkeypatch.undo()
    (folder,) = (tmp_path / "b").glob("*/*/*")
    again = tezukuri.finetune(resume=folder)
    assert again.scores["test"] == whole.scores["test"]


def test_a_model_judges_only_data_of_its_task(tmp_path):
    """A name is found in a longer name, and a number has no names: neither may pass for a set of labels."""
    task = TASKS["multilabel"](("joy", "sad"))
    for data in (dataset_of(["a", "b"], ["joy", "sad"]), dataset_of(["a", "b"], [1, 2.5], labels_are="number")):
        with pytest.raises(ValueError, match="which is none of the task multilabel"):
            require_labels(type(task), data)
    with pytest.raises(ValueError, match=r"labels\[0\] is \['joy'\], and not the name of a class"):
        dataset_of(["a"], [["joy"]])
    told = task.notes(
        dataset_of(["a", "b"], [["joy"], ["fear"]], labels_are="names", splits=["test", "test"]), ["test"]
    )
    assert "labels that the model does not have: 'fear'" in told[0] and "'sad'" in told[1]


def test_a_split_of_one_score_is_said():
    data = Dataset(
        "a", (), [Example(f"{n}", "a", float(n), "train") for n in range(3)] + [Example("d", "a", 2.0, "dev")]
    )
    assert Score().notes(data) == ["all scores of dev are 2: Pearson and Spearman are not defined there, and told as 0"]
