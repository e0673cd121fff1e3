"""A run and what went wrong in it → one HTML page that needs nothing else: no network, no other file.

Review text is data: Jinja2 escapes all that stands in the page (`template/page.html`), and its pictures are our own.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ...model.ranks import rank
from ...weights.files import read_json
from ..judge import Judgement
from ..neutral import ceiling
from ..runs import read_log, read_predictions, write_whole
from ..statistics import ALPHA, mcnemar, p_value
from .analysis import Analysis, Failure, Token, write_data
from .pictures import page_curves, reliability
from .probes import Answer, ProbeRow

FOLDER = Path(__file__).parent / "template"
LANGUAGES = ("en", "ja")
METRICS = ("accuracy", "f1", "loss", "ece")
CURVES = {
    "epoch": "epoch",
    "train_loss": "training loss",
    "dev_loss": "validation loss",
    "dev_accuracy": "accuracy",
    "dev_f1": "macro-F1",
    "dev_ece": "ECE",
    "grad_norm": "gradient norm",
    "lr": "learning rate",
}  # a column of the log → what it is called
SHOWN = 15  # of the surest errors, and of the least sure hits
ERRORS = 10_000  # of a split that are shown: those that the model is surest of
EXAMPLES = 5  # of what fails in a template
KINDS = {"mft": "minimum functionality", "inv": "invariance", "dir": "direction"}
MOVES = {  # up? by more than something that is not below 0?
    (True, True): "{label} goes up by more than {by}",
    (True, False): "{label} goes up, or down by less than {by}",
    (False, True): "{label} goes down by more than {by}",
    (False, False): "{label} goes down, or up by less than {by}",
}

Say = Callable[..., str]
Note = Callable[..., None]

SLICES = (
    "Texts of {splits}. p: Fisher's exact test, two-sided, corrected by Holm for all rules; for the search, one-sided "
    "and corrected for all that it tried. What it found is called by patterns of lemmas and parts of speech (品詞)."
)
NOT_EXPLAINED = "Of {n} errors on {split} the {some} that the model is surest of are coloured, the others are not."
NOT_SHOWN = "Of {n} errors on {split} the {some} that the model is surest of are shown; all are in failures.jsonl."
ROLLOUT = (
    "Below that, attention rollout (Abnar and Zuidema 2020): where the model looks. It is no explanation: quite other "
    "attention can go with the same answer (Jain and Wallace 2019)."
)
INT8 = "int8; what is said about tokens and neighbours is of the model in fp32 from which it was rounded"
SUSPECTS = (
    "A logistic regression on what mini makes of the texts, which did not learn from the text in question, is sure of "
    "another label (confident learning, Northcutt et al. 2021). Where there is a training split, it learns from texts "
    "of that alone. Worst first; the model may be wrong as well."
)
RETRAINED = (
    "Of {folds} fine-tunings with the settings of this run, each without a part of the training texts, the one that "
    "did not learn from the text in question is sure of another label (confident learning, Northcutt et al. 2021). "
    "Worst first; the model may be wrong as well."
)

PROBES = (
    "Texts made from templates, one thing at a time (CheckList, Ribeiro et al. 2020). Minimum functionality: each has "
    "the label. Invariance: what changes must not change the label. Direction: from the first text to the second, the "
    "probability of the label goes up or down. All that fail are in probes.json; with a file of your own:"
)


def write_page(run: Path, analysis: Analysis, language: str = "en", against: Path | None = None) -> None:
    """`report.html`, and the same as data, in the folder of a run that has its `config.json`, and `log.csv` if any.

    Of several processes the first one writes. Args and errors are those of `page`.
    """
    if rank():
        return
    text = page(analysis, read_json(run / "config.json"), read_log(run), language, against)
    write_data(run, analysis)
    write_whole(run / "report.html", text)
    print(f"page    {run / 'report.html'}")


def page(
    analysis: Analysis,
    config: Mapping[str, Any],
    rows: Sequence[dict],
    language: str = "en",
    against: Path | None = None,
) -> str:
    """The page as text.

    Args:
        config: the run's `config.json`.
        rows: of its `log.csv`; none where nothing was trained.
        language: en or ja.
        against: the folder of another run on the same texts, to stand beside this one.

    Raises:
        ValueError: an unknown language, or another run of other texts.
    """
    say = sayings(language)
    loader = FileSystemLoader(FOLDER)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["_"] = say
    environment.filters["p_value"] = p_value
    names = {rule.name: (language == "ja" and rule.gloss) or rule.name for rule in analysis.rules}
    sections = {"run": "What was run", "findings": "Findings", "scores": "Scores", "curves": "Curves"}
    sections |= {"confidence": "Confidence", "judges": "Judges", "slices": "Kinds of texts", "errors": "Errors"}
    sections |= {"suspects": "Labels to look at", "probes": "Try it"}
    splits = [split_part(j, analysis, say) for j in analysis.judgements]
    sure = any(split["reliability"] for split in splits)
    there = {"curves": rows, "confidence": sure, "judges": analysis.agreements, "probes": analysis.probes}
    shown = surest(analysis.failures)
    return environment.get_template("page.html").render(
        language=language,
        facts=facts_of(config, rows, say),
        sections=[(id_, say(title)) for id_, title in sections.items() if there.get(id_, True)],
        findings=findings(analysis, rows, names, say),
        metric_names=METRICS,
        splits=splits,
        sure=sure,
        against=beside(analysis.judgements, against) if against else None,
        curves=page_curves(rows, say) if rows else None,
        rows=rows,
        curve_columns=[(name, say(title)) for name, title in CURVES.items()],
        curves_say=say("Yellow marks: the epoch of the lowest validation loss, and that of the best macro-F1."),
        votes=[{"split": split} | vars(agreement) for split, agreement in analysis.agreements.items()],
        slices_say=say(SLICES, splits=", ".join(analysis.sliced)),
        slices=[vars(row) | {"title": names[row.name]} for row in analysis.slices],
        found=[vars(row) | {"title": row.name} for row in analysis.found],
        filters=filters(shown, names, say),
        number_of_errors=len(analysis.failures),
        left_out=left_out(analysis.failures, shown, say),
        rollout_say=say(ROLLOUT),
        failures=[vars(f) | {"tokens": coloured(f), "confidence": max(f.probabilities.values())} for f in shown],
        slice_names=names,
        suspects=analysis.suspects,
        probes=[probe_part(row, language, say) for row in analysis.probes],
        probes_say=say(PROBES),
        suspects_say=say(RETRAINED, folds=analysis.folds) if analysis.folds else say(SUSPECTS),
    )


def sayings(language: str) -> Say:
    """English → the page's language, with values put in; what has no translation is an error, not English."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not known; choose one of {', '.join(LANGUAGES)}")
    known = json.loads((FOLDER / "ja.json").read_text(encoding="utf-8")) if language == "ja" else None

    def say(text: str, **values: Any) -> str:
        translated = known[text] if known is not None else text
        return translated.format(**values) if values else translated

    return say


