"""A study's runs → its document: tables, and sentences that keep apart what was measured from what may follow.

Each sentence of the findings is marked **fact** or **possibility**: never is the possible stated as certain, nor the
certain as possible.
"""

from collections.abc import Sequence
from statistics import mean, stdev

from .comparison import (
    DRAWS,
    SURE,
    Difference,
    Fate,
    Run,
    Variant,
    accuracy,
    differences,
    fate,
    holm,
    mcnemar,
    variants,
)


def name_of(variant: Variant, all_variants: Sequence[Variant]) -> str:
    """The method, with its learning rate where the study has several."""
    run = variant[0]
    several = len({v[0].lr for v in all_variants}) > 1
    return f"{run.method} (lr {run.lr:g})" if several else run.method


def spread(values: Sequence[float], digits: int = 3) -> str:
    """`.823 ± .005`: mean and standard deviation of a sample."""
    shown = f"{mean(values):.{digits}f}"
    return f"{shown} ± {stdev(values):.{digits}f}" if len(values) > 1 else shown


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


SCORES = """\
{methods} methods and the baseline, seeds {seeds} each; mean ± standard deviation over the seeds. Accuracy, macro-F1,
loss (nats), ECE (calibration error) and gap are those of the weights that were kept, on the {n} texts of the dev split;
the gap is the accuracy on the training texts less that on dev. Seconds are those of training."""
AGAINST = """\
Differences on dev, in points (hundredths), with the interval of 95 % of {draws:,} draws of texts; p is that of the
accuracy, then corrected for the number of comparisons (Holm). McNemar: p of the accuracy with each seed alone, not
corrected."""
AFTER = """\
Changes on dev from that epoch to the last. A loss that rises while accuracy stays or rises is over-confidence: the
model says the same with more certainty than it has reason for. Over-fitting proper is accuracy that falls (here by more
than twice its standard error over the seeds)."""
TEST = "The baseline, and the method with the highest accuracy on dev, on the {n} texts of the test split, once."


def document(runs: Sequence[Run], picture: str) -> str:
    """The whole comparison as Markdown: tables of the dev split, findings, and of the test split the chosen alone."""
    ordered = variants(runs)
    baseline, others = ordered[0], ordered[1:]
    names = [name_of(variant, ordered) for variant in ordered]
    found = [differences(variant, baseline, "dev") for variant in others]
    corrected = holm([difference["accuracy"].p for difference in found])
    fates = [fate(variant) for variant in ordered]
    seeds = ", ".join(str(run.seed) for run in baseline)
    parts = [
        SCORES.format(methods=len(others), seeds=seeds, n=len(baseline[0].gold["dev"])),
        table(
            ["method", "accuracy", "at the last epoch", "macro-F1", "loss", "ECE", "lowest loss in epoch", "gap", "s"],
            [scores_line(name, variant) for name, variant in zip(names, ordered, strict=True)],
        ),
        f"![dev loss and accuracy of every method]({picture})",
    ]
    if others:
        rows = [
            [
                name,
                *(interval(difference[score]) for score in ("accuracy", "f1")),
                f"{difference['accuracy'].p:.3f}",
                f"{p:.3f}",
                " ".join(f"{mcnemar(a, b, 'dev'):.2f}" for a, b in zip(variant, baseline, strict=True)),
            ]
            for name, variant, difference, p in zip(names[1:], others, found, corrected, strict=True)
        ]
        header = ["method", "accuracy", "macro-F1", "p", "corrected", "McNemar"]
        parts += ["## Against the baseline", AGAINST.format(draws=DRAWS), table(header, rows)]
    rows = [
        [name, f"{f.loss:+.3f}", f"{100 * f.accuracy:+.1f}", f"{100 * f.ece:+.1f}", f.verdict]
        for name, f in zip(names, fates, strict=True)
    ]
    header = ["method", "loss", "accuracy, points", "ECE, points", "what it is"]
    parts += ["## After the epoch of the lowest loss", AFTER, table(header, rows), "## Findings"]
    parts += ["\n".join(f"- {sentence}" for sentence in findings(ordered, names, found, corrected, fates))]
    if "test" in baseline[0].gold:
        parts += ["## Test", test_part(ordered, names)]
    return "\n\n".join(parts) + "\n"


def scores_line(name: str, variant: Variant) -> list[str]:
    rows = [run.row() for run in variant]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    shown = [spread(columns[key]) for key in ("accuracy", "last_accuracy", "f1", "loss", "ece")]
    return [
        name,
        *shown,
        f"{mean(columns['lowest_loss_epoch']):.1f}",
        spread(columns["gap"]),
        f"{mean(columns['seconds']):.0f}",
    ]


