"""The pictures of the page, as SVG that stands in it: the log, and how sure the model is where it is right."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..plots import svg
from ..tasks.metrics import bin_of

INK = "#767676"  # is read as well on white as on black
ON_A_PAGE: dict[Any, Any] = {
    "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "tezukuri", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.facecolor": "none",
    "figure.facecolor": "none", "savefig.facecolor": "none", "legend.framealpha": 0, "grid.alpha": 0.3,
    "axes.grid": True,
}  # fmt: skip


def page_curves(rows: Sequence[dict[str, Any]], say: Callable[[str], str] = str) -> str:
    """An SVG of a whole training log: losses, scores, and how fast it learned; what stands out is marked.

    `say` puts its words into another language.
    """
    with rc_context(ON_A_PAGE):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        losses, marks, rates = figure.subplots(1, 3)
        trained = [row for row in rows if row["train_loss"] is not None]
        epochs = [row["epoch"] for row in rows]
        losses.plot(
            [row["epoch"] for row in trained], [row["train_loss"] for row in trained], "o-", label=say("training")
        )
        losses.plot(epochs, [row["dev_loss"] for row in rows], "s-", label=say("validation"))
        for name, label in (("accuracy", "accuracy"), ("f1", "macro-F1"), ("ece", "ECE")):
            marks.plot(epochs, [row[f"dev_{name}"] for row in rows], ".-", label=say(label))
        lowest, best = (
            choose(trained, key=lambda row: row[name]) for choose, name in ((min, "dev_loss"), (max, "dev_f1"))
        )
        losses.plot(lowest["epoch"], lowest["dev_loss"], "v", color="black", markerfacecolor="yellow", markersize=9)
        marks.plot(best["epoch"], best["dev_f1"], "^", color="black", markerfacecolor="yellow", markersize=9)
        losses.set(title=say("Loss (nats)"), ylim=(0, None))
        marks.set(title=say("Validation"), ylim=(0, 1))
        rates.plot(
            [row["epoch"] for row in trained], [row["grad_norm"] for row in trained], ".-", label=say("gradient norm")
        )
        other = rates.twinx()
        other.plot(
            [row["epoch"] for row in trained], [row["lr"] for row in trained], "C1.--", label=say("learning rate")
        )
        other.grid(visible=False)
        rates.set(title=say("At the end of each epoch"))
        rates.legend(handles=[*rates.lines, *other.lines])
        for axes in (losses, marks):
            axes.legend()
        for axes in (losses, marks, rates):
            axes.set_xlabel(say("epoch"))
            axes.xaxis.get_major_locator().set_params(integer=True)
        return inline(figure)


def reliability(confidence: np.ndarray, right: np.ndarray, say: Callable[[str], str] = str, bins: int = 10) -> str:
    """An SVG of how right a model is where it is this sure, and of how sure it is where right and where wrong.

    Args:
        confidence: (n,) the probability of the predicted class.
        right: (n,) whether the prediction is right.
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
        left.set(xlabel=say("how sure"), ylabel=say("how often right"), xlim=(0, 1), ylim=(0, 1))
        beside.hist(
            [confidence[right], confidence[~right]], bins=edges, stacked=False, label=[say("right"), say("wrong")]
        )
        beside.set(xlabel=say("how sure"), ylabel=say("texts"), xlim=(0, 1))
        beside.legend()
        return inline(figure)


def inline(figure: Figure) -> str:
    """An SVG as it stands inside an HTML page."""
    text = svg(figure, room=0.05).decode("utf-8")
    return text[text.index("<svg") :]