def facts_of(config: Mapping[str, Any], rows: Sequence[dict], say: Say) -> dict[str, Any]:
    """What was run, for people."""
    options, settings, data = config["options"], config.get("settings") or {}, config["data"]
    named = ("epochs", "batch_size", "accumulate", "lr", "weight_decay", "select", "regularizers")
    parts = []
    for name in named:
        value = settings.get(name)
        if value:
            value = " + ".join(value) if name == "regularizers" else f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{name.replace('_', ' ')} {value}")
    recipe = ", ".join(parts)
    texts = data["texts"] if isinstance(data["texts"], dict) else {options.get("split", "test"): data["texts"]}
    band, precision = config.get("neutral_band"), config.get("precision") or options.get("precision", "")
    shown = {
        "model": options["model"],
        "data": f"{data['name']}: {', '.join(f'{split} {n}' for split, n in texts.items())}",
        "recipe": recipe,
        "seed": settings.get("seed", ""),
        "time": f"{sum(row['seconds'] for row in rows):.0f} s" if rows else "",
        "started": config.get("started", ""),
        "machine": ", ".join(f"{name} {value}" for name, value in (config.get("machine") or {}).items()),
        "versions": ", ".join(f"{name} {version}" for name, version in (config.get("versions") or {}).items()),
        "commit": config.get("git") or "",
        "band of doubt": "{label}, {width:g}".format(**band) if band else "",
        "arithmetic": say(INT8) if precision == "int8" else precision,
    }
    key = hashlib.sha256(json.dumps([config.get("started"), config.get("command")]).encode()).hexdigest()[:16]
    return {
        "title": f"{options['model']}, {data['name']}",
        "key": key,
        "command": " ".join(config.get("command") or []),
        "shown": [(say(name), value) for name, value in shown.items() if value != ""],
    }


