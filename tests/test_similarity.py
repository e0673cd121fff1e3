"""Sentence vectors are learned as sentence-transformers would, and a table of pairs goes through every command."""

import csv
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer import losses
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins
from torch.nn import functional as F

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.lists import dataset_of
from tezukuri.data.pairs import pairs_of_classes
from tezukuri.eval.tasks.similarity import Similarity
from tezukuri.eval.tasks.table import task_for
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.model.vectors import LOSSES, vector_head
from tezukuri.scripts.command import main as command
from tezukuri.train.loop import Progress, out_of_patience
from tezukuri.train.settings import RECIPES
from tezukuri.train.track import tracker
from tezukuri.weights.architectures import ARCHITECTURES

# A loss, the reference's, and scores that it takes; ranking also with a text that is unlike.
GRADED, BINARY = (0.1, 0.5, 0.5, 0.9, 1.0), (0.0, 1.0, 1.0, 0.0, 1.0)
ORACLES = {
    "cosine": (losses.CosineSimilarityLoss, GRADED, 2),
    "cosent": (losses.CoSENTLoss, GRADED, 2),
    "angle": (losses.AnglELoss, GRADED, 2),
    "contrastive": (losses.ContrastiveLoss, BINARY, 2),
    "ranking": (losses.MultipleNegativesRankingLoss, (1.0,) * 5, 2),
    "ranking with unlike texts": (losses.MultipleNegativesRankingLoss, (1.0,) * 5, 3),
}


def targets_of(scores, numbers=None, texts=2) -> torch.Tensor:
    """All texts are different ones, unless numbers say otherwise."""
    n = len(scores)
    numbers = torch.arange(texts * n).view(n, texts) if numbers is None else numbers
    return torch.cat([torch.tensor(scores)[:, None], numbers.float()], dim=1)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("width", [6, 7])
def test_losses_and_gradients_equal_those_of_sentence_transformers(name, width):
    oracle, scores, texts = ORACLES[name]
    torch.manual_seed(2)
    ours = [torch.randn(len(scores), width, requires_grad=True) for _ in range(texts)]
    theirs = [one.detach().clone().requires_grad_() for one in ours]
    head = vector_head(name.split()[0])(width, texts)
    loss = head.loss(torch.cat(ours, dim=1), targets_of(scores, texts=texts)).mean()
    expected = oracle(None).compute_loss_from_embeddings(theirs, torch.tensor(scores))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_the_angular_loss_is_the_tutorials():
    u, v, y = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]), 0.5
    found = vector_head("angular")(2, 2).loss(torch.cat([u, v])[None], targets_of([y]))
    assert found.item() == pytest.approx((1 - math.acos(1 / math.sqrt(2)) / math.pi - y) ** 2, abs=1e-6)
    alike = torch.cat([u, u])[None].requires_grad_()  # where the gradient of arccos is infinite
    vector_head("angular")(2, 2).loss(alike, targets_of([0.5])).sum().backward()
    assert alike.grad.isfinite().all()


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_vectors_and_gradients_of_every_encoder_equal_the_oracles(kind, pooling):
    bare, oracle = twins(encoder(kind, pooler=False))
    ours = Model(bare, ("text", "pair"), LOSSES["cosent"], pooling).eval()
    encodings = texts_for(ours.config)[:4]
    rows = padded(encodings, ours.config.pad_token_id)
    targets = targets_of([0.3, 0.8])
    logits = ours(pack(encodings)).logits  # (2, 2H)
    hidden, mask = oracle(**rows).last_hidden_state, rows["attention_mask"]
    lengths = mask.sum(dim=1)
    pooled = {
        "mean": (hidden * mask[..., None]).sum(dim=1) / lengths[:, None],
        "first": hidden[:, 0],
        "last": hidden[range(4), lengths - 1],
    }[pooling]
    torch.testing.assert_close(logits.view(4, -1), pooled, rtol=1e-5, atol=1e-5)
    ours.classifier.loss(logits, targets).mean().backward()
    losses.CoSENTLoss(None).compute_loss_from_embeddings([pooled[::2], pooled[1::2]], targets[:, 0]).backward()
    compare_gradients(bare, oracle, atol=1e-5)


