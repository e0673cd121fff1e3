"""The benchmarks on tiny models: the gate of a training step, all for a GPU without one, a method of the example."""

import importlib
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkout import ROOT
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval.study.made import NUMBERS, Made
from tezukuri.eval.tasks.metrics import scores
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.train.batch import Texts, batch_of
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.weights.save import save
from tezukuri.weights.sentences import Vectors


@pytest.fixture
def train_step(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("train_step")
    yield module
    for name in ("train_step", "measure"):
        del sys.modules[name]


def test_both_sides_of_the_training_benchmark_take_the_same_steps(train_step, tmp_path, monkeypatch):
    save(Model(Bert(BertConfig(**SIZES)), ("a", "b")), TOKENIZER, tmp_path)
    texts = [TEXTS[i % len(TEXTS)] for i in range(train_step.GATE_STEPS * train_step.BATCH)]
    (tmp_path / "texts.json").write_text(json.dumps([texts, [i % 2 for i in range(len(texts))]]))
    ours = train_step.Ours(tmp_path, "fp32", gate=True, steps=2)
    theirs = train_step.Theirs(tmp_path, "fp32", gate=True, steps=2, kind="tuned", kernel="sdpa")
    losses = np.array(ours.losses())
    np.testing.assert_allclose(losses, theirs.losses(), atol=1e-4)
    assert len(set(losses)) == train_step.GATE_STEPS  # they move


def test_both_sides_of_the_benchmark_of_vectors_make_the_same(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    vectors = importlib.import_module("vectors")
    model = Bert(BertConfig(**SIZES))
    save(model, TOKENIZER, tmp_path / "model", vectors=Vectors(prompts={"query": "駅"}, prompt="query"))
    (tmp_path / "model" / "texts.json").write_text(json.dumps(TEXTS))
    ours = vectors.Ours(tmp_path / "model", "fp32")
    np.testing.assert_allclose(ours.vectors(), vectors.Theirs(tmp_path / "model", "fp32", 2).vectors(), atol=1e-5)
    sides = [
        type("Side", (), {"ask": lambda self, _, rows=rows: rows}) for rows in ([[1, 0], [3, 4]], [[2, 0], [4, 3]])
    ]
    assert vectors.lowest_cosine(*(side() for side in sides)) == pytest.approx(24 / 25) and ours.run() > 0
    for name in ("vectors", "measure"):
        del sys.modules[name]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The benchmark for a GPU, on the CPU, with small models and ids of 640 short texts in its folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("gpu")
    small = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    real = module.model_of
    monkeypatch.setattr(module, "CUDA", torch.device("cpu"))
    monkeypatch.setattr(module, "TINY", small)
    monkeypatch.setattr(module, "model_of", lambda seed=0, **changes: real(seed, **(changes | small)))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 20, 640)
    made = {"ids": rng.integers(5, 30_000, lengths.sum()).astype(np.uint16), "classes": rng.integers(0, 3, 640)}
    made["boundaries"] = np.append(0, lengths.cumsum())
    np.savez(tmp_path / "jrte.npz", **{f"{split}_{k}": x for split in ("train", "test") for k, x in made.items()})
    yield module
    for name in ("gpu", "measure"):
        del sys.modules[name]


def test_what_is_checked_on_a_gpu_holds_on_the_cpu(gpu, tmp_path, caplog):
    rows = {name: job for name, job in gpu.correct(tmp_path, False) if not re.search("varlen|fp16|compiled", name)}
    found = {name: job() for name, job in rows.items()}
    assert len(found) >= 15 and found["20 steps: fp32"]["losses"] < 1e-5
    assert found["sdpa, fp32"]["logits"] < 1e-5 < found["sdpa, bf16"]["logits"]
    assert "going on without" in caplog.text  # graphs, which are CUDA's


def test_a_difference_on_the_gpu_is_found(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "far", lambda found, expected: 0.5)
    rows = dict(gpu.correct(tmp_path, False))
    with pytest.raises(AssertionError):
        rows["sdpa, fp32"]()
    rows["20 steps: fp32"]()  # the reference
    real = gpu.losses_of
    monkeypatch.setattr(gpu, "losses_of", lambda *a, **k: real(*a, **k) + 0.1)
    with pytest.raises(AssertionError):
        rows["20 steps: bf16"]()


def test_both_sides_of_level_2_and_of_bulk_agree(gpu, tmp_path):
    level2 = {name: job for name, job in gpu.level2(tmp_path, True) if "gate" in name and "varlen" not in name}
    assert [name for name in level2 if "fp32" in name or "graphs" in name] == ["gate: fp32", "gate: graphs"]
    for name, job in level2.items():
        found = job()
        assert name == "gate: the opponent" or found["from their fp32"] <= 2 * found["their bf16"] + 1e-3
    bulk = dict(gpu.bulk(tmp_path, True))
    assert bulk["base: gate"]()["fp32 logits"] < 1e-5
    assert bulk["base: tezukuri, bf16, auto, by 64"]()["texts a second"] > 0
    assert bulk["base: transformers, bf16, sorted, by 256"]()["texts a second"] > 0


def test_without_a_gpu_it_says_so(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "correct", "--ids", str(tmp_path)])
    with pytest.raises(SystemExit, match="torch sees no GPU here"):
        gpu.main()