def interval(difference: Difference) -> str:
    return f"{100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def findings(
    ordered: Sequence[Variant],
    names: Sequence[str],
    found: Sequence[dict[str, Difference]],
    corrected: Sequence[float],
    fates: Sequence[Fate],
) -> list[str]:
    """Sentences, each marked as fact or possibility."""
    said = [overfitting_sentence(fates[0])]
    if fates[0].loss >= 0.01:
        said.append(
            "**possibility** Part of that rise may go away with a temperature or softer targets, without another model."
            if fates[0].verdict != "over-fitting"
            else "**possibility** Fewer epochs, or keeping the epoch with the best score, may be the simplest cure."
        )
    sure = [(name, d["accuracy"], p) for name, d, p in zip(names[1:], found, corrected, strict=True) if p < SURE]
    for name, difference, p in sure:
        word = "more" if difference.mean > 0 else "less"
        said.append(
            f"**fact** On these texts and seeds {name} is {word} accurate than the baseline by "
            f"{100 * abs(difference.mean):.1f} points (corrected p {p:.3f})."
        )
    if any(difference.mean > 0 for _, difference, _ in sure):
        said.append("**possibility** What helped here may help on other texts of the kind; none were tried.")
    unsure = [(name, d["accuracy"]) for name, d, p in zip(names[1:], found, corrected, strict=True) if p >= SURE]
    if unsure:
        low, high = min(d.low for _, d in unsure), max(d.high for _, d in unsure)
        said.append(
            f"**fact** The accuracy of {listed([name for name, _ in unsure])} cannot be told from the baseline's: no "
            f"corrected p is below {SURE}."
        )
        said.append(
            f"**possibility** {'It' if len(unsure) == 1 else 'Each of them'} may still help or harm by a little: the "
            f"intervals reach from {100 * low:+.1f} to {100 * high:+.1f} points."
        )
    for key, what in (("loss", "a lower loss"), ("ece", "a lower calibration error")):
        lower = [
            name
            for name, variant in zip(names[1:], ordered[1:], strict=True)
            if all(a.metrics["dev"][key] < b.metrics["dev"][key] for a, b in zip(variant, ordered[0], strict=True))
        ]
        if lower:
            has = "has" if len(lower) == 1 else "have"
            said.append(f"**fact** With every one of the seeds {listed(lower)} {has} {what} on dev than the baseline.")
    best = max(range(len(ordered)), key=lambda place: accuracy(ordered[place]))
    said.append(
        f"**fact** The highest mean accuracy on dev is that of {names[best]}, {accuracy(ordered[best]):.3f}; the "
        f"baseline's is {accuracy(ordered[0]):.3f}."
    )
    if best:
        said.append(
            "**possibility** The best of many looks better than it is, since luck helped to choose it; the test split, "
            "which chose nothing, tells more."
        )
    return said


def overfitting_sentence(change: Fate) -> str:
    if change.loss < 0.01:
        return f"**fact** The baseline's loss on dev hardly rises after its lowest point ({change.loss:+.3f})."
    return (
        f"**fact** After its lowest point the baseline's loss on dev rises by {change.loss:.3f}, while its accuracy "
        f"changes by {100 * change.accuracy:+.1f} points (standard error {100 * change.error:.1f}) and its calibration "
        f"error by {100 * change.ece:+.1f} points: {change.verdict}."
    )


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def test_part(ordered: Sequence[Variant], names: Sequence[str]) -> str:
    """The baseline and what was chosen on dev, on the texts that chose nothing."""
    best = max(range(len(ordered)), key=lambda place: accuracy(ordered[place]))
    shown = [0] if best == 0 else [0, best]
    lines = []
    for place in shown:
        metrics = [run.metrics["test"] for run in ordered[place]]
        columns = [spread([m[key] for m in metrics]) for key in ("accuracy", "f1", "loss", "ece")]
        lines.append([names[place], *columns])
    said = [
        TEST.format(n=len(ordered[0][0].gold["test"])),
        table(["method", "accuracy", "macro-F1", "loss", "ECE"], lines),
    ]
    if best:
        difference = differences(ordered[best], ordered[0], "test")["accuracy"]
        told = "differs from" if difference.p < SURE else "cannot be told from"
        said.append(
            f"- **fact** On test the accuracy of {names[best]} {told} the baseline's: {interval(difference)} points, "
            f"p {difference.p:.3f}."
        )
    return "\n\n".join(said)
