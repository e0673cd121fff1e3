"""The page of a survey: one HTML file, which needs no network and no other file; its pictures lie beside it as PNGs.

Jinja2 escapes all texts on the page (`template/look.html`); only our own plots are inserted as markup.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...data.dataset import Example, Span
from ...data.label_kinds import label_cell
from ...data.rows import count_of, shown
from ..inside_lines import columns, fill
from ..runs import write_whole
from . import pictures
from .survey import Survey

FOLDER = Path(__file__).parent / "template"
LISTED = 20  # outliers, bad rows, and stretches that gave unknown tokens
MOST_NAMES = 100  # in the table of labels
LONGEST_TEXT = 1000  # characters of a text that are shown
BEGINNING = 80  # of an outlier
LINES = 20  # of labels, on a terminal


def environment() -> Environment:
    """The templates of this room."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"share": share, "number": number, "begun": begun}
    return made


def write_look(folder: Path, survey: Survey, asked: int | None = None) -> Path:
    """Write the page and its pictures; `asked` is a limit on the length that is to be looked at. Returns the page."""
    draws = {"lengths": partial(pictures.lengths, survey), "cuts": partial(pictures.cuts, survey, asked)}
    if survey.labels:
        draws["labels"] = partial(pictures.labels, survey.labels)
    on_page = {}
    for name, draw in draws.items():
        on_page[name], png = pictures.drawn(draw)
        write_whole(folder / f"{name}.png", png)
    text = environment().get_template("look.html").render(content(survey, asked), pictures=on_page)
    write_whole(folder / "look.html", text)
    return folder / "look.html"


def content(survey: Survey, asked: int | None = None) -> dict[str, Any]:
    """What the template shows."""
    data = survey.data
    return {
        "survey": survey,
        "data": data,
        "notes": [*data.notes, *survey.remarks],
        "bad": data.bad_rows[:LISTED],
        "lengths": [{"split": split} | figures(own) for split, own in survey.lengths.items()],
        "outliers": survey.outliers[:LISTED],
        "names": names_table(survey),
        "numbers": numbers_table(survey),
        "unknown": survey.unknown.items(),
        "unknown_texts": survey.unknown_texts.most_common(LISTED),
        "cuts": [(limit, survey.cut(limit)) for limit in survey.limits(asked)],
        "asked": asked,
        "examples": [{"example": e, "label": told(e.label), "parts": parts(e)} for e in survey.examples],
    }


def figures(own: np.ndarray) -> dict[str, Any]:
    """What a row of a table says of numbers (n,)."""
    low, median, high = np.quantile(own, (0.05, 0.5, 0.95))
    return {"n": len(own), "least": own.min(), "low": low, "median": median, "mean": own.mean(), "high": high,
            "most": own.max()}  # fmt: skip


def names_table(survey: Survey) -> list[tuple[str, dict[str, int]]]:
    """Each name with its number in each split; none where labels are numbers."""
    found = survey.labels
    counts = {split: Counter(own) for split, own in found.values.items()} if found and found.order else {}
    order = found.order[:MOST_NAMES] if found else ()
    return [(name, {split: own[name] for split, own in counts.items()}) for name in order]


def numbers_table(survey: Survey) -> list[dict[str, Any]]:
    found = survey.labels
    if not found or found.order:
        return []
    return [
        {"split": split, "deviation": np.std(own)} | figures(np.array(own, dtype=float))
        for split, own in found.values.items()
        if own
    ]


def told(label: Any) -> str:
    """A label in words; that of a choice, or of spans, is shown in the text."""
    if label is None or (isinstance(label, tuple) and label and isinstance(label[0], Span)):
        return ""
    return f"{label:g}" if isinstance(label, float) else str(label_cell(label)) or "no label"


