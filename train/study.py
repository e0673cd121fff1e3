"""A study: every method with every seed on the same texts, each run in its own process, and its document."""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from ..eval.plots import write_picture
from ..eval.progress import progress_bar
from ..eval.report import write_report
from ..eval.runs import write_csv, write_json, write_whole
from ..eval.study.document import document
from ..eval.study.pictures import comparison_curves
from ..eval.study.study import BASELINE, Trial, accuracy, read_run, variants
from ..eval.tasks.table import TASKS, kind_of_labels, task_for, task_name
from ..weights.files import read_json
from ..weights.save import save
from .checkpoint import FILE as CHECKPOINT
from .finetune import summary_of
from .plan import Plan
from .regularizers.shelf import regularizers_of
from .run import Run
from .soup import greedy_soup

# Options of a run that the study sets itself, and those that no method may change, so that the texts are the same.
OWN = ("seed", "lr", "output_dir", "save_model", "judge_train", "checkpoint")
SAME = (
    "data", "data_path", "text_column", "label_column", "pair_column", "split_column", "id_column", "encoding",
    "classes", "merge_labels", "split_seed", "bad_rows", "task",
)  # fmt: skip
SOUP = """\
Of {models} models, in the order of their accuracy on dev, each was taken into the mean of their weights where this did
not lower the mean's accuracy there (Wortsman et al. 2022, arXiv:2203.05482): {chosen} were.
"""


class Cell(NamedTuple):
    """One run of the grid."""

    method: str
    lr: float | None  # None: finetune's default
    seed: int

    @property
    def folder(self) -> str:
        method = re.sub(r"[^\w.=,-]+", "_", self.method.replace("--", "")).strip("_")
        return f"{method}{'' if self.lr is None else f'-lr={self.lr:g}'}/seed-{self.seed}"


@dataclass(frozen=True)
class Study:
    """The options of a comparison."""

    methods: Sequence[str]  # regularizers, joined by " + ", or options of finetune ("--epochs 8"); beside the baseline
    finetune: Sequence[str]  # options of all runs
    command: Sequence[str]  # that starts a run, before its options
    plan_of: Callable[[Sequence[str]], Plan]  # options → a plan
    folder: Path
    lrs: Sequence[float] = ()
    seeds: int = 5
    jobs: int = 1  # runs at the same time
    pairs_of: int = 0  # then also the pairs of so many best ones
    soup: bool = False


def compare(study: Study) -> str:
    """Run all that is not finished, and write `comparison.md`, `runs.csv` and `curves.png`; returns the document.

    Raises:
        ValueError: something cannot be compared, before anything runs; or a run failed.
    """
    methods = [BASELINE, *dict.fromkeys(study.methods)]
    check(study, methods)
    begin(study)
    run_all(study, methods)
    if study.pairs_of > 1:
        pairs = best_pairs(finished(study, methods), study.pairs_of)
        print(f"pairs   {', '.join(pairs) or 'none of the best go together'}")
        methods += [pair for pair in pairs if pair not in methods]
        run_all(study, methods)
    runs = finished(study, methods)
    write_csv(study.folder / "runs.csv", [run.row() for run in runs])
    text = f"# Comparison\n\n{document(runs, 'curves.png')}"
    write_whole(study.folder / "comparison.md", text)
    write_picture(study.folder / "curves.png", comparison_curves, variants(runs))
    if study.soup:
        folders = [study.folder / cell.folder for cell in cells(study, methods)]
        text += f"\n## Greedy soup\n\n{soup(study, folders)}\n"
        write_whole(study.folder / "comparison.md", text)
    return text


def check(study: Study, methods: Sequence[str]) -> None:
    """Raise ValueError for what cannot be compared."""
    if study.pairs_of == 1 or study.pairs_of < 0:
        raise ValueError("--pairs-of takes 2 or more: one method makes no pair")
    # Each method: its options, its regularizers, the texts that it leaves out.
    usual, common = Plan(), study.plan_of(study.finetune)
    kind_of_labels(common.task)
    task = task_name(common.task, common.read_data())
    if not TASKS[task].classes:
        raise ValueError(f"runs are compared by accuracy and F1 of classes, which the task {task} has not")
    for method in methods:
        given = study.plan_of(arguments_of(study, method))
        changed = [name for name in OWN if getattr(given, name) != getattr(usual, name)]
        changed += [name for name in SAME if getattr(given, name) != getattr(common, name)]
        if changed:
            flag = f"--{changed[0].replace('_', '-')}"
            raise ValueError(f"{flag} is one for all runs of a study: leave it out of {method}")
        if study.soup and given.model == "scratch":
            raise ValueError("a soup is of models that began with the same weights; --model scratch makes new ones")
        regularizers_of(given.settings().regularizers)
        if given.leave_out:
            given.read_data()
    # Each run needs a folder of its own.
    folders: dict[str, Cell] = {}
    for cell in cells(study, methods):
        other = folders.setdefault(cell.folder, cell)
        if other != cell:
            raise ValueError(f"{cell.method!r} and {other.method!r} have the same folder, {cell.folder}")


