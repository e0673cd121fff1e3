"""A class for a pair of texts, from a table with two columns to every command, as somebody would do it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import tezukuri
from tezukuri.data.dataset import Example
from tezukuri.eval.failures.analysis import token_by_token
from tezukuri.scripts.command import main as command

WORDS = ("犬", "猫", "鳥", "馬")


def pairs_of(n: int) -> list[tuple[str, str, str, str]]:
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        first, second = random.choice(WORDS, 2)
        split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
        found.append((f"{first}がいる。", f"{second}です。", "same" if first == second else "other", split))
    return found


PAIRS = pairs_of(72)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("s1", "s2", "label", "split"), *PAIRS])
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    return tezukuri.finetune(
        table, text_column="s1", pair_column="s2", model="scratch", epochs=1, regularizer="none", precision="fp32",
        output_dir=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


def predicted(run, capsys, *arguments) -> list[dict]:
    assert command(["predict", "--model", str(run.folder / "model"), "--precision", "fp32", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_takes_the_second_text_from_a_column(run, table, capsys, tmp_path):
    columns = ["--file", str(table), "--text-column", "s1", "--pair-column", "s2"]
    rows = predicted(run, capsys, *columns, "--format", "jsonl")
    assert [(row["text"], row["pair"]) for row in rows] == [pair[:2] for pair in PAIRS]
    expected = run.classifier([pair[:2] for pair in PAIRS])
    for row, one in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(one.probabilities, abs=1e-5)
    assert len({round(row["probabilities"]["same"], 5) for row in rows[:20]}) > 4  # both texts are read
    predicted(run, capsys, *columns, "--output", str(tmp_path / "a.csv"))
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [(row["s1"], row["s2"], row["predicted"]) for row in written] == [
        (*pair[:2], one.label) for pair, one in zip(PAIRS, expected, strict=True)
    ]


def test_a_row_without_its_second_text_is_not_labelled(run, capsys, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "犬", "b": "猫"}\n{"text": "犬", "b": ""}\n', encoding="utf-8")
    rows = predicted(run, capsys, "--file", str(tmp_path / "a.jsonl"), "--pair-column", "b", "--format", "jsonl")
    assert [row.get("not_labelled") for row in rows] == [None, "the second text is empty"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["犬がいる。"], "text 1 has no second text, and the model was trained on pairs"),
        (["--file", "TABLE", "--text-column", "s1"], "pairs.csv:2: the row has no second text"),
        (["--file", "TABLE", "--text-column", "s1", "--pair-column", "s3"], "no columns named 's3' for the pair"),
        (["犬", "--pair-column", "s2"], "not both"),
        (["犬", "--encoding", "cp932"], "not both"),
    ],
)
def test_what_is_no_pair_is_refused(run, table, arguments, told, capsys):
    given = [str(table) if one == "TABLE" else one for one in arguments]
    assert command(["predict", "--model", str(run.folder / "model"), *given]) == 1
    assert told in capsys.readouterr().err


def test_a_model_of_single_texts_refuses_pairs(some_reviews, tmp_path):
    run = tezukuri.finetune(some_reviews, model="scratch", epochs=1, report=False, output_dir=tmp_path)
    with pytest.raises(ValueError, match="text 2 has a second text, but the model was trained on single ones"):
        tezukuri.Classifier.load(run.folder / "model")(["犬", ("犬", "猫")])


def test_evaluate_and_the_page_read_both_texts(run, table, tmp_path, capsys):
    columns = ["--data", str(table), "--text-column", "s1", "--pair-column", "s2", "--precision", "fp32"]
    assert command(["evaluate", "--model", str(run.folder / "model"), *columns, "--output-dir", str(tmp_path)]) == 0
    (folder,) = {path.parent for path in tmp_path.rglob("report.html")}
    scores = json.loads((folder / "test-metrics.json").read_text())
    assert scores == pytest.approx(dict(run.scores["test"]), abs=1e-5)
    failures = [json.loads(line) for line in (folder / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    both = {f"{first}\n{second}" for first, second, *_ in PAIRS}
    assert failures and all(f["text"] in both and f["neighbours"][0]["text"] in both for f in failures)
    for failure in failures:
        assert "".join(token["text"] for token in failure["tokens"]) == failure["text"]
        assert any(token["occlusion"] for token in failure["tokens"][-3:])  # of the second text too
    assert f"{failures[0]['text']}" in (folder / "report.html").read_text(encoding="utf-8").replace("</span>", "")


def test_each_token_of_a_pair_is_explained_where_it_stands(run):
    """What a pair's tokens add up to is the difference of the logits, so that no token of it is left out."""
    example = Example("1", "犬がいる。", "same", "dev", pair="馬です。")
    ((tokens, complete),) = token_by_token(run.scorer, [example], np.array([0]), "dev")
    assert complete and "".join(token.text for token in tokens) == "犬がいる。\n馬です。"
    alone = Example("2", "犬がいる。", "same", "dev", pair="犬です。")
    ((others, _),) = token_by_token(run.scorer, [alone], np.array([0]), "dev")
    assert [t.text for t in others][-2:] == [t.text for t in tokens][-2:] == ["です", "。"]
    assert [t.gradients for t in others] != [t.gradients for t in tokens]


def test_pairs_in_memory(tmp_path):
    texts, labels = [pair[:2] for pair in PAIRS], [pair[2] for pair in PAIRS]
    told = {"model": "scratch", "epochs": 1, "regularizer": "none"}
    run = tezukuri.finetune(texts=texts, labels=labels, output_dir=tmp_path, report=False, **told)
    assert {(e.text, e.pair) for e in run.data.examples} == set(texts)
    assert tezukuri.Run.load(run.folder, "cpu").data.examples[0].pair is not None
    found = tezukuri.evaluate((texts, labels), model=str(run.folder / "model"), output_dir=str(tmp_path), report=False)
    assert found.judgement.examples[0].pair is not None
    classifier = tezukuri.TextClassifier(options={"regularizer": "none"}, model="scratch", epochs=1).fit(texts, labels)
    assert set(classifier.predict(texts[:3])) <= {"same", "other"}
    with pytest.raises(ValueError, match="X must be a list of texts"):
        classifier.predict([("a", "b", "c")])


def test_pairs_that_share_one_text_are_no_duplicates(tmp_path, capsys):
    rows = [
        ("犬がいる。", f"{word}です。", label) for word, label in (("犬", "same"), ("猫", "other"), ("犬", "other"))
    ]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("s1", "s2", "label"), *rows, *rows[:1]])
    columns = ["--text-column", "s1", "--pair-column", "s2"]
    assert command(["check_data", "--data", str(tmp_path / "a.csv"), *columns]) == 0
    printed = capsys.readouterr().out
    assert "texts that stand more than once: 1" in printed and "contradicting labels: 1" in printed
