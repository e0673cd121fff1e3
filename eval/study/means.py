"""The table of a sweep: means over seeds or folds of each model, method and rate, of any task."""

from collections.abc import Mapping, Sequence
from math import nan
from statistics import mean
from typing import Any

from ..tasks.task import Task
from .document import spread, table

OF_FOLDS = """\
Mean ± standard deviation over {folds} folds{seeds}: each text of train and dev is judged once{each} by a model that was
not trained on it (dev), while the epoch was chosen by these texts, unless it is the last, so that dev looks a little
better than it is{test}.
Folds share most of their training texts. Their spread therefore underestimates how much the score would differ with
other training texts, and no unbiased estimate of that can be had from them (Bengio and Grandvalet 2004, "No Unbiased
Estimator of the Variance of K-Fold Cross-Validation")."""
OF_SEEDS = "{seeds}. The epoch was chosen on dev, unless it is the last, so that dev looks a little better than it is."


def means(rows: Sequence[Mapping[str, Any]], best: str, folds: int, seeds: int) -> str:
    """Markdown: a row for each model, method and rate, the best `best` on dev first, and what its numbers mean.

    Args:
        rows: those of `runs.csv`.
        best: the score that epochs are chosen by.
    """
    grouped: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["model"], row["method"], row["lr"]), []).append(row)
    several = len({method for _, method, _ in grouped}) > 1
    names = [name for split in ("dev", "test") for score in dict.fromkeys(["accuracy", best])
             if any(row.get(name := f"{split}_{score}") is not None for row in rows)]  # fmt: skip
    lines = []
    for (model, method, lr), runs in grouped.items():
        known = {name: [run[name] for run in runs if run.get(name) is not None] for name in [*names, "seconds"]}
        cells = [model, *[method] * several, f"{lr:g}", str(len(runs)), *(spread(known[n] or [nan]) for n in names)]
        on_dev = known.get(f"dev_{best}")
        place = (not on_dev, mean(on_dev or [0]) * (1 if best in Task.falling else -1))  # without that score, last
        lines.append((place, [*cells, f"{mean(known['seconds']):,.0f}"]))
    header = ["model", *["method"] * several, "lr", "runs", *(name.replace("_", " ") for name in names), "seconds"]
    over = (
        f"Mean ± standard deviation over {seeds} seeds"
        if seeds > 1
        else "One seed: what another would bring is not known"
    )
    told = OF_SEEDS.format(seeds=over)
    if folds:
        test = "; test is the same for all" if any(name.startswith("test_") for name in names) else ""
        and_seeds, each = (f" and {seeds} seeds", " with each seed") if seeds > 1 else ("", "")
        told = OF_FOLDS.format(folds=folds, seeds=and_seeds, each=each, test=test)
    lines.sort(key=lambda line: line[0])
    return f"{table(header, [cells for _, cells in lines])}\n\n{told}"
