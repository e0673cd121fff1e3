"""What a classifier reads of a text: the first token, or the mean of all tokens."""

import json

import pytest
import torch
import transformers
from test_model_parity import encoder
from tiny_checkpoint import TEXTS, TOKENIZER, checkpoint

import tezukuri
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.weights.load import load_with_report
from tezukuri.weights.save import save

LABELS = ("bad", "good")


def test_the_mean_is_that_of_all_tokens_and_outlives_saving(tmp_path):
    folder = tmp_path / "tiny"
    checkpoint(folder, "BertModel")
    torch.manual_seed(0)
    loaded = load_with_report(folder, "classify", LABELS, pooling="mean")
    assert loaded.model.bert.pooler is None and loaded.report.new == ["classifier.weight", "classifier.bias"]
    save(loaded.model, loaded.tokenizer, tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["classifier_pooling"] == "mean"

    again, tokenizer = tezukuri.load(tmp_path / "saved", "classify")
    encodings = tokenizer.encode_batch(TEXTS)
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "saved").eval()
    with torch.inference_mode():
        logits = again(pack(encodings)).logits
        torch.testing.assert_close(logits, loaded.model(pack(encodings)).logits)
        for encoding, row in zip(encodings, logits, strict=True):
            hidden = theirs(torch.tensor([encoding.ids.tolist()])).last_hidden_state[0]
            torch.testing.assert_close(row, again.classifier(hidden.mean(dim=0)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_another_pooling_makes_a_new_pooler_and_is_told(tmp_path, kind):
    """RoBERTa has its pooler among the tensors of the classifier."""
    torch.manual_seed(0)
    bare = encoder(kind, vocab_size=TOKENIZER.vocab_size)
    bare.pooler = None
    model = Model(bare, LABELS, reads="mean").eval()
    save(model, TOKENIZER, tmp_path / "saved")
    first = load_with_report(tmp_path / "saved", "classify", LABELS, pooling="first")
    assert first.report.new == ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]
    assert first.model.reads == "first" and torch.equal(first.model.classifier.weight, model.classifier.weight)
    assert load_with_report(tmp_path / "saved", "classify", LABELS).report.new == []


@pytest.mark.parametrize("model", ["scratch", "mini"])
def test_a_run_reads_the_mean(tmp_path, model):
    texts, labels = [f"{name}{n}号室。" for n in range(12) for name in ("近い駅", "狭い部屋")], ["good", "bad"] * 12
    run = tezukuri.finetune(
        texts=texts, labels=labels, model=model, pooling="mean", epochs=1, output_dir=str(tmp_path), report=False
    )
    assert run.model.reads == "mean" and run.model.bert.pooler is None
    read = tezukuri.Classifier.load(run.folder)
    assert read.model.reads == "mean"
    assert read("駅から近い。").probability == pytest.approx(run.classifier("駅から近い。").probability, abs=1e-5)


def test_a_word_that_is_no_pooling_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pooling 'cls' is not known; choose one of first, last, mean"):
        tezukuri.Plan(pooling="cls")
    folder = tmp_path / "tiny"
    checkpoint(folder, "BertModel")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"classifier_pooling": "max"}))
    with pytest.raises(ValueError, match=r"classifier_pooling is \"max\""):
        load_with_report(folder, "classify", LABELS)
