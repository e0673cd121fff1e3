"""Comparing runs: the statistics against known answers, the sentences, and the command with its study."""

import csv
import json
import math
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.metrics import f1_score
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER, checkpoint

from tezukuri.data.dataset import Example
from tezukuri.eval.predict import predict
from tezukuri.eval.statistics import drawn_class_scores, holm, mcnemar
from tezukuri.eval.study import pictures
from tezukuri.eval.study.document import document
from tezukuri.eval.study.pictures import comparison_curves
from tezukuri.eval.study.study import (
    Change,
    Trial,
    change_after_lowest,
    differences,
    read_run,
    variants,
    with_all_seeds,
)
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.scripts import compare
from tezukuri.scripts.command import main as command
from tezukuri.scripts.study_options import study_of
from tezukuri.train.comparison import best_pairs
from tezukuri.train.soup import greedy_soup
from tezukuri.train.study import arguments_of, run_folder
from tezukuri.weights.load import load
from tezukuri.weights.save import save

LABELS = ["a", "b", "c"]
GOLD = np.random.default_rng(0).choice(LABELS, 400, p=[0.2, 0.3, 0.5]).tolist()


def guess(seed: int, right: float) -> list[str]:
    """Predictions of which about this share is right."""
    random = np.random.default_rng(seed)
    return [g if random.random() < right else str(random.choice(LABELS)) for g in GOLD]


def run_of(method: str, seed: int, predicted: list[str], losses=(0.6, 0.5, 0.7), right=(0.7, 0.8, 0.9)) -> Trial:
    epochs = [
        {"epoch": i, "dev_loss": loss, "dev_accuracy": share, "dev_ece": 0.1 * i, "seconds": 1.0}
        for i, (loss, share) in enumerate(zip(losses, right, strict=True), start=1)
    ]
    score = {"accuracy": float(np.mean(np.array(predicted) == np.array(GOLD))), "f1": 0.5, "loss": 0.7, "ece": 0.1}
    metrics = {"train": score | {"accuracy": 1.0}, "dev": score, "test": score}
    splits = ("dev", "test")
    return Trial(
        method,
        1e-3,
        seed,
        epochs,
        metrics,
        dict.fromkeys(splits, GOLD),
        dict.fromkeys(splits, predicted),
        LABELS,
        "x",
        "c",
    )


# ---- statistics


