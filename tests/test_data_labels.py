"""Labels that are hardly meant as classes are told, before anything is trained; alike ones are joined where asked."""

import json
from pathlib import Path

import numpy as np
import pytest

import tezukuri
from tezukuri.data.dataset import DataError, Dataset, Example
from tezukuri.data.label_kinds import label_line
from tezukuri.data.label_names import label_notes, look, look_alikes, refuse_numbers
from tezukuri.data.leave_out import without
from tezukuri.data.lists import dataset_of
from tezukuri.data.load import load
from tezukuri.eval.judge import judge
from tezukuri.eval.report import classification_table
from tezukuri.eval.tasks.classify import Classify
from tezukuri.scripts.command import main as command

QUICK = {
    "model": "scratch", "epochs": 1, "regularizer": "none", "precision": "fp32", "report": False, "batch_size": 16,
}  # fmt: skip


def table(folder: Path, labels: list[str]) -> Path:
    path = folder / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"部屋 {n} 号,{label}\n" for n, label in enumerate(labels)))
    return path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Positive", "positive"), ("ＧＯＯＤ", "good"), ("がっかり", "か\u3099っかり"), ("良い\u200b", "良い"),
        ("1", "1.0"), ("1", "True"), ("0", "false"), ("-1", "−1"), ("ｶﾞ", "ガ"), ("so  so", "so\u3000so"),
        ("é", "e\u0301"),
        ("+1.50", "1.5"), ("NaN", "nan"), ("❤\ufe0f", "❤"),
    ],
)  # fmt: skip
def test_names_that_look_alike(one: str, other: str) -> None:
    assert one != other and look(one) == look(other) and look_alikes([one, "x", other, one]) == [[one, other]]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "10"), ("1", "-1"), ("1.5", "15"), ("ハ", "バ"), ("01", "1"), ("9007199254740993", "9007199254740992")],
)
def test_names_that_do_not_look_alike(one: str, other: str) -> None:
    assert look(one) != look(other) and not look_alikes([one, other])


def test_labels_that_are_hardly_classes_are_told_by_name(tmp_path: Path) -> None:
    labels = ["good", "bad"] * 30 + ["Good"] * 12 + ["#N/A"] * 11 + ["odd"]
    notes = label_notes(load(table(tmp_path, labels)))
    assert any(note.startswith("labels that look like missing values, but are classes: '#N/A' (11 t") for note in notes)
    assert any("look alike, but are 2: 'Good' (12 texts), 'good' (30 texts): --merge-labels" in note for note in notes)
    assert "labels of a single text: 'odd'" in notes
    assert "labels without a text in dev: 'odd': the F1 of each is 0 there, and lowers the macro-F1" in notes
    assert any(note.startswith("dev has only 8 texts: each is 0.12 of its") for note in notes)
    assert label_notes(load(table(tmp_path, ["good", "bad"] * 200))) == [] == label_notes(load("sample"))


def test_control_characters_in_labels_are_told() -> None:
    data = Dataset(
        "own", ("a\nb", "良 い"), [Example(str(n), "x", ("a\nb", "良 い")[n % 2], "train") for n in range(9)]
    )
    assert label_notes(data) == [r"labels with control characters, such as the end of a line: 'a\nb' (5 texts)"]


def test_control_characters_in_labels_reach_no_terminal() -> None:
    task = Classify(("a\x1b[2J\nb", "c"))
    examples = [Example(str(n), "x", task.labels[n], "dev") for n in (0, 1)]
    judgement = judge(task, "dev", examples, np.eye(2), task.labels)
    lines = [label_line(label, "x") for label in (task.labels[0], task.labels)]
    for told in (classification_table(judgement), task.summary(task.targets(examples), None), *lines):
        assert "\x1b" not in told and "a [2J b" in told


def test_a_class_that_is_never_trained_is_told() -> None:
    data = Dataset(
        "own", ("a", "b"), [Example(str(n), "x", "ab"[n > 30], "test" if n > 30 else "train") for n in range(60)]
    )
    assert label_notes(data, ["train"]) == ["labels without a text in train: 'b': they cannot be learned"]


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "null", "NULL", "NA", "N/A", "#N/A", "ｎａｎ", "<NA>", "欠損"])
def test_missing_values_are_told(tmp_path: Path, name: str) -> None:
    assert any(
        "missing values" in note and name in note for note in label_notes(load(table(tmp_path, ["a", name] * 9)))
    )


