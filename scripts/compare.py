"""Compare ways of training: every method with every seed on the same texts, and what can be said of the differences.

python scripts/compare.py --method r-drop --method "fgm + ema:decay=0.999" --seeds 5 -- --model mini --data jrte
python scripts/compare.py --method "--hidden-dropout 0.2" --method "--epochs 8 --patience 2" -- --data reviews.csv
python scripts/compare.py --method "--leave-out RUN/suspects.csv" -- --data reviews.csv
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tezukuri.eval.report import write_report
from tezukuri.eval.runs import write_csv, write_json, write_whole
from tezukuri.eval.study.document import document
from tezukuri.eval.study.pictures import comparison_curves
from tezukuri.eval.study.study import BASELINE, Run, accuracy, read_run, variants
from tezukuri.scripts import finetune
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import positive, read_data
from tezukuri.train.checkpoint import FILE as CHECKPOINT
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.soup import greedy_soup
from tezukuri.weights.files import read_json
from tezukuri.weights.load import Loaded, LoadReport
from tezukuri.weights.save import save

# Options of finetune that the study sets itself, and those that no method may change: all are judged by the same texts.
OWN = ("seed", "lr", "output_dir", "save_model", "resume", "judge_train", "list_regularizers", "checkpoint")
SAME = ("data", "data_path", "text_column", "label_column", "split_column", "split_seed", "bad_rows")
SOUP = """\
Of {models} models, in the order of their accuracy on dev, each was taken into the mean of their weights where this did
not lower the mean's accuracy there (Wortsman et al. 2022, arXiv:2203.05482): {chosen} were.
"""


class Cell(NamedTuple):
    """One run of the grid."""

    method: str
    lr: float | None  # None: what finetune takes by itself
    seed: int

    @property
    def folder(self) -> str:
        """Where in the study's folder it lies."""
        method = re.sub(r"[^\w.=,-]+", "_", self.method.replace("--", "")).strip("_")
        return f"{method}{'' if self.lr is None else f'-lr={self.lr:g}'}/seed-{self.seed}"


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="compare", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    options.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="METHOD",
        help="a regularizer, several joined by ' + ', or options of finetune (--method='--epochs 8'); once for each. "
        "The run without any, the baseline, is always there",
    )
    options.add_argument("--lr", action="append", type=float, help="a learning rate to try all with; once for each")
    options.add_argument("--seeds", type=positive, default=5, help="how many: 1, 2, … (%(default)s)")
    options.add_argument("--pairs-of", type=int, default=0, metavar="K", help="then the pairs of the K best on dev too")
    options.add_argument("--soup", action="store_true", help="keep all models, and average the best of them greedily")
    options.add_argument("--jobs", type=positive, default=1, help="runs at the same time (%(default)s)")
    options.add_argument("--study", type=Path, default=Path("outputs/study"), help="its folder (%(default)s)")
    options.add_argument("finetune", nargs="*", help="after --: options of finetune that all runs have")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    methods = [BASELINE, *dict.fromkeys(options.method)]
    check(options, methods)
    begin(options)
    run_all(options, methods)
    if options.pairs_of > 1:
        pairs = best_pairs(finished(options, methods), options.pairs_of)
        print(f"pairs   {', '.join(pairs) or 'none of the best go together'}")
        methods += [pair for pair in pairs if pair not in methods]
        run_all(options, methods)
    runs = finished(options, methods)
    write_csv(options.study / "runs.csv", [run.row() for run in runs])
    write_whole(options.study / "curves.png", comparison_curves(variants(runs)))
    text = f"# Comparison\n\n{document(runs, 'curves.png')}"
    write_whole(options.study / "comparison.md", text)
    if options.soup:
        folders = [options.study / cell.folder for cell in cells(options, methods)]
        text += f"\n## Greedy soup\n\n{soup(options, folders)}\n"
        write_whole(options.study / "comparison.md", text)
    print(text)
    print("\n".join(f"study   {options.study / name}" for name in ("comparison.md", "runs.csv", "curves.png")))
    return 0