def surest(failures: Sequence[Failure]) -> list[Failure]:
    """The errors that have room on the page, in their order."""
    ranked = sorted(failures, key=lambda failure: -max(failure.probabilities.values()))
    places: Counter[str] = Counter()
    chosen = set()
    for failure in ranked:
        places[failure.split] += 1
        if places[failure.split] <= ERRORS:
            chosen.add(id(failure))
    return [failure for failure in failures if id(failure) in chosen]


def left_out(failures: Sequence[Failure], shown: Sequence[Failure], say: Say) -> list[str]:
    """What is said of the splits with so many errors that not all of them are explained, or shown."""
    said = []
    numbers, on_the_page = (Counter(failure.split for failure in some) for some in (failures, shown))
    explained = Counter(failure.split for failure in failures if failure.explained)
    for split, n in numbers.items():
        if explained[split] < n:
            said.append(say(NOT_EXPLAINED, split=split, n=n, some=explained[split]))
        if on_the_page[split] < n:
            said.append(say(NOT_SHOWN, split=split, n=n, some=on_the_page[split]))
    return said


def split_part(judgement: Judgement, analysis: Analysis, say: Say) -> dict[str, Any]:
    """One split's scores, tables and pictures."""
    labels = judgement.labels
    gold, predicted = judgement.gold, judgement.predicted
    matrix = confusion_matrix(gold, predicted, labels=labels).tolist()
    of_labels = precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
    confidence = judgement.probabilities.max(axis=1)
    right = np.array(predicted) == np.array(gold)
    texts = [
        {"p": p, "gold": example.label, "predicted": said, "text": example.text}
        for p, example, said in zip(confidence.tolist(), judgement.examples, predicted, strict=True)
    ]
    order = np.argsort(confidence, kind="stable")
    return {
        "name": judgement.split,
        "n": len(gold),
        "labels": labels,
        "metrics": judgement.metrics,
        "intervals": {name: analysis.intervals[judgement.split].get(name) for name in METRICS},
        "confusion": {one: dict(zip(labels, line, strict=True)) for one, line in zip(labels, matrix, strict=True)},
        "of_labels": {
            label: dict(zip(("precision", "recall", "f1", "support"), values, strict=True))
            for label, *values in zip(labels, *(part.tolist() for part in of_labels), strict=True)
        },
        "reliability": reliability(confidence, right, say)
        if judgement.split != "train" and judgement.metrics["ece"] is not None
        else None,
        "sure_errors": [texts[i] for i in order[::-1] if not right[i]][:SHOWN],
        "unsure_hits": [texts[i] for i in order if right[i]][:SHOWN],
    }


def beside(judgements: Sequence[Judgement], run: Path) -> dict[str, Any]:
    """What another run has right and this one has not, and the other way round, on the splits that both have."""
    parts = []
    for judgement in judgements:
        predictions = read_predictions(run, judgement.split)
        if predictions is None:
            continue
        if [(p["id"], p["label"]) for p in predictions] != [(e.id, e.label) for e in judgement.examples]:
            file = run / f"predictions-{judgement.split}.jsonl"
            raise ValueError(f"{file} is about other texts or labels: runs stand side by side on the same ones only")
        there = [p["predicted"] for p in predictions]
        gold, here = np.array(judgement.gold), np.array(judgement.predicted)
        rows = [
            {"id": e.id, "text": e.text, "gold": e.label, "there": a, "here": b}
            for e, a, b in zip(judgement.examples, there, judgement.predicted, strict=True)
        ]
        right, was_right = here == gold, np.array(there) == gold
        parts.append({
            "name": judgement.split,
            "here": right.mean(),
            "there": was_right.mean(),
            "fixed": [row for row, fixed in zip(rows, right & ~was_right, strict=True) if fixed],
            "broken": [row for row, broken in zip(rows, was_right & ~right, strict=True) if broken],
            "p": mcnemar(right, was_right),
        })  # fmt: skip
    if not parts:
        raise ValueError(f"{run} has no predictions for any of the splits: is it the folder of a run?")
    return {"title": str(run), "splits": parts}


def probe_part(row: ProbeRow, language: str, say: Say) -> dict[str, Any]:
    """One template: what was expected of it, and some of what failed."""
    return vars(row) | {
        "title": (language == "ja" and row.gloss) or row.name,
        "kind": say(KINDS[row.kind]),
        "expected": expected(row, say),
        "rate": row.rate,
        "examples": [example(case, row) for case in row.failures[:EXAMPLES]],
    }


