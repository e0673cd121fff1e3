"""A sweep: models, methods and rates, each with several seeds or folds: a study, and its tables."""

import shlex
from collections.abc import Sequence
from statistics import mean
from typing import Any

from ..eval.runs import write_csv, write_whole
from ..eval.study.aggregate import all_rows, tables_of
from ..eval.study.made import read_all
from ..eval.study.means import means
from ..eval.tasks.task import Task
from .study import (
    PLAIN,
    Study,
    arguments_of,
    begin,
    best_of,
    cells,
    failures,
    finished_run,
    refuse_failed,
    row_of,
    run_all,
)


def sweep(study: Study) -> str:
    """Run all that is not finished, with `runs.csv` and `all.csv` as runs end; then write and return `sweep.md`.

    Raises:
        ValueError: something cannot be run, before anything does; or no run is finished.
    """
    methods = list(dict.fromkeys(study.methods)) or [PLAIN]
    begin(study, methods)
    run_all(study, methods, lambda: write_rows(study, methods))
    grid = cells(study, methods)
    finished, failed = [run for cell in grid if (run := finished_run(study, cell))], failures(study, grid)
    if not finished:
        refuse_failed(study.folder)
        return "no run is finished yet"
    rows = rows_of(study, methods)
    best = best_of(finished[0])
    text = f"# Sweep\n\n{means(rows, best, study.folds, study.seeds)}\n"
    if len(finished) < len(grid):
        made = len(grid) - len(finished) - len(failed)
        where = " (failed.csv)" if failed else ""
        text += f"\nOf {len(grid)} runs {len(failed)} failed{where}, and {made} are not made yet: "
        text += "means are of those that are finished.\n"
    text += f"\nNo run keeps its model.{best_command(study, rows, best)}\n"
    write_whole(study.folder / "sweep.md", text)
    return text


def best_command(study: Study, rows: Sequence[dict[str, Any]], best: str) -> str:
    """A sentence with the command that trains the first row of `means` once more."""
    grouped: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if (score := row.get(f"dev_{best}")) is not None:
            grouped.setdefault((row["model"], row["method"], row["lr"]), []).append(score)
    if not grouped:
        return ""
    sign = -1 if best in Task.falling else 1
    model, method, lr = max(grouped, key=lambda key: sign * mean(grouped[key]))
    arguments = arguments_of(study, method, model if study.models else "")
    arguments += ["--lr", str(lr)] if study.lrs else []
    return f" What is best on dev is trained by `tezukuri finetune {shlex.join(arguments)}`."


def rows_of(study: Study, methods: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of `runs.csv`, all with the same columns."""
    rows = [row_of(cell, run) for cell in cells(study, methods) if (run := finished_run(study, cell))]
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def write_rows(study: Study, methods: Sequence[str]) -> None:
    """`runs.csv`, and, of classes with a test split, `all.csv` as `aggregate` has it."""
    if rows := rows_of(study, methods):
        write_csv(study.folder / "runs.csv", rows)
        if any(row.get("test_f1") is not None for row in rows):
            write_csv(study.folder / "all.csv", all_rows(tables_of(read_all([study.folder])[0])))