def check(options: argparse.Namespace, methods: Sequence[str]) -> None:
    """Look at all that is asked for before anything runs."""
    if options.pairs_of == 1 or options.pairs_of < 0:
        raise ValueError("--pairs-of takes 2 or more: one method makes no pair")
    usual = vars(finetune.parser().parse_args([]))
    common = vars(finetune.parser().parse_args(options.finetune))
    for method in methods:
        given = vars(finetune.parser().parse_args(arguments_of(options, method)))
        changed = [name for name in OWN if given[name] != usual[name]]
        changed += [name for name in SAME if given[name] != common[name]]
        if changed:
            raise ValueError(
                f"--{changed[0].replace('_', '-')} is one for all runs of a study: leave it out of {method}"
            )
        if options.soup and given["model"] == "scratch":
            raise ValueError("a soup is of models that began with the same weights; --model scratch makes new ones")
        regularizers_of(finetune.settings_of(argparse.Namespace(**given)).regularizers)
        if given["leave_out"]:
            read_data(argparse.Namespace(**given))
    read_data(argparse.Namespace(**common))
    folders: dict[str, Cell] = {}
    for cell in cells(options, methods):
        other = folders.setdefault(cell.folder, cell)
        if other != cell:
            raise ValueError(f"{cell.method!r} and {other.method!r} would lie in the same folder, {cell.folder}")


def begin(options: argparse.Namespace) -> None:
    """Make the study's folder, or find it with runs of the same kind."""
    told, common = options.study / "study.json", {"finetune": options.finetune, "soup": options.soup}
    if not told.is_file():
        options.study.mkdir(parents=True, exist_ok=True)
        write_json(told, common)
        return
    before = read_json(told)
    if {name: before.get(name) for name in common} != common:
        soup = " and --soup" if before.get("soup") else ""
        raise ValueError(
            f"the runs in {options.study} were started with {shlex.join(before.get('finetune', []))!r}{soup}: "
            "choose another --study"
        )


def arguments_of(options: argparse.Namespace, method: str) -> list[str]:
    """What finetune is given for `fgm + ema` or `--hidden-dropout 0.2`, or both with ` + ` between them.

    Where neither the study nor the method names regularizers there are none, whatever the recipe's are.
    """
    arguments = list(options.finetune)
    for part in () if method == BASELINE else (part.strip() for part in method.split(" + ")):
        if not part.strip("-"):
            raise ValueError(f"the method {method!r} names nothing to try")
        arguments += shlex.split(part) if part.startswith("-") else ["--regularizer", part]
    return arguments if finetune.parser().parse_args(arguments).regularizer else [*arguments, "--regularizer", "none"]


def cells(options: argparse.Namespace, methods: Sequence[str]) -> list[Cell]:
    """The grid, seed after seed, so that a study which was stopped has something of every method."""
    seeds, rates = range(1, options.seeds + 1), options.lr or [None]
    return [Cell(method, lr, seed) for seed in seeds for method in methods for lr in rates]


def run_folder(folder: Path) -> Path | None:
    """The run that lies in a cell's folder, where there is one."""
    return next((config.parent for config in folder.glob("*/*/*/config.json")), None)


def is_finished(run: Path) -> bool:
    """Whether it came to its end: the training texts are judged last but for the checkpoint, which then goes away."""
    return (run / "train-metrics.json").is_file() and not (run / CHECKPOINT).is_file()


def finished(options: argparse.Namespace, methods: Sequence[str]) -> list[Run]:
    """All finished runs of the grid, read from their folders."""
    found = []
    for cell in cells(options, methods):
        run = run_folder(options.study / cell.folder)
        if run and is_finished(run):
            found.append(read_run(run, cell.method, cell.seed))
    return found