def test_numbers_and_ids_are_no_classes_unless_they_are_named(tmp_path: Path) -> None:
    for labels, what in (
        ([f"{n / 7:.3f}" for n in range(170)], "numbers"),
        ([f"{n % 50 / 10}" for n in range(500)], "numbers"),
        ([f"user-{n}" for n in range(40)], "ids or texts"),
    ):
        path = table(tmp_path, labels)
        with pytest.raises(DataError, match=f"look like {what}, not like classes: name another column") as error:
            refuse_numbers(load(path))
        assert "\n" not in str(error.value) and str(len(set(labels))) in str(error.value)
        with pytest.raises(DataError, match=r"reviews\.csv has .* labels for"):
            tezukuri.finetune(path, output_dir=tmp_path / "out", **QUICK)
        assert not (tmp_path / "out").exists()
        assert load(path, labels=sorted(set(labels))).named
    refuse_numbers(load(table(tmp_path, [f"{n % 9 / 2}" for n in range(90)])))  # stars with halves
    refuse_numbers(load(table(tmp_path, [str(n % 77) for n in range(770)])))  # numbers of classes
    refuse_numbers(load("sample"))


def test_labels_that_look_alike_are_joined_where_asked(tmp_path: Path) -> None:
    rows = [(1, 9), (1.0, 3), (True, 2), ("１", 1), (0, 8), ("0\u200b", 2)]
    path = tmp_path / "a.jsonl"
    lines = [
        {"text": f"文 {i} {n}", "label": v, "votes": {"1.0": 1, "1": 2}}
        for i, (v, k) in enumerate(rows)
        for n in range(k)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert load(path).labels == ("0", "0\u200b", "1", "1.0", "True", "１")
    corpus = load(path, merge_labels=True)
    assert corpus.labels == ("0", "1") and {e.label for e in corpus.examples} == {"0", "1"}
    assert corpus.examples[0].votes == {"1": 3}
    assert corpus.notes[:2] == [
        "labels joined: '0\\u200b' (2 texts) into '0' (8 texts)",
        "labels joined: '1.0' (3 texts), 'True' (2 texts), '１' (1 text) into '1' (9 texts)",
    ]
    assert load(path, labels=["True", "0"], merge_labels=True).labels == ("True", "0")  # the names that are given stand
    assert len(load(path, labels=["True", "0"], bad_rows="skip").examples) == 10


def test_lists_are_told_and_joined_as_files_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, labels = [f"部屋 {n} 号" for n in range(40)], ["good", "bad", "Good", "nan"] * 10
    run = tezukuri.finetune(texts=texts, labels=labels, merge_labels=True, output_dir=tmp_path, **QUICK)
    told = capsys.readouterr().out
    assert "data    labels joined: 'Good' (10 texts) into 'good' (10 texts)" in told
    assert "data    labels that look like missing values, but are classes: 'nan' (10 texts)" in told
    assert "data    dev has only " in told and told.index("data    dev has") < told.index("\nepoch")
    assert run.data.labels == ("bad", "good", "nan")
    kept = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))["data"]["notes"]
    assert all(f"data    {note}\n" in told for note in kept) and len(kept) >= 4
    judged = tezukuri.evaluate((texts[:4], ["Bad", "GOOD", "bad", "good"]), model=run.folder / "model",
                               output_dir=tmp_path, report=False)  # fmt: skip
    told = capsys.readouterr().out
    assert "look alike, but are 2: 'Bad' (1 text), 'bad' (1 text)" in told and "all has only 4 texts" in told
    assert set(judged.notes) <= {line.removeprefix("data    ") for line in told.splitlines()}
    judged = tezukuri.evaluate((texts[:4], ["Bad", "GOOD", "Bad", "GOOD"]), model=run.folder / "model",
                               output_dir=tmp_path, report=False, merge_labels=True)  # fmt: skip
    assert judged.data.labels == ("bad", "good") and judged.scores["loss"] is not None  # the model's own names


