"""The comparison of methods with a baseline, by the same seeds on the same texts: a study, and its document."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ..eval.plots import write_picture
from ..eval.report import write_report
from ..eval.runs import write_csv, write_whole
from ..eval.study.document import document
from ..eval.study.pictures import comparison_curves
from ..eval.study.study import BASELINE, Trial, accuracy, read_run, variants, with_all_seeds
from ..eval.tasks.table import TASKS, split_name, task_for, task_name
from ..weights.save import save
from .finetune import summary_of
from .regularizers.shelf import regularizers_of
from .run import Run
from .soup import greedy_soup
from .study import PLAIN, Study, arguments_of, begin, cells, failures, finished_run, refuse_failed, run_all

SOUP = """\
Of {models} models, in the order of their accuracy on dev, each was taken into the mean of their weights where this did
not lower the mean's accuracy there (Wortsman et al. 2022, arXiv:2203.05482): {chosen} were.
"""
FAILED = """\
{failed} of {runs} runs failed (failed.csv). Compared are the runs with seed {seeds}, which all methods here have
finished{without}.

"""


def compare(study: Study) -> str:
    """Run all that is not finished, and write `comparison.md`, `runs.csv` and `curves.png`; returns the document.

    Raises:
        ValueError: something cannot be compared, before anything runs; or too many runs failed for a comparison.
    """
    methods = list(dict.fromkeys([BASELINE, *study.methods]))
    check(study, methods)
    begin(study, methods)
    runs = run_methods(study, methods)
    if runs and study.pairs_of:
        pairs = best_pairs(runs, study.pairs_of)
        print(f"pairs   {', '.join(pairs) or 'none of the best go together'}")
        methods += [pair for pair in pairs if pair not in methods]
        runs = run_methods(study, methods)
    if not runs:
        return "not all runs are finished: whichever part is the last writes the comparison"
    grid = cells(study, methods)
    text = "# Comparison\n\n"
    if failed := failures(study, grid):
        made = {(cell.method, cell.lr) for cell in grid if finished_run(study, cell)}
        lost = dict.fromkeys(
            f"{row['method']} with the rate {row['lr']:g}" if row["method"] in dict(made) else row["method"]
            for row in failed if (row["method"], row["lr"]) not in made
        )  # fmt: skip
        seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
        without = f"; none of {', '.join(lost)} is finished" if lost else ""
        text += FAILED.format(failed=len(failed), runs=len(grid), seeds=seeds, without=without)
    text += document(runs, "curves.png")
    write_whole(study.folder / "comparison.md", text)
    write_picture(study.folder / "curves.png", comparison_curves, variants(runs))
    if study.soup:
        folders = [run for cell in grid if (run := finished_run(study, cell))]
        text += f"\n## Greedy soup\n\n{soup(study, folders)}\n"
        write_whole(study.folder / "comparison.md", text)
    return text


def run_methods(study: Study, methods: Sequence[str]) -> list[Trial]:
    """Run all that is not finished; returns the runs that can be compared, none as long as other parts are not made."""
    run_all(study, methods, lambda: write_rows(study, methods))
    grid, runs = cells(study, methods), finished(study, methods)
    if len(runs) + len(failures(study, grid)) < len(grid):
        return []
    if not any(run.method == BASELINE for run in runs):
        refuse_failed(study.folder)
    return with_all_seeds(runs)


def check(study: Study, methods: Sequence[str]) -> None:
    """Raise ValueError for what cannot be compared."""
    if study.pairs_of == 1 or study.pairs_of < 0:
        raise ValueError("--pairs-of takes 2 or more: one method makes no pair")
    common = study.plan_of(study.finetune)
    task = task_name(common.task, common.read_data())
    if not TASKS[split_name(task)[0]].classes:
        raise ValueError(f"runs are compared by accuracy and F1 of classes, which the task {task} has not")
    if study.soup and any(study.plan_of(arguments_of(study, method)).model == "scratch" for method in methods):
        raise ValueError("a soup is of models that began with the same weights; --model scratch makes new ones")


def finished(study: Study, methods: Sequence[str]) -> list[Trial]:
    found = ((cell, finished_run(study, cell)) for cell in cells(study, methods))
    return [read_run(run, cell.method, cell.seed) for cell, run in found if run]


def write_rows(study: Study, methods: Sequence[str]) -> None:
    if runs := finished(study, methods):
        write_csv(study.folder / "runs.csv", [run.row() for run in runs])


def best_pairs(runs: Sequence[Trial], k: int) -> list[str]:
    """The pairs that can work together among the k single regularizers with the highest accuracy on dev."""
    ordered = sorted(variants(runs), key=accuracy, reverse=True)
    methods = dict.fromkeys(variant[0].method for variant in ordered)
    best = [m for m in methods if m not in (BASELINE, PLAIN) and "--" not in m and " + " not in m][:k]
    best.sort(key=[run.method for run in runs].index)  # in the order given, so that a pair has one name
    pairs = []
    for pair in combinations(best, 2):
        try:
            regularizers_of(pair)
        except ValueError:
            continue
        pairs.append(" + ".join(pair))
    return pairs


def soup(study: Study, folders: Sequence[Path]) -> str:
    """Make the greedy soup of the study's models, judge it, and describe it."""
    models = [run / "model" for run in folders]
    plan = study.plan_of(study.finetune)
    data = plan.read_data()
    dev = data.split("dev")
    found = greedy_soup(models, dev, plan.device)
    said = [SOUP.format(models=len(models), chosen=len(found.chosen))]
    run = Run(
        study.folder / "soup", plan, plan.settings(), data, task_for(plan.task, data), found.model, found.tokenizer
    )
    save(found.model, found.tokenizer, run.folder / "model", cut=run.scorer.cut, task=run.task.kept())
    for name, split in run.splits().items():
        print(f"{name:<7} {summary_of(split, run)}")
        if name != "train":
            judgement = run.judge(name, split)
            write_report(run.folder, judgement)
            scores = ", ".join(f"{key} {judgement.metrics[key]:.3f}" for key in ("accuracy", "f1", "loss", "ece"))
            said.append(f"- **fact** On {name} the soup has {scores}.")
    return "\n".join(said)
