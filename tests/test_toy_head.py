"""Another head is one class: here two linear layers that read the mean of all tokens, or the last one."""

import json

import numpy as np
import pytest
import torch
from tiny import LABELS, TASK, random_texts, tiny
from torch import nn

from tezukuri.eval.predict import predict
from tezukuri.model.bert import Bert
from tezukuri.model.heads import ClassHead, Head
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_ready_classifier, load_with_report
from tezukuri.weights.save import save

TOKENIZER = JapaneseTokenizer(vocabulary_of(["犬と猫"], least=1))


class TwoLayers(Head):
    """Classes, through a layer that is as wide as the encoder."""

    problem_type = ClassHead.problem_type
    loss, apart = ClassHead.loss, ClassHead.apart

    def __init__(self, hidden_size, columns):
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, columns)

    def forward(self, vectors):
        return self.output(self.dense(vectors).tanh())  # (B, H) -> (B, C)


class OfMean(TwoLayers):
    reads = "mean"


class OfLast(TwoLayers):
    reads = "last"


KINDS = pytest.mark.parametrize("head", [TwoLayers, OfMean, OfLast])


def model_of(head) -> Model:
    return Model(Bert(tiny(initializer_range=0.1)), LABELS, head)


def corpus(n, seed) -> Texts:
    """The class is the last token's number, modulo 3."""
    encodings = random_texts(tiny(), np.random.default_rng(seed).integers(3, 15, n), seed)
    return Texts(encodings, np.eye(3, dtype=np.float32)[[text.ids[-1] % 3 for text in encodings]])


@KINDS
def test_it_reads_the_vector_that_it_asks_for(head):
    model, texts = model_of(head).eval(), random_texts(tiny())
    states = [model.bert(pack([text])) for text in texts]
    vectors = {
        "first": lambda found: found.pooled[0],
        "mean": lambda found: found.hidden.mean(dim=0),
        "last": lambda found: found.hidden[-1],
    }
    expected = torch.stack([model.classifier(vectors[head.reads](found)) for found in states])
    for packed in (pack(texts), pack(texts, multiple=16, share_rows=True)):
        torch.testing.assert_close(model(packed).logits, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(packed, output_hidden_states=True).logits, expected, rtol=1e-4, atol=1e-5)


@KINDS
def test_it_learns_with_regularizers_and_is_loaded_with_equal_logits(tmp_path, head):
    model, train, dev = model_of(head), corpus(80, 0), corpus(20, 1)
    settings = Settings(epochs=4, batch_size=8, lr=3e-3, precision="fp32", select="last")
    rows = list(fine_tune(model, TASK, train, dev, settings, regularizers=regularizers_of(["r-drop", "fgm"])))
    assert rows[-1]["train_loss"] < rows[1]["train_loss"]
    save(model, TOKENIZER, tmp_path / "model")
    logits = predict(model, dev.encodings)
    for labels in (None, LABELS):
        loaded = load_with_report(tmp_path / "model", "classify", labels, head=head)
        assert loaded.model.labels == LABELS and loaded.report.new == []
        assert torch.equal(predict(loaded.model, dev.encodings), logits)
    assert load_ready_classifier(tmp_path / "model", head=head).report.notes == []


def test_a_head_of_another_kind_is_not_taken_for_it(tmp_path):
    save(model_of(OfMean), TOKENIZER, tmp_path / "model")
    with pytest.raises(CheckpointError, match="no classifier for sentences"):
        load_with_report(tmp_path / "model", "classify")
    for labels in (("c", "b", "a"), ("x", "y")):  # whose columns are whose, nobody knows
        with pytest.raises(CheckpointError, match=r"classifier of a, b, c; for .* it needs a new head"):
            load_with_report(tmp_path / "model", "classify", labels, head=OfMean)
    anew = load_with_report(tmp_path / "model", "classify", ("x", "y"), head=OfMean, reset_head=True)
    assert anew.model.classifier.output.weight.shape == (2, 32) and len(anew.report.new) == 4
    assert json.loads((tmp_path / "model" / "config.json").read_text())["id2label"]["2"] == "c"
    save(model_of(ClassHead), TOKENIZER, tmp_path / "plain")
    with pytest.raises(CheckpointError, match=r"lacks the tensor classifier\.dense\.weight"):
        load_with_report(tmp_path / "plain", "classify", head=TwoLayers)
