"""The strong checkpoint that comes with the package: there, packed, readable by others, and as good as it was."""

import csv
import importlib
import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest
import sentence_transformers
import torch
import transformers
from checkout import ROOT, package_files
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from test_scripts import only_run
from tiny_checkpoint import TEXTS

import tezukuri
from tezukuri.data.check import near_duplicates
from tezukuri.data.load import SAMPLE
from tezukuri.data.load import load as load_data
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.train.settings import rate_for
from tezukuri.weights.compact import FILE, SCALE, read_compact, write_compact
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.find import SHIPPED
from tezukuri.weights.save import save
from tezukuri.weights.sentences import LAYOUT, NORMALIZE, OLDER, Vectors, read_vectors

SMALL = SHIPPED["small"]


@pytest.fixture(scope="module")
def small():
    return tezukuri.load("small")


def test_it_is_whole_and_packaged_and_at_most_36_megabytes():
    files = {path.relative_to(SMALL).as_posix() for path in SMALL.rglob("*") if path.is_file()}
    layout = set(LAYOUT) - {NORMALIZE, *OLDER}  # which needs no file, and older names
    assert files == {"README.md", "LICENSE", "config.json", FILE, "tokenizer.json", "tokenizer_config.json"} | layout
    assert sum((SMALL / file).stat().st_size for file in files) <= 36e6
    packaged = {Path(*path.parts[2:]).as_posix() for path in package_files() if path.parts[:2] == ("weights", "small")}
    assert packaged == files
    tensors = load_file(SMALL / FILE)
    assert {tensor.dtype for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 2} == {
        torch.int8
    }
    assert all(tensor.isfinite().all() for tensor in read_compact(SMALL / FILE).values())


def test_a_byte_a_weight_moves_none_by_more_than_half_a_step(tmp_path):
    torch.manual_seed(0)
    tensors = {"matrix": torch.randn(7, 33) * 10 ** torch.arange(-3.0, 4)[:, None], "vector": torch.randn(5)}
    tensors["matrix"][3] = 0
    write_compact(tensors, tmp_path / FILE)
    again = read_compact(tmp_path / FILE)
    assert again.keys() == tensors.keys() and torch.equal(again["vector"], tensors["vector"])
    steps = tensors["matrix"].abs().amax(dim=1, keepdim=True) / 127
    assert ((again["matrix"] - tensors["matrix"]).abs() <= steps * 0.5001).all()
    assert torch.equal(again["matrix"][3], torch.zeros(33))


def test_what_is_saved_is_plain_and_the_reference_reads_it(small, tmp_path):
    model, tokenizer = small
    vectors = read_vectors(SMALL)
    assert vectors == Vectors("mean", True, {"query": "query: ", "document": "passage: "}, "query", 512)
    save(model, tokenizer, tmp_path / "plain", vectors=vectors)
    assert (tmp_path / "plain" / "model.safetensors").is_file() and not (tmp_path / "plain" / FILE).exists()
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "plain").eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "plain")
    texts = TEXTS + [example.text for example in load_data("sample").split("test")]
    encodings = tokenizer.encode_batch(texts)
    assert [e.ids.tolist() for e in encodings] == their_tokenizer(texts)["input_ids"]
    with torch.inference_mode():
        for encoding in list(encodings)[:6]:
            expected = theirs(input_ids=torch.tensor([encoding.ids.tolist()])).last_hidden_state[0]
            torch.testing.assert_close(model(pack([encoding])).hidden, expected, rtol=1e-4, atol=1e-4)
    of_sentences = sentence_transformers.SentenceTransformer(str(tmp_path / "plain"), device="cpu").encode(texts[:20])
    encoder = tezukuri.Encoder(model, tokenizer, vectors, "cpu", "fp32")
    torch.testing.assert_close(encoder.encode(texts[:20]), of_sentences, rtol=0, atol=1e-5)


