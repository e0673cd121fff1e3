"""The page of failures: what stands on it, that texts are only ever text, and the same as data."""

import ast
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from checkout import ROOT
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER

from tezukuri.data.dataset import Example
from tezukuri.eval.failures import Failure, Token, analyse, tokens_of, write_data
from tezukuri.eval.judge import judge
from tezukuri.eval.page import METRICS, beside, coloured, page, sayings
from tezukuri.eval.predict import predict
from tezukuri.eval.slices import Rule
from tezukuri.model.config import BertConfig
from tezukuri.model.heads import BertClassifier
from tezukuri.scripts.command import main as command

LABELS = ("negative", "normal", "positive")
HOSTILE = [
    "<script>alert('駅')</script>",
    "</p></article><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &amp; 駅から近くて",
]
CONFIG = {
    "options": {"model": "<b>model</b>"},
    "settings": {"epochs": 2, "batch_size": 8, "lr": 1e-3, "seed": 1, "regularizers": ["r-drop"]},
    "data": {"name": "sample", "texts": {"train": 8, "dev": 4, "test": 9}},
    "command": ["finetune", "--model", "<b>model</b>"],
}
ROWS = [
    {"epoch": e, "lr": 0.1, "train_loss": None if e == 0 else 0.5, "dev_loss": loss, "dev_accuracy": 0.5 + e / 10,
     "dev_f1": 0.4, "dev_ece": 0.1 * e, "grad_norm": None if e == 0 else 1.0, "seconds": 1.0}
    for e, loss in enumerate((1.0, 0.5, 0.8))
]  # fmt: skip


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, and the text in the paragraphs of the errors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "p" and dict(attributes).get("class") == "text":
            self.inside = True
            self.texts.append("")

    def handle_endtag(self, tag):
        if tag == "p":
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


