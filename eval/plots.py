"""Plots: a run's confusion matrix and learning curves, and the attention of one head."""

import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.metrics import confusion_matrix as sklearn_matrix
from torch import Tensor

from ..data.dataset import Span
from ..weights.files import first_line
from .runs import write_whole
from .tasks.tag import counts_by_kind

JAPANESE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "Meiryo", "MS Gothic",
)  # fmt: skip

MOST_CLASSES = 20  # in a picture of confusions, which grows with their square
LONGEST_LABEL = 40  # characters of a label in a picture
SVG_METADATA = ("Date", "Creator", "Format", "Type")  # which matplotlib would write into a file

INK = "#767676"  # of a picture on a page: has the same contrast on white and on black
ON_A_PAGE: dict[Any, Any] = {
    "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "tezukuri", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.facecolor": "none",
    "figure.facecolor": "none", "savefig.facecolor": "none", "legend.framealpha": 0, "grid.alpha": 0.3,
    "axes.grid": True, "text.parse_math": False,
}  # fmt: skip

log = logging.getLogger("tezukuri")


def fonts() -> list[str]:
    """The Japanese fonts that the machine has, then matplotlib's own."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [font for font in JAPANESE_FONTS if font in installed] + ["DejaVu Sans"]


def style() -> dict[Any, Any]:
    """Settings of all pictures: fonts for labels, in which a $ is a $ and begins no formula."""
    return {"font.family": fonts(), "text.parse_math": False}


def write_picture(path: Path, draw: Callable[..., bytes], *arguments: Any) -> None:
    """Draw a picture into a file; where that fails, a warning says so, since nothing else hangs on it."""
    try:
        write_whole(path, draw(*arguments))
    except Exception as error:
        log.warning(
            "%s was not drawn (%s: %s); all else of the run is whole", path, type(error).__name__, first_line(error)
        )


def png(figure: Figure) -> bytes:
    """A figure as a PNG; one message where no font has the characters of a label."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    if any("missing from font" in str(warning.message) for warning in caught):
        log.warning("no font here has the characters of the labels: the picture shows boxes; install Noto Sans CJK JP")
    return buffer.getvalue()


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], title: str) -> bytes:
    """A PNG of scikit-learn's confusion matrix: a row for each true class, a column for each predicted one.

    Of more than MOST_CLASSES classes it has those of the most frequent confusions, and its title says so.
    """
    shown = most_confused(gold, predicted, labels)
    if len(shown) < len(labels):
        title += f"\n{len(shown)} of {len(labels)} classes, those of the most frequent confusions"
    short = [label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…" for label in shown]
    with rc_context(style()):
        figure = Figure(figsize=(1.2 * len(shown) + 2, 1.1 * len(shown) + 1.6))
        axes = figure.add_subplot()
        counts = sklearn_matrix(gold, predicted, labels=shown)
        ConfusionMatrixDisplay(counts, display_labels=short).plot(
            cmap="Blues", ax=axes, colorbar=False, xticks_rotation=30
        )
        axes.set_title(title)
        return png(figure)


def scatter(gold: Sequence[float], predicted: Sequence[float], labels: Sequence[str], title: str) -> bytes:
    """A PNG of predicted against true scores, and of their differences; `labels` are not used."""
    true, found = np.array(gold, dtype=float), np.array(predicted, dtype=float)
    with rc_context(style()):
        figure = Figure(figsize=(10, 4.4))
        points, residuals = figure.subplots(1, 2)
        points.scatter(true, found, s=9, alpha=0.5)
        points.axline((true.mean(), true.mean()), slope=1, color="grey", linewidth=1, linestyle="--")
        ends = min(true.min(), found.min()), max(true.max(), found.max())
        room = 0.05 * (ends[1] - ends[0]) or 1.0
        limits = ends[0] - room, ends[1] + room
        points.set(xlabel="score", ylabel="prediction", title=title, xlim=limits, ylim=limits)
        residuals.hist(found - true, bins=min(40, max(5, len(true) // 10)))
        residuals.axvline(0, color="grey", linewidth=1, linestyle="--")
        residuals.set(xlabel="prediction - score", ylabel="texts", title="Residuals")
        for axes in (points, residuals):
            axes.grid(alpha=0.3)
        return png(figure)


def f1_of_kinds(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str], title: str
) -> bytes:
    """A PNG with a bar for each kind of entities, as long as its F1; `labels` are not used.

    Of more than MOST_CLASSES kinds it has the most frequent ones, and its title says so.
    """
    found = counts_by_kind(gold, predicted)
    counts = list(found.items())[:MOST_CLASSES]
    which = f"the {len(counts)} most frequent of {len(found)} kinds" if len(counts) < len(found) else "each kind"
    with rc_context(style()):
        figure = Figure(figsize=(7, 0.4 * len(counts) + 1.5))
        axes = figure.add_subplot()
        names = [f"{kind[:LONGEST_LABEL]} ({one.gold})" for kind, one in counts]
        bars = axes.barh(range(len(names)), [one.f1 for _, one in counts], tick_label=names)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.invert_yaxis()
        axes.set(xlabel="F1", xlim=(0, 1.12), title=f"{title}, F1 of {which} (and how many there are)")
        axes.grid(alpha=0.3, axis="x")
        return png(figure)


def plot_losses(axes: Any, rows: Sequence[dict[str, Any]], training: str, validation: str) -> None:
    """Training loss, where there is one, and validation loss over the epochs, with these labels."""
    trained = [row for row in rows if row["train_loss"] is not None]
    axes.plot([row["epoch"] for row in trained], [row["train_loss"] for row in trained], "o-", label=training)
    axes.plot([row["epoch"] for row in rows], [row["dev_loss"] for row in rows], "s-", label=validation)


def most_confused(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[str]:
    """At most MOST_CLASSES labels, in their order: those of the most frequent confusions, then the most frequent."""
    if len(labels) <= MOST_CLASSES:
        return list(labels)
    pairs = Counter(pair for pair in zip(gold, predicted, strict=True) if pair[0] != pair[1]).most_common()
    wanted = dict.fromkeys(label for pair, _ in pairs for label in pair)
    wanted |= dict.fromkeys(label for label, _ in Counter(gold).most_common()) | dict.fromkeys(labels)
    chosen = set(list(wanted)[:MOST_CLASSES])
    return [label for label in labels if label in chosen]


def curves(rows: Sequence[dict[str, Any]], best: int | None = None) -> bytes:
    """A PNG of training and validation loss, and of validation scores, over the epochs; `best` is the one chosen."""
    with rc_context(style()):
        figure = Figure(figsize=(10, 4))
        losses, marks = figure.subplots(1, 2)
        # Losses.
        plot_losses(losses, rows, "training", "validation")
        losses.set(
            xlabel="epoch", ylabel="loss (nats)" if "dev_f1" in rows[0] else "loss", ylim=(0, None), title="Loss"
        )
        # Scores: those of classification, or all of another task that are shares or correlations.
        shown = {"dev_accuracy": "o-", "dev_f1": "s-", "dev_ece": "^:"}
        others = [name for name in rows[0] if name.startswith("dev_") and name not in ("dev_loss", "dev_mae")]
        for name in [name for name in shown if name in rows[0]] or others:
            label = {"dev_f1": "macro-F1", "dev_ece": "calibration error"}.get(name, name.removeprefix("dev_"))
            marks.plot([row["epoch"] for row in rows], [row[name] for row in rows], shown.get(name, "o-"), label=label)
        marks.set(xlabel="epoch", title="Validation", **({"ylim": (0, 1)} if "dev_accuracy" in rows[0] else {}))
        for axes in (losses, marks):
            if best is not None:
                axes.axvline(best, color="grey", linewidth=1, linestyle="--", label=f"chosen: epoch {best}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        return png(figure)


def pretraining_curves(rows: Sequence[dict[str, Any]]) -> bytes:
    """A PNG of training and validation loss, and of validation accuracy, over the tokens seen."""
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
    """Attention (S, S) as a file, `png` or `svg`, with a label for each token. An SVG needs no font here."""
    side = min(0.35 * len(labels) + 1.5, 40)  # inches
    size = min(10.0, 0.6 * 72 * side / len(labels))  # of the letters, in points
    with rc_context(style() | {"svg.fonttype": "none", "svg.hashsalt": "tezukuri"}):
        figure = Figure(figsize=(side, side))
        axes = figure.add_subplot()
        axes.imshow(attention.numpy(), cmap="Blues", vmin=0, vmax=1)
        places = range(len(labels))
        axes.set_xticks(places, labels, rotation=90, fontsize=size)
        axes.set_yticks(places, labels, fontsize=size)
        axes.set(title=title, xlabel="key", ylabel="query")
        return svg(figure) if kind == "svg" else png(figure)


def svg(figure: Figure, room: float = 0.6) -> bytes:
    """A figure as an SVG with its text as text; `room` (inches) around it is for a wider font of the reader."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing characters
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=room, metadata=dict.fromkeys(SVG_METADATA))
    return buffer.getvalue()


def inline(figure: Figure) -> str:
    """An SVG without the XML declaration, to stand in an HTML page; drawn with ON_A_PAGE."""
    text = svg(figure, room=0.05).decode("utf-8")
    return text[text.index("<svg") :]