def test_negated_texts_count_twice_and_the_mean_text_once():
    sentences = ["部屋が広い。", "部屋は広くない。", "駅から近い。", "もったいない。"]
    train = Texts(TOKENIZER.encode_batch(sentences), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], sentences)
    (regularizer,) = regularizers_of([f"{ROOT}/benchmarks/negation_twice.py:NegationTwice"])
    regularizer.begin(Model(Bert(BertConfig(**SIZES)), ("a", "b")), train, train)
    batch = batch_of(train, np.array([1, 3, 0]), torch.device("cpu"))
    changed = regularizer.change_batch(batch).targets
    torch.testing.assert_close(changed, batch.targets * torch.tensor([[1.6], [0.8], [0.8]]))  # 2 : 1, of mean 1.25


@pytest.fixture
def jglue(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("jglue")
    for name in ("jglue", "measure"):
        del sys.modules[name]


def test_the_document_of_jglue_says_what_was_found(jglue, tmp_path, monkeypatch):
    kept, document = (ROOT / "docs" / "jglue.md").read_text(encoding="utf-8"), tmp_path / "jglue.md"
    monkeypatch.setattr(jglue, "DOCUMENT", document)
    jglue.document(jglue.FOLDER)
    assert document.read_text(encoding="utf-8") == kept, "python benchmarks/jglue.py document"
    for readme in ("README.md", "README.ja.md"):
        rows = [line for line in (ROOT / readme).read_text(encoding="utf-8").splitlines() if "JCommonsenseQA" in line]
        runs = [json.loads(path.read_text()) for path in (jglue.FOLDER / "jcommonsenseqa").glob("[0-9].json")]
        assert jglue.shown(np.mean([run["scores"]["dev"]["accuracy"] for run in runs])) in rows[-1]


def test_questions_to_a_context_are_not_divided(jglue, monkeypatch):
    examples = [Example(f"{c}-{q}", f"{q}", (), "dev", pair=f"context {c}") for c in range(20) for q in range(3)]
    data = Dataset("jsquad", (), [*examples, Example("t", "?", (), "test", pair="context")], task="span")
    monkeypatch.setattr(jglue, "load", lambda name, path: data)
    found = jglue.read("jsquad", None)
    train, dev = ({example.pair for example in found.split(split)} for split in ("train", "dev"))
    assert len(train) == 18 and len(dev) == 2 and not train & dev and len(found.split("test")) == 1


@pytest.fixture
def livedoor(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("livedoor")
    yield module
    for name in ("livedoor", "measure"):
        del sys.modules[name]


def kept(livedoor, folder, cell, right):
    """A file of a run of which so many of the answers are right."""
    labels = ("a", "b", "c")
    random, gold = np.random.default_rng(cell.seed), np.random.default_rng(0).choice(labels, 90).tolist()
    predicted = [g if random.random() < right else labels[labels.index(g) - 1] for g in gold]
    values = dict.fromkeys(NUMBERS) | scores(gold, predicted, labels) | {"seconds": 60.0, "parameters": 5e6}
    values |= {"lr": cell.rate, "best-val-f1": right, "process_memory": 2**30, "max_length": 128, "seed": cell.seed}
    tuned = {"epochs": 4} if cell.rate else {}
    made = Made(cell.kind, values, "livedoor", "", "somewhere", tuned, labels, tuple(gold), tuple(predicted))
    found = livedoor.packed(made) | {"machine": {"cpu": "a CPU", "threads": 2, "date": "2026-01-01"}}
    found |= {"truncated_share": {"test": 0.9}, "precision": "fp32"} if cell.rate else {}
    found["texts"] = livedoor.TEXTS
    (folder / cell.kind).mkdir(exist_ok=True)
    (folder / f"{cell.name}.json").write_text(json.dumps(found))
    return replace(made, place=cell.name)


def test_the_document_of_livedoor_is_what_aggregate_finds_in_its_runs(livedoor, tmp_path):
    assert "small, 512 tokens: 0.00012 with seed 1 (`run small-512`)" in livedoor.document(tmp_path)
    for cell in livedoor.cells():
        made = kept(livedoor, tmp_path, cell, {"small-512": 0.99, "small": 0.9}.get(cell.kind, 0.7) - cell.rate)
        again = livedoor.unpacked(cell.kind, cell.name, livedoor.read(tmp_path)[cell])
        assert (again.gold, again.predicted, again.values) == (made.gold, made.predicted, made.values)
        assert "somewhere" not in (tmp_path / f"{cell.name}.json").read_text(), "no path is kept"
    text = livedoor.document(tmp_path)
    assert "## livedoor: 30 runs, 90 test texts" in text and text.endswith("Every run was made.\n")
    assert "| small | 5.0 M | 5e-05 | 3 |" in text, "the rate that dev chooses"
    assert text.count("| small | ") == 5, "the table, three rates, what it took"
    long, short = ([livedoor.read(tmp_path)[livedoor.Cell(kind, 1.2e-4, seed)]["values"]["f1"] for seed in seeds]
                   for kind, seeds in (("small-512", (1,)), ("small", (1, 2, 3))))  # fmt: skip
    gap = f"{100 * (np.mean(long) - np.mean(short)):+.2f} of macro-F1 (1 run against 3), and takes 1.0 times the time"
    assert "- With 512 tokens, at the rate 0.00012, `small` has +" in text and gap in text
    assert "was reached" in text and "longer than 512." in text and "several kinds of machine" not in text
    assert "Of those with several seeds a model beats the first" in text  # small-512, the best, has one
    on_gpu = json.loads((tmp_path / "small" / "5e-05-2.json").read_text())
    on_gpu["machine"]["gpu"] = "a GPU"
    (tmp_path / "small" / "5e-05-2.json").write_text(json.dumps(on_gpu))
    text = livedoor.document(tmp_path)
    assert "the times are of several kinds of machine" in text and text.count("| a GPU, 2 threads, 2026-01-01 |") == 1
    (tmp_path / "small" / "5e-05-2.json").write_text(json.dumps(on_gpu | {"texts": {"train": 30}}))
    with pytest.raises(ValueError, match=r"5e-05-2\.json is of other texts than the corpus"):
        livedoor.document(tmp_path)
    (tmp_path / "small" / "5e-05-2.json").unlink()
    assert "small: 5e-05 with seed 2 (`run small`)" in livedoor.document(tmp_path)


def test_tfidf_reads_of_an_article_what_its_tokens_hold(livedoor):
    tokenizer = tezukuri.load("small")[1]
    long, short = (Example("1", "駅の話", "a", "train", pair="駅から近い。" * n) for n in (200, 2))
    assert livedoor.beginning(short, tokenizer) == short.content
    read = livedoor.beginning(long, tokenizer)
    assert long.content.startswith(read) and 100 < len(read) < 400


def test_runs_of_livedoor_with_other_options_are_apart_from_its_own(livedoor, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["livedoor.py", "run", "--option", "epochs=1", "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        livedoor.main()
    assert "give another --output and --working" in capsys.readouterr().err
