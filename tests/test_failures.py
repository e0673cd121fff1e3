"""The page of failures: what stands on it, that texts are only ever text, and the same as data."""

import ast
import copy
import csv
import html
import json
import pickle
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import ROOT
from test_scripts import only_run
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER

from tezukuri.data.dataset import Example
from tezukuri.eval.baselines import MAJORITY, TFIDF, Baselines, learn
from tezukuri.eval.failures import kinds as kinds_module
from tezukuri.eval.failures import page as page_module
from tezukuri.eval.failures.analysis import Failure, Retrained, Token, analyse, label_suspects, tokens_of, write_data
from tezukuri.eval.failures.kinds import CONFUSED
from tezukuri.eval.failures.page import (
    EXAMPLES,
    METRICS,
    NO_TFIDF,
    ROLLOUT,
    SUSPECTS,
    coloured,
    compare_with,
    epoch_findings,
    findings,
    likeliest,
    page,
    translator,
)
from tezukuri.eval.failures.probes import read_probes
from tezukuri.eval.failures.slices import Rule
from tezukuri.eval.judge import judge
from tezukuri.eval.predict import Scorer, predict
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.scripts.command import main as command
from tezukuri.train import finetune, retraining
from tezukuri.train.run import Run
from tezukuri.weights.load import load
from tezukuri.weights.save import save

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


def once(draw):
    """`draw`, but what it drew before of the same data in the same language is not drawn again."""
    drawn = {}

    def drawn_once(*arguments):
        key = pickle.dumps([a("epoch") if callable(a) else a for a in arguments])
        if key not in drawn:
            drawn[key] = draw(*arguments)
        return drawn[key]

    return drawn_once


CURVES, RELIABILITY = once(page_module.page_curves), once(kinds_module.reliability)


@pytest.fixture(autouse=True)
def pages_of_one_analysis_share_their_pictures(request, monkeypatch):
    """Most of the time of a page goes into them; the pages of runs have their own, each drawn anew."""
    if "analysed" in request.fixturenames:
        monkeypatch.setattr(page_module, "page_curves", CURVES)
        monkeypatch.setattr(kinds_module, "reliability", RELIABILITY)


@pytest.fixture(scope="module")
def analysed():
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), LABELS).eval()
    judgements = []
    for split, texts in (("train", TEXTS * 2), ("dev", TEXTS), ("test", [*HOSTILE, *TEXTS])):
        some = examples(split, texts)
        logits = predict(model, TOKENIZER.encode_batch([e.text for e in some])).numpy()
        judgements.append(judge(Classify(LABELS), split, some, logits, LABELS))
    rule = Rule("<i>mine</i>", "", "", lambda text: "駅" in text.text)
    return analyse(Scorer(model, TOKENIZER, Classify(model.labels)), judgements, judgements[0].examples, LABELS, [rule])


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_error_stands_on_the_page_as_text(analysed, language):
    text = page(analysed, CONFIG, ROWS, language)
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
    translate = translator(language)
    assert translate(ROLLOUT) in text and text.count(translate("attention rollout (no explanation):")) == len(articles)


def test_what_has_no_errors_has_a_page_too(analysed):
    some = examples("test", TEXTS)
    logits = 5 * np.eye(3)[[LABELS.index(e.label) for e in some]]
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), LABELS).eval()
    perfect = analyse(
        Scorer(model, TOKENIZER, Classify(model.labels)),
        [judge(Classify(LABELS), "test", some, logits, LABELS)],
        [],
        LABELS,
    )
    text = page(perfect, CONFIG | {"command": ["finetune", "--data", "my file.csv"]}, [], "en")
    assert "<article" not in text and "None." in text and 'id="curves"' not in text
    assert "<code>finetune --data 'my file.csv'</code>" in html.unescape(text)