def begin(study: Study) -> None:
    """Make the study's folder, or check that the one there was begun with the same options."""
    file, common = study.folder / "study.json", {"finetune": list(study.finetune), "soup": study.soup}
    if not file.is_file():
        study.folder.mkdir(parents=True, exist_ok=True)
        write_json(file, common)
        return
    before = read_json(file)
    if {name: before.get(name) for name in common} != common:
        soup = " and --soup" if before.get("soup") else ""
        raise ValueError(
            f"the runs in {study.folder} were started with {shlex.join(before.get('finetune', []))!r}{soup}: "
            "choose another --study"
        )


def arguments_of(study: Study, method: str) -> list[str]:
    """The options of finetune for `fgm + ema` or `--hidden-dropout 0.2`, or both with ` + ` between them.

    Where neither the study nor the method names regularizers, there are none.
    """
    arguments = list(study.finetune)
    for part in () if method == BASELINE else (part.strip() for part in method.split(" + ")):
        if not part.strip("-"):
            raise ValueError(f"the method {method!r} names nothing to try")
        arguments += shlex.split(part) if part.startswith("-") else ["--regularizer", part]
    return arguments if study.plan_of(arguments).regularizer else [*arguments, "--regularizer", "none"]


def cells(study: Study, methods: Sequence[str]) -> list[Cell]:
    """The grid, seed after seed, so that a stopped study has runs of every method."""
    seeds = range(1, study.seeds + 1)
    rates: list[float | None] = [*study.lrs] or [None]
    return [Cell(method, lr, seed) for seed in seeds for method in methods for lr in rates]


def run_folder(folder: Path) -> Path | None:
    """The run in a cell's folder, if any."""
    return next((config.parent for config in folder.glob("*/*/*/config.json")), None)


def is_finished(run: Path) -> bool:
    """Whether the training texts are judged, and then the checkpoint deleted."""
    return (run / "train-metrics.json").is_file() and not (run / CHECKPOINT).is_file()


def finished(study: Study, methods: Sequence[str]) -> list[Trial]:
    found = []
    for cell in cells(study, methods):
        run = run_folder(study.folder / cell.folder)
        if run and is_finished(run):
            found.append(read_run(run, cell.method, cell.seed))
    return found


def run_all(study: Study, methods: Sequence[str]) -> None:
    """Run what is not finished, `--jobs` at a time, and write `runs.csv` as they end; ValueError if one fails."""
    waiting = cells(study, methods)
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // study.jobs))} | os.environ
    at_work: dict[Cell, subprocess.Popen] = {}
    failed: list[Path] = []
    bar = progress_bar(None, "runs", "run", total=len(waiting), leave=True)
    try:
        while waiting or at_work:
            # Start runs.
            while waiting and len(at_work) < study.jobs:
                cell = waiting.pop(0)
                run = run_folder(study.folder / cell.folder)
                if run and is_finished(run):
                    bar.update()
                else:
                    at_work[cell] = start(study, cell, run, environment)
            # Note those that have ended.
            for cell, process in list(at_work.items()):
                if process.poll() is not None:
                    del at_work[cell]
                    bar.update()
                    if process.returncode:
                        failed.append(study.folder / cell.folder / "output.txt")
                        bar.write(f"failed    {failed[-1]}")
                    else:
                        write_csv(study.folder / "runs.csv", [run.row() for run in finished(study, methods)])
                        bar.write(f"finished  {cell.folder}")
            time.sleep(0.2)
    finally:
        bar.close()
        for process in at_work.values():  # they keep checkpoints, to be resumed from
            process.terminate()
        for process in at_work.values():
            process.wait()
    if failed:
        said = failed[0].read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise ValueError(
            f"{len(failed)} runs failed; {failed[0]} ends with: {''.join(said)}\nFix it or leave the method out, "
            "and start the same command again: finished runs are kept"
        )


def start(study: Study, cell: Cell, run: Path | None, environment: dict[str, str]) -> subprocess.Popen:
    """Start a run in its own process, or resume it."""
    folder = study.folder / cell.folder
    if run and (run / CHECKPOINT).is_file():
        arguments = ["--resume", str(run)]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        arguments = [*arguments_of(study, cell.method), "--seed", str(cell.seed), "--judge-train", "--no-report"]
        arguments += [] if cell.lr is None else ["--lr", str(cell.lr)]
        arguments += ["--save-model", "best" if study.soup else "none", "--output-dir", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        command = [*study.command, *arguments]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def best_pairs(runs: Sequence[Trial], k: int) -> list[str]:
    """The pairs that can work together among the k single regularizers with the highest accuracy on dev."""
    ordered = sorted(variants(runs), key=accuracy, reverse=True)
    methods = dict.fromkeys(variant[0].method for variant in ordered)
    best = [m for m in methods if m != BASELINE and "--" not in m and " + " not in m][:k]
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
    models = [run / "model" for run in map(run_folder, folders) if run]
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
