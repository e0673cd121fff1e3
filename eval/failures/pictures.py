"""The plots of the page, as SVG inside it: learning curves, reliability diagrams, and answers by labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..plots import INK, ON_A_PAGE, inline, plot_losses
from ..tasks.metrics import bin_of

CLASS_SCORES = {"accuracy": "accuracy", "f1": "macro-F1", "ece": "ECE"}


def page_curves(
    rows: Sequence[dict[str, Any]],
    translate: Callable[[str], str] = str,
    scores: Mapping[str, str] = CLASS_SCORES,
    best: str = "f1",
    nats: bool = True,
) -> str:
    """An SVG of a training log: losses, scores, gradient norm and learning rate; the best epochs are marked.

    translate: its words into the language of the page. scores: names of those on the dev split, and their titles; the
    epoch is marked in which `best` of them is greatest. nats: whether the loss has that unit.
    """
    with rc_context(ON_A_PAGE):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        losses, marks, rates = figure.subplots(1, 3)
        trained = [row for row in rows if row["train_loss"] is not None]
        epochs, from_first = ([row["epoch"] for row in some] for some in (rows, trained))
        mark = {"color": "black", "markerfacecolor": "yellow", "markersize": 9}
        # Losses.
        plot_losses(losses, rows, translate("training"), translate("validation"))
        lowest = min(trained, key=lambda row: row["dev_loss"])
        losses.plot(lowest["epoch"], lowest["dev_loss"], "v", **mark)
        losses.set(title=translate("Loss (nats)" if nats else "Loss"), ylim=(0, None))
        # Scores.
        for name, label in scores.items():
            marks.plot(epochs, [row[f"dev_{name}"] for row in rows], ".-", label=translate(label))
        top = max(trained, key=lambda row: row[f"dev_{best}"])
        marks.plot(top["epoch"], top[f"dev_{best}"], "^", **mark)
        least = min(row[f"dev_{name}"] for row in rows for name in scores)  # a correlation may be below 0
        marks.set(title=translate("Validation"), ylim=(min(0, least), 1))
        # Gradient norm and learning rate, each with a scale of its own.
        rates.plot(from_first, [row["grad_norm"] for row in trained], ".-", label=translate("gradient norm"))
        other = rates.twinx()
        other.plot(from_first, [row["lr"] for row in trained], "C1.--", label=translate("learning rate"))
        other.grid(visible=False)
        rates.set(title=translate("At the end of each epoch"))
        rates.legend(handles=[*rates.lines, *other.lines])
        for axes in (losses, marks):
            axes.legend()
        for axes in (losses, marks, rates):
            axes.set_xlabel(translate("epoch"))
            axes.xaxis.get_major_locator().set_params(integer=True)
        return inline(figure)


def scatter_of(gold: np.ndarray, predicted: np.ndarray, translate: Callable[[str], str] = str) -> str:
    """An SVG of answers by labels, (n,) both, and of their differences by labels."""
    with rc_context(ON_A_PAGE):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        points, residuals = figure.subplots(1, 2)
        points.plot(gold, predicted, "o", markersize=3, alpha=0.5, markeredgewidth=0)
        points.axline((gold.mean(), gold.mean()), slope=1, color=INK, linewidth=1)
        ends = min(gold.min(), predicted.min()), max(gold.max(), predicted.max())
        room = 0.05 * (ends[1] - ends[0]) or 1.0
        limits = ends[0] - room, ends[1] + room
        points.set(xlabel=translate("label"), ylabel=translate("answer"), xlim=limits, ylim=limits)
        residuals.plot(gold, predicted - gold, "o", markersize=3, alpha=0.5, markeredgewidth=0)
        residuals.axhline(0, color=INK, linewidth=1)
        residuals.set(xlabel=translate("label"), ylabel=translate("answer minus label"))
        return inline(figure)


def reliability(
    confidence: np.ndarray, right: np.ndarray, translate: Callable[[str], str] = str, bins: int = 10
) -> str:
    """An SVG of accuracy by confidence, and of the confidence of right and of wrong predictions.

    confidence: (n,) the probability of the predicted class. right: (n,) whether the prediction is right.
    """
    with rc_context(ON_A_PAGE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        left, beside = figure.subplots(1, 2)
        edges = np.linspace(0, 1, bins + 1)
        place = bin_of(confidence, bins)
        counts = np.bincount(place, minlength=bins)
        shares = np.bincount(place, weights=right, minlength=bins) / np.maximum(counts, 1)
        left.bar(edges[:-1], shares, width=1 / bins, align="edge", color="C0", alpha=0.6)
        left.plot([0, 1], [0, 1], color=INK, linewidth=1)
        left.set(xlabel=translate("confidence"), ylabel=translate("accuracy"), xlim=(0, 1), ylim=(0, 1))
        beside.hist([confidence[right], confidence[~right]], bins=edges, label=[translate("right"), translate("wrong")])
        beside.set(xlabel=translate("confidence"), ylabel=translate("texts"), xlim=(0, 1))
        beside.legend()
        return inline(figure)
