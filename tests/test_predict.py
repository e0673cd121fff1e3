"""`predict` on files and pipes: the same rows back, with columns added, and a word for each that was not labelled."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import checkpoint

from tezukuri.data.texts import Row
from tezukuri.eval.classifier import READ_AHEAD, Classifier
from tezukuri.eval.labelled import predictions
from tezukuri.scripts.command import main as command

LABELS = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
GOOD, BAD = "駅から近くて便利でした。", "部屋が狭くて最悪でした。"
ROWS = [["1", GOOD, "=SUM(A1:A9)"], ["2", "", "-"], ["3", BAD + GOOD, '"x", y'], ["4", BAD * 20, "@cmd"]]
ADDED = ["predicted", "probability_bad", "probability_good", "truncated", "not_labelled"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("classifier") / "model"
    checkpoint(folder, "BertForSequenceClassification", **LABELS)
    return str(folder)


@pytest.fixture(scope="module")
def expected(model) -> list:
    classifier = Classifier.load(model)
    return [classifier(text) if text else None for _, text, _ in ROWS]


def write(path: Path, columns=("n", "review", "note")) -> Path:
    """`ROWS` in the format of the suffix."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in ROWS), "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *ROWS])
    else:
        path.write_text("".join("\t".join(row) + "\n" for row in [columns, *ROWS]), "utf-8")
    return path


def read(path: Path) -> list[dict]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        quoting = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=quoting))