def test_an_equal_text_elsewhere_in_the_batch_is_no_rival():
    head, rows = vector_head("ranking")(4, 2), torch.randn(3, 8)
    apart = head.loss(rows, targets_of([1.0] * 3))
    same_pair = head.loss(rows, targets_of([1.0] * 3, torch.tensor([[0, 9], [1, 9], [2, 8]])))
    u, v = F.normalize(rows.view(3, 2, 4), dim=-1).unbind(1)
    cosines = u @ v.T / 0.05
    assert same_pair[0] == pytest.approx(-(cosines[0, [0, 2]].log_softmax(0)[0]).item(), rel=1e-4)
    assert same_pair[2] == pytest.approx(apart[2].item(), rel=1e-5) and same_pair[1] < apart[1]
    doubled = head.loss(rows.repeat(2, 1), targets_of([1.0] * 3).repeat(2, 1))  # as R-Drop repeats a batch
    more = doubled - apart.repeat(2)  # rivals count twice, a text's own pair once
    assert more.min() > 0 and more.max() < math.log(2) + 1e-6


def test_a_pair_in_both_directions_is_no_rival_of_itself():
    alike = F.normalize(torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0, 1]]), dim=-1)
    rows = torch.stack([alike[[0, 1]], alike[[1, 0]]]).flatten(1)  # (a, b) and (b, a)
    both = vector_head("ranking")(3, 2).loss(rows, targets_of([1.0] * 2, torch.tensor([[0, 1], [1, 0]])))
    torch.testing.assert_close(both, torch.zeros(2))
    triples = torch.stack([alike[[0, 1, 2]], alike[[0, 2, 1]]]).flatten(1)  # the unlike text of one is the other's pair
    numbers = torch.tensor([[0, 1, 2], [3, 2, 1]])
    found = vector_head("ranking")(3, 3).loss(triples, targets_of([1.0] * 2, numbers))
    torch.testing.assert_close(found[0], torch.log1p(2 * torch.tensor(-0.8 / 0.05).exp()), rtol=1e-3, atol=1e-6)


