"""An encoder is adapted: guards are measured before and after, and a page shows what changed."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

import tezukuri
from tezukuri.data.dataset import DataError
from tezukuri.eval.adapting.guards import Guard, changes
from tezukuri.eval.adapting.page import TERMS
from tezukuri.scripts.adapt import parser
from tezukuri.scripts.command import main as command
from tezukuri.scripts.options import plan_of
from tezukuri.train.adapt import AdaptPlan, look
from tezukuri.train.checkpoint import FILE as CHECKPOINT

SENTENCES = (
    "犬が庭で走っています。",
    "猫が窓辺で眠っています。",
    "男性がギターを弾いています。",
    "飛行機が離陸します。",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pairs to learn from, and a guard in the form of the STS benchmark."""
    folder, random = tmp_path_factory.mktemp("adapt"), np.random.default_rng(0)
    with (folder / "stsb-ja-dev.csv").open("w", encoding="utf-8", newline="") as file:
        for one, other in random.integers(4, size=(40, 2)):
            csv.writer(file).writerow([SENTENCES[one], SENTENCES[other][:6], 4.5 if one == other else 1.0 + one / 4])
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [[f"<b>{TERMS[i]}</b>", TERMS[j], 1.0 if i // 3 == j // 3 else 0.0] for i in range(9) for j in range(9)]
        csv.writer(file).writerows([["text", "pair", "label"], *rows])
    return folder


@pytest.fixture(scope="module")
def adapted(folder, tmp_path_factory):
    """A run that was stopped when all was learned, and nothing lacked but the page, and was resumed."""
    options = {"epochs": 2, "batch_size": 8, "lr": 1e-3, "precision": "fp32", "device": "cpu", "report": False}
    options |= {"pair_column": "pair", "scale": [0, 1], "guard": [f"stsb-ja={folder / 'stsb-ja-dev.csv'}"]}
    options |= {"model": "mini", "loss": "cosine", "output_dir": tmp_path_factory.mktemp("runs")}
    looks = []

    def stopped_at_the_second(*told):
        looks.append(told)
        if len(looks) == 2:
            raise KeyboardInterrupt
        return look(*told)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tezukuri.train.adapt.look", stopped_at_the_second)
        tezukuri.adapt(folder / "pairs.csv", **options)
    (run,) = options["output_dir"].glob("*/*/*")
    return tezukuri.adapt(resume=run)


def test_what_the_page_tells_is_what_the_saved_encoder_does(folder, adapted):
    run, found = adapted
    assert not (run.folder / CHECKPOINT).exists()
    again = tezukuri.Encoder.load(run.folder / "model", device="cpu", precision="fp32")
    np.testing.assert_allclose(again.similarity(TERMS, TERMS), found.after, atol=2e-5)
    np.testing.assert_allclose(tezukuri.Encoder.load("mini", device="cpu", precision="fp32").similarity(TERMS, TERMS),
                               found.before, atol=2e-5)  # fmt: skip
    guard = Guard.load(f"stsb-ja={folder / 'stsb-ja-dev.csv'}")
    content = json.loads((run.folder / "adapt.json").read_text(encoding="utf-8"))
    kept = content["guards"]["stsb-ja"]
    assert kept["pairs"] == 40 and kept["split"] == "dev"
    assert kept["spearman"]["after"] == pytest.approx(spearmanr(guard.cosines(again), guard.gold)[0], abs=1e-4)
    assert kept["pearson"]["after"] == pytest.approx(pearsonr(guard.cosines(again), guard.gold)[0], abs=1e-4)
    fields = np.kron(np.eye(3), np.ones((3, 3))).astype(bool)
    gap = [heat[fields].mean() - heat[~fields].mean() for heat in (found.before, found.after)]
    assert gap[1] > gap[0] + 0.1  # the fields were learned
    page = (run.folder / "adapt.html").read_text(encoding="utf-8")
    assert kept["spearman"]["verdict"] in page and TERMS[0] in page and (run.folder / "heat.png").stat().st_size > 5000
    assert "&lt;b&gt;" in page and "<b>" not in page  # texts are never markup
    assert "<image" not in page  # which its own rules would not let a browser show
    assert not re.search(r"https?://(?!www\.w3\.org)", page.replace("http://purl.org", ""))


def test_a_change_is_told_from_chance(monkeypatch):
    random = np.random.default_rng(1)
    gold = random.normal(size=400)
    near, far = gold + 0.3 * random.normal(size=400), gold + 1.5 * random.normal(size=400)
    worse, same, better = (changes(gold, a, b)["spearman"] for a, b in ((near, far), (near, near + 1e-9), (far, near)))
    assert (
        worse.verdict.startswith("fell") and better.verdict.startswith("rose") and same.verdict.startswith("no change")
    )
    assert (
        worse.before == pytest.approx(spearmanr(gold, near)[0])
        and worse.of_before[0] < worse.before < worse.of_before[1]
    )
    assert changes(gold, np.full(400, 0.1), near)["pearson"].before == 0
    monkeypatch.setattr("tezukuri.eval.adapting.guards.AT_ONCE", 7 * 400)
    assert changes(gold, near, far)["spearman"] == worse  # of draws in parts


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--guard", "jcola"], "'jcola' is no guard: choose of stsb-ja"),
        (["--guard", "stsb-ja=nowhere.csv"], "no such data"),
        (["--model", "scratch"], "random weights know nothing that could be kept"),
        (["--task", "classify"], "by the task similarity, not by classify"),
        (["--method", "setfit"], "method setfit is for classes"),
        (
            ["--loss", "angular", "--task", "similarity:loss=cosine"],
            "the loss is given twice, as cosine and as angular",
        ),
        (["--loss", "nonsense"], "the loss 'nonsense' is not known; choose one of cosine"),
        (["--terms", "nowhere.txt"], "no such file"),
        (["--trust"], "trust is for a run that is resumed"),
        (["--guard", "nowhere.csv"], "a guard has the columns text, pair and label (a number): no such data"),
        (["--loss", "ranking,temperature=0"], "temperature is 0; it must be a number above 0"),
        (["--batch-size", "1"], "batch_size is 1: give a larger one (accumulate does not make it larger)"),
        (["--regularizer", "nonsense"], "regularizer 'nonsense' is not known"),
        (["--reset-head"], "reset_head is not for an encoder"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_computed(folder, told, message, monkeypatch, capsys):
    monkeypatch.delattr("tezukuri.train.adapt.Encoder.load")
    data = ["adapt", "--data", str(folder / "pairs.csv"), "--pair-column", "pair", "--model", "mini"]
    assert command([*data, *told]) == 1
    assert message in capsys.readouterr().err


def test_nothing_that_is_told_is_passed_over(folder):
    with pytest.raises(ValueError, match="resume goes on with what the run was told when it began"):
        tezukuri.adapt("jsts", resume=folder)
    with pytest.raises(DataError, match="is no guard"):
        tezukuri.adapt(AdaptPlan.of(data="jsts"), guard=["nothing"])


def test_a_stopped_run_of_adapt_is_not_resumed_by_finetune(tmp_path, capsys):
    told = {"options": vars(AdaptPlan.of(data="jsts")), "settings": {}, "data": {}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    (tmp_path / CHECKPOINT).touch()
    assert command(["finetune", "--resume", str(tmp_path)]) == 1
    assert "was begun by adapt" in capsys.readouterr().err


def test_scale_and_loss_are_options_of_the_task():
    plan = AdaptPlan.of(loss="angular", scale=[0, 5])
    assert plan.task == "similarity:loss=angular,low=0,high=5"
    assert AdaptPlan.of(recipe="siamese-tutorial").task == "similarity:loss=angular,low=0.0,high=1.0"
    plan = AdaptPlan.of(loss="ranking,temperature=0.1", data="jsts")
    assert plan.task == "similarity:loss=ranking,temperature=0.1" and plan.whole_paths() == plan
    plan = AdaptPlan.of(pairs=3, task="similarity:loss=ranking")
    assert plan.task == "similarity:loss=ranking,pairs=3" and AdaptPlan.of_run({"options": vars(plan)}) == plan
    with pytest.raises(DataError, match="is no guard"):
        Guard.load("nothing")


def test_a_guard_may_be_a_table_of_ones_own_and_several_add_up(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    guard = Guard.load("pairs.csv")
    assert (guard.name, guard.split, len(guard.examples), guard.gold.sum()) == ("pairs.csv", "all", 81, 27)
    told = ["--guard", "pairs.csv", "--guard", "stsb-ja=stsb-ja-dev.csv", "pairs.csv", "--terms", "pairs.csv"]
    plan = plan_of(AdaptPlan, parser().parse_args(told)).whole_paths()
    assert plan.guard == [f"{folder}/pairs.csv", f"stsb-ja={folder}/stsb-ja-dev.csv", f"{folder}/pairs.csv"]
    assert plan.terms == f"{folder}/pairs.csv"
    (folder / "jsts").mkdir()
    assert AdaptPlan.of(guard=["jsts=jsts", "jsts"]).whole_paths().guard == [f"jsts={folder}/jsts", "jsts"]
    (folder / "jsts=a=b.csv").write_bytes((folder / "pairs.csv").read_bytes())
    assert AdaptPlan.of(guard=["jsts=a=b.csv"]).whole_paths().guard == [f"{folder}/jsts=a=b.csv"]
    assert len(Guard.load("jsts=a=b.csv").examples) == 81
    (folder / "twice").mkdir()
    (folder / "twice" / "pairs.csv").write_text("text,pair,label\n犬,猫,1\n犬,犬,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"all scores of the guard pairs\.csv are 1, and nothing correlates with these"):
        Guard.load("twice/pairs.csv")
    (folder / "twice" / "pairs.csv").write_text("text,pair,label\n犬,猫,1\n犬,犬,2\n", encoding="utf-8")
    data = ["adapt", "--data", "pairs.csv", "--pair-column", "pair", "--guard", "pairs.csv", "twice/pairs.csv"]
    assert command(data) == 1
    assert "the guard pairs.csv is given twice, from two files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "guard", "said"),
    [
        ("pairs.csv", "pairs.csv", "pairs.csv is a guard, and what is learned from: it cannot say what was lost"),
        ("stsb", "stsb-ja=stsb-ja-dev.csv", "stsb-ja is a guard of the data that are learned from"),
    ],
)
def test_a_guard_that_is_learned_from_is_told(folder, tmp_path, data, guard, said, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for name in ("train", "dev"):
        shutil.copy("stsb-ja-dev.csv", tmp_path / f"stsb-ja-{name}.csv")
    told = {"pair_column": "pair"} if data == "pairs.csv" else {"data_path": tmp_path}
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(tezukuri.Encoder, "load", lambda *_, **__: {}["no model is needed"])
        tezukuri.adapt(data, guard=[guard], **told)
    assert said in capsys.readouterr().out