def test_the_readme_shows_the_vectors_that_it_makes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(encoder = .*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {"tezukuri": tezukuri}
    exec(block, names)
    shown = re.findall(r"^(\S.*?)  # (.+)$", block, re.MULTILINE)
    assert len(shown) == 2 and all(eval(line, names) == eval(value) for line, value in shown)


def test_japanese_texts_have_hardly_an_unknown_piece(small):
    """誂, 﨑 and 𠮷 are none of XLM-R's."""
    _, tokenizer = small
    texts = [e.text for e in load_data("sample").examples]
    assert sum(tokenizer.unk_id in tokenizer.ids_of(text) for text in texts) <= 2
    assert tokenizer.unk_id not in tokenizer.ids_of("ｺｰﾋｰ㍿①髙い野家😀〜゛々ヿABC xyz 123")


def test_its_vectors_follow_the_likeness_of_sentences(small, data_folder: Path):
    """JSTS valid, all 1,457 pairs: Spearman .78 by `benchmarks/make_small.py jsts`; a third of them here."""
    model, tokenizer = small
    lines = (data_folder / "data/jglue/datasets/jsts-v1.3/valid-v1.3.json").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines[::3]]
    texts = [f"query: {pair[name]}" for pair in pairs for name in ("sentence1", "sentence2")]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # which spares the filling up inside attention
    vectors = torch.zeros(len(texts), model.config.hidden_size)
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            some = order[start : start + 64]
            packed = pack(tokenizer.encode_batch([texts[i] for i in some]))
            vectors[some] = torch.nn.functional.normalize(packed.sums(model(packed).hidden)[: len(some)], dim=1)
    cosines = (vectors[::2] * vectors[1::2]).sum(dim=1)
    assert spearmanr(cosines, [pair["label"] for pair in pairs]).statistic > 0.76


def test_it_has_read_no_sentence_of_the_sample_or_of_jrte(data_folder: Path, tmp_path, monkeypatch):
    """Nor one that is as near to a sample review of dev or test as `check_data` calls alike."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    make_small = importlib.import_module("make_small")
    make_small.write_reviews(data_folder / "data/text/quasi-reviews.txt.gz", tmp_path / "reviews.jsonl")
    read = load_data(tmp_path / "reviews.jsonl").examples
    assert len(read) == 13_482 and {sum(e.votes.values()) for e in read} == {3, 6}
    assert sum(e.split == "dev" for e in read) == 674
    sample = load_data("sample").examples
    jrte = load_data("jrte", path=data_folder / "data/jrte/pn.tsv").examples
    plain = {normalize("NFKC", e.text) for e in (*sample, *jrte)}
    assert not [e.text for e in read if normalize("NFKC", e.text) in plain]
    judged = [replace(e, split="judged") for e in sample if e.split != "train"]
    assert near_duplicates([*judged, *(replace(e, split="read") for e in read)]) == []


@pytest.mark.slow
def test_it_learns_the_sample_reviews_by_default(tmp_path, capsys):
    """Two of the demo's three epochs: right on what `finetune` ends with, on plain sentences, and in the README."""
    arguments = ["--no-report", "--output-dir", str(tmp_path), "--epochs", "2", "--regularizer", "judge-votes"]
    assert command(["finetune", *arguments]) == 0
    printed = capsys.readouterr().out
    run = only_run(tmp_path)
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert told["options"]["model"] == "small" and told["data"]["name"] == "sample"
    assert told["settings"]["lr"] == rate_for(384) == 1.2e-4
    three = re.findall(r"^  (\w+) +0\.\d+  .+$", printed, re.MULTILINE)
    assert three == ["positive", "negative", "normal"], printed
    assert json.loads((run / "test-metrics.json").read_text())["accuracy"] > 0.82
    before, *_ = csv.DictReader((run / "log.csv").read_text(encoding="utf-8").splitlines())
    assert float(before["dev_accuracy"]) < 0.6, "a new classifier knows nothing"
    classifier = tezukuri.Classifier.load(run)
    probes = tomllib.loads((SAMPLE.parent / "plain.toml").read_text(encoding="utf-8"))["probe"]
    asked = [(text, probe["label"]) for probe in probes for text in probe["templates"]]
    assert len(asked) == 20
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    asked += re.findall(r'classifier\("([^"]+)"\)\.label  # "(\w+)"', readme)
    assert len(asked) > 20
    found = classifier([text for text, _ in asked])
    wrong = [(t, label, p.label) for (t, label), p in zip(asked, found, strict=True) if p.label != label]
    assert len(wrong) <= 1, wrong


def test_a_broken_file_is_one_sentence(tmp_path):
    copy = shutil.copytree(SMALL, tmp_path / "small")
    (copy / FILE).write_bytes((copy / FILE).read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"model\.int8\.safetensors cannot be read"):
        tezukuri.load(copy)


def test_whole_numbers_without_their_scales_are_no_weights(tmp_path):
    copy = shutil.copytree(SMALL, tmp_path / "small")
    name = "embeddings.word_embeddings.weight"
    packed = load_file(copy / FILE)
    del packed[name + SCALE]
    save_file(packed, copy / FILE)
    with pytest.raises(CheckpointError, match=rf"model\.int8\.safetensors .*its tensor {name} has no scale a row"):
        tezukuri.load(copy)


def test_its_card_names_its_origin():
    card = (ROOT / "weights" / "small" / "README.md").read_text(encoding="utf-8")
    assert "arXiv:2402.05672" in card and "license: mit" in card
