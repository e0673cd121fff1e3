"""A study's runs → its document: tables, and sentences that keep apart what was measured from what may follow.

Each sentence of the findings is marked **fact** or **possibility**: never is the possible stated as certain, nor the
certain as possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from ..statistics import ALPHA, holm, mcnemar, p_value
from .study import (
    DRAWS,
    RISE,
    Difference,
    Fate,
    Trial,
    Variant,
    accuracy,
    differences,
    fate,
    loss,
    same_answers,
    variants,
)

SCORES = """\
{methods} and the baseline, seeds {seeds} each; mean ± standard deviation over the seeds. Accuracy, macro-F1, loss
(nats), ECE (calibration error) and gap are those of the weights that were kept, on the {n} texts of the dev split; the
gap is the accuracy on the training texts less that on dev. Which epoch is kept is chosen on dev, and a temperature is
fitted there, so that both look a little better on dev than elsewhere. Seconds are those of training."""
PICTURE = """\
Blue: the mean over the seeds, in a band one standard deviation wide to each side; grey: the baseline's. A temperature
is found after the last epoch, and not seen here."""
AGAINST = """\
Differences on dev, in points (hundredths), with the interval of 95 % of {draws:,} draws of the texts. p: twice the
share of the draws that lie on the other side of 0, for the accuracy; then corrected for the number of comparisons
(Holm), but not for pairs having been chosen on the same texts. Only texts are drawn: what other seeds would bring is in
the standard deviations above. McNemar: p of the accuracy with each seed alone, not corrected."""
AFTER = """\
Changes on dev from that epoch to the last, before any temperature. Where the loss rises (by {rise:g} or more):
over-fitting proper is an accuracy that falls, by more than twice its standard error over the seeds; over-confidence is
one that does not fall, while the calibration error rises by more than twice its own: the model says the same with more
certainty than it has reason for. Anything else is unclear."""
TEST = "The baseline, and what has the highest accuracy and the lowest loss on dev, on the {n} texts of the test split."


@dataclass(frozen=True)
class Row:
    """A method beside the baseline."""

    name: str
    variant: Variant
    difference: dict[str, Difference]
    p: float  # of the accuracy, corrected
    same: bool  # it answers as the baseline does, to every text of dev


def document(runs: Sequence[Trial], picture: str) -> str:
    """The whole comparison as Markdown: tables of the dev split, findings, and of the test split the chosen alone."""
    ordered = variants(runs)
    names = [name_of(variant, ordered) for variant in ordered]
    baseline = ordered[0]
    found = [differences(variant, baseline, "dev") for variant in ordered[1:]]
    corrected = holm([difference["accuracy"].p for difference in found])
    rows = [
        Row(name, variant, difference, p, same_answers(variant, baseline, "dev"))
        for name, variant, difference, p in zip(names[1:], ordered[1:], found, corrected, strict=True)
    ]
    methods = len({run.method for run in runs}) - 1
    parts = [
        SCORES.format(
            methods="1 method" if methods == 1 else f"{methods} methods",
            seeds=", ".join(str(run.seed) for run in baseline),
            n=len(baseline[0].gold["dev"]),
        ),
        table(
            ["method", "accuracy", "at the last epoch", "macro-F1", "loss", "ECE", "lowest loss in epoch", "gap", "s"],
            [scores_line(name, variant) for name, variant in zip(names, ordered, strict=True)],
        ),
        f"![dev loss and accuracy of every method]({picture})",
        PICTURE,
    ]
    if rows:
        header = ["method", "accuracy", "macro-F1", "p", "corrected", "McNemar"]
        lines = [against_line(row, baseline) for row in rows]
        parts += ["## Against the baseline", AGAINST.format(draws=DRAWS), table(header, lines)]
    fates = [fate(variant) for variant in ordered]
    lines = [
        [name, f"{f.loss:+.3f}", f"{100 * f.accuracy:+.1f}", f"{100 * f.ece:+.1f}", f.verdict]
        for name, f in zip(names, fates, strict=True)
    ]
    header = ["method", "loss", "accuracy, points", "ECE, points", "what it is"]
    parts += ["## After the epoch of the lowest loss", AFTER.format(rise=RISE), table(header, lines)]
    said = [*of_overfitting(fates[0]), *of_accuracy(f"the {names[0]}", rows), *of_certainty(baseline, rows)]
    said += of_the_best(names, ordered)
    parts += ["## Findings", "\n".join(f"- {sentence}" for sentence in said)]
    if "test" in baseline[0].gold:
        parts += ["## Test", test_part(names, ordered)]
    commits = sorted({run.commit or "unknown" for run in runs})
    if len(commits) > 1:
        parts.append(f"The runs were made by {len(commits)} states of the code: {', '.join(commits)}.")
    return "\n\n".join(parts) + "\n"


# ---- sentences


def of_overfitting(change: Fate) -> list[str]:
    """What becomes of the baseline after its lowest loss."""
    if change.loss < RISE:
        return [f"**fact** The baseline's loss on dev hardly rises after its lowest point ({change.loss:+.3f})."]
    told = (
        f"**fact** After its lowest point the baseline's loss on dev rises by {change.loss:.3f}, its accuracy changes "
        f"by {100 * change.accuracy:+.1f} points and its calibration error by {100 * change.ece:+.1f} points."
    )
    if change.verdict == "over-fitting":
        return [
            f"{told} This is over-fitting proper: fewer answers are right.",
            "**possibility** Fewer epochs, or keeping the epoch with the best score, may be the simplest cure.",
        ]
    if change.verdict == "over-confidence":
        return [
            f"{told} This is over-confidence: not fewer answers are right, but it is surer of the wrong ones.",
            "**possibility** Part of that rise may go away with a temperature or softer targets.",
        ]
    return [told, "**possibility** This may be over-fitting, over-confidence or both: these seeds do not tell."]


def of_accuracy(baseline: str, rows: Sequence[Row]) -> list[str]:
    """Which methods have other accuracies than the baseline, and which cannot be told from it."""
    said = []
    for row in rows:
        if row.p < ALPHA:
            difference = row.difference["accuracy"]
            word = "more" if difference.mean > 0 else "less"
            said.append(
                f"**fact** On these texts and with these seeds {row.name} is {word} accurate than {baseline}, by "
                f"{100 * abs(difference.mean):.1f} points (corrected p {p_value(row.p)})."
            )
    if any(row.p < ALPHA and row.difference["accuracy"].mean > 0 for row in rows):
        said.append("**possibility** What is more accurate here may be so on other texts of the kind.")
    same = [row.name for row in rows if row.same]
    if same:
        answers = "answers" if len(same) == 1 else "answer"
        said.append(
            f"**fact** {listed(same)} {answers} as {baseline} does to every text of dev: only probabilities differ."
        )
    unsure = [row for row in rows if row.p >= ALPHA and not row.same]
    if unsure:
        low = 100 * min(row.difference["accuracy"].low for row in unsure)
        high = 100 * max(row.difference["accuracy"].high for row in unsure)
        who = "It" if len(unsure) == 1 else "Each of them"
        said.append(
            f"**fact** The accuracy of {listed([row.name for row in unsure])} cannot be told from that of {baseline}: "
            f"no corrected p is below {ALPHA}."
        )
        said.append(
            f"**possibility** {who} may still help or harm: the intervals reach from {low:+.1f} to {high:+.1f} points. "
            "At another strength it may do more, or less."
        )
    return said


def of_certainty(baseline: Variant, rows: Sequence[Row]) -> list[str]:
    """Which methods have lower losses and calibration errors with every seed."""
    said = []
    for key, what in (("loss", "a lower loss"), ("ece", "a lower calibration error")):
        lower = [
            row.name
            for row in rows
            if all(a.metrics["dev"][key] < b.metrics["dev"][key] for a, b in zip(row.variant, baseline, strict=True))
        ]
        if lower:
            has = "has" if len(lower) == 1 else "have"
            said.append(f"**fact** With every one of the seeds {listed(lower)} {has} {what} on dev than the baseline.")
    return said


def of_the_best(names: Sequence[str], ordered: Sequence[Variant]) -> list[str]:
    best = max(range(len(ordered)), key=lambda place: accuracy(ordered[place]))
    if not best:
        return [
            f"**fact** No method has a higher mean accuracy on dev than the {names[0]} ({accuracy(ordered[0]):.3f})."
        ]
    highest, first = accuracy(ordered[best]), accuracy(ordered[0])
    said = [
        f"**fact** {names[best]} has the highest mean accuracy on dev, {highest:.3f}; the {names[0]} has {first:.3f}."
    ]
    if len(ordered) > 2:
        said.append("**possibility** It may owe some of that to luck, which helps whoever is the best of many.")
    return said


# ---- tables


def test_part(names: Sequence[str], ordered: Sequence[Variant]) -> str:
    """The baseline and what was chosen on dev, on the texts that chose nothing."""
    best = max(range(len(ordered)), key=lambda place: accuracy(ordered[place]))
    surest = min(range(len(ordered)), key=lambda place: loss(ordered[place]))
    lines = []
    for place in dict.fromkeys([0, best, surest]):
        metrics = [run.metrics["test"] for run in ordered[place]]
        columns = [spread([m[key] for m in metrics]) for key in ("accuracy", "f1", "loss", "ece")]
        lines.append([names[place], *columns])
    said = [
        TEST.format(n=len(ordered[0][0].gold["test"])),
        table(["method", "accuracy", "macro-F1", "loss", "ECE"], lines),
    ]
    if best:
        difference = differences(ordered[best], ordered[0], "test")["accuracy"]
        told = "differs from" if difference.p < ALPHA else "cannot be told from"
        said.append(
            f"- **fact** On test the accuracy of {names[best]} {told} that of the {names[0]}: {interval(difference)} "
            f"points, p {p_value(difference.p)}."
        )
    return "\n\n".join(said)


def scores_line(name: str, variant: Variant) -> list[str]:
    rows = [run.row() for run in variant]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return [
        name,
        *(spread(columns[key]) for key in ("accuracy", "last_accuracy", "f1", "loss", "ece")),
        f"{mean(columns['lowest_loss_epoch']):.1f}",
        spread(columns["gap"]),
        f"{mean(columns['seconds']):.0f}",
    ]


def against_line(row: Row, baseline: Variant) -> list[str]:
    pairs = zip(row.variant, baseline, strict=True)
    return [
        row.name,
        interval(row.difference["accuracy"]),
        interval(row.difference["f1"]),
        p_value(row.difference["accuracy"].p),
        p_value(row.p),
        " ".join(p_value(mcnemar(ours.right("dev"), theirs.right("dev")), 2) for ours, theirs in pairs),
    ]


def name_of(variant: Variant, all_variants: Sequence[Variant]) -> str:
    """The method, with its learning rate where the study has several of it."""
    run = variant[0]
    several = sum(other[0].method == run.method for other in all_variants) > 1
    return f"{run.method} (lr {run.lr:g})" if several else run.method


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def spread(values: Sequence[float]) -> str:
    """`0.823 ± 0.005`: mean and standard deviation of a sample."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def interval(difference: Difference) -> str:
    return f"{100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
