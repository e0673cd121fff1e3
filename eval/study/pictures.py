"""Pictures of a study: loss and accuracy of each method over the epochs; what models cost and how good they are."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..plots import LONGEST_LABEL, ON_A_PAGE, inline, png, style
from .aggregate import COSTS, Cost, front
from .study import Variant


def comparison_curves(variants: Sequence[Variant]) -> bytes:
    """A PNG with dev loss above dev accuracy for each method: mean and standard deviation over its seeds.

    Behind it, in grey, lies the baseline, which is the first variant.
    """
    across = min(5, len(variants))
    down = -(-len(variants) // across)
    with rc_context(style() | {"font.size": 7}):
        figure = Figure(figsize=(2.3 * across + 0.5, 3.2 * down), layout="constrained")
        fields = figure.subplots(2 * down, across, squeeze=False, sharex="all")
        for row, (key, what) in enumerate((("dev_loss", "loss"), ("dev_accuracy", "accuracy"))):
            all_axes = fields[row::2].ravel().tolist()
            for axes in all_axes[1:]:
                axes.sharey(all_axes[0])
            for axes, variant in zip(all_axes, variants, strict=False):
                for runs, color in ((variants[0], "grey"), (variant, "tab:blue")):
                    # Each epoch has the seeds that reached it: some runs stop early.
                    longest = max((run.epochs for run in runs), key=len)
                    reached = [[r.epochs[i][key] for r in runs if i < len(r.epochs)] for i in range(len(longest))]
                    epochs = [row["epoch"] for row in longest]
                    middle, width = np.array([(np.mean(v), np.std(v, ddof=len(v) > 1)) for v in reached]).T
                    axes.plot(epochs, middle, color=color, marker=".")
                    axes.fill_between(epochs, middle - width, middle + width, color=color, alpha=0.2, linewidth=0)
                axes.grid(alpha=0.3)
                axes.xaxis.get_major_locator().set_params(integer=True)
                axes.set_ylabel(f"dev {what}")
                if not row:
                    axes.set_title(textwrap.fill(variant[0].method, 34), fontsize=7)
            for axes in all_axes[len(variants) :]:
                axes.remove()
        return png(figure)


def cost_png(costs: Mapping[str, Sequence[Cost]]) -> bytes:
    with rc_context(style()):
        return png(cost_and_quality(costs))


def cost_svg(costs: Mapping[str, Sequence[Cost]]) -> str:
    """To stand in a page."""
    with rc_context(ON_A_PAGE):
        return inline(cost_and_quality(costs))


def cost_and_quality(costs: Mapping[str, Sequence[Cost]]) -> Figure:
    """For each cost, the models' macro-F1 on test with its deviation over it, those of Pareto's front joined."""
    figure = Figure(figsize=(7 * len(costs), 4.5), layout="constrained")
    fields = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (what, points) in zip(fields, costs.items(), strict=True):
        best = front(points)
        for name, cost, f1, deviation in points:
            color = "tab:blue" if name in best else "grey"
            axes.errorbar(cost, f1, deviation, marker="o", color=color, capsize=3)
            short = name if len(name) <= LONGEST_LABEL else f"…{name[1 - LONGEST_LABEL :]}"  # folders differ at the end
            axes.annotate(short, (cost, f1), (5, 5), textcoords="offset points", fontsize=7)
        joined = sorted((cost, f1) for name, cost, f1, _ in points if name in best)
        axes.plot(*zip(*joined, strict=True), color="tab:blue", alpha=0.5)
        axes.set(xlabel=COSTS[what][0], ylabel="macro-F1 on test")
        axes.margins(x=0.15)
        values = [cost for _, cost, _, _ in points]
        if max(values) > 10 * min(values):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")  # the usual one writes formulas
            axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
    return figure
