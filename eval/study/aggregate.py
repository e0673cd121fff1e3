"""Runs of finetune, wherever they lie, as one table: which model is best at which settings, and what can be told apart.

The tables are those of hppRC's bert-classification-tutorial (src/aggregate.py): `all.csv` has every run, `best.csv` of
each model what is best on dev by macro-F1. Beyond it, runs that differ in their seed alone are one row with its spread,
models are compared by paired tests, and what choosing on dev has cost is told.

Letters: n test texts, S seeds, m models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import mean, stdev
from string import ascii_lowercase
from typing import Any, NamedTuple

import numpy as np

from ..statistics import ALPHA, PERCENTILES, holm
from .document import table
from .made import NUMBERS, OF_DATA, Made, key_of
from .study import difference, drawn_scores, draws_for, texts_apart

# What a model costs → how it is told, its unit, and what is better about one that costs less.
COSTS = {
    "seconds": ("seconds of training", 1, "trains faster"),
    "parameters": ("million parameters", 1e6, "has fewer parameters"),
    "gpu_memory": ("GiB of GPU memory at the peak", 2**30, "takes less memory of the GPU"),
    "process_memory": ("GiB of the process at the peak", 2**30, "takes less memory of its process"),
}
# As the tutorial groups its models, by their parameters.
LARGE = 200e6
SIZES = ("fewer than 200 million parameters", "200 million parameters or more", "number of parameters not known")


class Cost(NamedTuple):
    """What one model costs, in the unit of COSTS, and its macro-F1 on test; means over its seeds."""

    model: str
    cost: float
    f1: float
    deviation: float  # of the macro-F1, over the seeds


@dataclass
class Configuration:
    """The S runs of a model that differ in their seed alone, or their fold of cross-validation, which counts as one."""

    runs: list[Made]
    other: str = ""  # settings by which it differs from others of its table

    def mean(self, name: str) -> float | None:
        values = [run.values.get(name) for run in self.runs]
        return None if None in values else mean(value for value in values if value is not None)

    def spread(self, name: str) -> float | None:
        values = [run.number(name) for run in self.runs]
        return stdev(values) if len(values) > 1 else None

    @property
    def f1(self) -> float:
        return mean(run.number("f1") for run in self.runs)

    @property
    def dev_f1(self) -> float:
        return mean(run.number("best-val-f1") for run in self.runs)

    @property
    def model(self) -> str:
        return self.runs[0].model

    @property
    def size(self) -> str:
        parameters = self.mean("parameters")
        return SIZES[2] if parameters is None else SIZES[parameters >= LARGE]


@dataclass
class Table:
    """All runs on the same test texts."""

    name: str
    configurations: list[Configuration]

    @cached_property
    def models(self) -> dict[str, list[Configuration]]:
        """Model → its configurations."""
        found: dict[str, list[Configuration]] = {}
        for one in self.configurations:
            found.setdefault(one.model, []).append(one)
        return found

    @cached_property
    def best(self) -> list[Configuration]:
        """Of each of the m models the one with the highest macro-F1 on dev (of equals that with the lowest rate), the
        best on test first."""
        chosen = [max(some, key=lambda one: (one.dev_f1, -one.runs[0].number("lr"))) for some in self.models.values()]
        return sorted(chosen, key=lambda one: -one.f1)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of `best`."""
        return list(combinations(range(len(self.best)), 2))

    @property
    def draws(self) -> int:
        return draws_for(len(self.pairs))

    @cached_property
    def drawn(self) -> list[np.ndarray] | None:
        """The macro-F1 of each run of each of `best`, on the texts as they are and on each draw: (S, 1 + draws). None
        where not all predictions are known."""
        if not all(run.predicted for one in self.best for run in one.runs):
            return None
        gold = np.array(self.best[0].runs[0].gold)
        return [
            np.stack([drawn_scores(gold, np.array([r.predicted]), r.labels, self.draws)["f1"] for r in one.runs])
            for one in self.best
        ]

    @cached_property
    def apart(self) -> set[tuple[int, int]]:
        """Pairs of `best` whose macro-F1 differs: all pairs by the paired bootstrap of `differences`, by Holm."""
        assert self.drawn is not None
        scores = [runs.mean(axis=0) for runs in self.drawn]
        gold = np.array(self.best[0].runs[0].gold)
        predicted = [np.array([run.predicted for run in one.runs]) for one in self.best]  # (S, n) each
        ps = [difference(scores[a], scores[b], texts_apart(gold, predicted[a], predicted[b])).p for a, b in self.pairs]
        return {pair for pair, p in zip(self.pairs, holm(ps), strict=True) if p < ALPHA}

    @cached_property
    def compared(self) -> list[dict[str, Any]]:
        """For each of `best`: `f1-low` and `f1-high`, between which 95 % of draws of texts and seeds lie; `alike`, the
        letters of the groups that it is in; `beats-first` and `beats-next`, the share of pairs of seeds in which it is
        better than the first, and than the next better one, of those with several seeds (ties count half). None for
        what is not known."""
        if self.drawn is None:
            return [dict.fromkeys(COMPARED)] * len(self.best)
        found = []
        groups = letters(len(self.best), self.apart) if len(self.best) > 1 else [None]
        for place, (runs, group) in enumerate(zip(self.drawn, groups, strict=True)):
            seeds = np.random.default_rng(0).integers(0, len(runs), (len(runs), self.draws))
            low, high = np.quantile(runs[seeds, np.arange(1, self.draws + 1)].mean(axis=0), PERCENTILES)
            better = [other for other in self.drawn[:place] if len(other) > 1]  # of one seed no other order is known
            turned = [turns(runs[:, 0], other[:, 0]) for other in better] or [None]
            first, above = turned[0], turned[-1]
            found.append(dict(zip(COMPARED, (float(low), float(high), group, first, above), strict=True)))
        return found

    @cached_property
    def costs(self) -> dict[str, list[Cost]]:
        """For each of COSTS that two of `best` are known to have: those."""
        found: dict[str, list[Cost]] = {}
        for name, (_, unit, _) in COSTS.items():
            known = [Cost(one.model, cost / unit, one.f1, one.spread("f1") or 0.0)
                     for one in self.best if (cost := one.mean(name))]  # fmt: skip
            found |= {name: known} if len(known) > 1 else {}
        return found


