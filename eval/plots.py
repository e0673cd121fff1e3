"""Pictures: a run's confusion matrix and learning curves, and one head's attention."""

import io
import logging
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor

from .comparison import Variant

JAPANESE_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
)

SVG_METADATA = ("Date", "Creator", "Format", "Type")  # which matplotlib would write into a file

log = logging.getLogger("tezukuri")


def fonts() -> list[str]:
    """Fonts to write with: a Japanese one where the machine has it, for labels, then matplotlib's own."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [font for font in JAPANESE_FONTS if font in installed] + ["DejaVu Sans"]


def png(figure: Figure) -> bytes:
    """A figure as a file; where no font has a label's characters, one sentence says so instead of many warnings."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    if any("missing from font" in str(warning.message) for warning in caught):
        log.warning("no font here has the characters of the labels: the picture shows boxes; install Noto Sans CJK JP")
    return buffer.getvalue()


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], title: str) -> bytes:
    """A PNG of scikit-learn's confusion matrix: a row for each true class, a column for each predicted one."""
    with rc_context({"font.family": fonts()}):
        figure = Figure(figsize=(1.2 * len(labels) + 2, 1.1 * len(labels) + 1.6))
        axes = figure.add_subplot()
        ConfusionMatrixDisplay.from_predictions(
            gold, predicted, labels=list(labels), cmap="Blues", ax=axes, colorbar=False, xticks_rotation=30
        )
        axes.set_title(title)
        return png(figure)


def curves(rows: Sequence[dict[str, Any]], best: int | None = None) -> bytes:
    """A PNG of training and validation loss, and of validation scores, over the epochs; `best` is the one chosen."""
    with rc_context({"font.family": fonts()}):
        figure = Figure(figsize=(10, 4))
        losses, marks = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in rows]
        trained = [row for row in rows if row["train_loss"] is not None]
        losses.plot([r["epoch"] for r in trained], [r["train_loss"] for r in trained], "o-", label="training")
        losses.plot(epochs, [row["dev_loss"] for row in rows], "s-", label="validation")
        losses.set(xlabel="epoch", ylabel="loss (nats)", ylim=(0, None), title="Loss")
        for name, style in (("accuracy", "o-"), ("f1", "s-"), ("ece", "^:")):
            label = {"f1": "macro-F1", "ece": "calibration error"}.get(name, name)
            marks.plot(epochs, [row[f"dev_{name}"] for row in rows], style, label=label)
        marks.set(xlabel="epoch", ylim=(0, 1), title="Validation")
        for axes in (losses, marks):
            if best is not None:
                axes.axvline(best, color="grey", linewidth=1, linestyle="--", label=f"chosen: epoch {best}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        return png(figure)


def comparison_curves(variants: Sequence[Variant]) -> bytes:
    """A PNG with two fields for each method, dev loss above dev accuracy: the mean over its seeds, and its spread.

    The band is a standard deviation wide to each side; behind it, in grey, lies the baseline, which comes first.
    """
    across = min(5, len(variants))
    down = -(-len(variants) // across)
    with rc_context({"font.family": fonts(), "font.size": 7}):
        figure = Figure(figsize=(2.3 * across + 0.5, 3.2 * down), layout="constrained")
        fields = figure.subplots(2 * down, across, squeeze=False, sharex="all")
        for row, (key, what) in enumerate((("dev_loss", "loss"), ("dev_accuracy", "accuracy"))):
            shown = [row_of_fields for row_of_fields in fields[row::2]]
            all_axes = [axes for line in shown for axes in line]
            for axes in all_axes[1:]:
                axes.sharey(all_axes[0])
            for axes, variant in zip(all_axes, variants, strict=False):
                for runs, color in ((variants[0], "grey"), (variant, "tab:blue")):
                    # Runs that were stopped early are shorter: each epoch has the seeds that reached it.
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
        place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
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


def pretraining_curves(rows: Sequence[dict[str, Any]]) -> bytes:
    """A PNG of training and validation loss, and of what is guessed right, over the tokens seen."""
    figure = Figure(figsize=(10, 4))
    losses, marks = figure.subplots(1, 2)
    seen = [row["tokens"] / 1e6 for row in rows]
    losses.plot(seen, [row["train_loss"] for row in rows], label="training")
    for axes, name, label in (
        (losses, "val_loss", "validation, masked tokens"),
        (marks, "val_accuracy", "masked tokens"),
        (marks, "val_label_accuracy", "labels"),
    ):
        found = [(x, row[name]) for x, row in zip(seen, rows, strict=True) if row.get(name) is not None]
        if found:
            axes.plot(*zip(*found, strict=True), label=label)
    losses.set(xlabel="million tokens", ylabel="loss (nats)", ylim=(0, None), title="Loss")
    marks.set(xlabel="million tokens", ylim=(0, 1), title="Guessed right, validation")
    for axes in (losses, marks):
        axes.grid(alpha=0.3)
        axes.legend()
    return png(figure)


def attention_map(attention: Tensor, labels: Sequence[str], title: str, kind: str) -> bytes:
    """Attention (S, S) as an image file, `png` or `svg`; a label for each token.

    An SVG carries the labels as text, so that whoever shows it brings the font; a PNG needs a Japanese one here.
    """
    side = min(0.35 * len(labels) + 1.5, 40)  # inches
    size = min(10.0, 0.6 * 72 * side / len(labels))  # of the letters, in points
    with rc_context({"font.family": fonts(), "svg.fonttype": "none", "svg.hashsalt": "tezukuri"}):
        figure = Figure(figsize=(side, side))
        axes = figure.add_subplot()
        axes.imshow(attention.numpy(), cmap="Blues", vmin=0, vmax=1)
        places = range(len(labels))
        axes.set_xticks(places, labels, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(places, labels, fontsize=size, parse_math=False)
        axes.set(title=title, xlabel="is looked at", ylabel="looks")
        return svg(figure) if kind == "svg" else png(figure)


def inline(figure: Figure) -> str:
    """An SVG as it stands inside an HTML page."""
    text = svg(figure, room=0.05).decode("utf-8")
    return text[text.index("<svg") :]


def svg(figure: Figure, room: float = 0.6) -> bytes:
    """A figure with its text as text; `room` (inches) around it is for what comes out wider in the reader's font."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no font here need have the characters
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=room, metadata=dict.fromkeys(SVG_METADATA))
    return buffer.getvalue()
