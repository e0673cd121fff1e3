"""`tezukuri sweep`: the grid and its folders, what becomes of runs that fail or are cut, folds, lists, places."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.folds import parse_fold, with_fold
from tezukuri.eval.study.document import table
from tezukuri.eval.study.means import means
from tezukuri.scripts import sweep
from tezukuri.scripts.command import main as command
from tezukuri.scripts.study_options import study_of
from tezukuri.train import places
from tezukuri.train.checkpoint import BeginAnewError, require_whole
from tezukuri.train.models import LISTS, models_of, parameters_of, parted
from tezukuri.train.places import Here
from tezukuri.train.plan import DATA, DataOptions, Plan
from tezukuri.train.study import SAME, Cell, arguments_of, best_of, cells, why_failed
from tezukuri.weights.files import sha256_of

PUBLISHED = Path(__file__).with_name("hpprc-runs.csv")


class Run:
    """In the place of a process of finetune: one that is finished at once, and writes what finetune does."""

    started: ClassVar[list[list[str]]] = []
    broken: str = ""  # runs with this among their arguments fail
    code = 1

    def __init__(self, command: list[str], stdout: Any, env: dict[str, str], **options: Any) -> None:
        arguments = command[2:]
        self.started.append(arguments)
        self.returncode = 0
        if self.broken and self.broken in arguments:
            self.returncode = self.code
            stdout.write("epoch 1\ntorch.OutOfMemoryError: CUDA out of memory\nmore to read\n")
        elif arguments[0] == "--resume":
            Path(arguments[1], "checkpoint.pt").unlink()
            Path(arguments[1], "classification_report.txt").touch()
        else:
            told = dict(pairwise(arguments))
            folder = Path(told["--output-dir"]) / "model" / "2026-01-01" / "00-00-00"
            folder.mkdir(parents=True)
            seed, lr = int(told["--seed"]), float(told.get("--lr", 1e-4))
            score = 0.5 + seed / 10 + lr
            options = {"model": told.get("--model", "small"), "task": "classify", "fold": told.get("--fold")}
            settings = {"lr": lr, "batch_size": 16, "max_length": 512, "seed": seed}
            data = {"name": "news", "labels": ["a", "b"], "sha256": "0" * 64}
            for name, content in {
                "config": {"options": options, "settings": settings, "data": data},
                "val-metrics": dict.fromkeys(("loss", "accuracy", "precision", "recall", "f1", "ece"), score),
                "test-metrics": dict.fromkeys(("loss", "accuracy", "precision", "recall", "f1", "ece"), score - 0.1),
            }.items():
                (folder / f"{name}.json").write_text(json.dumps(content))
            (folder / "log.csv").write_text("epoch,dev_f1,dev_loss,seconds\n0,0.1,1,0\n1,0.6,0.4,2\n")
            (folder / "classification_report.txt").touch()  # a picture may have failed

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> type[Run]:
    monkeypatch.setattr(subprocess, "Popen", Run)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for name, value in {"started": [], "broken": "", "code": 1}.items():
        monkeypatch.setattr(Run, name, value)
    return Run


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def sweep_of(folder: Path, *asked: str, data: str = "sample") -> list[str]:
    return ["sweep", *asked, "--study", str(folder), "--", "--data", data]


# --- the grid -----------------------------------------------------------------------------------------------------


def test_a_sweep_has_a_row_for_each_model_rate_and_seed(runs, tmp_path, capsys):
    folder = tmp_path / "a study"
    asked = ["--models", "mini", "a/bert", "b/bert", "--lrs", "3e-05", "0.00003", "--lr", "1e-3", "--seeds", "2"]
    assert command(sweep_of(folder, *asked)) == 0
    said = capsys.readouterr().out
    assert "the rate 3e-05 is given several times: it is taken once" in said and "12 runs, of which 0 are fini" in said
    assert len(runs.started) == 12 and runs.started[0] == [
        "--data", "sample", "--model", "mini", "--seed", "1", "--no-report", "--lr", "3e-05", "--save-model", "none",
        "--output-dir", str(folder / "mini/default-lr=3e-05/seed-1"),
    ]  # fmt: skip
    assert (folder / "a--bert/default-lr=0.001/seed-2").is_dir() and (folder / "b--bert").is_dir()
    rows = rows_of(folder / "runs.csv")
    assert len(rows) == len(rows_of(folder / "all.csv")) == 12
    assert Counter(row["model"] for row in rows) == {"mini": 4, "a/bert": 4, "b/bert": 4}
    assert float(rows[0]["dev_f1"]) == pytest.approx(0.6 + 3e-5) and rows[0]["seconds"] == "2.0"
    text = (folder / "sweep.md").read_text(encoding="utf-8")
    assert "| a/bert | 0.001 | 2 | 0.651 ± 0.071 |" in text
    assert "on dev is trained by `tezukuri finetune --data sample --model mini --lr 0.001`." in text
    assert "finished  mini/default-lr=3e-05/seed-1  dev f1 0.6000, test f1 0.5000 (1 of 12; about 0:00" in said
    assert len(rows_of(folder / "best.csv")) == 3  # by aggregate
    # Nothing is made twice; a larger grid makes what is new.
    assert command(sweep_of(folder, *asked)) == 0 and len(runs.started) == 12
    assert command(sweep_of(folder, *asked[:-1], "3")) == 0 and len(runs.started) == 18
    # Other options are another study.
    assert command([*sweep_of(folder, *asked), "--epochs", "9"]) == 1
    assert "were started by sweep with" in capsys.readouterr().err and len(runs.started) == 18
    # Where there are no tables at the end, it has not gone well.
    (folder / "best.csv").unlink()
    (folder / "best.csv").mkdir()
    assert command(sweep_of(folder, *asked)) == 1 and "aggregate: error: " in capsys.readouterr().err


def test_no_run_is_taken_for_that_of_a_model_whose_folder_is_the_same(runs, tmp_path, capsys):
    for model, status in (("a+b", 0), ("a+b", 0), ("a_b", 1)):
        assert command(sweep_of(tmp_path, "--models", model, "--lr", "1e-5", "--seeds", "1")) == status
    assert "'a_b' and 'a+b' have the same folder, a_b/default-lr=1e-05/seed-1" in capsys.readouterr().err
    assert len(runs.started) == 1


def test_parts_of_a_grid_are_all_of_it(runs, tmp_path, capsys):
    for part in ("2/3", "1/3", "3/3"):
        assert command(sweep_of(tmp_path / "study", "--models", "x", "y", "--seeds", "2", "--only", part)) == 0
    said = capsys.readouterr().out
    assert "the part 2/3 of 4, of which 0 are finished" in said and "Of 4 runs 0 failed, and 3 are" in said
    assert sorted(told[told.index("--output-dir") + 1] for told in runs.started) == [
        str(tmp_path / "study" / model / "default" / f"seed-{seed}") for model in "xy" for seed in (1, 2)
    ]


def test_methods_of_a_sweep_are_those_that_are_named():
    options = sweep.parser().parse_args(["--models", "x@refs/pr/2", "--method", "baseline", "--", "--data", "jrte"])
    study = study_of(options, models=options.models, seeds=1)
    assert arguments_of(study, "default") == ["--data", "jrte"]
    (cell,) = cells(study, study.methods)
    assert arguments_of(study, cell.method, cell.model) == [
        "--data", "jrte", "--regularizer", "none", "--model", "x", "--revision", "refs/pr/2",
    ]  # fmt: skip
    assert cell.folder == "x@refs--pr--2/baseline/seed-1"
    assert Cell("--epochs 8", 1e-5, 1, 2, "/a/b c").folder == "_a--b c/epochs_8-lr=1e-05/fold-2-seed-1"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ["--models", "x", "--", "--model", "mini"],
            "--model is the study's own: leave it out of what follows --",
        ),
        (["--lrs", "-1"], "lr is -1.0; it must be a number above 0"),
        (["--lrs", "inf"], "lr is inf; it must be a number above 0"),
        (["--lrs", "1e-5", "1.0000001e-5"], "1.0000001e-05 and 1e-05 have the same folder, default-lr=1e-05/seed-1"),
        (["--folds", "1"], "deal them into 2 parts or more"),
        (["--models", "nowhere.toml"], "no such file: nowhere.toml"),
        (["--method", "--dev-split last-fifth"], "--dev-split is one for all runs of a study: leave it out"),
        (["--folds", "2", "--method", "--leave-out x.csv"], "--leave-out is one for all runs of a study"),
        (["--", "--fold", "1/2"], "--fold is the study's own: leave it out of what follows --"),
        (["--", "--save-model=best"], "--save-model is the study's own"),  # though this is finetune's default
        (["--method", "fgm + --lr 1"], "--lr is the study's own: leave it out of fgm + --lr 1, and give --lrs"),
        (["--", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_no_run_could_do_is_said_before_any(asked, message, runs, tmp_path, capsys):
    assert command(["sweep", "--study", str(tmp_path / "study"), *asked]) == 1
    assert message in capsys.readouterr().err and not runs.started and not (tmp_path / "study").exists()


def test_no_method_changes_what_texts_there_are():
    of_data = {one.name for one in fields(DataOptions) if one.metadata["group"] == DATA}
    assert of_data <= set(SAME)


# --- what fails, and what is cut ----------------------------------------------------------------------------------


def test_a_run_that_fails_is_a_row_with_its_reason_and_is_tried_again(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Run, "broken", "no/such")
    asked = sweep_of(tmp_path, "--models", "no/such", "mini", "--seeds", "2")
    assert command(asked) == 1
    said = capsys.readouterr()
    assert "failed    no--such/default/seed-1  torch.OutOfMemoryError: CUDA out of memory (1 of 4" in said.out
    assert said.err.splitlines()[-1].startswith("sweep: error: 2 runs failed (torch.OutOfMemoryError: CUDA out of me")
    assert "Of 4 runs 2 failed (failed.csv), and 0 are not made yet" in said.out
    row = rows_of(tmp_path / "failed.csv")[1]
    assert row == {
        "model": "no/such", "method": "default", "lr": "", "seed": "2",
        "reason": "torch.OutOfMemoryError: CUDA out of memory",
        "log": str(tmp_path / "no--such" / "default" / "seed-2" / "output.txt"),
    }  # fmt: skip
    assert {row["model"] for row in rows_of(tmp_path / "runs.csv")} == {"mini"} and len(runs.started) == 4
    monkeypatch.setattr(Run, "broken", "")
    assert command(asked) == 0 and len(runs.started) == 6 and not (tmp_path / "failed.csv").exists()


def test_a_run_that_another_process_has_made_again_is_not_one_that_failed(runs, tmp_path, capsys):
    asked = sweep_of(tmp_path, "--models", "mini", "--seeds", "2")
    assert command(asked) == 0
    (tmp_path / "mini/default/seed-1/failed.txt").write_text("noted late")
    assert command(asked) == 0 and not (tmp_path / "failed.csv").exists() and len(runs.started) == 2


def test_where_all_runs_fail_that_is_said(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Run, "broken", "no/such")
    assert command(sweep_of(tmp_path, "--models", "no/such", "--seeds", "1")) == 1
    assert "sweep: error: 1 run failed (torch.OutOfMemoryError" in capsys.readouterr().err


def test_a_study_goes_on_with_the_data_and_by_the_command_that_it_began_with(runs, tmp_path, capsys):
    file, folder = tmp_path / "news.csv", tmp_path / "study"
    file.write_text("text,label,split\n一,a,train\n二,b,train\n三,a,dev\n四,b,test\n")
    asked = sweep_of(folder, "--method", "baseline", "--seeds", "1", data=str(file))
    assert command(asked) == 0 and len(runs.started) == 1
    assert command(["compare", *asked[1:]]) == 1
    assert f"were started by sweep with '--data {file}': choose another" in capsys.readouterr().err
    file.write_text(file.read_text().replace("二", "五"))
    assert command(asked) == 1
    assert "texts, labels, votes or splits of news.csv changed: choose another --study" in capsys.readouterr().err
    # Studies of before that do not tell of their data go on.
    (folder / "study.json").write_text(json.dumps({"finetune": ["--data", str(file)], "soup": False}))
    assert command(asked) == 0 and len(runs.started) == 1


def test_a_cut_run_goes_on_or_begins_anew(runs, tmp_path):
    asked = sweep_of(tmp_path, "--models", "mini", "--seeds", "2")
    assert command(asked) == 0
    one, two = (tmp_path / f"mini/default/seed-{seed}/model/2026-01-01/00-00-00" for seed in (1, 2))
    (one / "checkpoint.pt").touch()
    (two / "classification_report.txt").unlink()  # before its first checkpoint
    runs.started.clear()
    assert command(asked) == 0
    assert [told[:2] for told in runs.started] == [["--resume", str(one)], ["--data", "sample"]]


@pytest.mark.parametrize(("code", "then"), [(BeginAnewError.exit_status, "--data"), (1, "--resume")])
def test_a_run_that_cannot_go_on_from_its_checkpoint_begins_anew(code, then, runs, tmp_path, monkeypatch):
    asked = sweep_of(tmp_path, "--models", "mini", "--seeds", "1")
    assert command(asked) == 0
    run = tmp_path / "mini/default/seed-1/model/2026-01-01/00-00-00"
    (run / "checkpoint.pt").write_text("no archive")
    (run / "classification_report.txt").unlink()
    with pytest.raises(BeginAnewError, match="cannot be read"):
        require_whole(run / "checkpoint.pt")
    monkeypatch.setattr(Run, "broken", "--resume")
    monkeypatch.setattr(Run, "code", code)
    assert command(asked) == 1
    monkeypatch.setattr(Run, "broken", "")
    assert command(asked) == 0 and [told[0] for told in runs.started] == ["--data", "--resume", then]


def test_a_method_whose_code_changed_is_refused_and_a_cut_run_of_it_begins_anew(runs, tmp_path, monkeypatch, capsys):
    asked = sweep_of(tmp_path, "--models", "mini", "--seeds", "1")
    assert command(asked) == 0
    run, mine = tmp_path / "mini/default/seed-1/model/2026-01-01/00-00-00", tmp_path / "mine.py"
    mine.write_text("old")
    config = json.loads((run / "config.json").read_text()) | {"code": {str(mine): sha256_of(mine)}}
    (run / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("tezukuri.train.study.hashes_of", lambda _: {str(mine): sha256_of(mine)})
    assert command(asked) == 0
    mine.write_text("new")
    assert command(asked) == 1 and f"{mine} changed since {run} learned with it" in capsys.readouterr().err
    (run / "checkpoint.pt").touch()
    assert command(asked) == 0 and [told[0] for told in runs.started] == ["--data", "--data"]


def test_data_that_change_while_runs_are_made_end_the_sweep(runs, tmp_path, monkeypatch, capsys):
    file = tmp_path / "news.csv"
    file.write_text("text,label,split\n一,a,train\n二,b,train\n三,a,dev\n四,b,test\n")
    asked = sweep_of(tmp_path / "study", "--models", "mini", "--seeds", "2", data=str(file))
    monkeypatch.setattr("tezukuri.train.study.LOOK_EVERY", -1.0)
    before, poll = file.read_text(), Run.poll
    monkeypatch.setattr(Run, "poll", lambda self: (file.write_text(before.replace("二", "五")), poll(self))[1])
    assert command(asked) == 1 and "texts, labels, votes or splits of news.csv changed" in capsys.readouterr().err
    assert len(runs.started) == 1
    file.write_text(before)
    assert command(asked) == 0 and len(runs.started) == 2


def test_a_model_whose_files_changed_is_refused(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).mkdir()
        Path(name, "config.json").write_text("{}")
    assert command(sweep_of(tmp_path / "study", "--models", "one", "--seeds", "1")) == 0
    assert command(sweep_of(tmp_path / "study", "--models", "two", "one", "--seeds", "1")) == 0
    Path("two", "README.md").write_text("of no model")
    assert command(sweep_of(tmp_path / "study", "--models", "two", "one", "--seeds", "1")) == 0
    Path("two", "config.json").write_text('{"a": 1}')
    assert command(sweep_of(tmp_path / "study", "--models", "one", "--seeds", "2")) == 0 and len(runs.started) == 3
    assert command(sweep_of(tmp_path / "study", "--models", "one", "two", "--seeds", "1")) == 1
    assert "two changed since runs in" in capsys.readouterr().err


def test_where_nothing_can_be_locked_that_is_said(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError("no locks")))
    assert command(sweep_of(tmp_path, "--models", "mini", "--seeds", "1")) == 0
    assert f"note    no locks in {tmp_path}: let no second process" in capsys.readouterr().out


def test_a_run_that_another_process_makes_is_waited_for(runs, tmp_path, monkeypatch, capsys):
    """As a run that has outlived its study, which was killed."""
    folder = tmp_path / "mini" / "default" / "seed-1"
    folder.mkdir(parents=True)
    wait = (
        "import fcntl, sys; fcntl.flock(sys.stdout, fcntl.LOCK_EX); sys.stderr.write('x'); sys.stderr.flush(); input()"
    )
    monkeypatch.undo()
    with (folder / "output.txt").open("w") as output:
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout": output}
        other = subprocess.Popen([sys.executable, "-c", wait], **pipes)
    other.stderr.read(1)
    monkeypatch.setattr(subprocess, "Popen", Run)
    monkeypatch.setattr("time.sleep", lambda seconds: other.communicate(b"\n") if other.poll() is None else None)
    assert command(sweep_of(tmp_path, "--models", "mini", "--seeds", "1")) == 0
    assert "another process makes 1 of the runs, such as mini/default/seed-1" in capsys.readouterr().out
    assert other.returncode == 0 and len(runs.started) == 1


def test_the_reason_of_a_failure_is_one_line(tmp_path):
    log = tmp_path / "output.txt"
    log.write_text("epoch 1\n")
    assert why_failed(-signal.SIGKILL, log) == "ended by SIGKILL, as a system does that is short of memory"
    assert why_failed(-signal.SIGSEGV, log) == "ended by SIGSEGV" and why_failed(1, log) == "epoch 1"
    log.write_text("Traceback\n  x\nRuntimeError: the loss is nan\nin two lines\n\n")
    assert why_failed(1, log) == "RuntimeError: the loss is nan"
    log.write_text("")
    assert why_failed(1, log) == "it said nothing"


# --- places -------------------------------------------------------------------------------------------------------


def test_processes_share_cores_and_gpus(monkeypatch, tmp_path):
    given: list[dict[str, str]] = []

    class Process:
        def __init__(self, command, env, **options):
            given.append(env)

        def poll(self):
            return 0 if len(given) == 2 else None  # the first two have ended

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(places, "visible_gpus", lambda: ["0", "GPU-x"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda number: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    here = Here(["python"], 3)
    assert here.told == "3 at a time, with 2 of 8 cores each, on GPU 0, GPU-x in turn"
    for _ in range(2):
        here.start([], tmp_path, None)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in given] == ["0", "GPU-x"] and given[0]["OMP_NUM_THREADS"] == "2"
    here.start([], tmp_path, None)
    assert given[2]["CUDA_VISIBLE_DEVICES"] == "0", "the first place is free again"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert (
        Here(["python"], 9).told.startswith("9 at a time, with 5 of 8 cores each")
        and "these are more" in Here([], 9).told
    )
    assert Here([], 3, "cuda:1").gpus == Here([], 1).gpus == []


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert places.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert places.visible_gpus() == ["3", "5"]


# --- folds --------------------------------------------------------------------------------------------------------


def texts_of(*labels: str, split: str = "train") -> list[Example]:
    return [Example(f"{split}{n}", f"{split}の{n}", label, split) for n, label in enumerate(labels)]


def test_each_text_is_dev_in_one_fold_and_every_class_is_dealt_evenly():
    examples = [*texts_of(*"aaaaaaabbbbbcc"), *texts_of(*"abc", split="dev"), *texts_of(*"abc", split="test")]
    data = Dataset("news", ("a", "b", "c"), examples)
    dealt = [with_fold(data, number, 3, seed=0) for number in (1, 2, 3)]
    dev = [[e.id for e in one.split("dev")] for one in dealt]
    assert sorted(chain(*dev)) == sorted(e.id for e in examples if e.split != "test")
    assert [len(ids) for ids in dev] == [6, 6, 5]
    for one in dealt:
        counts = Counter(e.label for e in one.split("dev"))
        assert 2 <= counts["a"] <= 3 and counts["b"] == 2 and counts["c"] == 1
        assert [e.id for e in one.split("test")] == ["test0", "test1", "test2"]
        assert len(one.split("train")) + len(one.split("dev")) == 17
    assert with_fold(data, 1, 3, seed=0) == dealt[0] != with_fold(data, 1, 3, seed=1)
    assert dealt[1].notes == [
        "cross-validation: train and dev dealt into 3 parts, class by class (seed 0); part 2 is dev"
    ]


def test_texts_that_are_the_same_are_in_one_part():
    examples = [*texts_of(*"ab"), Example("x", "ＡＢＣ d", "a", "train"), Example("y", "abcD", "b", "dev")]
    examples += [Example("z", "train の0", "a", "test")]
    for number in (1, 2, 3):
        one = with_fold(Dataset("news", ("a", "b"), examples), number, 3, seed=4)
        split = {e.id: e.split for e in one.examples}
        assert split["x"] == split["y"] and split["z"] == "test"
    assert one.notes[1:] == [
        "texts that differ from others in width, case and spaces at most, and share their part: 2",
        "texts of test that are among these too, with the same allowance: 1",
        "fewer than 3 different texts of 'a', 'b': not all parts have it",
    ]
    with pytest.raises(ValueError, match="news has 3 different texts in train and dev: deal them"):
        with_fold(Dataset("news", ("a", "b"), examples), 1, 4, seed=4)


def test_pairs_that_share_a_text_with_those_of_train_are_told():
    examples = [
        Example(f"{n}", f"問い{n}", "a", "train", pair=pair) for n, pair in enumerate(["甲", "甲 ", "乙", "丙"])
    ]
    told = [with_fold(Dataset("pairs", ("a",), examples), number, 4, seed=0) for number in (1, 2, 3, 4)]
    shared = {
        one.split("dev")[0].id for one in told if any("one text is in a pair of train too: 1" in n for n in one.notes)
    }
    assert shared == {"0", "1"}


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/x", ""])
def test_a_fold_is_a_part_of_a_whole(text, capsys):
    assert parse_fold("2/5") == (2, 5)
    with pytest.raises(ValueError, match="is no part of a whole"):
        Plan(fold=text)
    with pytest.raises(SystemExit):
        sweep.parser().parse_args(["--only", text])
    assert f"argument --only: {text!r} is no part of a whole: write 2/5" in capsys.readouterr().err


def test_folds_are_runs_of_their_own(runs, tmp_path, capsys):
    file = tmp_path / "two of everything.csv"
    file.write_text("text,label\n" + "".join(f"{label}の文{n},{label}\n" for label in "ab" for n in (1, 2)))
    asked = ["--models", "mini", "--folds", "2"]
    assert command(sweep_of(tmp_path / "study", *asked, data=str(file))) == 0
    assert [told[told.index("--fold") + 1] for told in runs.started] == ["1/2", "2/2"]
    assert (tmp_path / "study" / "mini" / "default" / "fold-2-seed-1").is_dir()
    said = capsys.readouterr().out
    assert "data    cross-validation: train and dev dealt into 2 parts, class by class" in said
    assert "Mean ± standard deviation over 2 folds: each" in said and "Bengio and Grandvalet 2004" in said
    assert [row["fold"] for row in rows_of(tmp_path / "study" / "runs.csv")] == ["1", "2"]
    assert len(rows_of(tmp_path / "study" / "all.csv")) == 2 and "counts as a seed here" in said
    assert command(sweep_of(tmp_path / "study", "--models", "mini", "--folds", "3", data=str(file))) == 1
    assert "and 2 folds: choose another --study" in capsys.readouterr().err


def test_a_fold_is_of_the_data_as_read_and_kept_with_the_run():
    plan = Plan(fold="2/4")
    data, whole = plan.read_data(), replace(plan, fold=None).read_data()
    assert len(data.split("dev")) == pytest.approx(len(whole.split("train") + whole.split("dev")) / 4, abs=3)
    assert Plan.of_run({"options": {"fold": "2/4"}}).read_data().examples == data.examples


# --- tables and lists ---------------------------------------------------------------------------------------------


def test_means_are_of_any_score_and_without_test():
    rows = [{"model": "m", "method": "default", "lr": 1e-5, "seed": n, "dev_spearman": 0.4 + n / 10, "seconds": 3}
            for n in (1, 2)]  # fmt: skip
    rows.append({"model": "n", "method": "default", "lr": 1e-5, "seed": 1, "dev_spearman": 0.9, "seconds": 5})
    told = means(rows, "spearman", folds=0, seeds=2)
    assert told.splitlines()[:4] == [
        "| model | lr | runs | dev spearman | seconds |", "| --- | --- | --- | --- | --- |",
        "| n | 1e-05 | 1 | 0.900 | 5 |", "| m | 1e-05 | 2 | 0.550 ± 0.071 | 3 |",
    ]  # fmt: skip


def test_of_losses_the_lowest_is_first_and_texts_are_judged_with_each_seed():
    rows = [{"model": name, "method": "default", "lr": 1e-5, "seed": 1, "dev_loss": loss, "seconds": 3}
            for name, loss in {"without": None, "worse": 0.9, "better": 0.4}.items()]  # fmt: skip
    told = means(rows, "loss", folds=2, seeds=2)
    assert [line.split()[1] for line in told.splitlines()[2:5]] == ["better", "worse", "without"]
    assert "over 2 folds and 2 seeds: each text of train and dev is judged once with each seed by" in told


def test_a_run_is_told_by_the_score_that_it_has(tmp_path):
    (tmp_path / "config.json").write_text('{"options": {"task": "similarity"}}')
    for scores, best in (({"loss": 1, "spearman": 0.5}, "spearman"), ({"loss": 1, "mrr": 0.5}, "mrr")):
        (tmp_path / "val-metrics.json").write_text(json.dumps(scores))
        assert best_of(tmp_path) == best


def test_a_cell_of_a_table_is_one_whatever_stands_in_it():
    assert table(["a|b"], [["c\nd"]]) == "| a\\|b |\n| --- |\n| c d |"


def test_the_tutorials_models_are_those_of_its_published_runs():
    models = models_of(["hpprc"])
    assert len(models) == 17 and set(models) == {row["model_name"] for row in rows_of(PUBLISHED)}
    text = LISTS["hpprc"].read_text(encoding="utf-8")
    assert text.count("tokenizer = ") == 17 and sum(number < 200e6 for number in parameters_of("hpprc").values()) == 9


def test_a_list_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mini").mkdir()
    Path("of@mine").mkdir()
    Path("my.toml").write_text('[[model]]\nname = "a/b"\nrevision = "main"\n\n[[model]]\nname = "./mini/"\n')
    assert models_of(["x/y", "my.toml", "./of@mine", "mini"]) == ["x/y", "a/b@main", "./mini", "of@mine", "mini"]
    assert parted("a/b@refs/pr/2") == ("a/b", "refs/pr/2") and parted("of@mine") == ("of@mine", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[model]]\nname = "a"\n\n[[model]]\nname = "b"\nrevison = "x"\n', "my.toml:6: 'revison' is not known"),
        ('# one\n[[models]]\nname = "a"\n', "my.toml:2: 'models' is not known; a file has a table"),
        ('[[model]]\nname = "a"\n[[model]]\nname = 3\n', "my.toml:4: name is 3: write a text in quotes"),
        ('\n[[model]]\ntokenizer = "x"\n', "my.toml:2: this model has no name"),
        ("[[model]]\nname = a\n", "my.toml:2: no TOML"),
        ('[[model]]\nname = "a', "my.toml:2: no TOML"),
        ("model = 3\n", "my.toml:1: there is no model"),
        ("", "my.toml:1: there is no model"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_line(text, message, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message.replace("[", "\\[")):
        models_of([str(file)])
