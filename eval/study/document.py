"""The document of a study, in Markdown: tables and findings, of which each is marked **fact** or **possibility**."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from ..statistics import ALPHA, RISE, holm, mcnemar, p_value
from .study import (
    Change,
    Difference,
    Trial,
    Variant,
    accuracy,
    change_after_lowest,
    differences,
    draws_for,
    loss,
    variants,
)  # fmt: skip

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
    """A method compared with the baseline."""

    name: str
    variant: Variant
    difference: dict[str, Difference]
    p: float  # of the accuracy, corrected


def document(runs: Sequence[Trial], picture: str) -> str:
    """The whole comparison as Markdown, with a link to its picture; on the test split only what was chosen on dev."""
    ordered = variants(runs)
    baseline = ordered[0]
    names = [name_of(variant, ordered) for variant in ordered]
    # Scores of all methods.
    n_methods = len({run.method for run in runs}) - 1
    methods = "1 method" if n_methods == 1 else f"{n_methods} methods"
    seeds = ", ".join(str(run.seed) for run in baseline)
    header = ["method", "accuracy", "at the last epoch", "macro-F1", "loss", "ECE", "lowest loss in epoch", "gap", "s"]
    parts = [
        SCORES.format(methods=methods, seeds=seeds, n=len(baseline[0].gold["dev"])),
        table(header, [scores_cells(name, variant) for name, variant in zip(names, ordered, strict=True)]),
        f"![dev loss and accuracy of every method]({picture})",
        PICTURE,
    ]
    # Differences from the baseline.
    draws = draws_for(len(ordered) - 1)
    found = [differences(variant, baseline, "dev", draws) for variant in ordered[1:]]
    corrected = holm([difference["accuracy"].p for difference in found])
    rows = list(map(Row, names[1:], ordered[1:], found, corrected))
    if rows:
        header = ["method", "accuracy", "macro-F1", "p", "corrected", "McNemar"]
        lines = [difference_cells(row, baseline) for row in rows]
        parts += ["## Against the baseline", AGAINST.format(draws=draws), table(header, lines)]
    # Changes after the epoch of the lowest loss.
    changes = [change_after_lowest(variant) for variant in ordered]
    header = ["method", "loss", "accuracy, points", "ECE, points", "what it is"]
    lines = [
        [name, f"{c.loss:+.3f}", f"{100 * c.accuracy:+.1f}", f"{100 * c.ece:+.1f}", c.verdict]
        for name, c in zip(names, changes, strict=True)
    ]
    parts += ["## After the epoch of the lowest loss", AFTER.format(rise=RISE), table(header, lines)]
    # Findings, and the test split.
    sentences = [*overfitting_findings(changes[0]), *accuracy_findings(f"the {names[0]}", baseline, rows)]
    sentences += [*calibration_findings(baseline, rows), *best_findings(names, ordered)]
    parts += ["## Findings", "\n".join(f"- {sentence}" for sentence in sentences)]
    if "test" in baseline[0].gold:
        parts += ["## Test", test_part(names, ordered)]
    commits = sorted({run.commit or "unknown" for run in runs})
    if len(commits) > 1:
        parts.append(f"The runs were made by {len(commits)} states of the code: {', '.join(commits)}.")
    return "\n\n".join(parts) + "\n"


def overfitting_findings(change: Change) -> list[str]:
    if change.loss < RISE:
        return [f"**fact** The baseline's loss on dev hardly rises after its lowest point ({change.loss:+.3f})."]
    rise = (
        f"**fact** After its lowest point the baseline's loss on dev rises by {change.loss:.3f}, its accuracy changes "
        f"by {100 * change.accuracy:+.1f} points and its calibration error by {100 * change.ece:+.1f} points."
    )
    if change.verdict == "over-fitting":
        return [
            f"{rise} This is over-fitting proper: fewer answers are right.",
            "**possibility** Fewer epochs, or keeping the epoch with the best score, may be the simplest cure.",
        ]
    if change.verdict == "over-confidence":
        return [
            f"{rise} This is over-confidence: not fewer answers are right, but it is surer of the wrong ones.",
            "**possibility** Part of that rise may go away with a temperature or softer targets.",
        ]
    return [rise, "**possibility** This may be over-fitting, over-confidence or both: these seeds do not tell."]


def accuracy_findings(baseline: str, runs: Variant, rows: Sequence[Row]) -> list[str]:
    """Methods whose accuracy differs significantly from the baseline's, those with its predictions, and the others."""
    found = []
    # Significant differences.
    for row in rows:
        if row.p < ALPHA:
            difference = row.difference["accuracy"].mean
            word = "more" if difference > 0 else "less"
            found.append(
                f"**fact** On these texts and with these seeds {row.name} is {word} accurate than {baseline}, by "
                f"{100 * abs(difference):.1f} points (corrected p {p_value(row.p)})."
            )
    if any(row.p < ALPHA and row.difference["accuracy"].mean > 0 for row in rows):
        found.append("**possibility** What is more accurate here may be so on other texts of the kind.")
    # The same predictions.
    predictions = [run.predicted["dev"] for run in runs]
    if same := [row.name for row in rows if [run.predicted["dev"] for run in row.variant] == predictions]:
        answers = "answers" if len(same) == 1 else "answer"
        found.append(
            f"**fact** {listed(same)} {answers} as {baseline} does to every text of dev: only probabilities differ."
        )
    # Neither.
    if unsure := [row for row in rows if row.p >= ALPHA and row.name not in same]:
        low = 100 * min(row.difference["accuracy"].low for row in unsure)
        high = 100 * max(row.difference["accuracy"].high for row in unsure)
        who = "It" if len(unsure) == 1 else "Each of them"
        found.append(
            f"**fact** The accuracy of {listed([row.name for row in unsure])} cannot be told from that of {baseline}: "
            f"no corrected p is below {ALPHA}."
        )
        found.append(
            f"**possibility** {who} may still help or harm: the intervals reach from {low:+.1f} to {high:+.1f} points. "
            "At another strength it may do more, or less."
        )
    return found