def test_the_interval_is_that_of_scipys_bootstrap():
    ours, theirs = run_of("m", 1, guess(1, 0.8)), run_of("baseline", 1, guess(2, 0.7))
    found = differences([ours], [theirs], "dev")["accuracy"]
    apart = ours.right("dev").astype(float) - theirs.right("dev")
    expected = bootstrap((apart,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert found.mean == pytest.approx(apart.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    # Twice the tail of the normal distribution, where the mean of 400 differences is nearly normal.
    z = torch.tensor(apart.mean() / (apart.std() / 20))
    assert found.p == pytest.approx(float(torch.special.erfc(z / 2**0.5)), abs=0.01)


def test_seeds_are_kept_together():
    """The same run under five seeds is no more than once: the interval is of texts."""
    ours = [run_of("m", seed, guess(1, 0.8)) for seed in range(5)]
    theirs = [run_of("baseline", seed, guess(2, 0.7)) for seed in range(5)]
    assert differences(ours, theirs, "dev") == differences(ours[:1], theirs[:1], "dev")
    other = [run_of("m", seed, guess(10 + seed, 0.8)) for seed in range(5)]
    mixed = differences(other, theirs, "dev")["accuracy"]
    one = differences(other[:1], theirs[:1], "dev")["accuracy"]
    assert mixed.high - mixed.low < one.high - one.low


def test_a_method_that_changes_nothing_has_no_difference():
    run = run_of("m", 1, guess(1, 0.8))
    for found in differences([run], [run], "dev").values():
        assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_drawn_scores_are_those_of_the_drawn_texts():
    run, random = run_of("m", 1, guess(1, 0.6)), np.random.default_rng(4)
    chosen = random.integers(0, 30, 50)  # texts of the first thirty, some several times
    draws = np.bincount(chosen, minlength=len(GOLD))[None, :].astype(float)
    found = drawn_class_scores(np.array(GOLD), np.array([run.predicted["dev"]]), LABELS, draws)
    gold, predicted = np.array(GOLD)[chosen], np.array(run.predicted["dev"])[chosen]
    assert found["f1"] == pytest.approx(f1_score(gold, predicted, average="macro", labels=LABELS))
    assert found["accuracy"] * len(GOLD) == pytest.approx((gold == predicted).sum())


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_mcnemar_by_hand():
    """Ten texts that only one has right and two that only the other has: 2 · (1 + 12 + 66) / 4096."""
    wrong = ["c" if g != "c" else "a" for g in GOLD]
    ours, theirs = [*GOLD[:10], *wrong[10:12], *GOLD[12:]], [*wrong[:10], *GOLD[10:12], *GOLD[12:]]
    right = [run_of("m", 1, said).right("dev") for said in (ours, theirs)]
    assert mcnemar(*right) == pytest.approx(2 * 79 / 4096)
    assert mcnemar(right[0], right[0]) == 1.0


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (Change(0.2, 0.02, 0.1, 0.01, 0.01), "over-confidence"),
        (Change(0.2, -0.05, 0.1, 0.01, 0.01), "over-fitting"),
        (Change(0.2, -0.01, 0.1, 0.01, 0.01), "unclear"),
        (Change(0.2, 0.02, 0.1, 0.01, 0.06), "unclear"),
        (Change(0.2, -0.5, 0.1, math.inf, math.inf), "unclear"),
        (Change(0.001, -0.05, 0.1, 0.01, 0.01), "no rise"),
    ],
)
def test_over_confidence_and_over_fitting_are_told_apart(change, verdict):
    assert change.verdict == verdict


def test_the_change_is_from_the_epoch_of_the_lowest_loss_to_the_last():
    runs = [
        run_of("baseline", 1, GOLD, losses=(0.6, 0.5, 0.7), right=(0.7, 0.8, 0.9)),
        run_of("baseline", 2, GOLD, losses=(0.4, 0.5, 0.8), right=(0.8, 0.8, 0.82)),
    ]
    found = change_after_lowest(runs)
    assert (found.loss, found.accuracy, found.ece) == pytest.approx((0.3, 0.06, 0.15))
    assert (found.accuracy_error, found.ece_error) == pytest.approx((0.04, 0.05))
    assert change_after_lowest(runs[:1]).accuracy_error == math.inf


def test_runs_that_cannot_be_compared_are_refused():
    runs = [run_of("baseline", 1, GOLD), run_of("m", 1, GOLD)]
    assert [variant[0].method for variant in variants(runs[::-1])] == ["baseline", "m"]
    with pytest.raises(ValueError, match="different seeds: \\(1,\\), \\(1, 2\\)"):
        variants([*runs, run_of("m", 2, GOLD)])
    with pytest.raises(ValueError, match="no run of the baseline"):
        variants(runs[1:])


# ---- sentences


def study() -> list[Trial]:
    found = []
    for seed in range(5):
        found.append(run_of("baseline", seed, guess(seed, 0.7)))
        found.append(run_of("helps", seed, guess(seed + 10, 0.85)))
        found.append(run_of("nothing", seed, guess(seed + 20, 0.7)))
        found.append(run_of("harms", seed, guess(seed + 30, 0.5)))
    return found


def test_facts_are_certain_and_possibilities_are_not():
    text = document(study(), "picture.png")
    (said,) = re.findall(r"## Findings\n\n(.*?)\n\n", text, re.DOTALL)
    sentences = said.splitlines()
    assert len(sentences) > 6 and all(s.startswith(("- **fact** ", "- **possibility** ")) for s in sentences)
    for sentence in sentences:
        assert ("**possibility**" in sentence) == bool(re.search(r"\bmay\b", sentence)), sentence
    assert "helps is more accurate than the baseline" in said and "harms is less accurate than the baseline" in said
    assert "The accuracy of nothing cannot be told from that of the baseline" in said
    assert "This is over-confidence" in sentences[0] and "changes by +10.0 points" in sentences[0]


def test_the_tables_tell_of_every_method_and_of_test_only_what_dev_chose():
    text = document(study(), "picture.png")
    dev, test = text.split("## Test")
    for method in ("baseline", "helps", "nothing", "harms"):
        assert len(re.findall(rf"^\| {method} \|", dev, re.MULTILINE)) == (2 if method == "baseline" else 3)
    assert re.findall(r"^\| (\w+) \|", test, re.MULTILINE) == ["method", "baseline", "helps"]  # also lowest in loss
    assert "![dev loss and accuracy of every method](picture.png)" in dev
    first = [run for run in study() if run.method == "helps"]
    scores = [run.metrics["dev"]["accuracy"] for run in first]
    assert f"| helps | {np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f} |" in dev


def test_the_picture_has_two_fields_for_each_method(monkeypatch):
    runs = study()
    runs[3] = run_of("harms", 0, GOLD, losses=(0.6, 0.5), right=(0.7, 0.8))  # stopped early
    drawn = []
    monkeypatch.setattr(pictures, "png", drawn.append)
    comparison_curves(variants(runs))
    fields = drawn[0].axes
    assert [f.get_title() for f in fields if f.get_title()] == ["baseline", "helps", "nothing", "harms"]
    assert [f.get_ylabel() for f in fields] == ["dev loss"] * 4 + ["dev accuracy"] * 4
    grey, blue = fields[7].lines  # of the last method
    assert grey.get_ydata().tolist() == pytest.approx([0.7, 0.8, 0.9])
    assert blue.get_ydata().tolist() == pytest.approx([0.7, 0.8, 0.9]) and len(fields[7].collections) == 2


def test_what_answers_alike_is_said_to():
    runs = [run for run in study() if run.method == "baseline"]
    lower = {"dev": runs[0].metrics["dev"] | {"loss": 0.1}}
    runs += [replace(run, method="softer", metrics=run.metrics | lower) for run in runs]
    text = document(runs, "picture.png")
    assert "**fact** softer answers as the baseline does to every text of dev" in text and "cannot be told" not in text
    assert "**fact** With every one of the seeds softer has a lower loss on dev" in text
    assert re.findall(r"^\| (\w+) \|", text.split("## Test")[1], re.MULTILINE) == ["method", "baseline", "softer"]


def test_one_seed_and_no_test_split_are_enough_for_a_document():
    whole = [run for run in study() if run.seed == 0]
    runs = [replace(run, gold={"dev": GOLD}, predicted={"dev": run.predicted["dev"]}) for run in whole]
    text = document(runs, "picture.png")
    assert "## Test" not in text and "nan" not in text and "inf" not in text and "±" not in text.split("|", 1)[1]
    assert "**possibility** This may be over-fitting, over-confidence or both" in text


def test_several_rates_are_told_apart():
    runs = [*study(), *(replace(run, lr=2e-3) for run in study() if run.method == "helps")]
    text = document(runs, "picture.png")
    assert text.startswith("3 methods and the baseline")
    assert "| helps (lr 0.001) |" in text and "| helps (lr 0.002) |" in text and "| baseline |" in text


def test_few_texts_prove_nothing():
    """Five texts, all of which only one has right: a sign test gives no p below 2 / 2⁵."""
    ours, theirs = (
        replace(run_of(name, 1, GOLD), gold={"dev": ["a"] * 5}, predicted={"dev": [said] * 5})
        for name, said in (("m", "a"), ("baseline", "b"))
    )
    assert differences([ours], [theirs], "dev")["accuracy"].p == pytest.approx(1 / 16)


def test_a_study_of_the_baseline_alone_has_its_means():
    runs = [run for run in study() if run.method == "baseline"]
    text = document(runs, "picture.png")
    assert "0 methods and the baseline" in text and "## Against" not in text


# ---- soup


def examples_of(labels):
    return [Example(text, text, label, "dev") for text, label in zip(TEXTS, labels, strict=True)]


def test_a_soup_takes_in_what_does_not_harm(tmp_path):
    """By hand: in the order of their accuracy, each joins the mean where that is no worse for it."""
    labels = [LABELS[i % 3] for i in range(len(TEXTS))]
    folders = []
    torch.manual_seed(3)
    for number in range(6):
        model = Model(Bert(BertConfig(**SIZES)), tuple(LABELS))
        folders.append(tmp_path / str(number))
        save(model, TOKENIZER, folders[-1])

    model = load(folders[0], "classify")[0]

    def accuracy(weights):
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        predicted = predict(model, TOKENIZER.encode_batch(TEXTS)).argmax(dim=-1)
        return float(np.mean([LABELS[i] == label for i, label in zip(predicted, labels, strict=True)]))

    weights = {folder: [p.detach().clone() for p in load(folder, "classify")[0].parameters()] for folder in folders}
    scores = {folder: accuracy(weights[folder]) for folder in folders}
    chosen, best = [], 0.0
    for folder in sorted(folders, key=lambda folder: -scores[folder]):
        mean = [sum(parts) / len(parts) for parts in zip(*(weights[f] for f in [*chosen, folder]), strict=True)]
        if accuracy(mean) >= best:
            chosen.append(folder)
            best = accuracy(mean)
    found = greedy_soup(folders, examples_of(labels), "cpu")
    assert found.chosen == chosen and found.accuracy == best and 1 < len(chosen) < 6
    expected = [sum(parts) / len(parts) for parts in zip(*(weights[f] for f in chosen), strict=True)]
    torch.testing.assert_close([p.detach() for p in found.model.parameters()], expected, rtol=1e-4, atol=1e-6)


def test_a_soup_of_models_with_other_labels_is_refused(tmp_path):
    for name, labels in (("one", ("a", "b", "c")), ("two", ("a", "c", "b"))):
        save(Model(Bert(BertConfig(**SIZES)), labels), TOKENIZER, tmp_path / name)
    with pytest.raises(ValueError, match="cannot be averaged"):
        greedy_soup([tmp_path / "one", tmp_path / "two"], examples_of(["a"] * len(TEXTS)), "cpu")
    with pytest.raises(ValueError, match="none of the runs has kept its own"):
        greedy_soup([], [])


# ---- the command


@pytest.fixture(scope="module")
def small(some_reviews, tmp_path_factory) -> list[str]:
    """The options that all runs of the study share: of a tiny encoder, and a few reviews."""
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint(folder, "BertModel")
    return ["--model", str(folder), "--data", str(some_reviews), "--epochs", "2"]


@pytest.fixture(scope="module")
def finished_study(small, tmp_path_factory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("study") / "study"
    arguments = ["compare", "--method", "label-smoothing", "--method", "ema", "--seeds", "1", "--jobs", "2"]
    arguments += ["--lr", "1e-3", "--pairs-of", "2", "--soup", "--study", str(folder), "--", *small]
    assert command(arguments) == 0
    return folder, arguments


def test_a_study_has_a_row_for_each_run_and_a_document(finished_study):
    folder, _ = finished_study
    rows = list(csv.DictReader((folder / "runs.csv").open(encoding="utf-8")))
    methods = {"baseline", "label-smoothing", "ema", "label-smoothing + ema", "ema + label-smoothing"}
    assert len(rows) == 4 and {row["method"] for row in rows} < methods
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row['method']} | {float(row['accuracy']):.3f} |" in text
    assert (folder / "curves.png").is_file() and "## Greedy soup" in text
    assert not list(folder.rglob("report.html"))  # a page for each run would take long, and nobody asked
    assert load(folder / "soup" / "model", "classify")[0].labels == ("negative", "normal", "positive")


def test_a_finished_run_is_never_made_again(finished_study, small, monkeypatch, capsys):
    folder, arguments = finished_study
    before = (folder / "comparison.md").read_text(encoding="utf-8")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert command(arguments) == 0
    assert (folder / "comparison.md").read_text(encoding="utf-8") == before
    assert command([*arguments[: arguments.index("--")], "--", "--model", "mini"]) == 1
    assert f"started by compare with '{shlex.join(small)}' and --soup" in capsys.readouterr().err


def test_a_stopped_run_is_gone_on_with_and_a_failed_one_is_named(finished_study, small, tmp_path, monkeypatch, capsys):
    folder, arguments = finished_study
    copy = tmp_path / "study"
    shutil.copytree(folder, copy)
    arguments = [str(copy) if a == str(folder) else a for a in arguments]
    run = run_folder(copy / "ema-lr=0.001" / "seed-1")
    (run / "checkpoint.pt").touch()  # as if it had not come to its end
    shutil.rmtree(copy / "baseline-lr=0.001")
    started = []

    class Process:
        returncode = 3

        def __init__(self, command, stdout, **options):
            started.append(command[2:])
            stdout.write("epoch 1\nfinetune: error: it is broken\n")

        def poll(self):
            return self.returncode

    monkeypatch.setattr(subprocess, "Popen", Process)
    assert command(arguments) == 1
    assert "2 runs failed" in (said := capsys.readouterr().err) and "finetune: error: it is broken" in said
    new, resumed = started
    assert resumed == ["--resume", str(run)]
    assert new[: new.index("--output-dir")] == [
        *small, "--regularizer", "none", "--seed", "1", "--judge-train", "--no-report", "--lr", "0.001",
        "--save-model", "best",
    ]  # fmt: skip


def test_a_comparison_without_the_runs_that_failed_says_so(finished_study, small, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "study"
    shutil.copytree(finished_study[0], copy)
    shutil.rmtree(copy / "ema-lr=0.001")

    class Process:
        returncode = 1

        def __init__(self, command, **options):
            pass

        def poll(self):
            return self.returncode

    monkeypatch.setattr(subprocess, "Popen", Process)
    told = json.loads((copy / "study.json").read_text(encoding="utf-8"))
    (copy / "study.json").write_text(json.dumps(told | {"soup": False}))
    methods = ["--method", "label-smoothing", "--method", "ema", "--method", "baseline", "--seeds", "1"]
    assert command(["compare", *methods, "--lrs", "1e-3", "1e-2", "--study", str(copy), "--", *small]) == 1
    said = capsys.readouterr()
    assert "4 of 6 runs failed (failed.csv). Compared are the runs with seed 1, which all methods here" in said.out
    lost = "none of baseline with the rate 0.01, label-smoothing with the rate 0.01, ema is finished"
    assert f"finished; {lost}" in (text := (copy / "comparison.md").read_text(encoding="utf-8"))
    assert "| label-smoothing |" in text and "| ema |" not in text and "4 runs failed" in said.err


def test_pairs_are_of_regularizers_alone():
    right = {"default": 0.9, "label-smoothing": 0.8, "ema": 0.8, "--epochs 8": 0.8, "fgm": 0.3, "baseline": 0.3}
    runs = [run_of(method, 1, guess(1, share)) for method, share in right.items()]
    assert best_pairs(runs, 2) == ["label-smoothing + ema"]


def test_only_seeds_that_all_methods_have_are_compared():
    runs = [*study()[:8], run_of("late", 1, GOLD)]
    assert {run.seed for run in with_all_seeds(runs)} == {1} and len(with_all_seeds(runs)) == 5
    with pytest.raises(ValueError, match="no seed has a finished run of every method"):
        with_all_seeds([*runs, run_of("later", 7, GOLD)])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--method", "dropblock"], "'dropblock' is not known"),
        (["--method", "focal + class-balanced"], "each want a loss of their own"),
        (["--method", "ema", "--", "--seed", "3"], "--seed is the study's own: leave it out of what follows --"),
        (["--method", "--seed 3"], "--seed is the study's own: leave it out of --seed 3, and give --seeds"),
        (["--method", "--data jrte"], "--data is one for all runs of a study"),
        (["--method", "ema:decay=0.9", "--method", "ema:decay=0.9 "], "the same folder"),
        (["--method", "--leave-out nowhere.csv"], "nowhere.csv"),
        (["--method", "ema + "], "names nothing to try"),
        (["--pairs-of", "1"], "one method makes no pair"),
        (["--soup", "--", "--model", "scratch"], "--model scratch makes new ones"),
        (["--", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_runs(asked, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert command(["compare", "--study", str(tmp_path / "study"), *asked]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "study").exists()


def test_methods_are_regularizers_or_options_or_both():
    def given(method: str, *common: str) -> list[str]:
        return arguments_of(study_of(compare.parser().parse_args(["--", *common])), method)

    assert given("baseline", "--lr", "1") == ["--lr", "1", "--regularizer", "none"]
    assert given("fgm:epsilon=1 + ema") == ["--regularizer", "fgm:epsilon=1", "--regularizer", "ema"]
    assert given("--epochs 8") == ["--epochs", "8", "--regularizer", "none"]
    assert given("--epochs 8 --patience 2 + ema") == ["--epochs", "8", "--patience", "2", "--regularizer", "ema"]
    assert given("baseline", "--regularizer", "ema") == ["--regularizer", "ema"]


def test_a_run_is_read_as_finetune_wrote_it(finished_study):
    folder, _ = finished_study
    run = read_run(run_folder(folder / "ema-lr=0.001" / "seed-1"), "ema", 1)
    row = run.row()
    assert run.lr == 1e-3 and len(run.epochs) == 2 and len(run.gold["test"]) == len(run.predicted["test"]) == 18
    assert row["accuracy"] == run.right("dev").mean()
    assert row["gap"] == run.metrics["train"]["accuracy"] - row["accuracy"]


def test_runs_may_differ_in_what_they_learned_from_but_not_in_what_they_are_judged_by(finished_study, tmp_path):
    baseline, other = tmp_path / "baseline", tmp_path / "other"
    for folder in (baseline, other):
        shutil.copytree(run_folder(finished_study[0] / "baseline-lr=0.001" / "seed-1"), folder)
    told = (other / "config.json").read_text(encoding="utf-8")
    sha = json.loads(told)["data"]["sha256"]
    (other / "config.json").write_text(told.replace(sha, "f" * 64), encoding="utf-8")  # some training texts left out
    runs = [read_run(baseline, "baseline", 1), read_run(other, "--leave-out suspects.csv", 1)]
    assert len(variants(runs)) == 2
    for split in ("dev", "test"):
        file = other / f"predictions-{split}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        first = json.loads(lines[0])
        file.write_text("\n".join([json.dumps(first | {"text": "別"}), *lines[1:]]), encoding="utf-8")
        with pytest.raises(ValueError, match="judged by different texts"):
            variants([runs[0], read_run(other, "other", 1)])
        file.write_text("\n".join(lines), encoding="utf-8")
