"""What of the data `evaluate` judges, and that it says so."""

import json
from pathlib import Path

import pytest
from tiny_checkpoint import TEXTS, checkpoint

import tezukuri
from tezukuri.model.int8 import COSTS
from tezukuri.scripts.command import main as command

LABELS = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
SPLITS = ("train", "train", "dev", "test", "train")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "model"
    checkpoint(folder, "BertForSequenceClassification", **LABELS)
    return folder


def table(folder: Path, splits=None, n=60, labels=("bad", "good")) -> Path:
    path = folder / "mine.csv"
    cells = [(f"{i}{TEXTS[i % 4]}", labels[i % len(labels)], splits and splits[i % len(splits)]) for i in range(n)]
    header = "text,label,split\n" if splits else "text,label\n"
    path.write_text(header + "".join(",".join(filter(None, row)) + "\n" for row in cells), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("splits", "asked", "name", "number", "said"),
    [
        (None, [], "all", 60, "judged all 60 texts, as mine.csv has no splits"),
        (None, ["--split", "all"], "all", 60, "judged all 60 texts\n"),
        (None, ["--split", "test"], "test", 6, "judged 6 of 60 texts: the test split, drawn at random (seed 0)\n"),
        (SPLITS, [], "test", 12, "judged 12 of 60 texts: the test split; --split all judges all\n"),
        (SPLITS, ["--split", "all"], "all", 60, "judged all 60 texts\n"),
        (SPLITS, ["--split", "train"], "train", 36, "judged 36 of 60 texts: the train split\n"),
        (("train", "dev"), [], "all", 60, "judged all 60 texts, as mine.csv has no test split\n"),
        (("test",), [], "test", 60, "judged 60 of 60 texts: the test split\n"),
    ],
)
def test_all_of_a_file_is_judged_or_what_was_not_is_said(model, tmp_path, capsys, splits, asked, name, number, said):
    path = table(tmp_path, splits)
    arguments = ["--model", str(model), "--data", str(path), "--no-report", "--output-dir", str(tmp_path / "out")]
    assert command(["evaluate", *arguments, *asked]) == 0
    printed = capsys.readouterr().out
    assert f"data    {said}" in printed
    assert ("split at random into" in printed) == (name == "test" and splits is None)
    (run,) = (tmp_path / "out").glob("*/*/*")
    assert json.loads((run / f"{name}-metrics.json").read_text())["examples"] == number
    rows = (run / f"predictions-{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == number
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    if name == "all":
        assert [json.loads(row)["text"] for row in rows] == [line.split(",")[0] for line in lines]
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert told["options"]["split"] == name and told["data"]["texts"] == number


def test_python_judges_the_same(model, tmp_path):
    quiet = {"model": model, "report": False, "output_dir": tmp_path / "out"}
    path = table(tmp_path)
    assert tezukuri.evaluate(path, **quiet).scores["examples"] == 60
    assert tezukuri.evaluate(path, split="test", **quiet).scores["examples"] == 6
    texts, labels = zip(*[line.split(",") for line in path.read_text("utf-8").splitlines()[1:]], strict=True)
    assert tezukuri.evaluate((texts, labels), **quiet).scores == tezukuri.evaluate(path, **quiet).scores
    assert tezukuri.evaluate((texts, labels), split="dev", **quiet).scores["examples"] == 6
    with pytest.raises(ValueError, match=r"data is a list: give a name, .* or \(texts, labels\)"):
        tezukuri.evaluate([texts, labels], **quiet)


def test_the_page_of_all_texts_is_made_and_made_again(model, tmp_path):
    found = tezukuri.evaluate(table(tmp_path), model=model, output_dir=tmp_path / "out")
    assert "mine.csv: all 60" in (found.folder / "report.html").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (found.folder / "failures.jsonl").read_text("utf-8").splitlines()]
    assert rows and not any(row["neighbours"] for row in rows)  # no text is its own neighbour
    again = tezukuri.train.evaluation.Evaluation.load(found.folder)
    assert again.judgement.split == "all" and len(again.judgement.examples) == 60


