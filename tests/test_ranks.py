"""Several processes under torchrun: what they train, predict and write is what one process does."""

import csv
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from checkout import ROOT

from tezukuri.data.load import load as load_data
from tezukuri.eval.classifier import READ_AHEAD
from tezukuri.model import ranks
from tezukuri.scripts.command import main as command
from tezukuri.train.plan import Plan

TRAINING = [
    "--model=scratch", "--lr=1e-3", "--batch-size=4", "--accumulate=2", "--epochs=2", "--precision=fp32",
    "--select=last", "--device=cpu", "--hidden-dropout=0", "--attention-dropout=0", "--classifier-dropout=0",
    "--no-checkpoint", "--class-weights=balanced", "--regularizer=fgm:epsilon=0.3",
]  # fmt: skip


def start(processes: int, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), str(ROOT / "scripts" / f"{script}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def side_by_side(*commands: tuple) -> list[subprocess.CompletedProcess[str]]:
    """`start` each of them at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda command: start(*command), commands))


def only_run(root: Path) -> Path:
    (run,) = root.glob("*/*/*")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same training by one process and by two. The last step of an epoch has one text: one rank has none."""
    root = tmp_path_factory.mktemp("ranks")
    data = load_data("sample")
    rows = [*data.split("train")[:57], *data.split("dev")[:21], *data.split("test")[:23]]
    with (root / "reviews.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([("text", "label", "split"), *((e.text, e.label, e.split) for e in rows)])
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs/regularizers.md").read_text(encoding="utf-8"), re.DOTALL)
    (root / "mine.py").write_text(example[0], encoding="utf-8")
    training = ["finetune", "--data", str(root / "reviews.tsv"), *TRAINING]
    training.append(f"--regularizer={root / 'mine.py'}:ShortLogits:weight=0.1")
    one, two = side_by_side(*((n, *training, "--output-dir", str(root / str(n))) for n in (1, 2)))
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    return root, {1: one, 2: two}


def test_two_processes_take_the_steps_of_one(trained):
    root, _ = trained
    one, two = (list(csv.DictReader((only_run(root / name) / "log.csv").open())) for name in "12")
    assert len(one) == len(two) == 3
    for mine, theirs in zip(one, two, strict=True):
        for name in mine.keys() - {"seconds"}:
            assert float(mine[name] or 0) == pytest.approx(float(theirs[name] or 0), rel=1e-4, abs=1e-5), name
    assert float(one[-1]["train_short-logits"]) > 0
    assert float(one[-1]["train_loss"]) < float(one[1]["train_loss"])


def test_two_processes_leave_the_files_of_one_and_print_once(trained):
    root, done = trained
    one, two = (only_run(root / name) for name in "12")
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    assert done[1].stdout.count("\nepoch  ") == done[2].stdout.count("\nepoch  ") == 1
    rows = [[json.loads(x) for x in (run / "predictions-test.jsonl").read_text().splitlines()] for run in (one, two)]
    for mine, theirs in zip(*rows, strict=True):
        assert (mine["id"], mine["text"]) == (theirs["id"], theirs["text"])
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-4)


def test_two_processes_make_the_page_of_one(trained):
    root, done = trained
    one, two = (only_run(root / name) for name in "12")
    assert done[1].stdout.count("\npage  ") == done[2].stdout.count("\npage  ") == 1
    rows = [[json.loads(x) for x in (run / "failures.jsonl").read_text().splitlines()] for run in (one, two)]
    assert len(rows[0]) > 10
    for mine, theirs in zip(*rows, strict=True):
        for name in ("split", "id", "predicted"):
            assert mine[name] == theirs[name]
        for name in ("gradients", "occlusion"):
            values = [[token[name] for token in row["tokens"]] for row in (mine, theirs)]
            assert values[0] == pytest.approx(values[1], abs=3e-4)  # of up to 0.005, with four decimals
        assert [n["cosine"] for n in mine["neighbours"]] == pytest.approx(
            [n["cosine"] for n in theirs["neighbours"]], abs=1e-3
        )
    suspects = [list(csv.DictReader((run / "suspects.csv").open(encoding="utf-8"))) for run in (one, two)]
    assert [row["id"] for row in suspects[0]] == [row["id"] for row in suspects[1]]


def test_predictions_of_two_processes_come_in_order(trained, tmp_path, capsys):
    """Also of what is read last: one text, of which one process gets none."""
    root, _ = trained
    texts = READ_AHEAD + 1
    (tmp_path / "texts.txt").write_text("\n".join(f"{'とても' * (i % 5)}良い部屋{i}" for i in range(texts)) + "\n")
    arguments = ["--model", str(only_run(root / "1") / "model"), "--file", str(tmp_path / "texts.txt")]
    arguments += ["--format", "jsonl", "--precision", "fp32", "--device", "cpu", "--batch-size", "1"]
    assert command(["predict", *arguments]) == 0
    two = start(2, "predict", *arguments)
    assert two.returncode == 0, two.stderr
    mine, theirs = ([json.loads(line) for line in said.splitlines()] for said in (capsys.readouterr().out, two.stdout))
    assert len(mine) == texts and [row["text"] for row in mine] == [row["text"] for row in theirs]
    for row, other in zip(mine, theirs, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_what_several_processes_cannot_do_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    (tmp_path / "texts.txt").write_text("駅から近い。\n", encoding="utf-8")
    assert command(["predict", "--model", "mini"]) == 1
    assert "cannot share standard input" in capsys.readouterr().err
    assert command(["pretrain", "--text", str(tmp_path / "texts.txt")]) == 1
    assert "pretrain runs as one process" in capsys.readouterr().err


def test_alone_nothing_is_added_up():
    assert (ranks.rank(), ranks.ranks()) == (0, 1) and "WORLD_SIZE" not in os.environ
    model = torch.nn.Linear(2, 1)
    ranks.sum_gradients(model)
    assert model.weight.grad is None


def test_files_of_another_rank_go_elsewhere(monkeypatch):
    plan = Plan()
    assert plan.with_own_folder() is plan and plan.output_dir == "outputs"
    monkeypatch.setattr("tezukuri.train.plan.rank", lambda: 1)
    other = plan.with_own_folder()
    assert other.output_dir != "outputs" and Path(other.output_dir).is_dir()
