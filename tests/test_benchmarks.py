"""The training benchmark's gate, on a tiny model; and the regularizer of the worked example."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from checkout import ROOT
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER

from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.train.batch import Texts, batch_of
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.weights.save import save


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


def test_negated_texts_count_twice_and_the_mean_text_once():
    sentences = ["部屋が広い。", "部屋は広くない。", "駅から近い。", "もったいない。"]
    train = Texts(TOKENIZER.encode_batch(sentences), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], sentences)
    (regularizer,) = regularizers_of([f"{ROOT}/benchmarks/negation_twice.py:NegationTwice"])
    regularizer.begin(Model(Bert(BertConfig(**SIZES)), ("a", "b")), train, train)
    batch = batch_of(train, np.array([1, 3, 0]), torch.device("cpu"))
    changed = regularizer.change_batch(batch).targets
    torch.testing.assert_close(changed, batch.targets * torch.tensor([[1.6], [0.8], [0.8]]))  # 2 : 1, of mean 1.25