@pytest.mark.parametrize(
    ("splits", "asked", "ok"),
    [
        (None, [], False),
        (SPLITS, ["--split", "all"], False),
        (SPLITS, ["--split", "dev"], False),
        (SPLITS, [], True),
        (None, ["--split", "test"], True),
    ],
)
def test_a_neutral_band_is_never_fitted_on_what_is_judged(model, tmp_path, capsys, splits, asked, ok):
    path = table(tmp_path, splits, labels=("bad", "good", "normal"))
    arguments = ["--model", str(model), "--data", str(path), "--no-report", "--output-dir", str(tmp_path / "out")]
    arguments += ["--neutral-band", "auto", *asked]
    assert command(["evaluate", *arguments]) == (0 if ok else 1)
    error = capsys.readouterr().err.strip()
    assert ok or ("say --split test, or give a width from 0 to 1" in error and len(error.splitlines()) == 1)


def test_a_model_that_is_judged_on_its_own_training_texts_is_told_so(tmp_path, capsys):
    path = table(tmp_path)
    quiet = {"report": False, "output_dir": tmp_path / "out"}
    run = tezukuri.finetune(path, model="scratch", epochs=1, regularizer="none", checkpoint=False, **quiet)
    said = "the model has learned from"
    for model in (run.folder, run.folder / "model"):
        capsys.readouterr()
        tezukuri.evaluate(path, model=model, **quiet)
        assert said in capsys.readouterr().out
    tezukuri.evaluate(path, model=run.folder, split="test", **quiet)
    assert said not in capsys.readouterr().out
    tezukuri.evaluate(path, model=run.folder, split="test", split_seed=1, **quiet)
    told = capsys.readouterr().out
    assert f"of the 6 texts that are judged here ({run.folder}): --split test --split-seed 0 has others" in told
    # Also of a fold, whose dev is another one.
    fold = tezukuri.finetune(path, model="scratch", epochs=1, regularizer="none", fold="1/5", split_seed=1, **quiet)
    capsys.readouterr()
    tezukuri.evaluate(path, model=fold.folder, split="dev", split_seed=1, **quiet)
    assert said in capsys.readouterr().out
    # Not where the file holds other texts now, or none to learn from.
    before = path.read_text(encoding="utf-8")
    for content in (before.replace("0駅", "0町"), "text,label,split\n駅,good,test\n部屋,bad,test\n"):
        path.write_text(content, encoding="utf-8")
        tezukuri.evaluate(path, model=run.folder, split="test", **quiet)
        assert said not in capsys.readouterr().out
    path.write_text(before, encoding="utf-8")
    other = table(tmp_path / "out", n=30)
    tezukuri.evaluate(other, model=run.folder, **quiet)
    assert said not in capsys.readouterr().out
    told = (run.folder / "config.json").read_text(encoding="utf-8")
    (run.folder / "config.json").write_text(told.replace(json.dumps(str(path)), '"sample"'), encoding="utf-8")
    tezukuri.evaluate((["部屋が狭い。", "駅から近い。"], ["bad", "good"]), model=run.folder, **quiet)
    assert said not in capsys.readouterr().out, "data in memory are not the sample, which a plan has by default"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_int8_says_what_it_costs(model, tmp_path, capsys, precision):
    where = ["--data", str(table(tmp_path)), "--no-report", "--output-dir", str(tmp_path)]
    assert command(["evaluate", "--model", str(model), "--precision", precision, *where]) == 0
    assert (f"\nnote    {COSTS}\n" in capsys.readouterr().out) == (precision == "int8")
    assert command(["predict", "--model", str(model), "--precision", precision, "部屋"]) == 0
    assert (f"predict: {COSTS}\n" in capsys.readouterr().err) == (precision == "int8")
    for name in ("evaluate", "predict"):
        with pytest.raises(SystemExit):
            command([name, "--help"])
        assert "in int8 about 5 labels of 1,000 differ" in " ".join(capsys.readouterr().out.split())
