"""What became of an encoder: a page with its guards, a heat map of terms, and their nearest texts, before and after.

Jinja2 escapes all texts on the page (`template/adapt.html`); only our own plots are inserted as markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..hits import Hit, nearest
from ..plots import ON_A_PAGE, inline, png, style, write_picture
from ..runs import write_json, write_whole
from .guards import Change

FOLDER = Path(__file__).parent / "template"
# Of a tutorial on this (docs/similarity.md), here in Japanese: three professions of three fields.
TERMS = (
    "データサイエンティスト", "データアナリスト", "データエンジニア",
    "診療看護師", "正看護師", "医療助手",
    "SNSマネージャー", "マーケティング戦略担当", "製品マーケティング責任者",
)  # fmt: skip
K = 5  # nearest texts
MOST_TERMS = 40  # in a heat map
WORDS = 12  # characters of a term beside the heat map


@dataclass
class Adaptation:
    """What is shown."""

    base: str
    name: str  # of the data
    facts: Mapping[str, Any]  # of the run, for people
    guards: dict[str, tuple[str, int, dict[str, Change]]]  # name → split, pairs, correlation → its change
    terms: Sequence[str]
    before: np.ndarray  # cosines of the terms (n, n)
    after: np.ndarray
    near: dict[str, tuple[list[Hit], list[Hit]]] = field(default_factory=dict)  # term → nearest before, and after
    among: tuple[int, int] = (0, 0)  # of how many texts, terms with them, and of how many there are
    scores: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # split → score → before, after

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each guard."""
        lines = []
        for name, (split, n, of) in self.guards.items():
            change = of["spearman"]
            low, high = change.of_change
            lines.append(
                f"{name} ({split}, {n:,} pairs): Spearman {change.before:.4f} → {change.after:.4f}, "
                f"{change.after - change.before:+.4f} (95 %: {low:+.4f} to {high:+.4f}): {change.verdict}"
            )
        return lines


def neighbours(vectors: np.ndarray, texts: Sequence[str], terms: Sequence[str]) -> dict[str, list[Hit]]:
    """term → its K nearest of the other texts; `vectors` (n, H) are those of the texts, terms among them."""
    rows = [texts.index(term) for term in terms]
    found = nearest(vectors[rows], vectors, K + 1)
    return {
        term: [hit._replace(text=texts[hit.number]) for hit in hits if hit.number != row][:K]
        for term, row, hits in zip(terms, rows, found, strict=True)
    }


def write_adaptation(folder: Path, found: Adaptation) -> Path:
    """Write adapt.html, heat.png and adapt.json; returns the page."""
    n = MOST_TERMS
    drawn = found.terms[:n], found.before[:n, :n], found.after[:n, :n]
    with rc_context(ON_A_PAGE | {"axes.grid": False}):
        on_page = inline(heat_maps(*drawn))
    write_picture(folder / "heat.png", lambda: heat_png(*drawn))
    made = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = made.get_template("adapt.html", globals={"zipped": zip_longest})
    write_whole(folder / "adapt.html", template.render(found=found, heat=on_page, most=MOST_TERMS))
    content: dict[str, Any] = {"guards": {}, "terms": list(found.terms), "nearest": {}, "scores": found.scores}
    content |= {"before": found.before.tolist(), "after": found.after.tolist()}
    for name, (split, n, of) in found.guards.items():
        told = {kind: vars(change) | {"verdict": change.verdict} for kind, change in of.items()}
        content["guards"][name] = {"split": split, "pairs": n, **told}
    for term, both in found.near.items():
        shown = [[[hit.text, hit.score] for hit in hits] for hits in both]
        content["nearest"][term] = dict(zip(("before", "after"), shown, strict=True))
    write_json(folder / "adapt.json", content)
    return folder / "adapt.html"


def heat_png(terms: Sequence[str], before: np.ndarray, after: np.ndarray) -> bytes:
    with rc_context(style()):
        return png(heat_maps(terms, before, after))


def heat_maps(terms: Sequence[str], before: np.ndarray, after: np.ndarray) -> Figure:
    """The cosines of terms (n, n) before, after, and their difference, with the figures where there is room."""
    names = [term if len(term) <= WORDS else f"{term[: WORDS - 1]}…" for term in terms]
    side = 0.42 * len(terms) + 0.6  # inches
    figure = Figure(figsize=(3 * side + 2.5, side + 1.2), layout="constrained")
    fields = figure.subplots(1, 3, sharey=True)
    most = max(0.05, float(np.abs(after - before).max()))
    drawn = (("before", before, "YlOrRd", 0, 1), ("after", after, "YlOrRd", 0, 1))
    for axes, (title, values, colours, low, high) in zip(
        fields, (*drawn, ("after − before", after - before, "RdBu_r", -most, most)), strict=True
    ):
        # Both as paths: a page that loads nothing shows no image inside an SVG.
        cells = axes.pcolormesh(values, cmap=colours, vmin=low, vmax=high)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_title(title)
        bar = figure.colorbar(cells, ax=axes, shrink=0.7)
        assert bar.solids
        bar.solids.set_rasterized(False)
        if len(names) <= 12:
            for i, j in np.ndindex(values.shape):
                strong = values[i, j] > 0.7 if low == 0 else abs(values[i, j]) > 0.7 * most
                text = f"{values[i, j]:.2f}".replace("0.", ".")
                axes.text(
                    j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7, color="white" if strong else "black"
                )
    return figure