def expected(row: ProbeRow, say: Say) -> str:
    if row.kind == "dir":
        return say(MOVES[row.goes == "up", row.by >= 0], label=row.label, by=f"{abs(row.by):g}")
    return row.label or say("the same label")


def example(case: Sequence[Answer], row: ProbeRow) -> str:
    """What was said of a text or of a pair; of a direction also the probability that it is about."""
    said = []
    for answer in case:
        asked = f"; {row.label} {answer.asked:.2f}" if row.kind == "dir" and answer.label != row.label else ""
        said.append(f"{answer.text} ({answer.label} {answer.probability:.2f}{asked})")
    return " → ".join(said)


def filters(
    failures: Sequence[Failure], names: Mapping[str, str], say: Say
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """What errors can be chosen by: name, title, and values with how many errors each has."""
    columns: list[tuple[str, str, Callable[[Failure], Sequence[str]], Mapping[str, str]]] = [
        ("split", "split", lambda f: [f.split], {}),
        ("gold", "label", lambda f: [f.gold], {}),
        ("predicted", "prediction", lambda f: [f.predicted], {}),
        ("slice", "kind", lambda f: f.slices, names),
    ]
    chosen = []
    for name, title, values_of, titles in columns:
        counts = Counter(value for failure in failures for value in values_of(failure))
        values = [(value, f"{titles.get(value, value)} ({n})") for value, n in counts.most_common()]
        chosen.append((name, say(title), values))
    return chosen


def coloured(failure: Failure) -> list[dict[str, str]]:
    """The tokens of a text, each with the class of its colour: p1 to p4 for the prediction, m1 to m4 against it.

    A text that is not explained is one piece without colour.
    """
    strongest = {
        name: max((abs(getattr(token, name)) for token in failure.tokens), default=0.0)
        for name in ("gradients", "occlusion", "rollout")
    }

    def colour(value: float, most: float) -> str:
        step = round(4 * abs(value) / most) if most > 0 else 0
        return f"{'p' if value > 0 else 'm'}{step}" if step else ""

    return [
        {"text": token.text} | {f"{name}_class": colour(getattr(token, name), most) for name, most in strongest.items()}
        for token in failure.tokens or [Token(failure.text, 0.0, 0.0, 0.0)]
    ]


# ---- findings


def findings(
    analysis: Analysis, rows: Sequence[dict], names: Mapping[str, str], say: Say
) -> list[tuple[str, str, str]]:
    """Sentences from the figures: kind (fact or possibility), sentence, and the section with the evidence."""
    drafted: list[tuple[str, str, str]] = []

    def fact(text: str, where: str, **values: Any) -> None:
        drafted.append((say("fact"), say(text, **values), where))

    def possibility(text: str, where: str, **values: Any) -> None:
        drafted.append((say("possibility"), say(text, **values), where))

    for judgement in analysis.judgements:
        score, (low, high) = judgement.metrics["accuracy"], analysis.intervals[judgement.split]["accuracy"]
        fact(
            "On {split} {wrong} of {n} texts are wrong: accuracy {score} (95 % interval {low} to {high}).",
            "scores",
            split=judgement.split,
            wrong=sum(a != b for a, b in zip(judgement.gold, judgement.predicted, strict=True)),
            n=len(judgement.gold),
            score=f"{score:.3f}",
            low=f"{low:.3f}",
            high=f"{high:.3f}",
        )
        lacking = [label for label in judgement.labels if label not in judgement.model_labels]
        if lacking:
            fact(
                "The model does not know {labels}: without a band of doubt, at best {best} of {split} can be right.",
                "scores",
                labels=", ".join(lacking),
                best=f"{ceiling(judgement.gold, judgement.model_labels):.1%}",
                split=judgement.split,
            )
    held_out = [failure for failure in analysis.failures if failure.split in analysis.sliced]
    if held_out:
        (gold, predicted), most = Counter((f.gold, f.predicted) for f in held_out).most_common(1)[0]
        fact(
            "The most frequent error on {splits} is {predicted} where the label is {gold}: {most} of {n}.",
            "errors",
            splits=", ".join(analysis.sliced),
            gold=gold,
            predicted=predicted,
            most=most,
            n=len(held_out),
        )
        contrary = sum(bool(f.neighbours) and f.neighbours[0].label == f.predicted for f in held_out)
        if contrary:
            fact(
                "Of {n} errors there, {contrary} have a nearest training text with the label that was predicted.",
                "errors",
                contrary=contrary,
                n=len(held_out),
            )
            possibility("Some errors and their nearest training texts may be labelled by different rules.", "errors")
    of_epochs(rows, fact, possibility)
    of_judges(analysis, fact, possibility)
    of_kinds(analysis, names, fact, possibility)
    if analysis.suspects:
        fact("Confident learning names {n} labels to look at.", "suspects", n=len(analysis.suspects))
        possibility("Some labels that confident learning names may be wrong, and some errors with them.", "suspects")
    if analysis.probes:
        worst = min(analysis.probes, key=lambda row: row.rate)
        fact(
            "Of {n} probes {passed} pass; least often those of the template “{template}”: {own} of {all}.",
            "probes",
            n=sum(row.n for row in analysis.probes),
            passed=sum(row.passed for row in analysis.probes),
            template=worst.template,
            own=worst.passed,
            all=worst.n,
        )
    return drafted


def of_kinds(analysis: Analysis, names: Mapping[str, str], fact: Note, possibility: Note) -> None:
    """Kinds of texts that are wrong more often than chance allows, by rule and by search."""
    worse = [row for row in analysis.slices if row.corrected < ALPHA and (row.lift or 0) > 1]
    for row in worse:
        fact(
            "Texts of the kind “{kind}” are wrong more often: {errors} of {n}, {lift} times the rate of all (corrected "
            "p {p}).",
            "slices",
            kind=names[row.name],
            errors=row.errors,
            n=row.n,
            lift=f"{row.lift:.1f}",
            p=p_value(row.corrected),
        )
    if worse:
        possibility(
            "More training texts of the kinds that are wrong more often may help; that the kinds are the cause is not "
            "shown.",
            "slices",
        )
    else:
        fact("Of no kind of text by rule is it shown that it is wrong more often than the rest.", "slices")
    for row in [row for row in analysis.found if row.corrected < ALPHA][:3]:
        fact(
            "The search found “{kind}”: {errors} of {n} wrong, {lift} times the rate of all (corrected p {p}).",
            "slices",
            kind=row.name,
            errors=row.errors,
            n=row.n,
            lift=f"{row.lift:.1f}",
            p=p_value(row.corrected),
        )


def of_epochs(rows: Sequence[dict], fact: Note, possibility: Note) -> None:
    """Over-fitting, as one run can show it."""
    trained = [row for row in rows if row["train_loss"] is not None]
    if not trained:
        return
    lowest, last = min(trained, key=lambda row: row["dev_loss"]), trained[-1]
    if lowest is last:
        fact("The validation loss was lowest after the last epoch.", "curves")
        possibility("More epochs may help.", "curves")
        return
    fact(
        "The validation loss was lowest after epoch {epoch}; from there to the last it rose by {loss}, while accuracy "
        "changed by {points} points and the calibration error by {ece}.",
        "curves",
        epoch=int(lowest["epoch"]),
        loss=f"{last['dev_loss'] - lowest['dev_loss']:.3f}",
        points=f"{100 * (last['dev_accuracy'] - lowest['dev_accuracy']):+.1f}",
        ece=f"{100 * (last['dev_ece'] - lowest['dev_ece']):+.1f}",
    )
    if last["dev_accuracy"] >= lowest["dev_accuracy"]:
        possibility(
            "The rise of the loss may be over-confidence rather than over-fitting: accuracy did not fall.", "curves"
        )
    else:
        possibility("The rise of the loss may be over-fitting: accuracy fell as well.", "curves")


def of_judges(analysis: Analysis, fact: Note, possibility: Note) -> None:
    easier = False  # where all judges agree
    for split, judges in analysis.agreements.items():
        if split not in analysis.sliced or judges.unanimous is None or judges.divided is None:
            continue
        fact(
            "On {split} accuracy is {unanimous} where all judges agree and {divided} where they do not; {shared} of "
            "the errors are what at least one judge said.",
            "judges",
            split=split,
            unanimous=f"{judges.unanimous:.3f}",
            divided=f"{judges.divided:.3f}",
            shared=f"{judges.shared or 0:.0%}",
        )
        easier |= judges.unanimous > judges.divided
    if easier:
        possibility("Part of the errors may lie in texts that people read in more than one way.", "judges")