def given(monkeypatch, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("source", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("target", [".csv", ".tsv", ".jsonl"])
def test_the_same_rows_come_back_with_columns_added(model, expected, tmp_path, capsys, source, target):
    file, output = write(tmp_path / f"in{source}"), tmp_path / f"out{target}"
    before = file.read_bytes()
    assert command(["predict", "--model", model, "--file", str(file), "--text-column", "review",
                    "--output", str(output)]) == 0  # fmt: skip
    rows = read(output)
    assert [[row["n"], row["review"], row["note"]] for row in rows] == ROWS and file.read_bytes() == before
    for row, prediction in zip(rows, expected, strict=True):
        if prediction is None:
            assert not row["predicted"] and row["not_labelled"] == "the text is empty"
            continue
        assert row["predicted"] == prediction.label and not row.get("not_labelled")
        shares = (
            row["probabilities"] if target == ".jsonl" else {n: float(row[f"probability_{n}"]) for n in ("bad", "good")}
        )
        assert shares == pytest.approx(prediction.probabilities, abs=1e-3)
        assert row["truncated"] in (prediction.truncated, json.dumps(prediction.truncated))
    assert [bool(one and one.truncated) for one in expected] == [False, False, False, True]
    if target != ".jsonl":
        assert list(rows[0]) == ["n", "review", "note", *ADDED]
    printed = capsys.readouterr()
    longest = expected[3].tokens
    assert printed.out == "" and f"33.3% (1 of 3) cut to 64 tokens, of {longest} on average" in printed.err
    assert "1 of 4 rows not labelled: the text is empty" in printed.err
    assert f"4 rows, 3 of them labelled, are in {output}" in printed.err


def test_plain_text_and_texts_as_arguments_can_be_written_too(model, tmp_path, capsys):
    (tmp_path / "a.txt").write_text(f'{GOOD}\n""\n\n{BAD}\n', encoding="utf-8")
    for i, source in enumerate((["--file", str(tmp_path / "a.txt")], [GOOD, '""', "", BAD])):
        output = tmp_path / f"{i}.csv"
        assert command(["predict", "--model", model, "--output", str(output), *source]) == 0
        rows = read(output)
        assert list(rows[0]) == ["text", *ADDED]
        assert [bool(row["predicted"]) for row in rows] == [True, False, False, True]


def test_a_table_on_standard_input_is_labelled_without_its_header(model, tmp_path, capsys, monkeypatch):
    given(monkeypatch, f'text,label\n"{GOOD}",good\n,bad\n"{BAD}",bad\n')
    assert command(["predict", "--model", model, "--format", "jsonl"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["text"] for line in printed.out.splitlines()] == [GOOD, "", BAD]
    assert "predict: standard input is read as CSV, with the text in 'text'" in printed.err
    given(monkeypatch, f"review,label\n{GOOD},good\n")
    assert command(["predict", "--model", model]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "say which of them has the text (--text-column)" in printed.err


def test_one_bad_byte_stops_the_job_at_once_or_costs_one_row(model, tmp_path, capsys):
    for suffix, header in ((".txt", b""), (".csv", b"text\n")):
        file, output = tmp_path / f"bad{suffix}", tmp_path / f"out{suffix}.csv"
        file.write_bytes(header + GOOD.encode() + b"\nx\xffy\n" + BAD.encode() + b"\n")
        line = 2 + bool(header)
        arguments = ["predict", "--model", model, "--file", str(file)]
        assert command([*arguments, "--output", str(output)]) == 1 and not output.exists()
        assert command(arguments) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and f"{file}:{line}: not UTF-8 (byte 0xff at character 2)" in printed.err
        assert command([*arguments, "--bad-rows", "skip", "--output", str(output)]) == 0
        rows = read(output)
        assert [bool(row["predicted"]) for row in rows] == [True, False, True] and rows[1]["text"] == "x\\xffy"
        assert f"bad{suffix}:{line}: not UTF-8" in rows[1]["not_labelled"]
        assert "1 of 3 rows not labelled, as they cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x.xlsx", "よい"], "the suffix tells the format, and must be one of .csv, .jsonl, .tsv"),
        (["--output", "no/x.csv", "よい"], "there is no folder no; make it first"),
        (["--output", "x.csv", "--format", "jsonl", "よい"], "the format of --output is that of its suffix"),
        (["--output", "in.csv", "--file", "in.csv"], "--output would replace in.csv"),
        (["--output", "x.csv", "--file", "taken.csv"], "has a column 'predicted' already, which --output would add"),
        (["--output", "x.jsonl", "--file", "taken.csv"], "has a column 'predicted' already"),
        (["--output", "x.csv", "--file", "twice.csv"], "there are 2 columns named 'a'"),
        (
            ["--output", "x.tsv", "--file", "lines.csv"],
            "lines.csv:3: a .tsv cannot hold the tab or line break",
        ),
        (["--output", "x.csv", "--file", "in.csv"], "no columns named 'text' for the text"),
        (["--top-k", "1", "よい"], "--top-k is for JSON lines"),
        (["--top-k", "1", "--output", "x.csv", "よい"], "--top-k is for JSON lines"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_labelled(
    model, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write(Path("in.csv"))
    Path("taken.csv").write_text("text,predicted\nよい,x\n", encoding="utf-8")
    Path("twice.csv").write_text("a,text,a\n1,よい,2\n", encoding="utf-8")
    Path("lines.csv").write_text('text,note\nよい,x\nよい,"a\nb"\n', encoding="utf-8")
    there = sorted(Path().iterdir())
    monkeypatch.setattr(Classifier, "stream", lambda *_: 1 / 0)
    assert command(["predict", "--model", model, *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1 and sorted(Path().iterdir()) == there


def test_json_lines_of_a_pipe_keep_their_columns(model, tmp_path, capsys, monkeypatch):
    lines = f'{{"text": "{GOOD}", "a": [1]}}\n{{"b": null, "text": "{BAD}"}}\n'
    given(monkeypatch, lines)
    output = tmp_path / "out.jsonl"
    assert command(["predict", "--model", model, "--output", str(output), "--top-k", "1"]) == 0
    rows = read(output)
    assert [list(row)[:2] for row in rows] == [["text", "a"], ["b", "text"]] and rows[0]["a"] == [1]
    assert [list(row["probabilities"]) for row in rows] == [[row["predicted"]] for row in rows]
    given(monkeypatch, lines)
    assert command(["predict", "--model", model, "--output", str(tmp_path / "out.csv")]) == 1
    assert "JSON lines of a pipe may differ in their columns" in capsys.readouterr().err
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    arguments = ["--file", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.csv")]
    assert command(["predict", "--model", model, *arguments]) == 0
    rows = read(tmp_path / "out.csv")
    assert [(row["text"], row["a"], row["b"]) for row in rows] == [(GOOD, "[1]", ""), (BAD, "", "")]


def test_the_file_appears_whole_or_not_at_all(model, tmp_path, monkeypatch):
    file, output = tmp_path / "a.txt", tmp_path / "out.csv"
    file.write_text(f"{GOOD}\n" * 9, encoding="utf-8")
    output.write_text("old", encoding="utf-8")
    stream = Classifier.stream

    def stopped(self, texts, *arguments):
        yield from [*stream(self, texts, *arguments)][:3]
        assert output.read_text(encoding="utf-8") == "old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "stream", stopped)
        assert command(["predict", "--model", model, "--file", str(file), "--output", str(output)]) == 130
    assert output.read_text(encoding="utf-8") == "old" and sorted(tmp_path.iterdir()) == [file, output]
    assert command(["predict", "--model", model, "--file", str(file), "--output", str(output)]) == 0
    assert len(read(output)) == 9


def test_how_texts_are_cut_can_be_told(model, capsys, caplog):
    assert command(["predict", "--model", model, "--max-length", "8", GOOD * 3]) == 0
    one = capsys.readouterr()
    assert "(cut: it has " in one.out and "100.0% (1 of 1) cut to 8 tokens" in one.err
    assert command(["predict", "--model", model, "--max-length", "8", "--truncation", "head_tail", GOOD * 3]) == 0
    assert capsys.readouterr().out != one.out
    assert command(["predict", "--model", model, "--max-length", "512", GOOD]) == 0
    assert (
        "max_length 512 is more than the model can read: 64 tokens" in caplog.text
    )  # without a handler: standard error


def test_rows_keep_their_order_over_many_batches(model, tmp_path):
    """Texts are sorted by length inside, and unlabelled rows lie between them."""
    texts = [GOOD * (1 + i % 3) + str(i) if i % 7 else "" for i in range(90)]
    (tmp_path / "a.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts), encoding="utf-8")
    arguments = ["--file", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out.csv"), "--batch-size", "2"]
    assert command(["predict", "--model", model, *arguments]) == 0
    rows = read(tmp_path / "out.csv")
    assert [row["text"] for row in rows] == texts
    assert [bool(row["predicted"]) for row in rows] == [bool(text) for text in texts]
    classifier = Classifier.load(model)
    for i in (1, 33, 89):
        assert float(rows[i]["probability_bad"]) == pytest.approx(classifier(texts[i]).probabilities["bad"], abs=2e-3)


@pytest.mark.parametrize(
    ("errors", "answers", "bar"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_terminal_gets_a_bar_unless_the_answers_go_there(model, tmp_path, monkeypatch, errors, answers, bar):
    class Screen(io.StringIO):
        def __init__(self, is_terminal):
            super().__init__()
            self.isatty = lambda: is_terminal

    (tmp_path / "a.txt").write_text(f"{GOOD}\n" * 5, encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", Screen(errors))
    monkeypatch.setattr(sys, "stdout", Screen(answers))
    assert command(["predict", "--model", model, "--file", str(tmp_path / "a.txt")]) == 0
    assert ("labelled:" in sys.stderr.getvalue() and "/5" in sys.stderr.getvalue()) == bar
    assert len(sys.stdout.getvalue().splitlines()) == 5


def test_a_long_run_of_blank_lines_is_not_kept_in_memory(model):
    """Rows are taken a few batches at a time, also where none of them is labelled."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Row("x", "", reason="the line is blank")

    found = predictions(Classifier.load(model), endless(), batch_size=4)
    assert [next(found)[1] for _ in range(9)] == [None] * 9 and len(taken) <= READ_AHEAD * 4
