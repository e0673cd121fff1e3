"""Another kind of question is a Task and a Head: here how much more a text speaks of dogs than another one does."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny
from torch import nn
from torch.nn import functional as F

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval.judge import judge
from tezukuri.eval.predict import Scorer, predict
from tezukuri.eval.report import write_report
from tezukuri.eval.tasks.table import TASKS
from tezukuri.eval.tasks.task import Task
from tezukuri.model.bert import Bert
from tezukuri.model.heads import Head
from tezukuri.model.model import Model
from tezukuri.scripts.command import main as command
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_ready_classifier, load_with_report
from tezukuri.weights.save import save

WORDS = ("犬", "猫", "鳥", "馬")


class Score:
    """What heads of one number share: its squared error."""

    problem_type = "regression"

    def loss(self, logits, targets):
        return (logits - targets) ** 2  # (B, 1)

    def apart(self, p, q, both_ways=False):
        there = (p.float() - q.float()).pow(2).sum(dim=-1).mean()
        return 2 * there if both_ways else there


class ScoreHead(Score, Head, nn.Linear):
    """One number from the vector of [CLS]."""


class CosineHead(Score, Head):
    """One number from two vectors: how alike they point. Nothing in it is learned."""

    reads = "mean"

    def __init__(self, hidden_size, columns):
        super().__init__()
        assert columns == 1

    def forward(self, vectors):
        one, other = vectors.unflatten(0, (-1, 2)).unbind(1)  # (2B, H) -> 2 × (B, H)
        return F.cosine_similarity(one, other)[:, None]  # (B, 1)


class Compare(Task):
    name = "compare"
    head = ScoreHead
    best = "pearson"

    @classmethod
    def of(cls, data):
        return cls(["more dogs"])

    def targets(self, examples):
        return np.array([[float(example.label)] for example in examples], dtype=np.float32)

    def answers(self, logits):
        return logits[:, 0].tolist()

    def measure(self, logits, targets):
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        return {
            "loss": float(((logits - targets) ** 2).mean()),
            "pearson": float(np.corrcoef(logits[:, 0], targets[:, 0])[0, 1]),
        }


class Siamese(Compare):
    """The same question to an encoder that reads each of the two texts by itself."""

    name = "siamese"
    head = CosineHead
    parts = 2

    def encode(self, tokenizer, examples, **how):
        return tokenizer.encode_batch([text for e in examples for text in (e.text, e.pair)], **how)


def example(number, split="train", *, alike=False):
    random = np.random.default_rng([number, alike])
    text, pair = random.choice(WORDS, (2, 3))
    dogs = [int((words == "犬").sum()) for words in (text, pair)]
    label = float(dogs[0] == dogs[1]) if alike else (dogs[0] - dogs[1]) / 3
    return Example(f"{split}-{number}", "と".join(text), label, split, pair="と".join(pair))


TRAIN, DEV = [example(i) for i in range(96)], [example(i, "dev") for i in range(1000, 1040)]
TOKENIZER = JapaneseTokenizer(vocabulary_of(["と".join(WORDS)], least=1))
TASK, LABELS = Compare(["more dogs"]), ("more dogs",)
SETTINGS = Settings(epochs=3, batch_size=16, lr=3e-3, precision="fp32")


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    for task in (Compare, Siamese):
        monkeypatch.setitem(TASKS, task.name, task)


def model_of(head=ScoreHead, **changes):
    sizes = {"vocab_size": TOKENIZER.vocab_size, "initializer_range": 0.1}
    return Model(Bert(tiny(**(sizes | changes))), LABELS, head)


def texts_of(task, examples):
    encodings = task.encode(TOKENIZER, examples, max_length=24)
    return Texts(encodings, task.targets(examples), examples, parts=task.parts)


def trained(model, task, settings=SETTINGS, regularizers=(), data=(TRAIN, DEV)):
    texts = [texts_of(task, examples) for examples in data]
    rows = list(fine_tune(model, task, *texts, settings, regularizers=regularizers_of(regularizers)))
    return rows, predict(model, texts[1].encodings, parts=task.parts).numpy(), texts[1].targets


def test_a_pair_is_read_in_one_sequence():
    (encoding,) = TASK.encode(TOKENIZER, [TRAIN[0]])
    assert TOKENIZER.decode(encoding.ids).count("[SEP]") == 2 and set(encoding.type_ids.tolist()) == {0, 1}


def test_it_learns_which_text_has_more():
    rows, logits, targets = trained(model_of(), TASK, Settings(epochs=8, batch_size=8, lr=3e-3, precision="fp32"))
    assert rows[-1]["train_loss"] < rows[1]["train_loss"] / 2
    assert TASK.measure(logits, targets)["pearson"] > 0.8
    assert all(row.keys() >= {"dev_loss", "dev_pearson"} and "dev_f1" not in row for row in rows)


@pytest.mark.parametrize(
    ("select", "best"),
    [
        ("best", lambda rows: max(rows, key=lambda row: row["dev_pearson"])),
        ("best-loss", lambda rows: min(rows, key=lambda row: row["dev_loss"])),
        ("last", lambda rows: rows[-1]),
    ],
)
def test_epochs_are_chosen_by_its_own_scores(select, best):
    chosen = Settings(
        epochs=4, batch_size=8, lr=2e-2, precision="fp32", select=select
    )  # so high that scores go to and fro
    rows, logits, targets = trained(model_of(), TASK, chosen)
    found = TASK.measure(logits, targets)
    assert {f"dev_{name}": value for name, value in found.items()} == pytest.approx(
        {key: best(rows[1:])[key] for key in ("dev_loss", "dev_pearson")}, rel=1e-5
    )


def test_a_score_that_it_has_not_is_refused():
    with pytest.raises(ValueError, match="no epoch can be chosen by 'f1': compare is measured by loss, pearson"):
        trained(model_of(), TASK, Settings(select="best-f1", precision="fp32"))


@pytest.mark.parametrize("task", [TASK, Siamese(LABELS)], ids=lambda task: task.name)
@pytest.mark.parametrize("names", [["r-drop", "fgm", "ema"], ["r-drop", "smart:weight=0.1", "ema"]], ids="+".join)
def test_regularizers_ask_its_head_how_far_answers_are_apart(task, names):
    data = [[example(i, alike=task.parts == 2) for i in span] for span in (range(48), range(100, 120))]
    rows, logits, _ = trained(model_of(task.head), task, SETTINGS, names, data)
    assert logits.shape == (20, 1) and np.isfinite(logits).all()
    for row in rows[1:]:
        assert row["train_r-drop"] > 0 and ("train_smart" in row) == ("fgm" not in names)
    assert rows[-1]["train_loss"] < rows[1]["train_loss"]


@pytest.mark.parametrize("name", ["hidden-mixup", "multi-sample-dropout"])
def test_regularizers_of_one_vector_a_text_refuse_texts_of_two(name):
    with pytest.raises(ValueError, match=f"^{name} "):
        trained(model_of(CosineHead), Siamese(LABELS), SETTINGS, [name])


def test_it_is_judged_and_reported_without_classes(tmp_path):
    _, logits, targets = trained(model_of(), TASK)
    judgement = judge(TASK, "dev", DEV, logits)
    assert judgement.metrics == {**TASK.measure(logits, targets), "examples": len(DEV)}
    assert judgement.labels == () and judgement.gold == [e.label for e in DEV]
    assert judgement.predicted == logits[:, 0].tolist()
    table = write_report(tmp_path, judgement)
    assert "pearson" in table and "precision" not in table
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classification_report.txt", "predictions-dev.jsonl", "val-metrics.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "val-metrics.json").read_text()) == judgement.metrics
    first = json.loads((tmp_path / "predictions-dev.jsonl").read_text().splitlines()[0])
    assert first == {
        "id": DEV[0].id, "text": DEV[0].text, "pair": DEV[0].pair, "label": DEV[0].label,
        "predicted": pytest.approx(float(logits[0, 0])),
    }  # fmt: skip


@pytest.mark.parametrize("task", [TASK, Siamese(LABELS)], ids=lambda task: task.name)
def test_it_is_saved_and_loaded_back(tmp_path, task):
    model = model_of(task.head)
    _, logits, _ = trained(model, task)
    save(model, TOKENIZER, tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    assert settings["problem_type"] == "regression" and settings["id2label"] == {"0": "more dogs"}
    for labels in (None, LABELS):
        loaded = load_with_report(tmp_path / "model", "classify", labels, head=task.head)
        assert loaded.model.labels == LABELS and type(loaded.model.classifier) is task.head
        scorer = Scorer(loaded.model, loaded.tokenizer, task)
        assert np.array_equal(scorer.logits(scorer.encode(DEV)), logits)
    assert load_ready_classifier(tmp_path / "model", head=task.head).report.new == []
    with pytest.raises(CheckpointError, match="problem_type is regression, and not single_label_class"):
        load_with_report(tmp_path / "model", "classify")


def test_an_encoder_without_a_pooler_is_loaded_without_one(tmp_path):
    task = Siamese(LABELS)
    model = Model(Bert(tiny(vocab_size=TOKENIZER.vocab_size), pooler=False), LABELS, CosineHead).eval()
    save(model, TOKENIZER, tmp_path / "model")
    loaded = load_ready_classifier(tmp_path / "model", head=CosineHead)
    assert loaded.model.bert.pooler is None
    texts = texts_of(task, DEV)
    assert torch.equal(*(predict(m, texts.encodings, parts=2) for m in (model, loaded.model)))


def test_two_texts_are_read_apart_and_the_order_does_not_matter():
    task = Siamese(LABELS)
    data = [[example(i, alike=True) for i in span] for span in (range(96), range(100, 140))]
    model = model_of(CosineHead)
    rows, logits, targets = trained(model, task, Settings(epochs=6, batch_size=8, lr=2e-3, precision="fp32"), (), data)
    assert rows[-1]["train_loss"] < rows[1]["train_loss"] and task.measure(logits, targets)["pearson"] > 0.3
    turned = [Example(e.id, e.pair, e.label, e.split, pair=e.text) for e in data[1]]
    scorer = Scorer(model, TOKENIZER, task, batch_size=7)
    np.testing.assert_allclose(scorer.logits(scorer.encode(turned)), logits, rtol=1e-4, atol=1e-5)
    same = [Example(e.id, e.text, 1.0, e.split, pair=e.text) for e in data[1]]
    np.testing.assert_allclose(scorer.logits(scorer.encode(same)), 1, rtol=1e-5)


@pytest.mark.parametrize("task", ["compare", "siamese"])
def test_a_whole_run_of_it_from_python_and_from_the_command(task, tmp_path, capsys):
    """A plan names it like any other; the folder knows its pairs and its numbers."""
    alike = task == "siamese"
    data = Dataset("dogs", ("x",), [example(i, "train" if i % 5 else "dev", alike=alike) for i in range(160)])
    told = {"task": task, "model": "scratch", "epochs": 4, "lr": 3e-3, "batch_size": 8, "precision": "fp32"}
    run = tezukuri.finetune(data, output_dir=tmp_path / "a", **told)
    assert "train_r-drop" in run.log[-1] and "pearson" in capsys.readouterr().out
    assert run.scores["dev"]["pearson"] > 0.3 and not (run.folder / "report.html").exists()
    pair = ("犬と犬と犬", "猫と鳥と馬")
    score = run.classifier(pair).label
    again = tezukuri.Run.load(run.folder, "cpu")
    assert again.judge("dev").metrics == run.judgements["dev"].metrics
    assert again.classifier([pair, pair])[1].label == pytest.approx(score, abs=1e-5)
    with pytest.raises(ValueError, match=f"no page of mistakes for the task {task}"):
        again.page()
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
    file = ["--data", str(run.folder / "data.jsonl"), "--pair-column", "pair", "--output-dir", str(tmp_path / "b")]
    assert command(["finetune", *arguments, *file]) == 0
    (other,) = (tmp_path / "b").glob("*/*/*/val-metrics.json")
    assert json.loads(other.read_text())["pearson"] == pytest.approx(run.scores["dev"]["pearson"])
