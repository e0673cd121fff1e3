"""`tezukuri aggregate`: runs of any folders in one table, what is chosen of each model, and what can be told apart."""

import csv
import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from tezukuri.eval.runs import write_csv
from tezukuri.eval.study.aggregate import (
    Configuration,
    Cost,
    Table,
    all_rows,
    front,
    letters,
    of_choosing,
    of_letters,
    tables_of,
    turns,
)
from tezukuri.eval.study.made import Made, read_all
from tezukuri.eval.study.pictures import cost_svg
from tezukuri.eval.study.study import MOST_DRAWS, draws_for
from tezukuri.eval.tasks.metrics import scores
from tezukuri.scripts.command import main as command
from tezukuri.train.models import parameters_of

LABELS = ["a", "b", "c"]
GOLD = np.random.default_rng(0).choice(LABELS, 200).tolist()
# The 51 runs that https://github.com/hppRC/bert-classification-tutorial publishes, to six digits.
PUBLISHED = Path(__file__).with_name("hpprc-runs.csv")


def run_folder(
    root: Path, name: str, model: str, right: float, dev_f1: float, lr: float = 1e-3, seed: int = 1, **more: Any
) -> Path:
    """A run of which about so many of the answers are right; `more` are settings, or "texts", "started" and "costs"."""
    run = root / name
    run.mkdir(parents=True)
    random = np.random.default_rng(seed)
    predicted = [g if random.random() < right else "abc"[("abc".index(g) + 1) % 3] for g in GOLD]
    texts = more.pop("texts", "文")
    rows = [{"id": str(i), "text": f"{texts}{i}", "label": g, "predicted": p}
            for i, (g, p) in enumerate(zip(GOLD, predicted, strict=True))]  # fmt: skip
    (run / "predictions-test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    costs, fold, options = more.pop("costs", {}), more.pop("fold", None), more.pop("options", {})
    started = more.pop("started", f"2026-01-01T00:00:{seed:02}+00:00")
    settings = {"lr": lr, "batch_size": 16, "max_length": 512, "seed": seed, "epochs": 3, "regularizers": []} | more
    data = {"name": "news", "labels": LABELS, "sha256": (fold or "0")[0] * 64}
    config = {
        "options": {"model": model, "task": "classify", "fold": fold} | options,
        "settings": settings,
        "data": data,
        "started": started,
    }
    (run / "config.json").write_text(json.dumps(config | costs))
    (run / "val-metrics.json").write_text(json.dumps({"f1": dev_f1, "loss": 0.4}))
    (run / "test-metrics.json").write_text(json.dumps({"loss": 0.5, **scores(GOLD, predicted, LABELS)}))
    (run / "log.csv").write_text(f"epoch,dev_f1,dev_loss,seconds\n0,0.1,1,0\n1,{dev_f1},0.4,2\n2,{dev_f1},0.6,3\n")
    return run


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_published_runs_give_the_tutorials_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["aggregate", str(PUBLISHED), "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    best, runs, published = rows_of(tmp_path / "best.csv"), rows_of(tmp_path / "all.csv"), rows_of(PUBLISHED)
    columns = list(published[0])
    assert list(best[0])[:9] == list(runs[0])[:9] == columns
    assert [{c: row[c] for c in columns[:1]} for row in runs] == [{c: row[c] for c in columns[:1]} for row in published]
    assert [[float(row[c]) for c in columns[1:]] for row in runs] == [
        [float(row[c]) for c in columns[1:]] for row in published
    ]
    # The first and last rows of its README, and a rate that is not the best one on test.
    assert len(best) == 17 and [row["model_name"] for row in best][6] == "studio-ousia/luke-japanese-base-lite"
    assert "| studio-ousia/luke-japanese-large-lite | 413.0 M | 3e-05 | 97.83 | 97.82 | 97.22 | 97.47 |" in printed
    assert "| cl-tohoku/bert-base-japanese-v3 | 111.0 M | 5e-05 | 96.88 | 96.59 | 96.28 | 96.39 |" in printed
    assert "| cl-tohoku/bert-base-japanese-char | 89.0 M | 1e-05 | 95.11 | 94.91 | 93.82 | 94.17 |" in printed
    v3 = next(row for row in best if row["model_name"] == "cl-tohoku/bert-base-japanese-v3")
    assert (v3["lr"], v3["highest-test-f1"], v3["alike"]) == ("5e-05", "0.971784", "")
    assert "Of 17 models with a choice of settings, dev chose what is best on test for 8, and what is worst" in printed
    assert "worst there for 6. The best lies" in printed and "not all runs have their predictions" in printed
    # Its own table is one that it reads.
    assert command(["aggregate", str(tmp_path / "all.csv"), "--output", str(tmp_path / "again")]) == 0
    assert rows_of(tmp_path / "again" / "best.csv") == best
    assert command(["aggregate", str(PUBLISHED), str(PUBLISHED), "--output", str(tmp_path / "twice")]) == 0
    assert rows_of(tmp_path / "twice" / "best.csv") == best
    assert command(["aggregate", str(tmp_path / "all.csv"), "--output", str(tmp_path)]) == 1
    assert "all.csv would be written over: choose another --output" in capsys.readouterr().err


def test_seeds_are_one_row_and_settings_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        run_folder(tmp_path, f"x/good/{seed}", "good", 0.9, 0.8 + seed / 100, seed=seed)
        run_folder(tmp_path, f"x/high/{seed}", "good", 0.8, 0.7, lr=1e-2, seed=seed)
        run_folder(tmp_path, f"y/bad/{seed}", "bad/model", 0.5, 0.6, seed=seed, regularizers=["r-drop", "ema"])
    asked = ["aggregate", str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "x" / "good")]
    assert command([*asked, "--output", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out
    assert "## news: 9 runs, 200 test texts" in printed and "Means and standard deviations of 3 seeds." in printed
    assert "1 of 1 pairs differ" in printed and "better on test than one of these: good (5 s)." in printed
    assert (tmp_path / "results" / "cost-1.png").read_bytes().startswith(b"\x89PNG")
    good, bad = rows_of(tmp_path / "results" / "best.csv")
    assert (good["model_name"], good["lr"], good["seeds"], good["alike"]) == ("good", "0.001", "3", "a")
    assert (bad["model_name"], bad["other"], bad["alike"]) == ("bad/model", "regularizers=r-drop,ema", "b")
    values = [float(row["f1"]) for row in rows_of(tmp_path / "results" / "all.csv") if row["lr"] == "0.001"][:3]
    assert float(good["f1"]) == pytest.approx(np.mean(values)) and good["best-val-epoch"] == "1"
    assert float(good["f1-sd"]) == pytest.approx(np.std(values, ddof=1)) and good["seconds"] == "5.0"
    assert float(good["best-val-f1-sd"]) == pytest.approx(0.01) and good["highest-test-f1"] == good["f1"]
    shown = " ± ".join(f"{100 * v:.2f}" for v in (np.mean(values), np.std(values, ddof=1)))
    shown += " ({} to {})".format(*(f"{100 * float(good[name]):.1f}" for name in ("f1-low", "f1-high")))
    assert (
        f" {shown} | a |  |" in printed
        and printed.count("| b | 0% |") == 1
        and "| good | 0.001 | regularizers=none | 3 |" in printed
    )


def test_folds_count_as_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold, right, epochs in (("1/2", 0.9, 75), ("2/2", 0.8, 60)):  # of few texts, whose number differs by one
        run_folder(tmp_path, f"runs/{fold[0]}", "good", right, 0.8, fold=fold, epochs=epochs)
    assert command(["aggregate", str(tmp_path / "runs"), "--output", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out
    assert "left out" not in printed and "A fold of cross-validation counts as a seed here" in printed
    (good,) = rows_of(tmp_path / "results" / "best.csv")
    assert good["seeds"] == "2" and float(good["f1-sd"]) > 0.01
    twice = [str(tmp_path / "results" / "all.csv")] * 2  # from its own table, each row is a run once
    assert command(["aggregate", *twice, "--output", str(tmp_path / "again")]) == 0
    (again,) = rows_of(tmp_path / "again" / "best.csv")
    assert again["seeds"] == "2" and again["f1"] == good["f1"] and "counts as a seed" in capsys.readouterr().out
    for fold, epochs in (("1/2", 4), ("2/2", 8)):  # by --epochs, which says that they shall differ
        options = {"epochs": epochs}
        run_folder(tmp_path, f"told/{fold[0]}", "good", 0.9, 0.8, fold=fold, epochs=epochs, options=options)
    assert len(tables_of(read_all([tmp_path / "told"])[0])[0].configurations) == 2
    run_folder(tmp_path, "runs/other", "good", 0.8, 0.8, lr=1e-5, fold="1/2")  # the second one has failed
    assert command(["aggregate", str(tmp_path / "runs"), "--output", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out
    assert "counts as a seed here" in printed and "The settings have 1 to 2 seeds" in printed


def test_runs_that_differ_in_an_option_alone_are_not_the_same(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [{}, {"hidden_dropout": 0.0}, {"method": "setfit", "pairs": 5},
                                  {"method": "setfit", "pairs": 20}, {"split_seed": 1}]  # fmt: skip
    for number, options in enumerate(told):
        fold = "1/2" if "split_seed" in options else None
        run_folder(tmp_path, f"new{number}", "mini", 0.9, 0.8, options=options, fold=fold)
    run_folder(tmp_path, "folded", "mini", 0.9, 0.8, fold="1/2")
    # As before there were methods.
    run_folder(tmp_path, "more", "mini", 0.9, 0.8, seed=2, options={"method": "finetune", "task": None})
    runs, notes = read_all([tmp_path])
    (table,) = tables_of(runs)
    assert "Not all runs have the same train and dev splits" in of_choosing(table)[1]
    write_csv(tmp_path / "all.csv", all_rows([table]))
    (again,) = tables_of(read_all([tmp_path / "all.csv"])[0])
    assert "Not all runs have the same train and dev splits" in of_choosing(again)[1]
    assert not notes and sorted(len(one.runs) for one in table.configurations) == [1, 1, 1, 1, 1, 2]


def test_models_that_answer_alike_share_a_letter(tmp_path: Path) -> None:
    for model, right in (("best", 0.9), ("same", 0.9), ("worst", 0.4)):
        run_folder(tmp_path, model, model, right, 0.5)
    (table,) = tables_of(read_all([tmp_path])[0])
    assert [one.model for one in table.best] == ["best", "same", "worst"]
    assert [one["alike"] for one in table.compared] == ["a", "a", "b"] and table.apart == {(0, 2), (1, 2)}
    assert [one["beats-first"] for one in table.compared] == [None] * 3, "there is one seed"
    assert all(
        found["f1-low"] < one.f1 < found["f1-high"] for one, found in zip(table.best, table.compared, strict=True)
    )


def test_intervals_are_of_texts_and_seeds_and_the_order_may_turn_with_the_seed(tmp_path: Path) -> None:
    for seed, right in enumerate((0.95, 0.7, 0.6), start=1):
        run_folder(tmp_path, f"a{seed}", "varied", right, 0.9, seed=seed)
        run_folder(tmp_path, f"b{seed}", "steady", 0.7, 0.9, seed=seed)
    (table,) = tables_of(read_all([tmp_path])[0])
    assert "splits" not in " ".join(of_choosing(table))
    first, second = table.compared
    f1 = [[run.number("f1") for run in one.runs] for one in table.best]
    turned = [(mine > theirs) + (mine == theirs) / 2 for mine in f1[1] for theirs in f1[0]]
    assert second["beats-first"] == pytest.approx(np.mean(turned)) and 0 < np.mean(turned) < 1
    wide, narrow = (one["f1-high"] - one["f1-low"] for one in (first, second))
    assert wide > narrow + 0.05, "its seeds differ more"


def test_many_models_can_be_told_apart_too() -> None:
    """Of 23 there are 253 pairs, for which 10,000 draws, with a p of 2 / 10,001 at the least, would be too few."""
    rows = [tuple(answers) for answers in [GOLD] * 22 + [["a"] * len(GOLD)]]
    numbers = dict.fromkeys(("lr", "f1", "best-val-f1"), 0.5)
    some = [Made(f"m{n}", numbers, "news", "", "", {}, tuple(LABELS), tuple(GOLD), row) for n, row in enumerate(rows)]
    (table,) = tables_of(some)
    assert table.apart == {(n, 22) for n in range(22)}
    assert [draws_for(n) for n in (1, 126, 10**6)] == [10_000, 10_500, MOST_DRAWS]
    more = Table("news", [Configuration([replace(some[0], model=f"m{n}")]) for n in range(80)])
    more.drawn, more.apart, more.compared = [], set(), []  # p would be 3,160 times 2 / 100,001 at the least
    assert "Of so many pairs none can be told apart" in of_letters(more)[1]


def test_a_run_is_scored_by_its_own_labels(tmp_path: Path) -> None:
    for model, labels in (("one", LABELS), ("two", [*LABELS, "d"])):
        run = run_folder(tmp_path, model, model, 0.9, 0.9)
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(config | {"data": config["data"] | {"labels": labels}}))
    (table,) = tables_of(read_all([tmp_path])[0])
    assert table.drawn is not None
    one, two = (runs[0, 0] for runs in table.drawn)
    assert two == pytest.approx(one * 3 / 4)
    assert of_letters(table)[-1].startswith("Not all runs have the same labels, of which macro-F1 is the mean")


def page_of(folder: Path) -> str:
    return (folder / "aggregate.html").read_text(encoding="utf-8")


def test_the_page_groups_models_by_size_as_the_tutorial_does(tmp_path: Path) -> None:
    header, *lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    (tmp_path / "runs.csv").write_text("\n".join([header, *lines, "new,1e-5,1,.9,1,.9,.9,.9,.9"]))
    assert command(["aggregate", str(tmp_path / "runs.csv"), "--output", str(tmp_path / "new")]) == 0
    page = page_of(tmp_path / "new")
    small, rest = page.split("<caption>200 million parameters or more</caption>")
    large, unknown = rest.split("<caption>Number of parameters not known</caption>")
    small = small.split("<caption>Fewer than 200 million parameters</caption>")[1]
    names = [re.findall('<th scope="row">(.+?)</th>', part.split("</table>")[0]) for part in (small, large, unknown)]
    known = list(parameters_of("hpprc"))  # in the order of its README
    assert names == [known[:9], known[9:], ["new"]] and "taken from train/models.toml: the number of param" in page
    assert '<td class="n">133.0 M</td><td class="n">5e-05</td>' in small and large.count("<svg") == 0
    assert "one of these: cl-tohoku/bert-base-japanese-char (89.0 M), " in page
    assert "of 1 model that is not known" in page and "compared by it: seconds." in page


def test_a_page_without_numbers_of_parameters_says_so(tmp_path: Path) -> None:
    header, *lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    (tmp_path / "runs.csv").write_text("\n".join([header, *(f"new-{line}" for line in lines)]))
    assert command(["aggregate", str(tmp_path / "runs.csv"), "--output", str(tmp_path)]) == 0
    page = page_of(tmp_path)
    assert "Not known, so that nothing is compared by it: seconds and parameters." in page and "<svg" not in page
    assert page.count("<caption>") == 1 and "<caption>Number of parameters not known</caption>" in page


def test_names_on_the_page_are_data_and_costs_stand_beside_quality(tmp_path: Path) -> None:
    hostile = "<script>a()</script>{{ 7*7 }}$\\frac{"
    for model, right, costs in (
        (hostile, 0.9, {"parameters": 250_000_000, "memory": {"gpu": 3 * 2**30}}),
        ("small", 0.7, {"parameters": 1_500_000, "memory": {"gpu": 2**29}}),
        ("slow", 0.6, {"parameters": 2_000_000, "memory": {"process": 2**30}}),
    ):
        for seed in (1, 2):
            run_folder(tmp_path / "runs", f"{right}-{seed}", model, right, 0.8, seed=seed, costs=costs)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "test-metrics.json").write_text("{}")
    (tmp_path / "runs" / "broken" / "config.json").write_text("<b>")
    assert command(["aggregate", str(tmp_path / "runs"), "--output", str(tmp_path / "new")]) == 0
    page = page_of(tmp_path / "new")
    assert "<script" not in page and "{{ 7*7 }}" in page and "<b>" not in page and "broken left out" in page
    assert "default-src 'none'; style-src" in page
    assert page.count("<svg") == 3, "seconds, parameters, memory of the GPU; that of a process is known of one model"
    for cell in ("250.0 M", "3.00 GiB (GPU)", "0.50 GiB (GPU)", "1.00 GiB (process)", "5 s"):
        assert f'<td class="n">{cell}</td>' in page
    assert "None takes less memory of the GPU and is better on test than one of these: small (0.50 GiB)" in page
    best = rows_of(tmp_path / "new" / "best.csv")
    assert [row["parameters"] for row in best] == ["250000000", "1500000", "2000000"]
    assert [row["beats-next"] for row in best] == ["", "0.0", best[2]["beats-next"]] and best[2]["beats-next"]


def test_the_next_better_model_is_beaten_in_a_share_of_pairs_of_seeds() -> None:
    assert turns(np.array([0.9, 0.5]), np.array([0.8, 0.5])) == (1 + 1 + 0 + 0.5) / 4
    assert turns(np.array([0.9]), np.array([0.8, 0.5])) is None, "one seed says nothing of others"


def test_the_front_has_what_none_beats_at_no_more_cost() -> None:
    costs = [Cost("a", 1, 0.5, 0), Cost("b", 1, 0.6, 0), Cost("c", 2, 0.6, 0), Cost("d", 3, 0.7, 0)]
    assert front(costs) == ["b", "d"]


def test_a_long_name_in_a_picture_keeps_its_end() -> None:
    costs = [Cost(f"/a_folder{'_of_models' * 5}/{name}", cost, 0.5, 0.0) for cost, name in enumerate("xy", start=1)]
    found = re.findall(r">(…\S+)</text>", cost_svg({"seconds": costs}))
    assert [name[-2:] for name in found] == ["/x", "/y"] and {len(name) for name in found} == {40}


def test_letters_are_shared_by_exactly_those_that_are_not_told_apart() -> None:
    random = np.random.default_rng(0)
    for m in range(1, 8):
        apart = {pair for pair in combinations(range(m), 2) if random.random() < 0.4}
        found = letters(m, apart)
        for a, b in combinations(range(m), 2):
            assert bool(set(found[a]) & set(found[b])) == ((a, b) not in apart)
        assert all(found)
    assert letters(3, {(0, 2)}) == ["a", "ab", "b"]


def test_runs_on_other_texts_are_another_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path / "runs", "1", "one", 0.9, 0.9)
    run_folder(tmp_path / "runs", "2", "two", 0.8, 0.9, texts="別")
    (run_folder(tmp_path / "runs", "3", "three", 0.7, 0.9) / "predictions-test.jsonl").unlink()
    assert command(["aggregate", str(tmp_path / "runs"), str(PUBLISHED), "--output", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line.startswith("## ")]
    assert titles == ["## news (1): 1 run, 200 test texts", "## news (2): 1 run, 200 test texts", "## news (3): 1 run",
                      "## hpprc-runs.csv: 51 runs"]  # fmt: skip
    assert printed.count("There is one model: nothing is compared.") == 3
    assert [row["test"] for row in rows_of(tmp_path / "new" / "best.csv")][:4] == [
        "news (1)", "news (2)", "news (3)", "hpprc-runs.csv"
    ]  # fmt: skip


def test_what_differs_is_no_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns that are not known, classes, and commits of a model of the hub."""
    header = "model_name,lr,best-val-f1,accuracy,precision,recall,f1,seed,weight_decay"
    rows = ["m,1,.8,.8,.8,.8,.8,1,0", "m,1,.8,.9,.9,.9,.9,2,0", "m,1,.8,.2,.2,.2,.2,1,0.1"]
    (tmp_path / "runs.csv").write_text("\n".join([header, *rows]))
    assert command(["aggregate", str(tmp_path / "runs.csv"), "--output", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert "columns of runs.csv are taken for settings: weight_decay" in printed
    assert "The settings have 1 to 2" in printed
    assert "equal on dev, of which that with the lowest rate, or else the first, was taken: m." in printed
    (tmp_path / "twice.csv").write_text("\n".join([header, rows[0], "m,1,.8,.2,.2,.2,.2,1,0"]))  # one seed, two results
    assert len(read_all([tmp_path / "twice.csv"])[0]) == 2
    (tmp_path / "pandas.csv").write_text(f",{header},date\n0,{rows[0]},monday\n1,{rows[1]},friday\n")
    (table,) = tables_of(read_all([tmp_path / "pandas.csv"])[0])
    assert [len(one.runs) for one in table.configurations] == [2], "what differs in each row is no setting"
    for number, source in enumerate(("m @ main (1234)", "m @ main (5678)", "a/folder", "another/folder")):
        told = {"costs": {"load_report": {"source": source}}, "seed": number}
        labels = run_folder(tmp_path / "runs", source.replace("/", "-"), "m", 0.9, 0.8, **told) / "config.json"
    (table,) = tables_of(read_all([tmp_path / "runs"])[0])
    assert sorted(len(one.runs) for one in table.configurations) == [1, 1, 2]
    labels.write_text(labels.read_text().replace('["a", "b", "c"]', '["c", "b", "a"]'))
    (table,) = tables_of(read_all([tmp_path / "runs"])[0])
    assert len(table.configurations) == 4 and "labels=c,b,a" in {one.other for one in table.configurations}


def test_what_is_no_whole_run_is_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    run_folder(runs, "1", "one", 0.9, 0.9)
    run_folder(runs, "again", "one", 0.9, 0.9, started="2027-01-01T00:00:00+00:00")
    (run_folder(runs, "stopped", "one", 0.9, 0.9, seed=2) / "test-metrics.json").unlink()
    (run_folder(runs, "score", "one", 0.9, 0.9, seed=3) / "test-metrics.json").write_text('{"spearman": 0.5}')
    (run_folder(runs, "evaluated", "one", 0.9, 0.9, seed=4) / "config.json").write_text('{"options": {}}')
    (run_folder(runs, "broken", "one", 0.9, 0.9, seed=5) / "val-metrics.json").write_text("{")
    (run_folder(runs, "cut", "one", 0.9, 0.9, seed=6) / "log.csv").write_text("epoch,seconds\n0,0\n1,x\n")
    (run_folder(runs, "odd", "one", 0.9, 0.9, seed=7) / "val-metrics.json").write_text('{"f1": 0.9, "loss": null}')
    config = run_folder(runs, "rateless", "one", 0.9, 0.9, seed=8) / "config.json"
    config.write_text(config.read_text().replace('"lr": 0.001', '"lr": null'))
    copytree(runs / "again", runs / "copy")
    assert command(["aggregate", str(runs), "--output", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    for said in (
        f"{runs}/score left out: its task, classify, has no loss",
        f"{runs}/evaluated left out: it is no run of finetune",
        f"{runs}/broken left out: {runs}/broken/val-metrics.json is not JSON",
        f"1 in {runs} left out, without test-metrics.json",
        f"{runs}/cut left out: {runs}/cut/log.csv is broken: could not convert string to float: 'x'",
        f"{runs}/rateless left out: its learning rate is no number: None",
        f"{runs}/odd left out: its files are not as finetune writes them (TypeError: ",
        f"{runs}/1 left out: {runs}/again is the same run, made later\n",
        f"{runs}/again left out: {runs}/copy is the same run\n",
    ):
        assert f"note    {said}" in printed
    assert len(rows_of(tmp_path / "new" / "all.csv")) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("model_name,lr\n", ":1: no column 'best-val-f1'; a table of runs has model_name, lr, best-val-f1"),
        ("model_name,lr,best-val-f1,accuracy,precision,recall,f1\n", " has no runs below its header"),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1\na,1,1,1,1,1,x\n",
            ":2: 'x' (column 'f1') is no number",
        ),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1\na,1,1,1,1,,1\n",
            ":2: '' (column 'recall') is no num",
        ),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1\na,1,1,97.5,1,1,1\n",
            ":2: '97.5' (column 'accuracy') is no share of 1",
        ),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1\na,-1,1,1,1,1,1\n",
            ":2: '-1' (column 'lr') is below 0",
        ),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1,f1\na,1,1,1,1,1,1,0\n",
            ":1: there are two columns 'f1': leave one out",
        ),
        (
            "model_name,lr,best-val-f1,accuracy,precision,recall,f1,seeds\na,1,1,1,1,1,1,3\n",
            ":1: its rows are means over seeds (column 'seeds'): give all.csv",
        ),
        ("model_name,lr,best-val-f1,accuracy,precision,recall,f1\na,1\n", ":2: 2 columns where the header has 7"),
        ("model_name,lr,best-val-f1,accuracy,precision,recall,f1\n ,1,1,1,1,1,1\n", ":2: the model's name is empty"),
    ],
)
def test_a_table_that_is_none_of_runs_is_refused(
    tmp_path: Path, content: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(content)
    assert command(["aggregate", str(file), "--output", str(tmp_path / "new")]) == 1
    assert f"{file}{reason}" in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("none", "is no folder with runs"), ("", "no run of finetune, with config")]
)
def test_folders_without_runs_are_told(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["aggregate", str(tmp_path / name)]) == 1 and said in capsys.readouterr().err
