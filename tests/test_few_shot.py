"""Classifiers of sentence vectors: the folded regression is scikit-learn's, and the encoder learns only by setfit."""

import importlib
import io
import json
import signal
import sys
import tarfile

import numpy as np
import pytest
import torch
from checkout import ROOT
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_checkpoint import checkpoint

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.train import step
from tezukuri.train.finetune import run_plan
from tezukuri.train.retraining import retrain
from tezukuri.train.run import Run
from tezukuri.train.signals import as_interrupts
from tezukuri.train.vectors import NEVER, UNDECIDED, regression
from tezukuri.weights.load import load_with_report
from tezukuri.weights.sentences import Vectors, write_vectors

LABELS = ("bad", "good", "so-so")
WORDS = {"good": "駅から近くて便利でした。", "bad": "部屋が狭くて最悪でした。", "so-so": "普通のホテルです。"}
FEW = {"report": False, "precision": "fp32", "device": "cpu"}


def data_of(labels=LABELS, n=6) -> Dataset:
    """n texts of each class for training, and 3 for dev and for test."""
    made = [("train", i) for i in range(n)] + [(split, n + i) for split in ("dev", "test") for i in range(3)]
    examples = [Example(f"{label}{split}{i}", f"{WORDS[label]}また来ます。"[i % 4 :], label, split)
                for label in labels for split, i in made]  # fmt: skip
    return Dataset("made", tuple(labels), examples)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder whose sentence vectors have length 1 and a prompt before the text."""
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint(folder, "BertModel")
    write_vectors(folder, Vectors("mean", True, {"query": "東京 "}, "query"))
    return folder


def run_of(folder, root, method, data=None, judged=True, **options) -> Run:
    told = FEW | {"model": str(folder), "method": method, "output_dir": str(root)} | options
    return run_plan(tezukuri.Plan(**told), data or data_of(), judged=judged)


@pytest.fixture(scope="module")
def vectors_run(folder, tmp_path_factory):
    return run_of(folder, tmp_path_factory.mktemp("vectors"), "vectors")


def drawn(counts, width=9):
    rng = np.random.default_rng(3)
    gold = np.repeat(np.arange(len(counts)), counts)
    vectors = rng.normal(size=(len(gold), width)) * rng.uniform(0.1, 9, width) + rng.normal(size=width) * 20
    return vectors + gold[:, None], gold


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("counts", [(9, 9, 9), (12, 7), (7, 1, 5), (1, 1, 1), (1, 4), (2, 2)])
def test_the_folded_head_is_the_regression(counts):
    vectors, gold = drawn(counts)
    vectors[:, 0] = 4.0  # a feature that says nothing
    weight, bias, told = regression(vectors, gold, LABELS[: len(counts)], 1)
    strength = float(told.split(" C ")[1].split()[0].rstrip(","))
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(vectors, gold)
    new = vectors + np.random.default_rng(0).normal(size=vectors.shape)
    np.testing.assert_allclose(softmax(new @ weight.T + bias), oracle.predict_proba(new), atol=1e-9)
    repeated = [n for n in counts if n > 1]
    if len(repeated) < 2:
        assert strength == UNDECIDED and "too few classes have two texts" in told
    else:
        assert f"by {min(5, *repeated)}-fold cross-validation" in told


def test_a_class_without_texts_is_never_answered_and_said():
    vectors, gold = drawn((6, 0, 6))
    weight, bias, told = regression(vectors, gold, LABELS, 0)
    assert bias[1] == NEVER and not weight[1].any()
    assert told.endswith("never answered, having no training texts: good")
    assert set((vectors @ weight.T + bias).argmax(axis=1)) <= {0, 2}


def test_vectors_leave_the_encoder_as_it_is(folder, vectors_run):
    before = load_with_report(folder, "encode").model.state_dict()
    after = vectors_run.model.bert.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items()) and len(after) > 20
    assert [row["epoch"] for row in vectors_run.log] == [0, 1] and vectors_run.log[0]["train_loss"] is None
    assert vectors_run.log[1]["train_loss"] < 0.5 < vectors_run.log[0]["dev_loss"]
    assert vectors_run.log[1]["dev_f1"] > vectors_run.log[0]["dev_f1"]


def test_the_head_sees_the_mean_as_the_encoder_gives_it(folder, vectors_run):
    encoder = tezukuri.Encoder.load(folder, normalise=False, precision="fp32")
    train = vectors_run.data.split("train")
    found = encoder.encode([e.text for e in train], prompt="")
    weight, bias, _ = regression(found.astype(np.float64), np.array([LABELS.index(e.label) for e in train]), LABELS, 42)
    np.testing.assert_allclose(vectors_run.model.classifier.weight.detach(), weight, rtol=1e-2, atol=1e-3)
    test = vectors_run.judgements["test"]
    vectors = encoder.encode([e.text for e in test.examples], prompt="")
    np.testing.assert_allclose(test.probabilities, softmax(vectors @ weight.T + bias), atol=1e-3)


@pytest.mark.parametrize("method", ["vectors", "setfit"])
def test_what_is_saved_gives_equal_answers_and_a_seed_equal_runs(folder, tmp_path, capsys, method):
    options = {"pairs": 2, "lr": 2e-3, "epochs": 2} if method == "setfit" else {}
    run = run_of(folder, tmp_path, method, **options)
    said = capsys.readouterr().out
    saved = json.loads((run.folder / "model/config.json").read_text())
    assert saved["classifier_pooling"] == "mean" and not (run.folder / "model/modules.json").exists()
    texts = [e.text for e in run.data.split("test")]
    answers = [one.probabilities for one in run.classifier(texts)]
    again = Run.load(run.folder).classifier(texts)
    assert [one.probabilities for one in again] == [pytest.approx(one, abs=1e-6) for one in answers]
    with pytest.raises(ValueError, match=r"has no checkpoint\.pt"):
        tezukuri.finetune(resume=run.folder)
    second = run_of(folder, tmp_path, method, judged=False, **options)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    changed = not torch.equal(run.model.bert.layers[0].attention.qkv.weight.cpu(),
                              load_with_report(folder, "encode").model.layers[0].attention.qkv.weight)  # fmt: skip
    assert changed == (method == "setfit")
    if method == "setfit":
        assert "pairs   72 pairs of 18 texts, 2 epochs" in said
        losses = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("pairs   epoch")]
        assert len(losses) == 3 and losses[-1] < 0.8 * losses[0]


def test_the_learning_of_pairs_goes_on_where_it_was_stopped(folder, tmp_path, monkeypatch):
    options = {"pairs": 2, "lr": 2e-3, "epochs": 2}
    whole = run_of(folder, tmp_path / "whole", "setfit", **options)
    clip, calls = step.clip_gradients, []

    def pull_the_plug(*arguments):
        calls.append(1)
        if len(calls) == 7:  # of 5 steps an epoch
            signal.raise_signal(signal.SIGTERM)
        return clip(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step, "clip_gradients", pull_the_plug)
        with as_interrupts(), pytest.raises(KeyboardInterrupt):
            run_of(folder, tmp_path / "cut", "setfit", **options)
    (stopped,) = (path.parent for path in (tmp_path / "cut").rglob("checkpoint.pt"))
    resumed = tezukuri.finetune(resume=stopped)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert not (stopped / "checkpoint.pt").exists()


def test_a_class_with_one_text_and_two_classes_are_learned(folder, tmp_path):
    data = data_of()
    few = [e for e in data.examples if e.split != "train" or e.label != "good" or e.id == "goodtrain0"]
    for method, of in (("setfit", Dataset("one", LABELS, few)), ("vectors", data_of(("bad", "good")))):
        run = run_of(folder, tmp_path, method, of, False, **({"pairs": 1} if method == "setfit" else {}))
        assert run.judge("test").metrics["accuracy"] > 0.6


def test_labels_are_judged_again_by_the_method_of_the_run(vectors_run, capsys):
    found = retrain(vectors_run, 2)
    assert capsys.readouterr().out.count("vectors logistic regression") == 2
    assert found.probabilities.shape == (len(vectors_run.data.examples), 3)


def test_the_estimator_and_a_study_take_the_method(folder):
    examples = data_of(("bad", "good")).examples
    texts, labels = [e.text for e in examples], [e.label for e in examples]
    fitted = tezukuri.TextClassifier(str(folder), precision="fp32", options={"method": "vectors"}).fit(texts, labels)
    assert fitted.score(texts, labels) > 0.9
    assert tezukuri.Plan(method="vectors", regularizer="none").settings().regularizers == ()  # as compare asks
    assert tezukuri.Plan(method="setfit").settings(voted=True).regularizers == ()
    rates = [tezukuri.Plan(method="setfit", lr=lr).settings(hidden_size=384).lr for lr in (None, 3e-5)]
    assert rates == pytest.approx([2e-5, 3e-5])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "fewer"}, "method 'fewer' is not known; choose one of finetune, vectors, setfit"),
        ({"method": "vectors", "regularizer": "r-drop"}, "regularizer has no effect by the method vectors"),
        ({"method": "vectors", "epochs": 3}, "epochs has no effect by the method vectors"),
        ({"method": "vectors", "pairs": 3}, "pairs has no effect by the method vectors"),
        ({"method": "setfit", "select": "last"}, "select has no effect by the method setfit: leave it out"),
        ({"method": "setfit", "recipe": "course"}, "recipe has no effect by the method setfit"),
        ({"method": "setfit", "class_weights": "balanced"}, "class_weights has no effect"),
        ({"pairs": 3}, "pairs has no effect by the method finetune"),
        ({"method": "vectors", "pooling": "first"}, "reads the mean of all tokens: leave the pooling out"),
        ({"method": "vectors", "task": "score"}, "the method vectors is for the task classify, not for score"),
    ],
)
def test_options_without_effect_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        tezukuri.Plan(**options)


def test_data_that_a_method_is_not_for_are_refused(folder, tmp_path):
    scores = Dataset("scores", (), [Example("1", "駅", 1.0, "train")], task="score")
    pairs = [Example(str(i), "駅", "ab"[i % 2], "train", pair="部屋") for i in range(4)]
    alone = [Example(str(i), "駅" * i, "a", "train") for i in range(1, 4)]
    for data, told in (
        (scores, "for the task classify, not for score"),
        (Dataset("pairs", ("a", "b"), pairs), "those of pairs are pairs: choose vectors"),
        (Dataset("alone", ("a", "b"), alone), "all texts of the train split of alone are 'a'"),
    ):
        with pytest.raises(ValueError, match=told):
            run_of(folder, tmp_path, "setfit", data)
    assert not list(tmp_path.iterdir())


def test_another_pooling_of_the_folder_is_said(tmp_path, capsys):
    checkpoint(tmp_path / "cls", "BertModel")
    write_vectors(tmp_path / "cls", Vectors("first", True))
    run_of(tmp_path / "cls", tmp_path / "out", "vectors", judged=False)
    assert "sentence vectors are of the first token, but the classifier reads the mean" in capsys.readouterr().out


# --- the study --------------------------------------------------------------------------------------------------


@pytest.fixture
def few_shot(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("few_shot")
    for name in ("few_shot", "jglue", "measure"):
        sys.modules.pop(name, None)


def test_the_document_says_what_was_found(few_shot, tmp_path):
    kept = (ROOT / "docs" / "few-shot.md").read_text(encoding="utf-8")
    few_shot.write(few_shot.FOLDER, tmp_path / "few-shot.md")
    assert (tmp_path / "few-shot.md").read_text(encoding="utf-8") == kept, "python benchmarks/few_shot.py write"


def test_lines_cross_where_their_means_are_equal(few_shot):
    scores = {"tfidf": {8: 0.3, 16: 0.5, 64: 0.9}, "vectors": {8: 0.4, 16: 0.55, 64: 0.85}, "setfit": {8: 0.9}}
    found = {few_shot.Cell("jrte", method, size, draw): {"f1": f1} for method, line in scores.items()
             for size, f1 in line.items() for draw in few_shot.DRAWS}  # fmt: skip
    assert few_shot.crossings(found, "jrte") == [
        "- the line of TF-IDF passes that of frozen vectors at about 32 texts a class."
    ]
    for draw in (3, 4, 5):  # too few are left
        del found[few_shot.Cell("jrte", "vectors", 64, draw)]
    assert few_shot.crossings(found, "jrte") == [
        "- the line of frozen vectors is above that of TF-IDF from 8 to 16 texts a class."
    ]


def test_titles_are_read_from_the_archive_and_dealt_out(few_shot, tmp_path):
    with tarfile.open(tmp_path / "few.tar.gz", "w:gz") as archive:
        for name in ("LICENSE.txt", *(f"movie-{i}.txt" for i in range(20)), *(f"sports-{i}.txt" for i in range(20))):
            content = f"http://example.com\n2012\n題 {name}\n本文\n".encode()
            member = tarfile.TarInfo(f"text/{name.split('-')[0] if '-' in name else 'movie'}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    data = few_shot.livedoor(str(tmp_path / "few.tar.gz"))
    assert data.labels == ("movie", "sports") and data == few_shot.livedoor(str(tmp_path / "few.tar.gz"))
    assert [len(data.split(split)) for split in ("train", "dev", "test")] == [32, 4, 4]
    assert all(e.text == f"題 {e.id}.txt" and e.id.startswith(e.label) for e in data.examples)
    small, large = (few_shot.drawn(data, size, 2).split("train") for size in (3, 6))
    assert len(small) == 6 and {e.id for e in small} < {e.id for e in large}
    with pytest.raises(ValueError, match=r"has 1\d texts of movie in train, and not 99"):
        few_shot.drawn(data, 99, 1)
