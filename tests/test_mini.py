"""The checkpoint that comes with the package: there, small, readable by others, and of use."""

import csv
import json
import re

import numpy as np
import pytest
import torch
import transformers
from checkout import ROOT, package_files
from safetensors.torch import load_file
from test_scripts import only_run
from tiny_checkpoint import TEXTS, checkpoint

import tezukuri
from tezukuri.data.load import load as load_data
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.train.settings import rate_for
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.find import SHIPPED, find

MINI = SHIPPED["mini"]
CARD = (ROOT / "weights" / "mini" / "README.md").read_text(encoding="utf-8")


def test_it_is_small_and_whole_and_packaged():
    files = {path.name for path in MINI.iterdir()}
    assert files >= {"README.md", "config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt", "log.csv"}
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 16e6
    tensors = load_file(MINI / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert {path.name for path in package_files() if path.parts[:2] == ("weights", "mini")} == files


def test_the_name_finds_it_from_anywhere_and_hides_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "mini", "BertModel")
    encoder, tokenizer = tezukuri.load("mini")
    assert encoder.config.hidden_size == 256 and tokenizer.vocab_size == 8192 and encoder.pooler is not None
    other, _ = tezukuri.load("./mini")
    assert other.config.hidden_size == 32
    with pytest.raises(CheckpointError, match="mini is on this disk: it has no revision 'v1'"):
        find("mini", "v1")


def test_the_reference_reads_it_and_agrees():
    model, tokenizer = tezukuri.load("mini", "fill-mask")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(MINI, dtype=torch.float32).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(MINI)
    texts = TEXTS + [example.text for example in load_data("sample").split("test")]
    assert [e.ids.tolist() for e in tokenizer.encode_batch(texts)] == their_tokenizer(texts)["input_ids"]
    with torch.inference_mode():
        for text in texts[:10]:
            encoding = tokenizer.encode(text)
            expected = theirs(input_ids=torch.tensor([encoding.ids])).logits[0]
            torch.testing.assert_close(model(pack([encoding])).logits, expected, rtol=1e-4, atol=1e-3)


def test_the_words_that_the_card_shows_are_those_that_it_guesses():
    model, tokenizer = tezukuri.load("mini", "fill-mask")
    rows = re.findall(r"^\| ([^|]*\[MASK\][^|]*) \| ([^|]+) \|", CARD, re.MULTILINE)
    assert len(rows) >= 6
    for text, told in rows:
        encoding = tokenizer.encode(text, special_tokens=True)
        with torch.inference_mode():
            logits = model(pack([encoding]), at=torch.tensor([encoding.ids.index(tokenizer.mask_id)])).logits[0]
        found = logits.softmax(0).topk(4)
        probability = dict(zip((tokenizer.vocabulary[i] for i in found.indices), found.values.tolist(), strict=True))
        for word, percent in re.findall(r"(\S+) (\d+) %", told):
            assert 100 * probability[word] == pytest.approx(int(percent), abs=1.01), (text, word)


@pytest.mark.slow
def test_it_learns_the_sample_reviews(tmp_path, capsys):
    """Better on dev than the largest class (53 %) and than the same encoder without what it has learned; and right on
    the three sentences that `finetune` ends with."""
    printed, found, losses = {}, {}, {}
    for name, more in (("pretrained", []), ("random", ["--random-weights", "--save-model", "none"])):
        arguments = ["finetune", "--no-report", "--precision", "fp32", *more, "--model", "mini", "--epochs", "1"]
        arguments += ["--regularizer", "judge-votes", "--seed", "1", "--output-dir", str(tmp_path / name)]
        assert command(arguments) == 0
        printed[name] = capsys.readouterr().out
        run = only_run(tmp_path / name)
        found[name] = json.loads((run / "val-metrics.json").read_text())["accuracy"]
        losses[name] = min(float(row["dev_loss"]) for row in csv.DictReader((run / "log.csv").open()))
        told = json.loads((run / "config.json").read_text(encoding="utf-8"))
        assert told["options"]["model"] == "mini" and told["data"]["name"] == "sample"
        assert told["settings"]["lr"] == pytest.approx(rate_for(256))
        assert any("--random-weights" in note for note in told["load_report"]["notes"]) == (name == "random")
        assert "three new sentences:" in printed[name] and str(run / "curves.png") in printed[name]
        assert ("finetune --data jrte" in printed[name]) == (name == "pretrained")
    told = re.findall(r"^  (\w+) +0\.\d+  (.+)$", printed["pretrained"], re.MULTILINE)
    assert [label for label, _ in told] == ["positive", "negative", "normal"], told
    assert found["pretrained"] > 0.66 and found["pretrained"] > found["random"] + 0.1, found
    assert losses["pretrained"] < losses["random"] - 0.2, losses  # of which one sentence changes less


def test_narrower_models_get_larger_rates():
    assert rate_for(768) == 3e-5
    assert np.all(np.diff([rate_for(width) for width in (128, 256, 512, 768, 1024)]) < 0)
