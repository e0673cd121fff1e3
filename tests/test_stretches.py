"""The page of mistakes of entities, and of answers from contexts."""

import json
import re
from types import SimpleNamespace

import pytest

from tezukuri.data.dataset import Example, Found, Span
from tezukuri.eval.failures import stretches
from tezukuri.eval.failures.page import translator
from tezukuri.eval.failures.slices import Text, tag
from tezukuri.eval.failures.stretches import marked
from tezukuri.eval.failures.table import page_of
from tezukuri.eval.tasks.span import SORTS, near, sort_of
from tezukuri.eval.tasks.tag import Tag
from tezukuri.scripts.command import main as command
from tezukuri.train.finetune import finetune


def test_every_character_is_marked_by_what_it_is_part_of():
    gold, told = (Span(2, 4, "<地名>"),), (Found(0, 2, "人"), Found(3, 5, "人"))
    pieces = marked("😀田中村へ\n", gold, told)
    assert "".join(piece["text"] for piece in pieces) == "😀田中村へ\n"
    assert [(piece["text"], piece["marks"]) for piece in pieces] == [
        ("😀田", "told"), ("中", "there"), ("村", "there told"), ("へ", "told"), ("\n", "")
    ]  # fmt: skip
    assert marked("", (), ()) == []


@pytest.mark.parametrize(
    ("told", "sort"),
    [((0, 2), "elsewhere"), ((3, 9), "too long"), ((5, 6), "too short"), ((6, 9), "shifted"), (None, "no answer")],
)
def test_a_wrong_answer_is_of_one_sort(told, sort):
    some = [] if told is None else [Span(*told)]
    assert sort_of([Span(4, 8)], some) == sort in SORTS
    assert near([Span(20, 22), Span(4, 8)], [Span(6, 9)]) == Span(4, 8) == near([Span(4, 8), Span(20, 22)], [])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run for each task, of texts of which the labels cannot be learned."""
    folder = tmp_path_factory.mktemp("stretches")
    names, towns = ("田中", "山田", "佐藤"), ("東京", "<b>京都</b>", "大阪")
    texts = [f"😀{names[i % 3]}は{towns[i // 3 % 3]}へ\n{i}回行った。" for i in range(36)]
    rows = {"tag": [], "span": []}
    for i, text in enumerate(texts):
        name, town = names[i % 3], towns[i // 3 % 3]
        stretches = [
            {"start": text.index(one), "end": text.index(one) + len(one), "kind": kind}
            for one, kind in ((name, "人"), (town, "<i>地名</i>"))
        ]
        rows["tag"].append({"id": f"{i}", "text": text, "entities": stretches if i % 4 else []})
        town = text[i % 7 : i % 7 + 2 + i % 5]  # any stretch
        answer = {"start": 70 + text.index(town), "text": town}
        rows["span"].append({"question": "どこ？", "context": "前" * 70 + text + "後" * 70, "answers": [answer]})
    made = {}
    for task, own in rows.items():
        file = folder / f"{task}.jsonl"
        file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in own), encoding="utf-8")
        made[task] = finetune(
            str(file), task=task, model="scratch", epochs=1, regularizer="none", output_dir=str(folder), language="ja"
        )
    return made


@pytest.mark.parametrize("task", ["tag", "span"])
def test_finetune_ends_with_the_page_and_failures_makes_it_again(task, runs, capsys):
    run = runs[task]
    kind, judgement = page_of(run.task), run.judge("train")
    wrong = kind.wrong(judgement)
    failures = [json.loads(line) for line in (run.folder / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(row["split"] == "train" for row in failures) == wrong.sum() > 0
    exact = {"tag": "micro_f1", "span": "exact_match"}[task]
    if task == "span":
        assert judgement.metrics[exact] == pytest.approx(1 - wrong.mean())
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    for text in ("<b>京都", "<i>地名"):
        assert text not in page, "texts and kinds are escaped"
    for row in failures:
        marked = "".join(piece["text"] for piece in row["marked"]).strip("…")
        assert marked and marked in row["text"]
        if task == "span":
            assert any("there" in piece["marks"] for piece in row["marked"]) and row["sort"] in SORTS
    assert task == "tag" or "別の場所 (" in page, "how it is wrong is said in the language of the page"
    assert "規則による" in page and "探索で見つかったもの" not in page, "there was no search"
    assert ("title=" in page) == (task == "tag"), "answers have no kinds"
    shown = re.findall(r'<mark class="([a-z ]+)"', page)
    assert "there" in {name for names in shown for name in names.split()}
    assert command(["failures", str(run.folder), "--language", "en"]) == 0
    assert "coloured, the others are not" not in capsys.readouterr().out
    assert "Underlined: what is there." in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", ["tag", "span"])
def test_two_runs_stand_side_by_side(task, runs):
    folder = runs[task].folder
    assert command(["failures", str(folder), "--against", str(folder), "--language", "en"]) == 0
    assert '<section id="against">' in (folder / "report.html").read_text(encoding="utf-8")


def test_entities_in_other_places_are_not_right():
    kind = page_of(Tag(("O", "B-a", "I-a")))
    row = [{"start": 0, "end": 1, "kind": "a", "text": "駅", "probability": 0.5}]
    there, told = kind.read(row), (Span(2, 3, "a"),)
    assert there == (Span(0, 1, "a"),) and kind.told(there, Example("", "駅は駅", there, "")) == "駅 (a)"
    assert kind.wrong(SimpleNamespace(gold=[there, there], predicted=[told, there])).tolist() == [True, False]


def test_texts_are_sliced_by_whether_training_had_their_entities():
    def example(text, *spans):
        return Example(text, text, tuple(Span(*span) for span in spans), "")

    kind = page_of(Tag(("O", "B-a", "I-a")))
    train = [example("Ａ社の駅", (0, 2, "a"), (3, 4, "b"))]
    asked = [
        example("駅とＡ社", (0, 1, "b"), (2, 4, "a")), example("駅", (0, 1, "a")), example("港", (0, 1, "a")),
        example("港"), example("Ａ社と港", (0, 2, "a"), (3, 4, "b")),
    ]  # fmt: skip
    texts = [Text(e.text, (), 1, 0, gold=kind.known(e)) for e in asked]
    found = {name: holds.tolist() for name, holds in tag(texts, kind.rules(texts, train)).items()}
    assert found["all entities in training"] == [True, False, False, False, False]
    assert found["entity of another kind in training"] == [False, True, False, False, False]
    assert found["entity not in training"] == [False, False, True, False, True]
    assert found["no entity"] == [False, False, False, True, False]
    assert not any("training" in rule.name for rule in kind.rules(texts, [])), "nothing is known of training"


def test_the_table_of_confusions_has_every_entity_once(monkeypatch):
    gold = [(Span(0, 2, "a"), Span(3, 5, "b"), Span(6, 8, "a"), Span(9, 10, "b"))]
    told = [(Span(0, 2, "b"), Span(3, 4, "b"), Span(6, 8, "a"), Span(20, 22, "b"))]
    part = page_of(Tag(("O", "B-a", "I-a"))).part(SimpleNamespace(gold=gold, predicted=told), str)
    assert part["confusion"] == {
        "b": {"b": 1, "a": 0, "–": 1}, "a": {"b": 1, "a": 1, "–": 0}, "–": {"b": 1, "a": 0, "–": 0}
    } and part["unconfused"] == part["unsorted"] == ""  # fmt: skip
    monkeypatch.setattr(stretches, "ROWS", 3)
    part = page_of(Tag(("O", "B-a", "I-a"))).part(SimpleNamespace(gold=gold, predicted=told), translator("en"))
    assert len(part["sorts"]) == 3 and part["unsorted"] == "Of 4 rows the 3 most frequent are here."
