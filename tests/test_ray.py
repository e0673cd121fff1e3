"""A sweep on a Ray cluster of this machine, of whose workers one is killed while it works."""

import csv
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_checkpoint import checkpoint

from tezukuri.scripts.command import main as command
from tezukuri.train import study
from tezukuri.train.on_ray import OnRay, packed, unpack


def test_ray_is_asked_for_where_it_is_wanted(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert command(["sweep", "--ray", "auto", "--", "--data", "sample"]) == 1
    assert "sweep: error: --ray needs Ray, which is not installed: pip install" in capsys.readouterr().err


def test_a_cluster_may_get_its_machines_later_and_makes_no_run_again_without_end(monkeypatch):
    monkeypatch.setenv("RAY_task_oom_retries", "")  # to be put back
    monkeypatch.delenv("RAY_task_oom_retries")
    ray = SimpleNamespace(init=lambda *_, **options: None, nodes=list, remote=lambda **options: lambda work: work)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert OnRay("auto", 4, command).told == "0 machines of a Ray cluster, 1 core for each run"
    assert ("RAY_task_oom_retries", "3") in os.environ.items()


def test_files_come_back_whole_in_the_place_of_those_before(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder, text in ((there, "new"), (here, "old")):
        (folder / "small" / "a b").mkdir(parents=True)
        (folder / "small" / "a b" / "log.csv").write_text(text)
    (here / "small" / "checkpoint.pt").touch()
    (here / "output.txt").write_text("kept")
    (there / "output.txt").write_text("not packed")
    unpack(packed(there), here)
    files = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    assert files == {"small/a b/log.csv", "output.txt"}
    assert (here / "small" / "a b" / "log.csv").read_text() == "new" and (here / "output.txt").read_text() == "kept"


@pytest.mark.slow
def test_runs_of_a_lost_machine_are_made_again(some_reviews: Path, tmp_path: Path, monkeypatch, capsys):
    ray = pytest.importorskip("ray")
    cluster = pytest.importorskip("ray.cluster_utils").Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    lost = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)][-1:]
    model, folder, sleep = tmp_path / "a model", tmp_path / "study", study.time.sleep
    checkpoint(model, "BertModel")

    def sleep_and_kill(seconds: float) -> None:
        if lost and not ray.available_resources().get("CPU"):  # both machines are at work
            sleep(1)
            assert not list(folder.rglob("curves.png"))
            cluster.remove_node(lost.pop(), allow_graceful=False)
        sleep(seconds)

    monkeypatch.setattr(study.time, "sleep", sleep_and_kill)
    asked = ["sweep", "--models", str(model), "--seeds", "2", "--ray", cluster.address, "--study", str(folder)]
    try:
        assert command([*asked, "--", "--data", str(some_reviews), "--epochs", "30"]) == 0
        assert not lost
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert "2 machines of a Ray cluster, 1 core for each run" in capsys.readouterr().out
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["1", "2"]
    assert len(list(folder.rglob("curves.png"))) == len(list(folder.rglob("config.json"))) == 2