def front(costs: Sequence[Cost]) -> list[str]:
    """The models than which none costs less and is better (Pareto's front): the cheapest first."""
    found, highest = [], -1.0
    for model, _, f1, _ in sorted(costs, key=lambda one: (one.cost, -one.f1)):
        if f1 > highest:
            found.append(model)
            highest = f1
    return found


def turns(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """The share of pairs of seeds, (S,) scores each, in which ours is better; None where one of them has one seed."""
    if min(len(ours), len(theirs)) < 2:
        return None
    gaps = (ours[:, None] - theirs).round(9)  # (S, S)
    return float(np.mean(gaps > 0) + np.mean(gaps == 0) / 2)


COMPARED = ("f1-low", "f1-high", "alike", "beats-first", "beats-next")


def tables_of(runs: Sequence[Made]) -> list[Table]:
    """A table for each set of test texts, by name, in the order of the first of their runs."""
    of_texts: dict[tuple[str, str], list[Made]] = {}
    for run in runs:
        of_texts.setdefault((run.test, run.texts), []).append(run)
    names = [test for test, _ in of_texts]
    tables = []
    for number, ((test, _), some) in enumerate(of_texts.items()):
        differ = [name for name in dict.fromkeys(name for run in some for name in run.settings)
                  if len({str(run.settings.get(name)) for run in some}) > 1]  # fmt: skip
        grouped: dict[Any, Configuration] = {}
        for run in some:
            told = (f"{name}={shown(run.settings[name])}" if name != "other" else run.settings[name]
                    for name in differ if run.settings.get(name) is not None)  # fmt: skip
            one = grouped.setdefault(key_of(run), Configuration([], " ".join(filter(None, told))))
            one.runs.append(run)
        name = test if names.count(test) == 1 else f"{test} ({names[: number + 1].count(test)})"
        tables.append(Table(name, list(grouped.values())))
    return tables


def letters(m: int, apart: set[tuple[int, int]]) -> list[str]:
    """For each of m models its letters: two share one if they, and all others with it, cannot be told apart.

    The compact letter display of Piepho 2004 (Journal of Computational and Graphical Statistics 13): a group that has
    two models that are told apart becomes two, and groups inside others are dropped.
    """
    groups = [frozenset(range(m))]
    for a, b in sorted(apart):
        parts = {part for group in groups for part in ([group - {a}, group - {b}] if {a, b} <= group else [group])}
        groups = [part for part in parts if not any(part < other for other in parts)]
    groups.sort(key=sorted)
    names = [*ascii_lowercase, *(f"{letter}{n}" for n in range(2, 100) for letter in ascii_lowercase)]
    return ["".join(name for name, group in zip(names, groups, strict=False) if model in group) for model in range(m)]


# --- what is written and said -------------------------------------------------------------------------------------


def all_rows(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The rows of `all.csv`: the tutorial's columns, then ours; of each table the highest macro-F1 on test first."""
    rows: list[dict[str, Any]] = []
    for one in tables:
        runs = [(run, configuration.other) for configuration in one.configurations for run in configuration.runs]
        for run, other in sorted(runs, key=lambda pair: -pair[0].number("f1")):
            numbers = {name: tidy(name, run.values.get(name)) for name in NUMBERS}
            rows.append(
                {"model_name": run.model, **numbers, "other": other or None, "fold": run.fold or None,
                 "test": one.name, "run": run.place}
            )  # fmt: skip
    return rows


def best_rows(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The rows of `best.csv`, a model each: means over its seeds, with standard deviations, and the best macro-F1 on
    test that it had with any settings."""
    rows: list[dict[str, Any]] = []
    for one in tables:
        for chosen, compared in zip(one.best, one.compared, strict=True):
            numbers = {name: tidy(name, chosen.mean(name)) for name in NUMBERS if name not in ("seed", "seconds")}
            spreads = {f"{name}-sd": chosen.spread(name) for name in ("best-val-f1", "accuracy", "f1")}
            highest = max(other.f1 for other in one.models[chosen.model])
            rows.append(
                {"model_name": chosen.model, **numbers, "other": chosen.other or None, "seeds": len(chosen.runs),
                 **spreads, "highest-test-f1": highest, "seconds": chosen.mean("seconds"), **compared,
                 "test": one.name}
            )  # fmt: skip
    return rows


def tidy(name: str, value: float | None) -> float | None:
    """Counts without `.0`."""
    counts = ("best-val-epoch", "batch_size", "max_length", "seed", "parameters", "gpu_memory", "process_memory")
    return int(value) if name in counts and value is not None and value == int(value) else value


def told(one: Table) -> str:
    """A table in Markdown with the best of each model, in hundredths, and sentences on what it shows."""
    n = len(one.best[0].runs[0].gold)
    runs = sum(len(some.runs) for some in one.configurations)
    other, several = any(chosen.other for chosen in one.best), any(len(chosen.runs) > 1 for chosen in one.best)
    alike, beats = (any(compared[name] is not None for compared in one.compared) for name in ("alike", "beats-next"))
    sized = any(chosen.mean("parameters") for chosen in one.best)
    header = ["model", *["parameters"] * sized, "lr", *["other"] * other, *["seeds"] * several]
    header += ["accuracy", "precision", "recall", "macro-F1", *["alike"] * alike]
    header += ["beats the first", "beats the one above"] * beats
    rows = []
    for chosen, compared in zip(one.best, one.compared, strict=True):
        cells = [chosen.model, *[millions(chosen)] * sized, f"{chosen.runs[0].number('lr'):g}", *[chosen.other] * other]
        cells += [str(len(chosen.runs))] * several
        cells += [hundredths(chosen, name) for name in ("accuracy", "precision", "recall", "f1")]
        if compared["f1-low"] is not None:
            cells[-1] += f" ({interval(compared)})"
        turned = [share(compared[name]) for name in ("beats-first", "beats-next")]
        rows.append([*cells, *[compared["alike"]] * alike, *turned * beats])
    title = f"## {one.name}: {runs} run{'s' * (runs > 1)}" + (f", {n:,} test texts" if n else "")
    listed = "\n".join(f"- {sentence}" for sentence in sentences(one))
    return f"{title}\n\n{table(header, rows)}\n\n{listed}"


def sentences(one: Table) -> list[str]:
    """What a table shows."""
    return [*of_letters(one), *of_choosing(one), *of_costs(one), *of_seeds(one)]


def of_letters(one: Table) -> list[str]:
    if len(one.best) < 2:
        return ["There is one model: nothing is compared."]
    if one.drawn is None:
        return ["Which models can be told apart is not known: not all runs have their predictions."]
    sentence = (
        f"Models that share a letter cannot be told apart by their macro-F1: {len(one.apart)} of {len(one.pairs)} "
        f"pairs differ (paired bootstrap of {one.draws:,} draws of the texts, corrected by Holm, {100 * ALPHA:g} %). "
        "Only texts are drawn for that; for the intervals (95 %), seeds too."
    )
    if any(compared["beats-first"] is not None for compared in one.compared):
        sentence += " Of those with several seeds a model beats the first, and the next better one, in so many pairs."
    found = [sentence]
    if 2 * len(one.pairs) / one.draws >= ALPHA:
        found.append(f"Of so many pairs none can be told apart: that would take more than {one.draws:,} draws.")
    if len({frozenset(run.labels) for chosen in one.best for run in chosen.runs}) > 1:
        found.append("Not all runs have the same labels, of which macro-F1 is the mean: theirs is not quite one score.")
    return found


def of_choosing(one: Table) -> list[str]:
    """What choosing on dev has cost, of models that had a choice."""
    on_dev, on_test = mean(chosen.dev_f1 for chosen in one.best), mean(chosen.f1 for chosen in one.best)
    told = f"The macro-F1 on dev, by which these were chosen, is {100 * on_dev:.2f} on average, that on test"
    found = [f"{told} {100 * on_test:.2f}: {100 * (on_test - on_dev):+.2f} points."]
    if len({splits_of(run) for some in one.configurations for run in some.runs}) > 1:
        found.append("Not all runs have the same train and dev splits: where dev differs, so may what is best on it.")
    tied = [chosen.model for chosen in one.best
            if sum(other.dev_f1 == chosen.dev_f1 for other in one.models[chosen.model]) > 1]  # fmt: skip
    if tied:
        which = "that with the lowest rate, or else the first,"
        found.append(f"Several settings are equal on dev, of which {which} was taken: {', '.join(tied)}.")
    lost, worst = dict[str, float](), 0
    for chosen in one.best:
        scores = [other.f1 for other in one.models[chosen.model]]
        if len(scores) > 1:
            lost[chosen.model] = max(scores) - chosen.f1
            worst += chosen.f1 == min(scores) < max(scores)
    if lost:
        model = max(lost, key=lambda name: lost[name])
        highest, most = sum(not gap for gap in lost.values()), f"{100 * lost[model]:.2f} ({model})"
        found.append(
            f"Of {len(lost)} model{'s' * (len(lost) > 1)} with a choice of settings, dev chose what is best on test "
            f"for {highest}, and what is worst there for {worst}. The best lies {100 * mean(lost.values()):.2f} points "
            f"of macro-F1 above what was chosen on average, and at most {most}."
        )
    return found


def splits_of(run: Made) -> str:
    """The settings that tell its train and dev splits from others, also where a table has them in "other"."""
    told = [f"{name}={run.settings[name]}" for name in OF_DATA if name in run.settings]
    other = str(run.settings.get("other", "")).split()
    return " ".join(told + [one for one in other if one.partition("=")[0] in OF_DATA])


def of_costs(one: Table) -> list[str]:
    """Of each cost the models on the front, and of how many models it is not known."""
    machines = {run.machine for chosen in one.best for run in chosen.runs} - {""}
    found = []
    for name, costs in one.costs.items():
        told = {model: f"{model} ({in_units(name, cost)})" for model, cost, _, _ in costs}
        beware = "; the times are of several kinds of machine" if name == "seconds" and len(machines) > 1 else ""
        lacking = len(one.best) - len(costs)
        beware += f"; of {lacking} model{'s' * (lacking > 1)} that is not known" if lacking else ""
        cheap = ", ".join(told[model] for model in front(costs))
        found.append(f"None {COSTS[name][2]} and is better on test than one of these: {cheap}{beware}.")
    if len(one.best) > 1 and (unknown := [costs for costs in ("seconds", "parameters") if costs not in one.costs]):
        found.append(f"Not known, so that nothing is compared by it: {' and '.join(unknown)}.")
    return found


def in_units(name: str, cost: float) -> str:
    """A cost in the unit of COSTS."""
    return {"seconds": f"{cost:,.0f} s", "parameters": f"{cost:,.1f} M"}.get(name, f"{cost:,.2f} GiB")


def of_seeds(one: Table) -> list[str]:
    seeds = [len(some.runs) for some in one.configurations]
    found = []
    if any(run.fold for some in one.configurations for run in some.runs):
        found.append(
            "A fold of cross-validation counts as a seed here; folds share training texts, and so spread too little."
        )
    if min(seeds) < max(seeds):
        found.append(
            f"The settings have {min(seeds)} to {max(seeds)} seeds: those with few are chosen by luck more often."
        )
    elif not found and max(seeds) == 1:
        found.append("One seed each: what another would bring is not known, and differences of models may be luck.")
    elif not found:
        found.append(f"Means and standard deviations of {max(seeds)} seeds.")
    return found


def hundredths(chosen: Configuration, name: str) -> str:
    """`97.01`, or `97.01 ± 0.20` of several seeds."""
    values = [100 * run.number(name) for run in chosen.runs]
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def interval(compared: dict[str, Any]) -> str:
    return f"{100 * compared['f1-low']:.1f} to {100 * compared['f1-high']:.1f}"


def millions(chosen: Configuration) -> str:
    parameters = chosen.mean("parameters")
    return "" if parameters is None else f"{parameters / 1e6:,.1f} M"


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def shown(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