def parts(example: Example) -> dict[str, Any]:
    """The texts of an example in pieces: (text, what the label says of it)."""
    label = example.label if isinstance(example.label, tuple) else ()
    spans = [span for span in label if isinstance(span, Span)]
    in_pair = example.pair is not None
    return {
        "text": list(pieces(example.text, [] if in_pair else spans)),
        "pair": list(pieces(example.pair, spans)) if example.pair is not None else None,
        "choices": [(text, number == example.label) for number, text in enumerate(example.choices or ())],
    }


def pieces(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, str | None]]:
    """(stretch, kinds of the spans that cover it, or None) of a text, the first LONGEST_TEXT characters of it."""
    end = min(len(text), max([LONGEST_TEXT, *(span.end for span in spans)]))
    places = sorted({0, end, *(place for span in spans for place in span[:2])})
    for start, stop in pairwise(places):
        kinds = [span.kind for span in spans if span.start <= start and stop <= span.end]
        yield text[start:stop], ", ".join(dict.fromkeys(kinds)) if kinds else None
    if end < len(text):
        yield f"… ({len(text):,} characters)", None


def begun(text: str, most: int = BEGINNING) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def share(value: float) -> str:
    """A share in percent; one above 0 is not shown as 0."""
    return "< 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


# --- the terminal -----------------------------------------------------------------------------------------------


def summary(survey: Survey, asked: int | None = None) -> Iterator[str]:
    """The main figures in lines for a terminal."""
    data, found = survey.data, survey.labels
    for note in [*data.notes, *survey.remarks]:
        yield f"data    {shown(note)}"
    if bad := data.bad_rows:
        yield f"data    {count_of(bad)} left out, listed on the page; the first: {shown(str(bad[0]))}"
    yield f"\n{'tokens':<8}{'texts':>8}{'median':>8}{'95 %':>7}{'longest':>9}{'unknown':>9}"
    for split, own in survey.lengths.items():
        row, unknown = figures(own), survey.unknown[split]
        few = share(unknown.unknown / max(unknown.tokens, 1))
        yield f"{split:<8}{len(own):>8,}{row['median']:>8g}{row['high']:>7.0f}{row['most']:>9,}{few:>9}"
    yield ""
    if not found:
        yield "labels  none"
    elif found.order:
        names = names_table(survey)[:LINES]
        width = max(columns(text) for text in [found.title, *(short(name) for name, _ in names)]) + 2
        yield fill(found.title, width) + "".join(f"{split:>17}" for split in found.values)
        for name, counts in names:
            cells = (f"{n:,} ({share(n / found.texts[split])})" for split, n in counts.items())
            yield fill(short(name), width) + "".join(f"{cell:>17}" for cell in cells)
        if len(found.order) > LINES:
            yield f"… and {len(found.order) - LINES} more, on the page"
    else:
        for row in numbers_table(survey):
            spread = f"mean {row['mean']:.3g}, standard deviation {row['deviation']:.3g}"
            yield f"{found.title} in {row['split']}: {row['least']:g} to {row['most']:g}, {spread}"
    yield ""
    if votes := survey.votes:
        kappa = "" if votes.kappa is None else f", Fleiss' kappa {votes.kappa:.2f}"
        yield f"votes    {votes.n:,} texts with two or more: {share(votes.unanimous)} unanimous{kappa}"
    if survey.unknown_texts:
        few = "  ".join(f"{short(text)} {n}" for text, n in survey.unknown_texts.most_common(8))
        yield f"unknown  {few}{'  …' if len(survey.unknown_texts) > 8 else ''}"
    for limit in [asked] if asked else survey.limits()[-3:]:
        cuts = ", ".join(f"{share(texts)} of {split}" for split, (texts, _) in survey.cut(limit).items())
        what = ("windows ", "reads in windows") if survey.windows else ("cut     ", "cuts")
        yield f"{what[0]} --max-length {limit:<4} {what[1]} {cuts}"
    farthest = ", ".join(f"{short(e.id)} ({length:,} tokens)" for e, length in survey.outliers[:3])
    yield f"outliers {len(survey.outliers):,}" + (f": {farthest}" if farthest else "")


def short(text: str) -> str:
    return shown(begun(text, 30))
