"""The pictures of a survey: histograms of lengths and of labels, and what a limit on the length would cut."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...data.rows import shown
from ..plots import INK, MOST_CLASSES, ON_A_PAGE, inline, png, style
from .survey import Labels, Survey

COLOURS = {"train": "C0", "dev": "C1", "test": "C2"}
BINS = 40
LONGEST_NAME = 24  # characters of a label beside its bars


def drawn(draw: Callable[[], Figure]) -> tuple[str, bytes]:
    """A figure twice: as an SVG to stand in a page, whose texts are set in the reader's fonts, and as a PNG."""
    with rc_context(ON_A_PAGE):
        on_page = inline(draw())
    with rc_context(style()):
        return on_page, png(draw())


def reach(survey: Survey) -> int:
    """The longest length that is drawn: a text of ten thousand tokens would press all others together."""
    longest = max(int(own.max()) for own in survey.lengths.values())
    return min(longest, int(2 * survey.fence[1]))


def lengths(survey: Survey) -> Figure:
    """A histogram for each split, the outliers marked."""
    end, start = reach(survey), min(int(own.min()) for own in survey.lengths.values())
    step = max(1, -(-(end + 1 - start) // BINS))
    bins = np.arange(start, end + 1 + step, step) - 0.5
    figure = Figure(figsize=(3.6 * len(survey.lengths) + 0.6, 3), layout="constrained")
    fields = figure.subplots(1, len(survey.lengths), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (split, own) in zip(fields, survey.lengths.items(), strict=True):
        axes.hist(own, bins=bins, weights=np.full(len(own), 1 / len(own)), color=COLOURS[split], alpha=0.7)
        outside = own[(own < survey.fence[0]) | (own > survey.fence[1])]
        if len(outside):
            near = np.unique(outside[outside <= end])
            axes.plot(near, np.zeros(len(near)), "x", color="C3", clip_on=False, label=f"outliers: {len(outside):,}")
            if len(far := outside[outside > end]):
                axes.plot([], [], " ", label=f"of them beyond the picture: {len(far):,}")
        axes.axvline(float(np.median(own)), color=INK, linewidth=1, label=f"median {np.median(own):g}")
        if survey.fence[1] < end:
            axes.axvline(
                survey.fence[1], color="C3", linewidth=1, linestyle="--", label=f"> {survey.fence[1]:g}: outlier"
            )
        axes.set(title=f"{split}: {len(own):,} texts", xlabel="tokens", xlim=(bins[0], bins[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(fontsize="small")
    fields[0].set_ylabel("texts")
    return figure


def labels(found: Labels) -> Figure:
    """Bars of the names, or a histogram of the numbers, the splits beside each other."""
    return bars(found) if found.order else histogram(found)


def bars(found: Labels) -> Figure:
    names = list(found.order)
    if len(names) > MOST_CLASSES:
        most = {name for name, _ in Counter(n for own in found.values.values() for n in own).most_common(MOST_CLASSES)}
        names = [name for name in names if name in most]
    short = [shown(name) if len(name) <= LONGEST_NAME else f"{shown(name[: LONGEST_NAME - 1])}…" for name in names]
    splits = list(found.values)
    high = 0.8 / len(splits)
    figure = Figure(figsize=(8, 0.15 * len(names) * (len(splits) + 1) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    for number, split in enumerate(splits):
        counts = Counter(found.values[split])
        shares = [counts[name] / found.texts[split] for name in names]
        places = np.arange(len(names)) + (number - (len(splits) - 1) / 2) * high
        axes.barh(places, shares, height=high, color=COLOURS[split], alpha=0.8, label=split)
    axes.set_yticks(range(len(names)), short)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
    some = f": the {len(names)} most frequent of {len(found.order)}" if len(names) < len(found.order) else ""
    axes.set(title=found.title + some, xlabel="for 100 texts" if found.several else "share of the texts")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol="" if found.several else "%"))
    figure.legend(loc="outside right upper")
    return figure


def histogram(found: Labels) -> Figure:
    every = np.array([number for own in found.values.values() for number in own], dtype=float)
    bins = np.histogram_bin_edges(every, bins=min(30, max(5, len(np.unique(every))))).tolist()
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for split, own in found.values.items():
        if own:
            axes.hist(own, bins=bins, weights=np.full(len(own), 1 / len(own)), color=COLOURS[split], alpha=0.2)
            axes.hist(own, bins=bins, weights=np.full(len(own), 1 / len(own)), color=COLOURS[split],
                      histtype="step", linewidth=1.5, label=split)  # fmt: skip
    axes.set(title=found.title, ylabel="share")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure


def cuts(survey: Survey, asked: int | None = None) -> Figure:
    """The share of texts that a limit on the length would cut."""
    end = max(reach(survey), asked or 0)
    limits = np.arange(end + 1)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for split, own in survey.lengths.items():
        longer = 1 - np.searchsorted(np.sort(own), limits, side="right") / len(own)
        axes.plot(limits, longer, color=COLOURS[split], drawstyle="steps-post", label=split)
    for limit, what in ((asked, "--max-length"), (survey.room, f"{survey.model} reads")):
        if limit and limit <= end:
            axes.axvline(limit, color=INK, linewidth=1, linestyle="--", label=f"{what} {limit}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    does = "have read in windows" if survey.windows else "cut"
    axes.set(
        title=f"texts that a limit would {does}", xlabel="limit (tokens)", ylabel="share of the texts", ylim=(0, 1)
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure
