"""One of several choices: the head beside the reference, and a table of questions through every command."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from test_model_parity import compare_gradients, encoder, padded, texts_for, twins
from tiny_checkpoint import TOKENIZER
from torch.nn import functional as F

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.load import load
from tezukuri.eval.tasks.choose import Choose
from tezukuri.model.heads import ChoiceHead
from tezukuri.model.model import Model
from tezukuri.model.packing import pack
from tezukuri.scripts.command import main as command
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import SHELF, regularizer_of
from tezukuri.train.settings import Settings
from tezukuri.weights.architectures import ARCHITECTURES
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_with_report
from tezukuri.weights.save import save

ANIMALS, THINGS, COLUMNS = ("犬", "猫", "鳥", "馬"), ("机", "箱", "本", "皿"), ("a", "b", "c")
TRAINED = {"model": "scratch", "precision": "fp32", "batch_size": 8, "lr": 3e-3}
NAMES = ("choice0", "choice1", "choice2")


def rows_of(n: int) -> list[tuple[str, ...]]:
    """Which of three words is an animal; the label is its text, its column, or its number."""
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        words, right = [str(word) for word in random.permutation(THINGS)[:3]], int(random.integers(3))
        words[right] = str(random.choice(ANIMALS))
        label = (words[right], COLUMNS[right], str(right))[number % 3]
        split = "dev" if number % 6 == 0 else "test" if number % 6 == 1 else "train"
        found.append(("動物はどれ？", *words, label, split))
    return found


ROWS = rows_of(150)
QUESTIONS = [(row[0], row[1:4]) for row in ROWS]
RIGHT = [next(word for word in row[1:4] if word in ANIMALS) for row in ROWS]


def write(path: Path, rows, header=("question", *COLUMNS, "answer", "split")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("choices") / "choices.csv", ROWS)


TOLD = ["--text-column", "question", "--label-column", "answer", "--choice-columns", "a,b,c"]


@pytest.fixture(scope="module")
def run(table, tmp_path_factory) -> tezukuri.Run:
    folder = tmp_path_factory.mktemp("runs")
    told = [*TOLD, "--epochs", "3", "--regularizer", "none"]  # the columns say the task
    told += [f"--{name.replace('_', '-')}={value}" for name, value in TRAINED.items()]
    assert command(["finetune", "--data", str(table), *told, "--output-dir", str(folder)]) == 0
    (one,) = folder.glob("*/*/*")
    return tezukuri.Run.load(one, "cpu")


def test_questions_with_fewer_choices_than_most_are_bad_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    lists = [["犬", "猫"], ["犬", "猫", "鳥"], ["犬", "馬", "鳥"], ["犬"], ["馬", "猫", "鳥"]]
    rows = [{"text": "飼うなら？", "of": some, "label": 0, "split": "train"} for some in lists]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a.jsonl:1: 2 choices, where most rows have 3"):
        load(path, choice_columns=["of"])
    data = load(path, choice_columns=["of"], bad_rows="skip")
    assert [len(e.choices) for e in data.examples] == [3, 3, 3] and [bad.line for bad in data.bad_rows] == [1, 4]
    assert Choose.of(data).parts == 3


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_logits_loss_and_gradients_equal_the_oracles(kind):
    ours, oracle = twins(Model(encoder(kind), NAMES[:2], ChoiceHead))
    assert type(oracle).__name__.endswith("ForMultipleChoice") and oracle.config.num_labels == 2
    encodings, labels = [*texts_for(ours.config), texts_for(ours.config)[0]], torch.tensor([0, 1, 1])
    rows = {name: row.view(3, 2, -1) for name, row in padded(encodings, ours.config.pad_token_id).items()}
    logits = ours(pack(encodings)).logits
    loss = ours.classifier.loss(logits, F.one_hot(labels, 2).float()).sum() / 3
    theirs = oracle(**rows, labels=labels)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle, atol=5e-6)  # differences of logits are known to fewer digits


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_heads_of_other_kinds_are_left_out_and_those_of_choices_serve_any_number(kind, tmp_path, capsys):
    for name, head in (("classes", {}), ("choices", {"head": ChoiceHead})):
        model = Model(encoder(kind, vocab_size=TOKENIZER.vocab_size), NAMES, **head).eval()
        save(model, TOKENIZER, tmp_path / name)
    found = load_with_report(tmp_path / "classes", "classify", NAMES, head=ChoiceHead)
    assert "the head of a" in " ".join(found.report.left_out.values()) and "classifier.weight" in found.report.new
    four = load_with_report(tmp_path / "choices", "classify", [*NAMES, "choice3"], head=None)
    assert four.report.new == [] and torch.equal(four.model.classifier.weight, model.classifier.weight)
    settings = json.loads((tmp_path / "choices" / "config.json").read_text())
    (tmp_path / "choices" / "config.json").write_text(json.dumps(settings | {"id2label": None}))
    with pytest.raises(CheckpointError, match="does not say how many choices there are"):
        load_with_report(tmp_path / "choices", "classify", head=None)
    with pytest.raises(CheckpointError, match="has no classifier for sentences"):
        load_with_report(tmp_path / "choices", "classify")
    rows = write(tmp_path / "rows.csv", ROWS[:9])
    asked = ["--text-column", "question", "--choice-columns", "a,b,c", "--device", "cpu"]
    told = ["--model", str(tmp_path / "choices"), *asked]
    assert command(["predict", *told, "--file", str(rows), "--output", str(tmp_path / "told.csv")]) == 0
    assert "probability_choice2" in (tmp_path / "told.csv").read_text(encoding="utf-8").splitlines()[0]
    told += ["--data", str(rows), "--label-column", "answer", "--no-report", "--output-dir", str(tmp_path)]
    assert command(["evaluate", *told]) == 0
    assert "does not say how many choices there are: 3, as there are columns" in capsys.readouterr().out


def test_it_learns_from_labels_of_all_three_forms(run):
    assert [e.choices[e.label] for e in run.data.examples] == RIGHT
    assert run.task.labels == NAMES and run.plan.task == "choose" and run.task.parts == 3
    scores = json.loads((run.folder / "test-metrics.json").read_text())
    assert scores["accuracy"] > 0.8 and list(scores) == ["loss", "accuracy", "examples"]
    told = (run.folder / "classification_report.txt").read_text()
    assert f"accuracy  {scores['accuracy']:>12.4f}  (95 %: 0." in told
    first = json.loads((run.folder / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["label"] == RIGHT[1] and tuple(first["probabilities"]) == QUESTIONS[1][1]
    assert first["predicted"] == max(first["probabilities"], key=first["probabilities"].get)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_predict_tells_the_chosen_answer(run, table, tmp_path, capsys, precision):
    model = ["predict", "--model", str(run.folder / "model"), "--precision", precision]
    columns = ["--file", str(table), "--text-column", "question", "--choice-columns", "a,b,c"]
    assert command([*model, *columns, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert np.mean([row["predicted"] == right for row, right in zip(rows, RIGHT, strict=True)]) > 0.8
    expected = run.classifier(QUESTIONS)
    within = 1e-4 if precision == "fp32" else 0.1
    for row, one, (_, choices) in zip(rows, expected, QUESTIONS, strict=True):
        assert tuple(row["probabilities"]) == choices
        assert row["probabilities"] == pytest.approx(one.probabilities, abs=within)
    assert command([*model, *columns, "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["predicted"] for row in written] == [row["predicted"] for row in rows]
    assert float(written[0]["probability_choice0"]) == pytest.approx(rows[0]["probabilities"][ROWS[0][1]], abs=1e-5)
    (tmp_path / "b.jsonl").write_text('{"text": "犬は？", "all": ["犬", "猫", "鳥"]}\n', encoding="utf-8")
    assert command([*model, "--file", str(tmp_path / "b.jsonl"), "--choice-columns", "all"]) == 0
    assert "犬は？ | 犬 | 猫 | 鳥" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("犬がいる。", "text 1 has no choices: name their columns"),
        (("犬", "猫"), "text 1 has no choices"),
        (("犬", ["猫", "鳥"]), "text 1 has 2 choices, and the model takes one of 3: leave it out"),
        (("犬", ["猫", "鳥", "猫"]), "text 1 has the same choice twice"),
        (("犬", ["猫", "鳥", 3]), "a pair is two texts, and choices are a list of them"),
    ],
)
def test_what_has_not_its_choices_is_refused(run, given, told):
    with pytest.raises(ValueError, match=told):
        run.classifier(given)


def test_the_reference_gives_its_logits_and_we_read_the_references(run, tmp_path):
    encodings = run.scorer.encode(QUESTIONS[:4])
    theirs = transformers.AutoModelForMultipleChoice.from_pretrained(run.folder / "model").eval()
    rows = {name: row.view(4, 3, -1) for name, row in padded(list(encodings)).items()}
    with torch.no_grad():
        logits = theirs(**rows).logits
    np.testing.assert_allclose(run.scorer.logits(encodings), logits.numpy(), rtol=1e-4, atol=1e-4)
    theirs.config.id2label, theirs.config.label2id = {0: "LABEL_0", 1: "LABEL_1"}, {}  # as they have it by default
    theirs.save_pretrained(tmp_path / "theirs")
    run.tokenizer.save(tmp_path / "theirs")
    again = tezukuri.Classifier.load(tmp_path / "theirs", NAMES, device="cpu", precision="fp32")
    assert again.task.name == "choose"
    for one, other in zip(again(QUESTIONS[:4]), run.classifier(QUESTIONS[:4]), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_evaluate_judges_it_from_a_file_and_from_memory(run, table, tmp_path, capsys):
    told = ["evaluate", "--model", str(run.folder / "model"), "--output-dir", str(tmp_path), "--precision", "fp32"]
    assert command([*told, "--data", str(table), *TOLD]) == 0
    assert "(95 %: " in capsys.readouterr().out
    (file,) = tmp_path.rglob("test-metrics.json")
    assert json.loads(file.read_text()) == pytest.approx(json.loads((run.folder / "test-metrics.json").read_text()))
    labels = [row[1:4].index(right) for row, right in zip(ROWS, RIGHT, strict=True)]
    data = (QUESTIONS, [np.int64(label) for label in labels])
    found = tezukuri.evaluate(data, model=str(run.folder / "model"), output_dir=str(tmp_path), report=False)
    assert found.scores["accuracy"] > 0.8
    again = tezukuri.evaluate(found.folder / "data.jsonl", choice_columns=["choices"], model=str(run.folder / "model"),
                              output_dir=str(tmp_path), report=False)  # fmt: skip
    assert again.scores == pytest.approx(found.scores)
    assert command([*told, "--data", str(table), *TOLD[:4]]) == 1
    assert "the task choose needs choices: name their columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("q", "x", "y", "z", "w", "train"), "the label 'w' is none of the choices ('x', 'y', 'z'), nor the number"),
        (("q", "x", "y", "z", "3", "train"), "the label '3' is none of the choices"),
        (("q", "x", "y", "x", "0", "train"), "the choice 'x' stands there twice"),
        (("q", "x", "", "z", "0", "train"), "the text (column 'b') is empty"),
        (("q", "x", "y", "z", "", "train"), "the label '' is none"),
    ],
)
def test_a_row_that_is_no_question_is_named_with_file_and_line(row, told, tmp_path, capsys):
    path = write(tmp_path / "a.csv", [*ROWS[:5], row])
    assert command(["finetune", "--data", str(path), *TOLD]) == 1
    assert f"a.csv:7: {told}" in capsys.readouterr().err


def test_a_label_that_may_mean_two_choices_is_told(tmp_path):
    rows = [("3から2を引くと？", "2", "1", "0", "1", "train"), ("1+1は？", "二", "３", "一", "２", "train")]
    data = load(write(tmp_path / "a.csv", rows), text_column="question", label_column="answer", choice_columns=COLUMNS)
    assert [e.label for e in data.examples] == [1, 2] and data.task == "choose"
    rows[0] = ("3から2を引くと？", "2", "1", "0", "2", "train")
    data = load(write(tmp_path / "a.csv", rows), text_column="question", label_column="answer", choice_columns=COLUMNS)
    assert data.examples[0].label == 0
    assert any("1 label is the text of one choice, and the column or number of another" in n for n in data.notes)


def test_what_cannot_be_learned_is_refused(table, tmp_path):
    few = [
        Example(str(i), "犬は？", 0, split, choices=("犬", "猫")) for i, split in enumerate(["train", "train", "dev"])
    ]
    for changed, told in (
        ({"choices": ("犬", "猫", "鳥")}, "1 of x has 3 choices, and the model takes one of 2"),
        ({"choices": None}, "1 of x has no choices"),
        ({"label": 2}, "1 of x has the label 2, and its choices are numbered from 0 to 1"),
        ({"pair": "犬"}, "1 of x has a second text"),
        ({"label": "犬"}, "x has a label '犬', which is none of the task choose"),
    ):
        data = Dataset("x", (), [few[0], replace(few[1], **changed), few[2]], task="choose")
        with pytest.raises(ValueError, match=told):
            tezukuri.finetune(data, output_dir=tmp_path, **TRAINED)
    columns = {"text_column": "question", "label_column": "answer"}
    for options, told in (
        ({"task": "score", "choice_columns": ["a", "b"]}, "--choice-columns are for the task choose"),
        ({"task": "choose"}, "the task choose needs choices"),
        ({"choice_columns": ["a", "x"]}, "no columns named 'x' for the choice"),
        ({"choice_columns": ["a", "b"], "classes": ["x", "y"]}, "choices have no classes"),
    ):
        with pytest.raises(ValueError, match=told):
            tezukuri.finetune(table, **columns, **options)
    with pytest.raises(ValueError, match=r"texts\[0\] is '犬': give a question and a list of its choices"):
        tezukuri.finetune(texts=["犬"], labels=[0], task="choose")


ALONE = {"class-balanced", "judge-votes", "distillation", "hidden-mixup", "multi-sample-dropout", "supcon"}


@pytest.mark.parametrize("name", SHELF)
def test_each_regularizer_learns_choices_or_is_refused_by_name(name, tmp_path):
    some = enumerate(zip(QUESTIONS[:20], RIGHT[:20], strict=True))
    examples = [Example(str(i), q, c.index(r), "train", choices=c) for i, ((q, c), r) in some]
    task = Choose(NAMES)
    splits = [
        Texts(task.encode(TOKENIZER, some, max_length=24), task.targets(some), some, parts=3)
        for some in (examples[:11], examples[11:])
    ]
    torch.manual_seed(0)
    model = Model(encoder(vocab_size=TOKENIZER.vocab_size), NAMES, ChoiceHead)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    settings = Settings(epochs=1, batch_size=4, accumulate=2, precision="fp32", select="last")
    given = f"distillation:teacher={tmp_path}" if name == "distillation" else name
    training = fine_tune(model, task, *splits, settings, regularizers=[regularizer_of(given)])
    if name in ALONE:
        with pytest.raises(ValueError, match=f"^{name} "):
            next(training)
        return
    *_, row = training
    assert all(np.isfinite(value) for value in row.values())
    assert any(bool((a != b).any()) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("names", [["r-drop", "fgm", "ema"], ["smart:weight=0.1", "lora"]], ids="+".join)
def test_a_run_from_memory_with_regularizers_comes_back(names, tmp_path):
    labels = RIGHT[:60]
    run = tezukuri.finetune(
        texts=QUESTIONS[:60], labels=labels, task="choose", epochs=2, regularizer=names, output_dir=tmp_path, **TRAINED
    )
    assert run.log[-1]["train_loss"] < run.log[1]["train_loss"]
    again = tezukuri.Run.load(run.folder, "cpu")
    assert [(e.choices, e.label) for e in again.data.examples] == [(e.choices, e.label) for e in run.data.examples]
    assert again.judge("test").metrics == pytest.approx(run.judgements["test"].metrics, abs=1e-5)


@pytest.mark.parametrize(("name", "task"), [("jcommonsenseqa", "choose"), ("jsts", "score")])
def test_data_with_a_name_say_their_task(name, task, data_folder, capsys):
    plan = tezukuri.Plan(data=name, data_path=str(data_folder / "data" / "jglue"))
    data = plan.read_data()
    assert plan.for_task_of(data).task == task
    assert capsys.readouterr().out == f"task    {task}, as {name} is for it\n"
    assert replace(plan, task="classify").for_task_of(data).task == "classify" and not capsys.readouterr().out


def test_a_question_that_the_model_cannot_answer_is_named_by_file_and_line(run, tmp_path, capsys):
    lines = [{"question": "どれ？", "choices": ["犬", "机", "箱"][: 3 - number % 2]} for number in range(3)]
    path = tmp_path / "uneven.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    asked = ["predict", "--model", str(run.folder / "model"), "--device", "cpu", "--file", str(path)]
    asked += ["--text-column", "question", "--choice-columns", "choices"]
    assert command(asked) == 1
    assert "uneven.jsonl:2: the row has 2 choices, and the model takes one of 3" in capsys.readouterr().err
    assert command([*asked, "--bad-rows", "skip"]) == 0
    told = capsys.readouterr()
    assert "1 of 3 rows not labelled" in told.err and len(told.out.splitlines()) == 3