def test_a_loss_has_its_own_number_and_no_other():
    assert vector_head("ranking", temperature=0.1).temperature == 0.1 and LOSSES["ranking"].temperature == 0.05
    for loss, told, message in [
        ("margin", {}, "not known; choose one of cosine"),
        ("cosine", {"scale": 3.0}, "the loss cosine has no scale"),
        ("ranking", {"scale": 3.0}, "has no scale: it has temperature"),
        ("ranking", {"temperature": 0.0}, "must be a number above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            vector_head(loss, **told)


# --- the task ---------------------------------------------------------------------------------------------------


def data_of(rows, labels=(), task="classify") -> Dataset:
    """(text, label, pair, choices) each."""
    examples = [Example(f"t:{i}", text, label, "train", pair=pair, choices=unlike) for i, (text, label, pair, unlike)
                in enumerate(rows)]  # fmt: skip
    return Dataset("t", labels, examples, task=task, named=False)


def test_what_the_data_have_decides_the_loss_and_the_score():
    scored = task_for("similarity", data_of([("a", 1.0, "b", None), ("a", 5.0, "c", None)], task="score"))
    assert (scored.loss, scored.best, scored.range, scored.parts) == ("cosent", "spearman", (1.0, 5.0), 2)
    pairs = task_for("similarity", data_of([("a", None, "b", None), ("c", None, "d", None)]))
    assert (pairs.loss, pairs.best) == ("ranking", "mrr")
    triples = task_for("similarity", data_of([("a", None, "b", ("x",)), ("c", None, "d", ("y",))]))
    assert (triples.loss, triples.parts) == ("ranking", 3)
    assert [task.least_batch for task in (scored, pairs, triples)] == [2, 2, 1]
    alone = task_for("similarity", data_of([("a", None, None, None), ("c", None, None, None)]))
    assert alone.select == "last" and alone.prepared(data_of([("a", None, None, None)])).examples[0].pair == "a"
    told = [("a", 1.0, "a", None), ("b", 3.0, "b", None), ("b", 3.0, "c", None)]
    for loss, said in (("cosent", "the order of the scores alone"), ("cosine", "scores of 1 count as unlike, of 3 as"),
                       ("ranking", "every pair is learned as alike, whatever its score")):  # fmt: skip
        notes = task_for(f"similarity:loss={loss}", data_of(told, task="score")).notes(data_of(told))
        assert notes[0].startswith(said) and notes[1].startswith("the same text stands twice in 2 pairs")
    one = Dataset("t", (), [Example("1", "a", 2.0, "dev", pair="b"), Example("2", "c", 2.0, "dev", pair="d")])
    *_, constant, few = scored.notes(one)
    assert constant.endswith("and 0 here; where it chooses the epoch, the lowest loss does")
    assert few == "dev has only 2 pairs: correlations with so few say little"
    assert set(alone.measure(np.eye(3, 8), np.array([[np.nan, i, i] for i in range(3)]))) == {"loss", "uniformity"}
    classes = task_for(
        "similarity", data_of([(text, name, None, None) for text, name in zip("abcd", "xxyy", strict=True)], ("x", "y"))
    )
    assert (classes.loss, classes.best, classes.draws) == ("cosine", "spearman", 1)
    assert classes.select == "last" and "dev has no two texts of one class" in classes.notes(data_of([]))[-1]
    nameless = classes.prepared(data_of([(text, None, None, None) for text in "abc"]))  # of no class, and not of one
    assert [(e.text, e.label, e.pair) for e in nameless.examples] == [(text, None, text) for text in "abc"]
    some = classes.prepared(data_of([("a", "x", None, None), ("b", "y", None, None), ("c", None, None, None)]))
    assert "c" not in {text for e in some.examples for text in (e.text, e.pair)}
    assert some.notes[-1] == "1 text without a class is left out"
    with pytest.raises(ValueError, match="has the names of classes, and the model has learned scores of pairs"):
        scored.prepared(data_of([("a", "x", None, None)]))
    with pytest.raises(ValueError, match="has pairs with classes, and the model has learned classes of single texts"):
        classes.prepared(data_of([("a", "x", "b", None)]))
    with pytest.raises(ValueError, match=r"and beside pairs \(--pair-column\) for similarity"):
        task_for("similarity", dataset_of([f"駅{i}" for i in range(40)], [i + 0.5 for i in range(40)]))


@pytest.mark.parametrize(
    ("told", "rows", "message"),
    [
        ("similarity:loss=cosine", [("a", None, "b", None)], "has no scores, by which cosine learns"),
        ("similarity:low=0", [("a", None, "b", None)], "has no scores, which low would be of"),
        ("similarity:pairs=3", [("a", 1.0, "b", None), ("a", 2.0, "b", None)], "has no classes to draw pairs from"),
        ("similarity:pairs=0", [("a", "x", None, None), ("b", "y", None, None)], "pairs is 0; it must be at least 1"),
        ("similarity", [("a", None, "b", None), ("a", 1.0, "b", None)], "has labels of two kinds, None and 1.0"),
        ("similarity", [("a", "x", "b", None)], "has pairs with the names of classes"),
        ("similarity", [("a", None, "b", None), ("a", None, "c", None)], "all pairs of t have the same text: there is"),
        ("similarity", [("a", None, "b", None), ("c", None, "b", None)], "have the same second text: there is none"),
        ("similarity", [("a", 1.0, None, None), ("b", 2.0, None, None)], "has scores of single texts"),
        ("similarity:low=0,low=1", [("a", 1.0, "b", None)], "is told low twice"),
        ("similarity:high=0,low=3", [("a", 1.0, "b", None), ("a", 2.0, "b", None)], "the scale goes from 3 to 0"),
        (
            "similarity:high=inf",
            [("a", 1.0, "b", None), ("a", 2.0, "b", None)],
            "from 1 to inf: give two finite scores",
        ),
        ("similarity", [("a", 1.0, "b", None)], "all scores of t to learn from are 1: give others too"),
        ("similarity:high=9", [("a", 1.0, "b", None)], "all scores of t to learn from are 1: give others too"),
        ("similarity:low=0,high=1", [("a", 60.0, "b", None), ("a", 1.0, "b", None), ("a", 9.0, "b", None)], "2 of 3 "),
        ("similarity:loss=ranking", [("a", "x", None, None), ("b", "y", None, None)], "half of those of classes are"),
        ("similarity", [("a", "x", None, None), ("b", "x", None, None)], "train split of t are 'x': nothing can be"),
        ("similarity:width=3", [("a", 1.0, "b", None)], "no option 'width': it has loss, low"),
        ("similarity:low=x", [("a", 1.0, "b", None)], "low of the task similarity is 'x', and no float"),
        ("classify:loss=angular", [("a", "x", None, None)], "no option 'loss': it has none"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence(told, rows, message):
    with pytest.raises(ValueError, match=message):
        task_for(told, data_of(rows))


def test_numbers_are_no_classes_unless_they_are_named():
    data = data_of([("a", "0", None, None), ("b", "1.5", None, None)], ("0", "1.5"))
    task = task_for("similarity", data)
    assert "are numbers, such as 0, of single texts: name the column of second texts" in task.unmeant(data)
    assert not task.unmeant(replace(data, named=True))
    mixed = data_of([("a", "x", None, None), ("b", "y", None, None)])
    mixed.examples.append(Example("t:9", "c", None, "test"))
    assert {e.split for e in task_for("similarity", mixed).prepared(mixed).examples} == {"train"}


def test_pairs_of_classes_are_of_one_class_or_of_two_and_stay_in_their_split():
    texts = [
        Example(f"e{i}", f"text {i}", "abb"[i % 3] if i < 30 else "c", "train" if i % 2 else "dev") for i in range(31)
    ]
    found = pairs_of_classes(texts, 3, seed=0)
    by_text = {example.text: example for example in texts}
    alike = [pair for pair in found if pair.label == 1.0]
    assert {by_text[p.text].label == by_text[p.pair].label for p in alike} == {True}
    assert {by_text[p.text].label == by_text[p.pair].label for p in found if p.label == 0.0} == {False}
    assert all(p.text != p.pair and by_text[p.text].split == by_text[p.pair].split == p.split for p in found)
    assert (len(alike), len(found)) == (90, 183)  # the only text of class c has no pair of its own
    assert found == pairs_of_classes(texts, 3, seed=0) != pairs_of_classes(texts, 3, seed=1)


def test_a_rare_class_is_found_among_many_texts():
    texts = [Example(str(n), f"text {n}", "rare" if n == 7 else "usual", "train") for n in range(20_000)]
    found = pairs_of_classes(texts, 1, seed=0)  # by trial it would take 400 million draws
    assert {pair.pair for pair in found if pair.label == 0 and pair.text != "text 7"} == {"text 7"}


def test_scores_are_measured_on_their_own_scale():
    task = Similarity(loss="angular")
    task.range = (1.0, 5.0)
    u = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [1, 0, -1, 0]], dtype=np.float32)  # angular similarity 1, .5, 0
    examples = [Example(str(i), "a", score, "dev", pair="b") for i, score in enumerate([5.0, 4.0, 1.0])]
    found = task.measure(u, task.targets(examples))
    assert found["mae"] == pytest.approx((0 + 1 + 0) / 3, abs=0.02) and found["spearman"] == pytest.approx(1)
    assert found["mape"] == pytest.approx(100 * (1 / 4) / 3, abs=0.7) and found["loss"] == pytest.approx(
        0.0625 / 3, abs=1e-3
    )
    assert task.answers(u) == pytest.approx([5, 3, 1], abs=0.02)


def test_a_pair_is_found_among_all_of_its_split():
    task = Similarity(loss="ranking")
    task.best = "mrr"
    rows = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 2, 1, 3, 3]].reshape(4, 8)  # the second and third are exchanged
    examples = [Example(str(i), f"a{i}", None, "dev", pair=f"b{i}") for i in range(4)]
    found = task.measure(rows, task.targets(examples))
    assert found["accuracy"] == 0.5 and 0.5 < found["mrr"] < 0.8
    assert found["uniformity"] == pytest.approx(math.log(math.exp(-4)))
    # A pair without a rival is not found, nor missed.
    same = [replace(examples[0], text="a1"), *examples[1:2]]
    assert task.measure(rows[:2], task.targets(same))["accuracy"] == 0
    some = [examples[0], replace(examples[1], text="a0"), replace(examples[2], pair="b0")]  # the first has no rival
    found = task.measure(rows[:3], task.targets(some))
    assert (found["accuracy"], found["mrr"]) == (0, 0.5)


# --- the command ------------------------------------------------------------------------------------------------

TITLES = ("看護師", "医師", "料理人", "配達員")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("titles") / "titles.csv"
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [("base", "ref", "similarity")]
        for number in range(60):
            one, other = random.choice(TITLES, 2)
            rows.append((f"{one}{number % 7}", f"{other}{number % 5}", 1.0 if one == other else 0.25))
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    columns = ["--text-column", "base", "--pair-column", "ref", "--label-column", "similarity"]
    told = [*columns, "--model", "scratch", "--recipe", "siamese-tutorial", "--track", "tensorboard"]
    told += ["--lr", "3e-3", "--epochs", "4", "--precision", "fp32", "--output-dir", str(folder)]
    assert command(["finetune", "--data", str(table), *told]) == 0
    (one,) = folder.glob("*/*/*")
    return tezukuri.Run.load(one, "cpu")


def test_the_command_learns_pairs_and_keeps_what_answers_need(run):
    assert [e.id for e in run.data.split("dev")] == [f"titles.csv:{line}" for line in range(50, 62)]
    assert run.log[-1]["train_loss"] < run.log[1]["train_loss"] and run.log[-1]["dev_mape"] > 0
    kept = json.loads((run.folder / "model" / "config.json").read_text(encoding="utf-8"))
    assert kept["architectures"] == ["BertModel"] and kept["tezukuri"]["task"]["loss"] == "angular"
    again = tezukuri.Classifier.load(run.folder / "model", device="cpu", precision="fp32")
    told = [prediction.label for prediction in again([("看護師1", "看護師2"), ("看護師1", "配達員2")])]
    assert told == pytest.approx([p.label for p in run.classifier([("看護師1", "看護師2"), ("看護師1", "配達員2")])])
    assert 0 <= told[1] < told[0] <= 1


def test_the_log_is_written_for_tensorboard_once_also_where_a_run_goes_on(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.copytree(run.folder / "tensorboard", tmp_path / "tensorboard")
    write = tracker(tmp_path)
    for row in run.log:
        write(row)
    for folder in (run.folder, tmp_path):
        for side, name in (("train", "train_loss"), ("validation", "dev_spearman")):
            events = EventAccumulator(str(folder / "tensorboard" / side)).Reload()
            found = [(event.step, event.value) for event in events.Scalars(f"epoch_{name.partition('_')[2]}")]
            assert found == [(row["epoch"], pytest.approx(row[name])) for row in run.log if row[name] is not None]


def test_evaluate_and_predict_follow_the_task(run, table, tmp_path, capsys):
    model = ["--model", str(run.folder / "model"), "--device", "cpu"]
    columns = ["--text-column", "base", "--pair-column", "ref"]
    told = ["evaluate", *model, "--data", str(table), *columns, "--label-column", "similarity", "--no-report"]
    assert command([*told, "--output-dir", str(tmp_path)]) == 0
    assert "spearman" in capsys.readouterr().out
    assert command(["predict", *model, "--file", str(table), *columns]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 60


def test_classes_cannot_be_judged_by_what_learned_scores(run):
    with pytest.raises(ValueError, match="has the names of classes, and the model has learned scores of pairs"):
        tezukuri.evaluate((["a", "b"], ["x", "y"]), model=str(run.folder / "model"))


def test_early_stopping_by_the_loss_of_training():
    settings = RECIPES["siamese-tutorial"]
    fall = [{"train_loss": loss} for loss in (9, 0.5, 0.4, 0.3995, 0.3993, 0.3991)]  # epoch 0 first
    fine, over = Progress(epoch=4, rows=fall[:-1]), Progress(epoch=5, rows=fall)
    assert not out_of_patience(fine, settings, None) and out_of_patience(over, settings, None)


def test_unlike_texts_and_single_texts_are_learned(table, tmp_path, capsys):
    file = tmp_path / "triples.jsonl"
    rows = [{"text": f"看護師{i}", "pair": f"看護{i}", "no": f"料理人{i}"} for i in range(30)]
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    shared = ["finetune", "--data", str(file), "--task", "similarity", "--label-column", "none", "--model", "scratch"]
    shared += ["--epochs", "1", "--output-dir", str(tmp_path / "runs"), "--save-model", "none", "--no-report"]
    assert command([*shared, "--pair-column", "pair", "--choice-columns", "no"]) == 0
    assert "mrr" in capsys.readouterr().out
    assert command([*shared, "--select", "last"]) == 0
    assert "30 texts without a second one are pairs with themselves" in capsys.readouterr().out


TWO = """
import sys, torch
from tezukuri.model import ranks
from tezukuri.model.vectors import vector_head
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
torch.manual_seed(0)
weights = torch.randn(5, 12, requires_grad=True)
texts = torch.randn(6, 5)[ranks.rank() :: 2]
numbers = torch.arange(18.0).view(6, 3)[ranks.rank() :: 2]
loss = vector_head("ranking")(4, 3).loss(texts @ weights, torch.cat([torch.ones(3, 1), numbers], dim=1)).sum()
loss.backward()
ranks.sum_over_ranks([loss.detach(), weights.grad])
torch.save([loss.detach(), weights.grad], f"{sys.argv[1]}-{sys.argv[2]}")
torch.distributed.barrier()  # one that ends early would break the other off
torch.distributed.destroy_process_group()
"""


def test_two_processes_rank_among_the_texts_of_both(tmp_path):
    started = [subprocess.Popen([sys.executable, "-c", TWO, str(tmp_path / "both"), str(rank)]) for rank in (0, 1)]
    assert [one.wait(300) for one in started] == [0, 0]
    torch.manual_seed(0)
    weights = torch.randn(5, 12, requires_grad=True)
    order = [0, 2, 4, 1, 3, 5]
    texts, numbers = torch.randn(6, 5)[order], torch.arange(18.0).view(6, 3)[order]
    loss = vector_head("ranking")(4, 3).loss(texts @ weights, torch.cat([torch.ones(6, 1), numbers], dim=1)).sum()
    loss.backward()
    for rank in (0, 1):
        found, gradient = torch.load(tmp_path / f"both-{rank}", weights_only=True)
        torch.testing.assert_close(gradient, weights.grad)
        torch.testing.assert_close(found, loss.detach())


SHORT = {"model": "scratch", "epochs": 1, "task": "similarity", "precision": "fp32", "device": "cpu", "report": False}


def test_data_in_memory_are_learned_and_read_again_as_they_were_given(tmp_path):
    texts = [f"{TITLES[i % 4]}{i}" for i in range(40)]
    for name, data in {
        "classes": {"texts": texts, "labels": [TITLES[i % 4] for i in range(40)], "task": "similarity:pairs=2"},
        "scores": {"texts": list(zip(texts, texts[::-1], strict=True)), "labels": [i / 40 for i in range(40)]},
    }.items():
        run = tezukuri.finetune(**SHORT | data, output_dir=tmp_path / name)
        again = tezukuri.Run.load(run.folder, "cpu")
        assert (again.task.loss, again.task.range) == (run.task.loss, run.task.range)
        assert [e.content for e in again.data.examples] == [e.content for e in run.data.examples]
        assert again.judge("dev").metrics == pytest.approx(run.judgements["dev"].metrics, abs=1e-5)
    model = {"model": run.folder / "model", "device": "cpu", "report": False, "output_dir": tmp_path / "judged"}
    assert tezukuri.evaluate((data["texts"], data["labels"]), **model).scores["examples"] == 40


def test_vectors_have_length_1_unless_it_is_said(tmp_path):
    pairs = [(f"{TITLES[i % 4]}{i}", f"{TITLES[i % 3]}{i}") for i in range(40)]
    told = SHORT | {"texts": pairs, "labels": [i / 40 for i in range(40)], "output_dir": tmp_path}
    for normalise in (None, False):
        run = tezukuri.finetune(**told, normalise=normalise)
        (length,) = np.linalg.norm(tezukuri.Encoder.load(run.folder / "model").encode(["医師"]), axis=1)
        assert (abs(length - 1) < 1e-3) == (normalise is None)
    with pytest.raises(ValueError, match="normalise is for sentence vectors, which the task similarity learns"):
        tezukuri.finetune(**told | {"labels": ["a", "b"] * 20, "task": "classify"}, normalise=False)


def test_what_is_judged_decides_what_is_measured(run, tmp_path, capsys):
    """A model of scored pairs on pairs without scores, and one of triples on scored pairs."""
    columns = {"text_column": "base", "pair_column": "ref"}
    judged = {"device": "cpu", "report": False, "output_dir": tmp_path}
    found = tezukuri.evaluate(run.plan.data, model=run.folder / "model", label_column="none", **columns, **judged)
    assert {"mrr", "accuracy", "uniformity"} < set(found.scores) and "spearman" not in found.scores
    triples = tmp_path / "triples.jsonl"
    rows = [{"text": f"看護師{i}", "pair": f"看護{i}", "no": f"料理人{i}"} for i in range(30)]
    triples.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    shape = {"pair_column": "pair", "choice_columns": ["no"], "label_column": "none"}
    learned = tezukuri.finetune(triples, **SHORT, **shape, output_dir=tmp_path / "runs")
    assert tezukuri.Run.load(learned.folder, "cpu").judge("dev").metrics == pytest.approx(
        learned.judgements["dev"].metrics, abs=1e-5
    )
    columns["label_column"] = "similarity"
    assert "spearman" in tezukuri.evaluate(run.plan.data, model=learned.folder / "model", **columns, **judged).scores
    with pytest.raises(ValueError, match="has texts that are unlike it, and the model compares two"):
        tezukuri.evaluate(triples, model=learned.folder / "model", **shape, **judged)
    with pytest.raises(ValueError, match="reset_head is for a head that is learned"):
        tezukuri.finetune(triples, **SHORT | {"model": "mini", "reset_head": True}, **shape, output_dir=tmp_path)