def examples(split: str, texts) -> list[Example]:
    return [
        Example(f"{split}-{i}", text, LABELS[i % 3], split, {LABELS[i % 3]: 2, LABELS[(i + 1) % 3]: 1})
        for i, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def analysed():
    torch.manual_seed(4)
    model = BertClassifier(BertConfig(**(SIZES | {"labels": LABELS}))).eval()
    judgements = []
    for split, texts in (("train", TEXTS * 2), ("dev", TEXTS), ("test", [*HOSTILE, *TEXTS])):
        some = examples(split, texts)
        logits = predict(model, TOKENIZER.encode_batch([e.text for e in some])).numpy()
        judgements.append(judge(split, some, logits, LABELS, LABELS))
    rule = Rule("<i>mine</i>", "", "", lambda text: "駅" in text.text)
    return analyse(model, TOKENIZER, judgements, judgements[0].examples, LABELS, [rule])


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_error_stands_on_the_page_as_text(analysed, language):
    text = page(analysed, LABELS, CONFIG, ROWS, language)
    found = Reader(text)
    wrong = [
        (e.id, e.text)
        for j in analysed.judgements
        for e, said in zip(j.examples, j.predicted, strict=True)
        if said != e.label
    ]
    assert len(wrong) > 10 and {text for _, text in wrong} & set(HOSTILE)
    articles = [attributes for tag, attributes in found.elements if tag == "article"]
    assert [a["data-id"] for a in articles] == [id_ for id_, _ in wrong]
    assert found.texts == [text for _, text in wrong]
    assert [tag for tag, _ in found.elements].count("script") == 1 and "img" not in {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert found.elements[0] == ("html", {"lang": language})


def test_what_has_no_errors_has_a_page_too(analysed):
    model_labels = ("a",) * 0 or LABELS
    some = examples("test", TEXTS)
    logits = 5 * np.eye(3)[[LABELS.index(e.label) for e in some]]
    torch.manual_seed(4)
    model = BertClassifier(BertConfig(**(SIZES | {"labels": LABELS}))).eval()
    perfect = analyse(model, TOKENIZER, [judge("test", some, logits, model_labels, LABELS)], [], LABELS)
    text = page(perfect, LABELS, CONFIG, [], "en")
    assert "<article" not in text and "None." in text and 'id="curves"' not in text


def test_two_runs_stand_side_by_side(analysed, tmp_path):
    judgement = analysed.judgements[2]
    both = list(zip(judgement.examples, judgement.predicted, strict=True))
    there = [(e, e.label if i < 4 else said) for i, (e, said) in enumerate(both)]
    lines = [json.dumps({"id": e.id, "label": e.label, "predicted": said}) for e, said in there]
    (tmp_path / "predictions-test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (split,) = beside(analysed.judgements, tmp_path)["splits"]
    broken = [e.id for e, said in both[:4] if said != e.label]
    assert [row["id"] for row in split["broken"]] == broken and split["fixed"] == [] and len(broken) > 1
    assert split["p"] == pytest.approx(2 / 2 ** len(broken)) and split["there"] > split["here"]
    text = page(analysed, LABELS, CONFIG, ROWS, "ja", tmp_path)
    assert "並べて見る" in text and f"({len(broken)})" in text
    (tmp_path / "predictions-test.jsonl").write_text(lines[0] + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is about other texts"):
        beside(analysed.judgements, tmp_path)
    with pytest.raises(ValueError, match="has no predictions"):
        beside(analysed.judgements, tmp_path / "nowhere")


def test_the_confusion_matrix_leads_to_its_errors(analysed):
    found = Reader(page(analysed, LABELS, CONFIG, ROWS, "en"))
    cells = [a for tag, a in found.elements if tag == "button" and a.get("class") == "cell"]
    articles = [a for tag, a in found.elements if tag == "article"]
    keys = ("data-split", "data-gold", "data-predicted")
    assert {tuple(c[k] for k in keys) for c in cells} == {tuple(a[k] for k in keys) for a in articles}


def test_each_cut_of_the_tokenizer_is_a_piece_and_all_pieces_are_the_text():
    for text in [*HOSTILE, *TEXTS, "㍿の ﾎﾃﾙ  です", ""]:
        encoding = TOKENIZER.encode(text, max_length=8)
        values = np.arange(len(encoding), dtype=float)
        pieces = tokens_of(TOKENIZER, text, 8, values, -values)
        assert "".join(piece.text for piece in pieces) == text
        assert [p.gradients for p in pieces[: len(encoding) - 2]] == list(range(1, len(encoding) - 1))


def test_the_errors_know_their_kinds_neighbours_and_judges(analysed):
    by_id = {failure.id: failure for failure in analysed.failures}
    for failure in analysed.failures:
        assert ("<i>mine</i>" in failure.slices) == ("駅" in failure.text)
        assert failure.votes and failure.gold != failure.predicted
        assert max(failure.probabilities, key=failure.probabilities.__getitem__) == failure.predicted
        assert len(failure.neighbours) == 3
        if failure.split == "train":
            assert failure.id not in {near.id for near in failure.neighbours}
            assert failure.neighbours[0].text == failure.text  # each training text is there twice
    assert set(by_id) == {f.id for f in analysed.failures} and analysed.sliced == ["dev", "test"]


def test_colours_by_hand():
    tokens = [Token("a", 2.0, 0.0), Token("b", -1.0, 0.0), Token("c", 0.2, 0.0)]
    failure = Failure("dev", "1", "abc", "x", "y", {}, None, tokens, True, [], [])
    assert [t["gradients_class"] for t in coloured(failure)] == ["p4", "m2", ""]
    assert [t["occlusion_class"] for t in coloured(failure)] == ["", "", ""]


def test_every_sentence_has_its_translation_and_none_is_left_over():
    known = json.loads((ROOT / "eval" / "template" / "ja.json").read_text(encoding="utf-8"))
    html = (ROOT / "eval" / "template" / "page.html").read_text(encoding="utf-8")
    said = set(re.findall(r'_\("([^"]+)"\)', html)) | {"precision", "recall", "f1", "support"} | set(METRICS)
    literals = set()
    for file in ("page.py", "plots.py"):
        for node in ast.walk(ast.parse((ROOT / "eval" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
    assert said <= set(known), said - set(known)
    assert set(known) <= said | literals, set(known) - said - literals
    for english, japanese in known.items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", japanese)), english
    with pytest.raises(KeyError):
        sayings("ja")("not there")
    with pytest.raises(ValueError, match="language 'fr' is not known"):
        sayings("fr")


def test_the_data_files_hold_what_the_page_shows(analysed, tmp_path):
    write_data(tmp_path, analysed)
    lines = (tmp_path / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f.id for f in analysed.failures]
    rows = list(csv.DictReader((tmp_path / "slices.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows if row["by"] == "rule"] == [row.name for row in analysed.slices]
    suspects = list(csv.DictReader((tmp_path / "suspects.csv").open(encoding="utf-8")))
    assert [row["id"] for row in suspects] == [s.id for s in analysed.suspects]


def test_the_command_writes_the_page_of_a_run(tmp_path, capsys):
    training = ["--model", "scratch", "--data", "sample", "--lr", "1e-3", "--epochs", "1"]
    assert command(["finetune", *training, "--output-dir", str(tmp_path)]) == 0
    (run,) = tmp_path.glob("*/*/*")
    (tmp_path / "own.tsv").write_text("station\tlemma=駅\n", encoding="utf-8")
    assert command(["failures", str(run), "--slices", str(tmp_path / "own.tsv"), "--language", "ja"]) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((run / "test-metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['accuracy']:.3f}" in text and "誤りの分析" in text and "station" in text
    articles = [a for tag, a in Reader(text).elements if tag == "article"]
    lines = (run / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = [json.loads(line) for line in lines]
    wrong = [p["id"] for p in predictions if p["label"] != p["predicted"]]
    assert [a["data-id"] for a in articles if a["data-split"] == "test"] == wrong
    assert len(text.encode()) < 5_000_000
    capsys.readouterr()
    (run / "model" / "config.json").unlink()
    assert command(["failures", str(run)]) == 1 and "has kept no model" in capsys.readouterr().err
    assert command(["failures", str(tmp_path)]) == 1 and "is no run" in capsys.readouterr().err