def test_a_list_of_labels_with_nothing_in_it_is_refused() -> None:
    class Missing:
        """As pandas.NA: not even comparable."""

        def __ne__(self, other: object) -> bool:
            raise TypeError("boolean value of NA is ambiguous")

        __hash__ = None  # type: ignore[assignment]

        def __repr__(self) -> str:
            return "<NA>"

    for missing in (Missing(), np.nan, np.datetime64("NaT"), None):
        with pytest.raises(DataError, match=r"labels\[1\] is .*: leave its text out"):
            dataset_of(["一", "二"], ["a", missing])
    assert dataset_of(["一", "二"], [" a", "a "]).labels == ("a",)
    with pytest.raises(DataError, match=r"labels\[1\] is 'c', which is not one of 'b', 'a'"):
        dataset_of(["一", "二"], ["a", "c"], classes=["b", "a"])
    with pytest.raises(DataError, match=r"texts\[1\]: half of a surrogate pair"):
        dataset_of(["一", "\ud83d"], ["a", "b"])


def test_data_in_memory_come_back_from_their_run_as_they_are(tmp_path: Path) -> None:
    """Also the order of their classes, and a class without texts: the head's rows are in that order."""
    texts = ["一\r\n二", '"三",四', " 五\u2028六\x85", "七\x0b\x1c八"] * 8
    examples = [Example(f"{n // 2}-{n}", t, "pon"[n % 2], ("train", "dev")[n % 4 > 1], {"p": 2, "o": 1} if n else None)
                for n, t in enumerate(texts)]  # fmt: skip
    given = Dataset("own", ("p", "o", "absent"), examples)
    run = tezukuri.finetune(given, output_dir=tmp_path, save_model="best", **QUICK)
    again = tezukuri.Run.load(run.folder, "cpu")
    assert again.data.examples == examples and again.data.labels == given.labels == again.model.labels
    assert again.judge("dev").metrics == run.judgements["dev"].metrics
    for broken in (
        Example("0-0", "また", "p", "train"),
        Example("x", " ", "p", "train"),
        Example("x", "文", " p", "train"),
    ):
        data = Dataset("own", ("p", "o", " p"), [*examples, broken])
        with pytest.raises(ValueError, match=r"example 32 of own would not come back from data\.jsonl") as error:
            tezukuri.finetune(data, output_dir=tmp_path, **QUICK)
        assert "\n" not in str(error.value)


def test_options_of_files_are_refused_beside_data_in_memory(tmp_path: Path) -> None:
    data = Dataset(
        "own", ("a", "b"), [Example(str(n), f"文 {n}", "ab"[n % 2], ("train", "dev")[n % 4 > 1]) for n in range(40)]
    )
    for option in ({"label_column": "stars"}, {"encoding": "cp932"}, {"classes": ["b", "a"]}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} (is about files|are b, a)"):
            tezukuri.finetune(data, output_dir=tmp_path, **QUICK | option)
    listed = tmp_path / "suspects.csv"
    listed.write_bytes("id,文\n0,よい部屋でした\n1,だめ\n".encode("cp932"))
    run = tezukuri.finetune(data, leave_out=listed, output_dir=tmp_path, save_model="none", **QUICK)
    assert [e.id for e in run.data.split("train")][:2] == ["4", "5"]
    assert "2 training texts left out, listed in suspects.csv" in run.data.notes


def test_ids_to_leave_out_are_read_as_those_of_the_data(tmp_path: Path) -> None:
    data = Dataset("own", ("a", "b"), [Example(str(n), f"文 {n}", "ab"[n % 2], "train") for n in range(4)])
    (listed := tmp_path / "ids.jsonl").write_text('{"id": 3}\n{"split": "dev"}\n')
    assert [e.id for e in without(data, listed).examples] == ["0", "1", "2"]
    for row, said in (('{"split": "train"}', "no 'id'"), ('{"id": [3]}', "column 'id' holds a list")):
        listed.write_text(f'{{"id": "1"}}\n{row}\n')
        with pytest.raises(DataError, match=rf"ids\.jsonl:2: {said}"):
            without(data, listed)


def test_check_data_tells_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check_data", "--data", str(table(tmp_path, ["a", "A", "null"] * 20))]) == 0
    told = capsys.readouterr().out
    assert "\nlabels that look like missing values" in told and "\nlabels that look alike, but are 2: 'A' (20" in told
    path = str(table(tmp_path, [f"{n / 3:.2f}" for n in range(60)]))
    assert command(["check_data", "--data", path]) == 0
    assert "reviews.csv has 60 labels for 60 texts" in capsys.readouterr().out
    assert command(["check_data", "--data", path, "--classes", "0.00,0.33", "--bad-rows", "skip"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("reviews.csv: 2 texts, 58 bad rows left out") and "bad row  " in told