def test_two_runs_stand_side_by_side(analysed, tmp_path):
    judgement = analysed.judgements[2]
    both = list(zip(judgement.examples, judgement.predicted, strict=True))
    there = [(e, e.label if i < 4 else said) for i, (e, said) in enumerate(both)]
    lines = [json.dumps({"id": e.id, "label": e.label, "predicted": said}) for e, said in there]
    (tmp_path / "predictions-test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (split,) = compare_with(tmp_path, analysed.judgements)["splits"]
    broken = [e.id for e, said in both[:4] if said != e.label]
    assert [row["id"] for row in split["broken"]] == broken and split["fixed"] == [] and len(broken) > 1
    assert split["p"] == pytest.approx(2 / 2 ** len(broken)) and split["there"] > split["here"]
    text = page(analysed, CONFIG, ROWS, "ja", tmp_path)
    assert "並べて見る" in text and f"({len(broken)})" in text
    (tmp_path / "predictions-test.jsonl").write_text(lines[0] + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is about other texts"):
        compare_with(tmp_path, analysed.judgements)
    with pytest.raises(ValueError, match="has no predictions"):
        compare_with(tmp_path / "nowhere", analysed.judgements)


def test_the_confusion_matrix_leads_to_its_errors(analysed):
    found = Reader(page(analysed, CONFIG, ROWS, "en"))
    cells = [a for tag, a in found.elements if tag == "button" and a.get("class") == "cell"]
    articles = [a for tag, a in found.elements if tag == "article"]
    keys = ("data-split", "data-gold", "data-predicted")
    assert {tuple(c[k] for k in keys) for c in cells} == {tuple(a[k] for k in keys) for a in articles}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_of_many_labels_the_page_has_the_most_confused_and_the_likeliest(analysed, language):
    """Else it would grow with the square of the labels, and each error with all of them."""
    many = tuple(f"品目{i}$" for i in range(300))
    some = [Example(f"{i}", f"文{i}", many[i], "test") for i in range(300)]
    judgement = judge(Classify(many), "test", some, np.roll(4 * np.eye(300), 1, axis=1), many)
    probabilities = {label: 1 / (3 + abs(i - 150)) for i, label in enumerate(many)}
    errors = [replace(f, probabilities=probabilities, gold=many[7], predicted=many[150]) for f in analysed.failures]
    with_many = replace(analysed, judgements=[judgement], failures=errors, data_labels=many, suspects=[])
    text = page(with_many, CONFIG, ROWS, language)
    said = translator(language)(CONFUSED, n=300, some=20)
    assert said in text and said not in page(analysed, CONFIG, ROWS, language)
    cells = [a for tag, a in Reader(text).elements if tag == "button" and a.get("class") == "cell"]
    assert 10 < len(cells) <= 20 and len(text) < 300_000
    assert list(likeliest(errors[0])) == [many[7], *many[145:155]]
    assert likeliest(analysed.failures[0]) == analysed.failures[0].probabilities


def test_each_cut_of_the_tokenizer_is_a_piece_and_all_pieces_are_the_text():
    for text in [*HOSTILE, *TEXTS, "㍿の ﾎﾃﾙ  です", ""]:
        encoding = TOKENIZER.encode(text, max_length=8)
        values = np.arange(len(encoding), dtype=float)
        inside = TOKENIZER.template.inside(len(encoding))
        pieces = tokens_of(text, inside, encoding.offsets, values, -values, 2 * values)
        assert "".join(piece.text for piece in pieces) == text
        numbers = list(range(1, len(encoding) - 1))
        found = [(p.gradients, p.occlusion, p.rollout) for p in pieces if p.gradients]
        assert found == [(n, -n, 2 * n) for n in numbers]


@pytest.mark.parametrize("way", ["longest_first", "head_tail"])
def test_what_was_cut_from_a_text_has_no_colour(way):
    """Also where it was cut from the middle: it is no part of the first token after the gap."""
    text = "駅から近くて便利でした。部屋が狭くて最悪でした。普通のホテルです。また来ます。"
    encoding = TOKENIZER.encode(text, max_length=8, truncation=way)
    inside = TOKENIZER.template.inside(len(encoding))
    pieces = tokens_of(text, inside, encoding.offsets, *np.ones((3, len(encoding))))
    assert "".join(piece.text for piece in pieces) == text
    coloured_text = "".join(piece.text for piece in pieces if piece.gradients)
    read = "".join(text[start:end] for start, end in encoding.offsets[1:-1])
    assert coloured_text == read != text and text.endswith(read[-2:]) == (way == "head_tail")


def test_the_errors_know_their_kinds_neighbours_and_judges(analysed):
    for failure in analysed.failures:
        assert ("<i>mine</i>" in failure.slices) == ("駅" in failure.text)
        assert failure.votes and failure.gold != failure.predicted
        assert max(failure.probabilities, key=failure.probabilities.__getitem__) == failure.predicted
        assert len(failure.neighbours) == 3
        if failure.split == "train":
            assert failure.id not in {near.id for near in failure.neighbours}
            assert failure.neighbours[0].text == failure.text  # each training text is there twice
        special = 1 - sum(token.rollout for token in failure.tokens)
        assert all(token.rollout >= 0 for token in failure.tokens) and 0 < special < 1  # [CLS] and [SEP]
    assert analysed.failures and analysed.sliced == ["dev", "test"]


def test_colours_by_hand():
    tokens = [Token("a", 2.0, 0.0, 0.4), Token("b", -1.0, 0.0, 0.2), Token("c", 0.2, 0.0, 0.04)]
    failure = Failure("dev", "1", "abc", 3, "x", "y", {}, None, "y", tokens, True, [], [])
    assert [t["gradients_class"] for t in coloured(failure)] == ["p4", "m2", ""]
    assert [t["occlusion_class"] for t in coloured(failure)] == ["", "", ""]
    assert [t["rollout_class"] for t in coloured(failure)] == ["p4", "p2", ""]


def test_every_sentence_has_its_translation_and_none_is_left_over():
    known = json.loads((ROOT / "eval" / "failures" / "template" / "ja.json").read_text(encoding="utf-8"))
    folder = ROOT / "eval" / "failures" / "template"
    html = "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.html")))
    said = set(re.findall(r'_\("([^"]+)"\)', html)) | {
        "precision",
        "recall",
        "f1",
        "support",
        "threshold",
        "missed",
        "told",
        "right",
    }
    said |= set(METRICS.values()) | {
        "told in vain",
        "another kind",
        "other borders",
    }
    literals = set()
    for file in (
        "failures/page.py",
        "failures/pictures.py",
        "failures/kinds.py",
        "failures/stretches.py",
        "tasks/span.py",
    ):
        for node in ast.walk(ast.parse((ROOT / "eval" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
    assert said <= set(known), said - set(known)
    assert set(known) <= said | literals, set(known) - said - literals
    for english, japanese in known.items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", japanese)), english
    with pytest.raises(KeyError):
        translator("ja")("not there")
    with pytest.raises(ValueError, match="language 'fr' is not known"):
        translator("fr")


def test_the_data_files_hold_what_the_page_shows(analysed, tmp_path):
    write_data(tmp_path, analysed)
    lines = (tmp_path / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f.id for f in analysed.failures]
    rows = list(csv.DictReader((tmp_path / "slices.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows if row["by"] == "rule"] == [row.name for row in analysed.slices]
    suspects = list(csv.DictReader((tmp_path / "suspects.csv").open(encoding="utf-8")))
    assert [row["id"] for row in suspects] == [s.id for s in analysed.suspects]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_tries_the_model_on_probes(analysed, language):
    rows = analysed.probes
    text = page(analysed, CONFIG, [], language)
    part = html.unescape(text[text.index('<section id="probes"') :])
    assert len(rows) > 40 and part.count("<tr>") == len(rows) + 1 and 'href="#probes"' in text
    for row in rows:
        assert row.template in part and (row.gloss if language == "ja" else row.name) in part
        assert all(a.text in part for case in row.failures[:EXAMPLES] for a in case)
    for words in (
        {"en": "positive goes up, or down by less than 0.05", "ja": "positive が上がる(下がっても 0.05 未満)"},
        {"en": "the same label", "ja": "同じラベル"},
    ):
        assert words[language] in part
    worst = min(rows, key=lambda row: row.passed / row.n)
    said = html.unescape(text[text.index('<section id="findings"') : text.index('<section id="scores"')])
    assert f"“{worst.template}”" in said or f"「{worst.template}」" in said
    assert str(sum(row.passed for row in rows)) in said and str(sum(row.n for row in rows)) in said


def test_probes_are_only_ever_text(analysed, tmp_path):
    (tmp_path / "own.toml").write_text(
        "[[probe]]\nname = '<b>x</b>'\nkind = 'mft'\nlabel = 'normal'\ntemplates = ['<img src=x>', '<script>y']\n"
    )
    probes = read_probes(tmp_path / "own.toml")
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), LABELS).eval()
    tried = analyse(
        Scorer(model, TOKENIZER, Classify(model.labels)), analysed.judgements[1:2], [], LABELS, probes=probes
    )
    assert [row.template for row in tried.probes] == ["<img src=x>", "<script>y"]
    assert any(row.failures for row in tried.probes)
    tags = [tag for tag, _ in Reader(page(tried, CONFIG, [], "en")).elements]
    assert tags.count("script") == 1 and "img" not in tags and "b" not in tags


# ---- findings


def sentences(analysis, rows=(), language="en") -> list[str]:
    return [sentence for _, sentence, _ in findings(analysis, rows, {}, translator(language))]


def judged(said: str, gold: str, split: str = "test"):
    """A judgement by letters: a is LABELS[0], and so on."""
    some = [Example(f"{split}-{i}", f"{i} 番の部屋。", LABELS["abc".index(g)], split) for i, g in enumerate(gold)]
    logits = 5 * np.eye(3)[["abc".index(s) for s in said]]
    return judge(Classify(LABELS), split, some, logits, LABELS)


def with_judgements(analysed, *judgements, baselines: Baselines | None = None):
    beside = {j.split: baselines.beside(j, LABELS) for j in judgements} if baselines else {}
    told = {"judgements": list(judgements), "sliced": [j.split for j in judgements], "failures": [], "agreements": {}}
    told |= {"slices": [], "found": [], "baselines": beside, "majority": baselines and baselines.majority}
    told["intervals"] = {j.split: {"accuracy": (0.0, 1.0), "loss": (0.75, 0.77)} for j in judgements}
    return replace(analysed, **told)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_first_finding_is_a_class_that_is_never_found(analysed, language):
    """On dev `b` is never predicted; on test it is, but never rightly."""
    told = with_judgements(analysed, judged("aacc" * 5, "abcc" * 5, "dev"), judged("abcc" * 5, "bacc" * 5))
    first, second, third, *_ = sentences(told, language=language)
    if language == "en":
        assert first == "On dev the model never predicts 1 of the 3 labels that there are: normal (0/5)."
        assert (
            second
            == "On test the model finds no text of 2 of the 3 labels that there are: normal (0/5), negative (0/5)."
        )
        assert third.startswith("On dev 5 of 20 texts are wrong")
    else:
        assert "normal (0/5)" in first and "一度も予測しない" in first and "一文も当てない" in second
    fine = sentences(with_judgements(analysed, judged("abc" * 5, "abc" * 5)))
    assert fine[0].startswith("On test 0 of 15 texts are wrong")


def test_a_model_that_a_baseline_equals_is_told_of(analysed):
    train = [
        Example(str(i), f"{what}部屋。", LABELS[i % 2], "train") for i, what in enumerate(("広い", "狭い", "広い"))
    ]
    judgement = judged("aaab" * 3, "aaaa" * 3)
    told = with_judgements(analysed, judgement, baselines=learn(train))
    assert told.baselines["test"][MAJORITY].accuracy == 1.0
    found = sentences(told)
    assert found[0].startswith("On test it is not shown that the model is better than to say always negative: accuracy")
    assert "0.750 against 1.000 (McNemar's p 0.250)" in found[0]
    better = with_judgements(analysed, judged("b" * 12, "b" * 12), baselines=learn(train))
    assert not [s for s in sentences(better) if "not shown that the model" in s]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_baselines_stand_beside_the_scores(analysed, language):
    assert set(analysed.baselines) == {"dev", "test"} and analysed.majority == "negative"
    text = page(analysed, CONFIG, ROWS, language)
    part = text[text.index('<section id="scores"') : text.index('<section id="curves"')]
    for split in ("dev", "test"):
        own = analysed.baselines[split]
        for name in (translator(language)(MAJORITY), TFIDF):
            assert f"{split}: {name}</th>" in part
        assert f"{own[TFIDF].accuracy:.3f} <span" in part and f"{own[MAJORITY].f1:.3f}</td>" in part
    assert "train: " not in part
    for why, sentence in NO_TFIDF.items():
        text = page(replace(analysed, left_out=why), CONFIG, ROWS, language)
        assert translator(language)(sentence) in text


def epochs(*rows: tuple[float, float]) -> list[dict]:
    """Rows of a log with this loss and this accuracy on dev."""
    return [ROWS[1] | {"epoch": i, "dev_loss": loss, "dev_accuracy": score} for i, (loss, score) in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("rows", "low", "high", "said", "possibility"),
    [
        ([(0.76, 0.7), (0.7603, 0.7)], 0.7, 0.8, "it hardly changed (+0.0003)", None),
        ([(0.5, 0.7), (0.53, 0.6)], 0.4, 0.6, "rose by 0.030 (95 % interval -0.111 to 0.171", None),
        ([(0.5, 0.7), (0.8, 0.6)], 0.45, 0.55, "(95 % interval 0.229 to 0.371", "may be over-fitting: accuracy fell"),
        ([(0.5, 0.7), (0.8, 0.69)], 0.45, 0.55, "-1.0 points (± 2.8)", "accuracy fell, but by no more than chance"),
        ([(0.5, 0.7), (0.8, 0.7)], 0.45, 0.55, "rose by 0.300", "rather than over-fitting: accuracy did not fall"),
        ([(0.9, 0.7), (0.8, 0.7)], 0.45, 0.55, "lowest after the last epoch.", "More epochs may help."),
        ([(0.8004, 0.7), (0.8, 0.7)], 0.45, 0.55, "but hardly fell in it.", None),
        ([(0.8, 0.7)], 0.45, 0.55, "lowest after the last epoch.", "More epochs may help."),
    ],
)
def test_a_rise_of_the_loss_has_a_size_and_an_interval(analysed, rows, low, high, said, possibility):
    told = replace(analysed, intervals={"dev": {"loss": (low, high), "accuracy": (0.68, 0.72)}})
    for language in ("en", "ja"):
        facts, possibilities = [], []

        def add(found, text, where, language=language, **values):
            found.append(translator(language)(text, **values))

        epoch_findings(epochs(*rows), told, lambda *a, f=facts, **v: add(f, *a, **v),
                       lambda *a, f=possibilities, **v: add(f, *a, **v))  # fmt: skip
        if language == "en":
            assert said in facts[0] and ("may be chance" in facts[-1]) == (low == 0.4)
            assert possibilities == [] if possibility is None else possibility in possibilities[0]


def test_a_judge_stands_beside_the_model_on_the_same_texts(analysed):
    """And not beside its accuracy, which is that on all texts."""
    told = replace(analysed.agreements["test"], human=0.875, model=0.125, human_n=16)
    text = page(replace(analysed, agreements={"test": told}), CONFIG, ROWS, "en")
    part = text[text.index('<section id="judges"') : text.index('<section id="slices"')]
    cells = [f'<td class="n">{value}</td>' for value in ("0.875", "0.125", "16")]
    assert "".join(cells) in part and "the model against the same two" in part


def test_judges_that_hardly_differ_explain_no_errors(analysed):
    for divided, expected in ((0.79, False), (0.3, True)):
        agreement = replace(analysed.agreements["test"], unanimous=0.8, unanimous_n=100, divided=divided, divided_n=100)
        found = sentences(replace(analysed, agreements={"test": agreement}))
        assert any("read in more than one way" in sentence for sentence in found) == expected


# ---- labels to look at


def suspicious(right: int):
    """Sixty texts; the model is sure, and right on so many of them. All judges chose the labels of the last five."""
    some = [
        Example(str(i), f"{i} 番。", LABELS[i % 3], "train", {LABELS[i % 3]: 3} if i > 54 else None) for i in range(60)
    ]
    columns = [(i % 3 + (i >= right)) % 3 for i in range(60)]
    judgement = judge(Classify(LABELS), "train", some, np.eye(3)[columns], LABELS)
    return label_suspects([judgement], some, LABELS, Retrained(0.9 * np.eye(3)[columns] + 1 / 30, 4))


def test_a_label_that_all_judges_chose_is_not_accused():
    named, judge, spared = suspicious(50)
    assert [s.id for s in named] == [str(i) for i in range(50, 55)] and spared == 5
    assert judge.accuracy == pytest.approx(50 / 60) and judge.majority == pytest.approx(1 / 3)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_says_how_good_the_model_is_that_names_labels_and_shows_the_worst(analysed, language, tmp_path):
    named, judge, spared = suspicious(33)  # 27 wrong, 5 of them spared
    assert len(named) == 22 > SUSPECTS
    told = replace(analysed, suspects=named, judge=judge, spared=spared, folds=4)
    text = page(told, CONFIG, ROWS, language)
    part = text[text.index('<section id="suspects"') : text.index('<section id="probes"')]
    assert part.count("<tr><td") == SUSPECTS and "55.0%" in part and "33.3%" in part
    said = {
        "en": ("5 more are not named", "Of 22 the 20 worst"),
        "ja": ("ほかに 5 件", "22 件のうち、最も疑わしい 20 件"),
    }
    assert all(words in part for words in said[language])
    write_data(tmp_path, told)
    assert len(list(csv.DictReader((tmp_path / "suspects.csv").open(encoding="utf-8")))) == 22


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_weak_model_names_no_label_and_the_page_says_so(analysed, language):
    named, judge, spared = suspicious(20)  # as often as the most frequent label
    assert (named, spared) == ([], 0) and judge.weak
    nobody = label_suspects([judged("ab", "ab", "train")], [], LABELS, Retrained(np.eye(3)[[0, 1]], 4))
    assert nobody == ([], None, 0)
    words = {"en": ("too weak for it", "No label was looked at"), "ja": ("弱すぎる", "ラベルは調べていません")}[
        language
    ]
    for judge_, sentence in zip((judge, None), words, strict=True):
        text = page(replace(analysed, suspects=[], judge=judge_, spared=0), CONFIG, ROWS, language)
        part = text[text.index('<section id="suspects"') : text.index('<section id="probes"')]
        assert sentence in part and translator(language)("None.") not in part and "<table" not in part


# ---- the commands


PAGE = {"report.html", "failures.jsonl", "slices.csv", "suspects.csv", "probes.json"}


@pytest.fixture(scope="module")
def run(some_reviews, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("outputs")
    training = ["--model", "scratch", "--lr", "1e-3", "--epochs", "2", "--precision", "fp32", "--language", "ja"]
    assert command(["finetune", "--data", str(some_reviews), *training, "--output-dir", str(root)]) == 0
    return only_run(root)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def predictions_on(text: str, split: str) -> list[tuple[str, str, str]]:
    articles = [a for tag, a in Reader(text).elements if tag == "article" and a["data-split"] == split]
    return [(a["data-id"], a["data-gold"], a["data-predicted"]) for a in articles]


def wrong_in(run: Path, split: str) -> list[tuple[str, str, str]]:
    rows = rows_of(run / f"predictions-{split}.jsonl")
    return [(r["id"], r["label"], r["predicted"]) for r in rows if r["label"] != r["predicted"]]


def test_finetune_ends_with_the_page_and_failures_makes_the_same_again(run, tmp_path, capsys):
    text = (run / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((run / "test-metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['accuracy']:.3f}" in text and "誤りの分析" in text and 'id="curves"' in text
    for split in ("dev", "test"):
        assert predictions_on(text, split) == wrong_in(run, split) != []
    assert predictions_on(text, "train") and not (run / "train-metrics.json").exists()
    before = {name: (run / name).read_bytes() for name in PAGE - {"report.html"}}
    (tmp_path / "own.tsv").write_text("thing\tpos=名詞\n", encoding="utf-8")
    assert command(["failures", str(run), "--language", "ja"]) == 0
    assert f"page    {run / 'report.html'}" in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in before} == before
    assert (run / "report.html").read_text(encoding="utf-8") == text
    assert command(["failures", str(run), "--slices", str(tmp_path / "own.tsv")]) == 0
    assert len(json.loads(before["probes.json"])) > 40
    text = (run / "report.html").read_text(encoding="utf-8")
    assert ">thing<" in text and "誤りの分析" not in text


def test_the_page_needs_no_saved_model_but_to_make_it_again(some_reviews, tmp_path, capsys):
    training = ["--model", "scratch", "--lr", "1e-3", "--epochs", "1", "--save-model", "none", "--output-dir"]
    assert command(["finetune", "--data", str(some_reviews), *training, str(tmp_path)]) == 0
    made = only_run(tmp_path)
    assert {path.name for path in made.iterdir()} >= PAGE
    assert command(["failures", str(made)]) == 1 and "has kept no model" in capsys.readouterr().err
    (made / "checkpoint.pt").touch()  # as of a run that was stopped
    assert command(["failures", str(made)]) == 1
    assert (
        f"{made} was not finished: go on with it first (tezukuri finetune --resume {made})" in capsys.readouterr().err
    )
    assert command(["failures", str(tmp_path)]) == 1 and "is no run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"options": {}, "settings": {}}', encoding="utf-8")
    assert command(["failures", str(tmp_path)]) == 1 and "no run of finetune or evaluate" in capsys.readouterr().err


def test_a_page_that_fails_leaves_the_run_whole(some_reviews, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("the page cannot be made")

    monkeypatch.setattr("tezukuri.train.run.analyse", fail)
    training = ["--model", "scratch", "--lr", "1e-3", "--epochs", "1", "--judge-train", "--output-dir", str(tmp_path)]
    assert command(["finetune", "--data", str(some_reviews), *training]) == 1
    assert "the page cannot be made" in capsys.readouterr().err
    names = {path.name for path in only_run(tmp_path).iterdir()}
    assert {"model", "test-metrics.json", "predictions-test.jsonl", "train-metrics.json"} <= names
    assert "checkpoint.pt" not in names and not PAGE & names
    monkeypatch.undo()
    assert command(["failures", str(only_run(tmp_path))]) == 0
    assert {path.name for path in only_run(tmp_path).iterdir()} >= PAGE


@pytest.fixture(scope="module")
def two_labels(run, tmp_path_factory) -> Path:
    """A classifier that knows negative and positive only: the trained one without a row of its head."""
    model, tokenizer = load(run / "model", "classify")
    model.labels = ("negative", "positive")
    model.classifier.weight.data = model.classifier.weight.data[[0, 2]]
    model.classifier.bias.data = model.classifier.bias.data[[0, 2]]
    save(model, tokenizer, tmp_path_factory.mktemp("two") / "model")
    return tmp_path_factory.getbasetemp() / "two0" / "model"


@pytest.mark.parametrize("how", ["0.1", "1", "none", "int8"])
def test_evaluate_ends_with_the_page_and_failures_makes_the_same_again(
    how, run, two_labels, some_reviews, tmp_path, monkeypatch
):
    """With a band of doubt the page shows the band's predictions, of which the model has no probability."""
    monkeypatch.chdir(some_reviews.parent)
    model = {"int8": run / "model"}.get(how, two_labels)
    arguments = ["--precision", "int8"] if how == "int8" else ["--neutral-band", how, "--precision", "fp32"]
    arguments += ["--model", str(model), "--data", some_reviews.name, "--language", "ja", "--output-dir", str(tmp_path)]
    assert command(["evaluate", *arguments]) == 0
    made = only_run(tmp_path)
    text = (made / "report.html").read_text(encoding="utf-8")
    assert predictions_on(text, "test") == wrong_in(made, "test") != []
    rows = rows_of(made / "failures.jsonl")
    assert {row["split"] for row in rows} == {"test"} and all(len(row["neighbours"]) == 3 for row in rows)
    assert 'id="curves"' not in text and ("モデルは normal を知らない" in text) == (how != "int8")
    in_the_band = [row for row in rows if row["predicted"] not in row["probabilities"]]
    assert bool(in_the_band) == (how == "1")
    assert text.count("迷いの幅で決まった予測です") == len(in_the_band)
    for row in rows:
        assert row["explained"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
    assert ("丸める前の fp32" in text) == (how == "int8") == ('id="confidence"' in text and model != two_labels)
    names = PAGE if how == "int8" else PAGE - {"probes.json"}  # which ask for a label that the other model lacks
    assert PAGE & {path.name for path in made.iterdir()} == names
    before = {name: (made / name).read_bytes() for name in names}
    monkeypatch.chdir(tmp_path)
    assert command(["failures", str(made), "--language", "ja"]) == 0
    assert {name: (made / name).read_bytes() for name in names} == before


def test_the_width_that_dev_decided_is_not_decided_again(two_labels, some_reviews, tmp_path):
    arguments = ["--model", str(two_labels), "--data", str(some_reviews), "--neutral-band", "auto", "--no-report"]
    assert command(["evaluate", *arguments, "--output-dir", str(tmp_path)]) == 0
    made = only_run(tmp_path)
    assert not PAGE & {path.name for path in made.iterdir()}
    told = json.loads((made / "config.json").read_text(encoding="utf-8"))
    assert told["neutral_band"]["width"] < 1
    told["neutral_band"]["width"] = 1.0
    (made / "config.json").write_text(json.dumps(told), encoding="utf-8")
    assert command(["failures", str(made)]) == 0
    assert {row["predicted"] for row in rows_of(made / "failures.jsonl")} == {"normal"}


def test_what_a_model_says_beyond_the_labels_of_the_data_is_counted(analysed):
    some = examples("test", TEXTS)
    judgement = judge(Classify((*LABELS, "mixed")), "test", some, 5 * np.eye(4)[[3, 3, 0, 1]], LABELS)
    said = copy.copy(analysed)
    object.__setattr__(said, "judgements", [judgement])
    found = Reader(page(said, CONFIG, [], "en"))
    cells = [a["data-predicted"] for tag, a in found.elements if tag == "button" and a.get("class") == "cell"]
    assert cells.count("mixed") == 2


def test_of_very_many_errors_the_surest_are_explained_and_the_page_says_so(analysed, monkeypatch):
    monkeypatch.setattr("tezukuri.eval.failures.analysis.MOST", 2)
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), LABELS).eval()
    few = analyse(
        Scorer(model, TOKENIZER, Classify(model.labels)), analysed.judgements, analysed.judgements[0].examples, LABELS
    )
    assert [f.id for f in few.failures] == [f.id for f in analysed.failures]
    for split in ("train", "dev", "test"):
        own = [f for f in few.failures if f.split == split]
        sure = sorted(own, key=lambda f: -max(f.probabilities.values()))[:2]
        explained = [f for f in own if f.explained]
        assert {f.id for f in explained} == {f.id for f in sure} and all(f.tokens for f in explained)
        assert all(f.neighbours and not f.tokens for f in own if not f.explained)
    texts = [page(few, CONFIG, ROWS, language) for language in ("en", "ja")]
    number = sum(f.split == "test" for f in few.failures)
    assert f"Of {number} errors on test the 2 that the model is surest of are coloured" in texts[0]
    assert f"test の誤り {number} 件のうち、色を付けたのはモデルの確信が高い 2 件" in texts[1]
    assert "are shown" not in texts[0] and texts[0].count("attention rollout (no explanation):") == 6
    found = Reader(texts[0])
    assert found.texts == [f.text for f in few.failures]
    articles = [attributes for tag, attributes in found.elements if tag == "article"]
    assert [int(a["data-length"]) for a in articles] == [len(TOKENIZER.tokenize(f.text)) for f in few.failures]
    monkeypatch.setattr("tezukuri.eval.failures.page.ERRORS", 3)
    texts = [page(few, CONFIG, ROWS, language) for language in ("en", "ja")]
    assert f"Of {number} errors on test the 3 that the model is surest of are shown" in texts[0]
    assert f"test の誤り {number} 件のうち、モデルの確信が高い 3 件を表示" in texts[1]
    assert texts[0].count("<article") == 9 and f"Errors ({len(few.failures)})" in texts[0]
    own = sorted((f for f in few.failures if f.split == "test"), key=lambda f: -max(f.probabilities.values()))
    assert {id_ for id_, _, _ in predictions_on(texts[0], "test")} == {f.id for f in own[:3]}


# ---- label suspects by fine-tunings


GOOD = ("広くて快適な", "とても清潔な", "眺めの良い", "静かで明るい")
BAD = ("狭くて不快な", "とても不潔な", "眺めの悪い", "うるさくて暗い")
THINGS = ("部屋", "浴室", "食堂", "玄関", "廊下", "客室", "別館", "大浴場", "庭園", "売店", "茶室", "寝室")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, set[str]]:
    """Reviews that are easy to tell apart, five of them with the other label, and a run on them."""
    folder = tmp_path_factory.mktemp("planted")
    texts = [(f"{what}{thing}でした。", label) for thing in THINGS for pair in zip(GOOD, BAD, strict=True)
             for what, label in zip(pair, ("good", "bad"), strict=True)]  # fmt: skip
    splits = [("train", "train", "dev", "train", "test")[i // 2 % 5] for i in range(len(texts))]
    wrong = {texts[i][0] for i in (3, 10, 21, 34, 47)}
    other = {"good": "bad", "bad": "good"}
    with (folder / "mine.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(text, other[label] if text in wrong else label) for text, label in texts]
        csv.writer(file).writerows([("text", "label", "split"), *((*r, s) for r, s in zip(rows, splits, strict=True))])
    training = [
        "--model",
        "scratch",
        "--lr",
        "1e-3",
        "--epochs",
        "6",
        "--batch-size",
        "4",
        "--precision",
        "fp32",
        "--no-report",
    ]
    training += ["--hidden-dropout", "0", "--attention-dropout", "0", "--regularizer", "none"]
    assert command(["finetune", "--data", str(folder / "mine.csv"), *training, "--output-dir", str(folder)]) == 0
    return only_run(folder), wrong


def test_fine_tunings_find_planted_errors_and_the_page_says_that_they_did(planted, capsys):
    run, wrong = planted
    assert command(["failures", str(run), "--retrain", "4"]) == 0
    assert "fold    4 of 4" in capsys.readouterr().out
    rows = list(csv.DictReader((run / "suspects.csv").open(encoding="utf-8")))
    assert {row["by"] for row in rows} == {"4 fine-tunings"}
    assert {row["text"] for row in rows[:3]} < wrong and len(rows) < 10
    assert len({row["text"] for row in rows} & wrong) >= 4
    assert all(row["suggested"] != row["label"] for row in rows)
    assert "Of 4 fine-tunings with the settings of this run" in (run / "report.html").read_text(encoding="utf-8")
    first = (run / "suspects.csv").read_bytes()
    assert command(["failures", str(run), "--retrain", "4", "--language", "ja"]) == 0
    assert (run / "suspects.csv").read_bytes() == first
    assert "訓練データの一部を除いて 4 回ファインチューニング" in (run / "report.html").read_text(encoding="utf-8")
    assert command(["failures", str(run)]) == 0
    rows = list(csv.DictReader((run / "suspects.csv").open(encoding="utf-8")))
    assert {row["by"] for row in rows} == {"logistic regression"}


def test_no_fine_tuning_sees_the_fold_that_it_judges(planted, monkeypatch):
    run, _ = planted
    trained, seen, judged = Run.load(run, "cpu"), [], []
    trained.settings = settings = replace(trained.settings, regularizers=())
    data = trained.data

    def no_training(part, train, dev, regularizers):
        assert part.settings is settings and regularizers == []
        seen.append((train.sentences, dev.sentences))
        yield {"epoch": 0, "dev_accuracy": 0.5}

    def judging(part, name, split=None, ask=Run.judge):
        judged.append(split.examples)
        return ask(part, name, split)

    monkeypatch.setattr(retraining, "rows_of", no_training)
    monkeypatch.setattr(Run, "judge", judging)
    found = retraining.retrain(trained, 3)
    monkeypatch.undo()
    assert found.folds == 3 and np.allclose(found.probabilities.sum(axis=1), 1)
    by_split = {split: {e.text for e in data.split(split)} for split in ("train", "dev", "test")}
    everything = set().union(*by_split.values())
    for (train, dev), fold in zip(seen, judged, strict=True):
        out = {e.text for e in fold}
        assert set(train) == by_split["train"] - out and set(dev) == by_split["dev"] - out
        for label in data.labels:
            number = sum(e.label == label for e in data.examples)
            assert abs(sum(e.label == label for e in fold) - number / 3) <= 1
    assert sorted(e.text for fold in judged for e in fold) == sorted(everything)
    order = [e.text for split in ("train", "dev", "test") for e in data.split(split)]
    torch.manual_seed(settings.seed)  # by which each fold begins from the same model, this one
    loaded = finetune.make(trained.plan, data, trained.task)
    alone = replace(trained, model=loaded.model)
    rows = {}
    for name, split in alone.splits().items():
        rows |= {e.text: row for e, row in zip(split.examples, alone.judge(name, split).probabilities, strict=True)}
    assert np.allclose(found.probabilities, [rows[text] for text in order], atol=1e-5)


def test_what_cannot_be_retrained_is_told(planted, two_labels, some_reviews, tmp_path, capsys):
    run, _ = planted
    for folds in ("1", "x"):
        with pytest.raises(SystemExit):
            command(["failures", str(run), "--retrain", folds])
        assert f"'{folds}' is no number of folds: write 2 or more" in capsys.readouterr().err
    assert command(["failures", str(run), "--retrain", "97"]) == 1
    assert "96 texts cannot be dealt out to 97 folds" in capsys.readouterr().err
    assert command(["failures", str(run), "--retrain", "2", "--against", str(tmp_path)]) == 1
    assert f"{tmp_path} has no predictions for any of the splits: is it the folder of a run?" in capsys.readouterr().err
    trained = Run.load(run, "cpu")
    first = next(e for e in trained.data.split("train") if e.label == "bad")
    few = [e for e in trained.data.examples if e.split != "train" or e.label == "good" or e is first]
    with pytest.raises(ValueError, match="the label 'bad' has a single training text, so that --retrain would name no"):
        retraining.retrain(replace(trained, data=replace(trained.data, examples=few)), 2)
    arguments = ["--model", str(two_labels), "--data", str(some_reviews), "--no-report", "--output-dir", str(tmp_path)]
    assert command(["evaluate", *arguments]) == 0
    assert command(["failures", str(only_run(tmp_path)), "--retrain", "2"]) == 1
    assert "which trains nothing" in capsys.readouterr().err


# ---- probes of one's own


def test_own_probes_take_the_place_of_those_of_the_package(planted, tmp_path, capsys):
    run, _ = planted  # its labels are good and bad, for which the package has no probes
    assert command(["failures", str(run)]) == 0
    assert not (run / "probes.json").exists()
    assert 'id="probes"' not in (run / "report.html").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(
        "[[probe]]\nname = 'a'\nkind = 'mft'\nlabel = 'good'\ntemplates = ['良い部屋。']\n", encoding="utf-8"
    )
    assert command(["failures", str(run), "--probes", str(own)]) == 0
    assert [row["template"] for row in json.loads((run / "probes.json").read_text(encoding="utf-8"))] == ["良い部屋。"]
    assert 'id="probes"' in (run / "report.html").read_text(encoding="utf-8")
    own.write_text(own.read_text(encoding="utf-8").replace("good", "normal"), encoding="utf-8")
    assert command(["failures", str(run), "--probes", str(own)]) == 1
    assert "asks for the label 'normal', but the classifier has 'bad', 'good'" in capsys.readouterr().err
    assert command(["failures", str(run)]) == 0 and not (run / "probes.json").exists()
    own.write_text("probe", encoding="utf-8")
    assert command(["failures", str(run), "--probes", str(own)]) == 1
    assert f"{own}: no TOML" in capsys.readouterr().err