def calibration_findings(baseline: Variant, rows: Sequence[Row]) -> list[str]:
    """Methods with a lower loss or calibration error for every seed."""
    found = []
    for key, what in (("loss", "a lower loss"), ("ece", "a lower calibration error")):
        lower = [
            row.name
            for row in rows
            if all(a.metrics["dev"][key] < b.metrics["dev"][key] for a, b in zip(row.variant, baseline, strict=True))
        ]
        if lower:
            has = "has" if len(lower) == 1 else "have"
            found.append(f"**fact** With every one of the seeds {listed(lower)} {has} {what} on dev than the baseline.")
    return found


def best_findings(names: Sequence[str], ordered: Sequence[Variant]) -> list[str]:
    best = most_accurate(ordered)
    first, highest = accuracy(ordered[0]), accuracy(ordered[best])
    if not best:
        return [f"**fact** No method has a higher mean accuracy on dev than the {names[0]} ({first:.3f})."]
    sentence = f"{names[best]} has the highest mean accuracy on dev, {highest:.3f}; the {names[0]} has {first:.3f}"
    found = [f"**fact** {sentence}."]
    if len(ordered) > 2:
        found.append("**possibility** It may owe some of that to luck, which helps whoever is the best of many.")
    return found


def test_part(names: Sequence[str], ordered: Sequence[Variant]) -> str:
    """The test scores of the baseline, and of the methods with the highest accuracy and the lowest loss on dev."""
    best = most_accurate(ordered)
    lowest = min(range(len(ordered)), key=lambda place: loss(ordered[place]))
    lines = []
    for place in dict.fromkeys([0, best, lowest]):
        metrics = [run.metrics["test"] for run in ordered[place]]
        lines.append([names[place], *(spread([m[key] for m in metrics]) for key in ("accuracy", "f1", "loss", "ece"))])
    header = ["method", "accuracy", "macro-F1", "loss", "ECE"]
    parts = [TEST.format(n=len(ordered[0][0].gold["test"])), table(header, lines)]
    if best:
        difference = differences(ordered[best], ordered[0], "test")["accuracy"]
        relation = "differs from" if difference.p < ALPHA else "cannot be told from"
        parts.append(
            f"- **fact** On test the accuracy of {names[best]} {relation} that of the {names[0]}: "
            f"{interval(difference)} points, p {p_value(difference.p)}."
        )
    return "\n\n".join(parts)


def most_accurate(ordered: Sequence[Variant]) -> int:
    """The number of the variant with the highest accuracy on dev."""
    return max(range(len(ordered)), key=lambda place: accuracy(ordered[place]))


def scores_cells(name: str, variant: Variant) -> list[str]:
    rows = [run.row() for run in variant]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    spreads = [spread(columns[key]) for key in ("accuracy", "last_accuracy", "f1", "loss", "ece", "gap")]
    epoch, seconds = f"{mean(columns['lowest_loss_epoch']):.1f}", f"{mean(columns['seconds']):.0f}"
    return [name, *spreads[:-1], epoch, spreads[-1], seconds]


def difference_cells(row: Row, baseline: Variant) -> list[str]:
    pairs = zip(row.variant, baseline, strict=True)
    intervals = [interval(row.difference[score]) for score in ("accuracy", "f1")]
    mcnemars = " ".join(p_value(mcnemar(ours.right("dev"), theirs.right("dev")), 2) for ours, theirs in pairs)
    return [row.name, *intervals, p_value(row.difference["accuracy"].p), p_value(row.p), mcnemars]


def name_of(variant: Variant, all_variants: Sequence[Variant]) -> str:
    """The method, with its learning rate where the study has several of it."""
    run = variant[0]
    several = sum(other[0].method == run.method for other in all_variants) > 1
    return f"{run.method} (lr {run.lr:g})" if several else run.method


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; a | or an end of a line in a cell begins none."""
    lines = [[" ".join(cell.replace("|", "\\|").splitlines()) for cell in cells] for cells in (header, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], ["---"] * len(header), *lines[1:]])


def spread(values: Sequence[float]) -> str:
    """`0.823 ± 0.005`: mean and standard deviation of a sample."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def interval(difference: Difference) -> str:
    return f"{100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
