"""The page of mistakes of tasks without classes: choices, scores, sets of labels; and what only pairs have."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_failures import CONFIG, HOSTILE, ROWS, Reader
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER
from torch import nn

from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval.failures.analysis import Analysis, analyse, write_data
from tezukuri.eval.failures.attribution import one_logit_a_sequence
from tezukuri.eval.failures.page import compare_with, findings, page, translator, write_page
from tezukuri.eval.failures.slices import (
    PAIR_RULES,
    Rule,
    gold_rules,
    overlap_rules,
    read,
    read_pairs,
    residual_table,
    tag,
)
from tezukuri.eval.failures.table import PAGES, kind_of, page_of
from tezukuri.eval.judge import judge
from tezukuri.eval.predict import Scorer
from tezukuri.eval.tasks.choose import Choose
from tezukuri.eval.tasks.multilabel import Multilabel
from tezukuri.eval.tasks.score import Score
from tezukuri.eval.tasks.similarity import Similarity
from tezukuri.eval.tasks.task import Task
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.model.packing import pack

FEELINGS = ("喜び", "<b>怒り</b>", "joy")
SEVERAL = [*HOSTILE, *TEXTS, "a\nb😀", ""]


def examples(task: Task, split: str) -> list[Example]:
    found = []
    for i, text in enumerate(SEVERAL):
        other, id_ = SEVERAL[(i + 3) % len(SEVERAL)], f"{split}-{i}"
        if task.name == "choose":
            found.append(Example(id_, text, i % 3, split, choices=(f"{i} 番", "<i>x</i>", other or "空")))
        elif task.name in ("score", "similarity"):
            found.append(Example(id_, text, float(i % 5), split, pair=other))
        else:
            names = tuple(name for k, name in enumerate(FEELINGS) if (i + k) % 3 == 0)
            found.append(Example(id_, text, names if i % 4 else (), split))
    return found


def scorer_of(task: Task) -> Scorer:
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), task.labels, task.head).eval()
    if isinstance(model.classifier, nn.Linear):
        model.classifier.weight.data *= 20
    return Scorer(model, TOKENIZER, task)


def analysed(task: Task) -> Analysis:
    scorer = scorer_of(task)
    judgements = []
    for split in ("train", "dev"):
        some = examples(task, split)
        judgements.append(judge(task, split, some, scorer.logits(scorer.encode(some))))
    return analyse(scorer, judgements, judgements[0].examples, task.labels)


@pytest.fixture(scope="module")
def pages() -> dict[str, Analysis]:
    of_labels = Multilabel(FEELINGS)
    of_labels.thresholds = np.array([0.4, 0.5, 0.6])
    return {task.name: analysed(task) for task in (Choose(("a", "b", "c")), Score(), of_labels, Similarity())}


LOG = {
    "choose": {"dev_accuracy": 0.5},
    "score": {"dev_pearson": -0.1, "dev_spearman": 0.2, "dev_mae": 3.0},
    "similarity": {"dev_pearson": -0.1, "dev_spearman": 0.2},
    "multilabel": {"dev_micro_f1": 0.5, "dev_macro_f1": 0.4},
}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", list(LOG))
def test_each_task_has_its_panels_and_all_texts_are_text(pages, name, language):
    analysis = pages[name]
    rows = [{k: v for k, v in row.items() if k[:4] != "dev_" or k == "dev_loss"} | LOG[name] for row in ROWS]
    text = page(analysis, CONFIG, rows, language)
    found = Reader(text)
    tags = [tag for tag, _ in found.elements]
    assert tags.count("script") == 1 and not {"img", "b", "i"} & set(tags)
    articles = [attributes for tag, attributes in found.elements if tag == "article"]
    assert [a["data-id"] for a in articles] == [f.id for f in analysis.failures] and len(articles) > 8
    assert found.texts == [f.text for f in analysis.failures]
    assert all("".join(token.text for token in f.tokens) == f.text for f in analysis.failures if f.tokens)
    sections = {attributes["id"] for tag, attributes in found.elements if tag == "section"}
    assert sections == {"run", "findings", "scores", "curves", "slices", "errors"} | (
        {"confidence"} if name == "choose" else set()
    )
    assert ("data-missed" in text) == (name == "multilabel") and ("data-residual" in text) == (name[:1] == "s")
    assert "None" not in text.replace("None.", "")


def test_of_choices_the_logit_of_the_one_that_was_taken_is_explained(pages):
    task = Choose(("a", "b", "c"))
    scorer, judgement = scorer_of(task), pages["choose"].judgements[1]
    wrong = [i for i, e in enumerate(judgement.examples) if judgement.predicted[i] != judgement.gold[i]]
    failures = [f for f in pages["choose"].failures if f.split == "dev"]
    assert [f.id for f in failures] == [judgement.examples[i].id for i in wrong]
    kind = page_of(task)
    logits = scorer.logits(scorer.encode(judgement.examples))
    for failure, i in zip(failures, wrong, strict=True):
        example = judgement.examples[i]
        assert failure.explained == failure.predicted == example.choices[logits[i].argmax()]
        assert failure.gold == example.choices[example.label] and list(failure.probabilities) == list(example.choices)
        assert failure.text == f"{example.text}\n{failure.predicted}" and failure.second == len(example.text) + 1
        assert failure.complete and len(failure.neighbours) == 3
        with one_logit_a_sequence(scorer.model), torch.no_grad():
            seen = kind.encode(task, TOKENIZER, [kind.seen(example, int(logits[i].argmax()))])
            alone = scorer.model(pack([seen[0]])).logits
        assert alone.shape == (1, 1) and float(alone) == pytest.approx(logits[i].max(), abs=1e-4)
    assert scorer.model.classifier.columns == 3


def test_the_largest_residuals_are_listed_and_their_kinds_have_a_mean_and_a_bias(pages, monkeypatch):
    analysis = pages["score"]
    for judgement in analysis.judgements:
        residuals = {e.id: a - e.label for e, a in zip(judgement.examples, judgement.predicted, strict=True)}
        own = {f.id: f.more["residual"] for f in analysis.failures if f.split == judgement.split}
        assert own == pytest.approx(residuals, abs=1e-5)
    monkeypatch.setattr("tezukuri.eval.failures.kinds.RESIDUALS", 3)
    listed = page_of(Score()).wrong(judgement)
    sizes = abs(np.array(judgement.predicted) - np.array(judgement.gold))
    assert listed.sum() == 3 and sizes[listed].min() >= sizes[~listed].max()
    in_a = np.array([True, True, False, False])
    (a, everything) = residual_table(
        {"all": np.ones(4, bool), "a": in_a, "none": ~np.ones(4, bool)}, np.array([2.0, -1, 0.5, 0])
    )
    assert (a.name, a.n, a.mae, a.bias) == ("a", 2, 1.5, 0.5) and a.lift == pytest.approx(1.5 / 0.875)
    assert everything.name == "all" and everything.p == 1
    texts = [SimpleNamespace(gold=gold) for gold in (0.0, 1.0, 2.5, 4.0)]
    found = tag(texts, gold_rules(texts))
    assert [members.tolist().index(True) for members in found.values()] == [0, 1, 2, 3] and "score from 3 to 4" in found
    assert {f"score from {a} to {a + 1}" for a in range(4)} <= {row.name for row in analysis.slices}
    years = [SimpleNamespace(gold=2001.0 + gold) for gold in range(4)]
    assert [name.split()[-1] for name in tag(years, gold_rules(years))] == ["2001.8", "2002.5", "2003.2", "2004"]
    yen = [SimpleNamespace(gold=gold) for gold in (12345, 67890)]
    assert gold_rules(yen)[0].name == "score from 12345 to 26231"


def test_of_labels_the_missed_and_the_invented_are_told(pages):
    analysis = pages["multilabel"]
    judgement = analysis.judgements[1]
    by_id = {e.id: (set(e.label), set(told)) for e, told in zip(judgement.examples, judgement.predicted, strict=True)}
    failures = [f for f in analysis.failures if f.split == "dev"]
    assert {f.id for f in failures} == {id_ for id_, (gold, told) in by_id.items() if gold != told}
    for failure in failures:
        gold, told = by_id[failure.id]
        assert set(failure.more["missed"]) == gold - told and set(failure.more["invented"]) == told - gold
        assert failure.explained in gold ^ told
    rows = page_of(judgement.task).part(judgement, translator("en"))["of_labels"]
    for label, threshold in zip(FEELINGS, (0.4, 0.5, 0.6), strict=True):
        missed = sum(label in gold - told for gold, told in by_id.values())
        assert rows[label]["missed"] == missed and rows[label]["threshold"] == threshold
        assert rows[label]["support"] == sum(label in gold for gold, _ in by_id.values())
    one = Multilabel(["a"])
    some = [Example("1", "x", ("a",), "dev"), Example("2", "y", (), "dev"), Example("3", "z", ("a",), "dev")]
    part = page_of(one).part(judge(one, "dev", some, np.array([[3.0], [3.0], [-3.0]])), translator("en"))
    assert (
        part["of_labels"]["a"] | {"missed": 1, "invented": 1, "support": 2, "precision": 0.5} == part["of_labels"]["a"]
    )


def test_rules_of_pairs_by_hand():
    pairs = [
        ("犬が3匹いる。", "犬が３匹いる。"),
        ("犬が3匹いる。", "犬は2匹もいない。"),
        ("部屋が広くて、駅からも近くて便利でした。", "広い。"),
        ("", "犬"),
    ]
    texts = read_pairs(read(["\n".join(pair) for pair in pairs], TOKENIZER), pairs, TOKENIZER)
    found = {name: members.tolist() for name, members in tag(texts, [*PAIR_RULES, *overlap_rules(texts)]).items()}
    assert found["different numbers"] == [False, True, False, False]
    assert found["negation in one only"] == [False, True, False, False]
    assert found["about the same length"][0] and found["very different length"] == [False, False, True, True]
    thirds = [members for name, members in found.items() if "overlap" in name]
    assert [sum(members) for members in zip(*thirds, strict=True)] == [1, 1, 1, 1] and thirds[-1][0]
    alone = read(["犬が3匹いない。"], TOKENIZER)
    assert not np.any(list(tag(alone, PAIR_RULES).values())) and overlap_rules(alone) == []
    same = read_pairs(read(["a\nb"] * 3, TOKENIZER), [("a", "b")] * 3, TOKENIZER)
    assert overlap_rules(same) == []  # a third of which all are part says nothing


def test_a_rule_of_ones_own_does_not_take_the_place_of_a_rule_of_the_task(pages):
    rule = Rule("score from 0 to 1", "", "", lambda text: True)
    with pytest.raises(ValueError, match="'score from 0 to 1' is a built-in rule of the task score: choose another"):
        analyse(scorer_of(Score()), pages["score"].judgements[1:], [], (), [rule])


def test_few_errors_of_training_are_explained_and_a_line_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tezukuri.eval.failures.analysis.MOST_OF_TRAIN", 2)
    analysis = analysed(Score())
    explained = {split: [bool(f.tokens) for f in analysis.failures if f.split == split] for split in ("train", "dev")}
    assert sum(explained["train"]) == 2 and all(explained["dev"]) and all(f.neighbours for f in analysis.failures)
    assert [f.split for f in analysis.failures] == ["train"] * len(SEVERAL) + ["dev"] * len(SEVERAL)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    write_page(tmp_path, analysis)
    said = f"Of {len(SEVERAL)} residuals on train the 2 largest are coloured, the others are not."
    assert f"note    {said}" in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_findings_compare_with_simple_answers(pages):
    for name, words in (("choose", "questions are answered wrongly"), ("score", "correlate by"),
                        ("multilabel", "do not get exactly their labels")):  # fmt: skip
        told = [sentence for _, sentence, _ in findings(pages[name], [], {r.name: r.name for r in pages[name].rules},
                                                        translator("en"))]  # fmt: skip
        assert sum(words in sentence for sentence in told) == 2  # train and dev
    assert any("a simple answer is as near to the labels or nearer (mean)" in s for s in findings_of(pages["score"]))
    assert any("not shown that the model is better than chance" in s for s in findings_of(pages["choose"]))


def findings_of(analysis: Analysis) -> list[str]:
    names = {rule.name: rule.name for rule in analysis.rules}
    return [sentence for _, sentence, _ in findings(analysis, [], names, translator("en"))]


def test_two_runs_of_choices_or_label_sets_stand_side_by_side_and_scores_are_refused(pages, tmp_path):
    for name in ("choose", "multilabel"):
        judgement = pages[name].judgements[1]
        lines = [
            json.dumps({"id": e.id, "label": gold, "predicted": gold})
            for e, gold in zip(judgement.examples, judgement.gold, strict=True)
        ]
        (tmp_path / "predictions-dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (split,) = compare_with(tmp_path, pages[name].judgements)["splits"]
        assert split["there"] == 1 and {row["id"] for row in split["broken"]} == {
            f.id for f in pages[name].failures if f.split == "dev"
        }
    with pytest.raises(ValueError, match="scores are neither"):
        compare_with(tmp_path, pages["score"].judgements)


def test_files_say_what_only_one_task_has(pages, tmp_path):
    for name, columns in (("choose", {"question", "choices"}), ("score", {"residual"}),
                          ("multilabel", {"missed", "invented"})):  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        write_data(folder, pages[name])
        row = json.loads((folder / "failures.jsonl").read_text(encoding="utf-8").splitlines()[0])
        assert columns <= set(row) and not {"more", "weight"} & set(row) and ("second" in row) == (name != "multilabel")
        assert {path.name for path in folder.iterdir()} == {"failures.jsonl", "slices.csv"}
        head = (folder / "slices.csv").read_text(encoding="utf-8").splitlines()[0]
        assert ("mae,bias" in head) == (name == "score")


def test_answers_whose_order_alone_was_learned_are_compared_by_rank(pages):
    analysis, scorer = pages["similarity"], scorer_of(Similarity())
    for judgement in analysis.judgements:
        found = judge(scorer.task, "dev", judgement.examples, scorer.logits(scorer.encode(judgement.examples)))
        order = np.argsort(found.predicted)  # of no two equal ones
        assert np.array(judgement.predicted)[order].tolist() == sorted(judgement.gold)
    own = {f.id: f.more["residual"] for f in analysis.failures if f.split == "dev"}
    residuals = {e.id: a - e.label for e, a in zip(judgement.examples, judgement.predicted, strict=True)}
    assert own == {id_: size for id_, size in residuals.items() if size}
    told = " ".join(findings_of(analysis))
    assert "since cosines were not learned as scores" in told and "(overlap of bigrams)" in told
    learned = Similarity(loss="cosine")
    same = judge(learned, "dev", judgement.examples, scorer.logits(scorer.encode(judgement.examples)))
    assert page_of(learned).judged(same) is same
    learned.prepared(Dataset("x", (), [Example("1", "a", None, "train", pair="b")]))
    with pytest.raises(ValueError, match="no page of mistakes for the task similarity without scores"):
        page_of(learned)


def test_a_task_without_a_page_is_named():
    other = SimpleNamespace(page="other", classes=False)
    assert kind_of(other) is None and kind_of(SimpleNamespace(page="own", classes=True)) is PAGES["classify"]
    with pytest.raises(ValueError, match="no page of mistakes for the task other"):
        page_of(other)
    scorer = scorer_of(Score())
    with pytest.raises(ValueError, match="probes ask for classes, and the model answers the task score"):
        analyse(scorer, [], [], (), probes=[SimpleNamespace()])