def run_all(options: argparse.Namespace, methods: Sequence[str]) -> None:
    """Run what is not finished, `--jobs` at a time; `runs.csv` has a row more each time one ends.

    Raises:
        ValueError: a run failed; the others were brought to their end before.
    """
    waiting = cells(options, methods)
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.jobs))} | os.environ
    at_work: dict[Cell, subprocess.Popen] = {}
    failed: list[Path] = []
    bar = tqdm(total=len(waiting), desc="runs", unit="run", disable=None)
    try:
        while waiting or at_work:
            while waiting and len(at_work) < options.jobs:
                cell = waiting.pop(0)
                run = run_folder(options.study / cell.folder)
                if run and is_finished(run):
                    bar.update()
                else:
                    at_work[cell] = start(options, cell, run, environment)
            for cell, process in list(at_work.items()):
                if process.poll() is not None:
                    del at_work[cell]
                    bar.update()
                    if process.returncode:
                        failed.append(options.study / cell.folder / "output.txt")
                        bar.write(f"failed    {failed[-1]}")
                    else:
                        write_csv(options.study / "runs.csv", [run.row() for run in finished(options, methods)])
                        bar.write(f"finished  {cell.folder}")
            time.sleep(0.2)
    finally:
        bar.close()
        for process in at_work.values():  # what they have reached is in their checkpoints
            process.terminate()
            process.wait()
    if failed:
        said = failed[0].read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise ValueError(
            f"{len(failed)} runs failed; {failed[0]} ends with: {''.join(said)}\nMend that or leave the method out, "
            "and start the same command again: what is finished stays"
        )


def start(options: argparse.Namespace, cell: Cell, run: Path | None, environment: dict[str, str]) -> subprocess.Popen:
    """Begin a run in a process of its own, or go on with one that was stopped."""
    folder = options.study / cell.folder
    if run and (run / CHECKPOINT).is_file():
        arguments = ["--resume", str(run)]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        arguments = [*arguments_of(options, cell.method), "--seed", str(cell.seed), "--judge-train", "--no-report"]
        arguments += [] if cell.lr is None else ["--lr", str(cell.lr)]
        arguments += ["--save-model", "best" if options.soup else "none", "--output-dir", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        command = [sys.executable, str(Path(finetune.__file__)), *arguments]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def best_pairs(runs: Sequence[Run], k: int) -> list[str]:
    """The pairs among the k single regularizers with the highest accuracy on dev that can work together."""
    ordered = sorted(variants(runs), key=accuracy, reverse=True)
    methods = dict.fromkeys(variant[0].method for variant in ordered)
    best = [m for m in methods if m != BASELINE and "--" not in m and " + " not in m][:k]
    best.sort(key=[run.method for run in runs].index)  # as they were given, so that a pair has one name
    pairs = []
    for pair in combinations(best, 2):
        try:
            regularizers_of(pair)
        except ValueError:
            continue
        pairs.append(" + ".join(pair))
    return pairs


def soup(options: argparse.Namespace, folders: Sequence[Path]) -> str:
    """Average models of the study greedily, judge the average, and tell of it."""
    models = [run / "model" for run in map(run_folder, folders) if run]
    given = finetune.parser().parse_args(options.finetune)
    settings, data = finetune.settings_of(given), read_data(given)
    dev = data.split("dev")
    found = greedy_soup(models, [e.text for e in dev], [e.label for e in dev], given.device)
    save(found.model, found.tokenizer, options.study / "soup" / "model")
    said = [SOUP.format(models=len(models), chosen=len(found.chosen))]
    for name, split in finetune.encode(
        data, Loaded(found.model, found.tokenizer, LoadReport("soup")), settings
    ).items():
        if name != "train":
            judgement = finetune.judged(name, found.model, data, split, settings)
            write_report(options.study / "soup", judgement)
            scores = ", ".join(f"{key} {judgement.metrics[key]:.3f}" for key in ("accuracy", "f1", "loss", "ece"))
            said.append(f"- **fact** On {name} the soup has {scores}.")
    return "\n".join(said)


if __name__ == "__main__":
    run_file(__file__)
