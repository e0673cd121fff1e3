"""Code of a user's own that a run names: what of it is run again when the run is resumed or retrained."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from test_scripts import TRAINING, only_run

import tezukuri
from tezukuri.scripts.command import main as command
from tezukuri.train import finetune
from tezukuri.train.regularizers.trust import code_file, hashes_of

MINE = """\
from pathlib import Path
from tezukuri.train.regularizers.regularizer import Regularizer
with Path(__file__).with_name("ran").open("a") as ran:
    ran.write("x")
class Mine(Regularizer):
    def penalty(self, output, batch):
        return output.logits.square().mean() * 0
"""


@pytest.fixture
def stopped(some_reviews, tmp_path, monkeypatch) -> Path:
    """A run with a regularizer in a file, stopped after its epochs."""
    (tmp_path / "mine.py").write_text(MINE)
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=1", f"--regularizer={tmp_path / 'mine.py'}:Mine"]
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "judge_and_save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            command(["finetune", *arguments, "--output-dir", str(tmp_path / "out")])
    (tmp_path / "ran").unlink()
    return only_run(tmp_path / "out")


def test_the_hash_of_the_code_is_kept_and_what_is_unchanged_runs_with_its_path_printed(stopped, tmp_path, capsys):
    mine = tmp_path / "mine.py"
    told = json.loads((stopped / "config.json").read_text(encoding="utf-8"))
    assert told["code"] == {str(mine.resolve()): hashlib.sha256(MINE.encode()).hexdigest()}
    capsys.readouterr()
    assert command(["finetune", "--resume", str(stopped)]) == 0
    assert f"code    {mine.resolve()}\n" in capsys.readouterr().out and (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    mine.write_text(MINE + "\n")
    assert command(["failures", str(stopped), "--retrain", "2"]) == 1
    assert "is not what" in capsys.readouterr().err and not (tmp_path / "ran").exists()


def test_code_that_changed_since_is_not_run_unless_it_is_trusted(stopped, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE.replace("* 0", "* 1"))
    assert command(["finetune", "--resume", str(stopped)]) == 1
    error = capsys.readouterr().err
    assert f"mine.py is not what {stopped} began with" in error and "--trust" in error and error.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert tezukuri.finetune(resume=stopped, trust=True).folder == stopped and (tmp_path / "ran").exists()


def test_code_of_which_the_run_tells_nothing_is_not_run(stopped, tmp_path, capsys):
    told = json.loads((stopped / "config.json").read_text(encoding="utf-8"))
    del told["code"]  # as of an older version, or by one who wants it run
    (stopped / "config.json").write_text(json.dumps(told))
    assert command(["finetune", "--resume", str(stopped)]) == 1
    assert "does not tell what the code in" in capsys.readouterr().err and not (tmp_path / "ran").exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no such owner here")
def test_another_users_run_runs_no_code_unless_it_is_trusted(stopped, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: stopped.stat().st_uid + 1)
    assert command(["finetune", "--resume", str(stopped)]) == 1
    error = capsys.readouterr().err
    assert f"{stopped} is another user's" in error and str(tmp_path / "mine.py") in error
    assert not (tmp_path / "ran").exists()
    assert command(["finetune", "--resume", str(stopped), "--trust"]) == 0 and (tmp_path / "ran").exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no such owner here")
def test_another_users_run_without_code_is_resumed(some_reviews, tmp_path, monkeypatch):
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=1", "--regularizer=ema", f"--output-dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "judge_and_save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            command(["finetune", *arguments])
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert command(["finetune", "--resume", str(only_run(tmp_path))]) == 0


def test_trust_is_for_a_run_that_is_resumed(capsys):
    assert command(["finetune", "--trust"]) == 1
    assert "--trust is for a run that is resumed" in capsys.readouterr().err
    with pytest.raises(ValueError, match="trust is for a run that is resumed"):
        tezukuri.finetune("sample", trust=True)


def test_the_code_of_a_module_is_found_without_running_any(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pack").mkdir()
    for file in ("flat.py", "pack/__init__.py", "pack/deep.py"):
        (tmp_path / file).write_text("raise SystemExit('it ran')\n")
    assert code_file("flat:Mine:weight=1,path=C:x.py:y") == (tmp_path / "flat.py").resolve()
    assert code_file("pack.deep:Mine") == (tmp_path / "pack" / "deep.py").resolve()
    assert code_file("pack:Mine") == (tmp_path / "pack" / "__init__.py").resolve()
    assert code_file(f"{tmp_path}/flat.py:Mine") == (tmp_path / "flat.py").resolve()
    for other in ("r-drop", "r-drop:weight=4", "distillation:teacher=a/b.py:C", "nowhere.at.all:Mine", "none.py:Mine"):
        assert code_file(other) is None, other
    assert hashes_of(["ema", "r-drop:weight=1"]) == {}
