"""The page of failures: a run and its errors as one HTML file, which needs no network and no other file.

Jinja2 escapes all texts on the page (`template/page.html`); only our own plots are inserted as markup.
"""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import fisher_exact

from ...model.ranks import rank
from ...weights.files import read_json
from ..baselines import MAJORITY, TFIDF
from ..judge import Judgement
from ..neutral import ceiling
from ..runs import read_log, read_predictions, write_whole
from ..statistics import ALPHA, RISE, mcnemar, p_value
from ..tasks.span import SORTS
from .analysis import Analysis, Failure, Token, write_data
from .kinds import LABELS, NEVER_FOUND, Kind
from .pictures import page_curves
from .probes import Answer, ProbeRow
from .slices import ResidualRow, SliceRow
from .table import page_of

FOLDER = Path(__file__).parent / "template"
LANGUAGES = ("en", "ja")
CURVES = {  # a column of the log → its name
    "epoch": "epoch", "train_loss": "training loss", "dev_loss": "validation loss", "dev_accuracy": "accuracy",
    "dev_f1": "macro-F1", "dev_ece": "ECE", "dev_pearson": "Pearson", "dev_spearman": "Spearman", "dev_mae": "MAE",
    "dev_micro_f1": "micro-F1", "dev_macro_f1": "macro-F1", "dev_exact_match": "exact match",
    "dev_character_f1": "F1 of characters", "grad_norm": "gradient norm", "lr": "learning rate",
}  # fmt: skip
NO_SHARES = ("loss", "mae")  # scores that do not lie between 0 and 1
METRICS = {  # a metric → its title
    "accuracy": "accuracy", "f1": "f1", "loss": "loss", "ece": "ece", "pearson": "Pearson", "spearman": "Spearman",
    "mae": "MAE", "micro_f1": "micro-F1", "macro_f1": "macro-F1", "precision": "precision", "recall": "recall",
    "exact_match": "exact match", "character_f1": "F1 of characters",
}  # fmt: skip
SIMPLE = (  # names of simple answers, in the words of eval/yardsticks.py
    "mean", "overlap of bigrams", "TF-IDF with ridge", "chance", "TF-IDF, a regression a label",
    "TF-IDF left out: it would take long on so many texts",
)  # fmt: skip
SIMPLE_NOTE = "Below each split simple answers to the same texts; what they learn is from the training split alone."
ERRORS = 10_000  # of a split that are shown, those of the greatest weight
SUSPECTS = 20  # of the labels to look at
PROBABILITIES = 10  # of an error's labels
EXAMPLES = 5  # of the failures of a template
KINDS = {"mft": "minimum functionality", "inv": "invariance", "dir": "direction"}
MOVES = {  # up? by more than something that is not below 0?
    (True, True): "{label} goes up by more than {by}",
    (True, False): "{label} goes up, or down by less than {by}",
    (False, True): "{label} goes down by more than {by}",
    (False, False): "{label} goes down, or up by less than {by}",
}
SECTIONS = {
    "run": "What was run", "findings": "Findings", "scores": "Scores", "curves": "Curves", "confidence": "Confidence",
    "judges": "Judges", "slices": "Kinds of texts", "errors": "Errors", "suspects": "Labels to look at",
    "probes": "Probes",
}  # fmt: skip
RESIDUALS_SHOWN = "Of {n} texts of {split} the {some} with the largest residuals are listed."
ROLLOUT = (
    "Below that, attention rollout (Abnar and Zuidema 2020): where the model attends. It is no explanation: quite "
    "different attention can go with the same answer (Jain and Wallace 2019)."
)
INT8 = "int8; what is said about tokens and neighbours is of the model in fp32 from which it was rounded"
REGRESSION = (
    "A logistic regression on what mini makes of the texts, which did not learn from the text in question, is sure of "
    "another label (confident learning, Northcutt et al. 2021). Where there is a training split, it learns from texts "
    "of that alone. Worst first; the model may be wrong as well."
)
RETRAINED = (
    "Of {folds} fine-tunings with the settings of this run, each without a part of the training texts, the one that "
    "did not learn from the text in question is sure of another label (confident learning, Northcutt et al. 2021). "
    "Worst first; the model may be wrong as well."
)
COMPETENCE = (
    "Of {n} texts that it did not learn from that model is right on {accuracy}; who says always {most} is right on "
    "{majority}."
)
TOO_WEAK = (
    "The model that should name labels is too weak for it, so none is named: of {n} texts that it did not learn from "
    "it is right on {accuracy}, and who says always {most} on {majority} (p {p}, McNemar's test to one side)."
)
NOT_LOOKED_AT = "No label was looked at: that takes two labels or more, each with two training texts or more."
UNANIMOUS = "{n} more are not named, since all judges chose their label."
WORST = "Of {n} the {some} worst are shown; all are in suspects.csv."
BASELINES = (
    "Majority: always {most}, the most frequent training label. TF-IDF: a logistic regression on n-grams of 1 to 3 "
    "characters. Both learn from the training split alone; p: McNemar's test of the model against them."
)
NO_TFIDF = {  # why it was left out, in the words of eval/baselines.py
    "all training texts have the same label": "TF-IDF was left out: all training texts have the same label.",
    "it would take long on so many texts": "TF-IDF was left out: it would take long on so many texts.",
}
NEVER_PREDICTED = "On {split} the model never predicts {k} of the {all} labels that there are: {labels}."
NO_BETTER = (
    "On {split} it is not shown that the model is better than to say always {most}: accuracy {score} against {other} "
    "(McNemar's p {p})."
)
TFIDF_BETTER = (
    "On {split} TF-IDF, a far simpler model, is right as often or more: accuracy {other} against {score} (McNemar's p "
    "{p})."
)
BEST_OF_CLASSES = "Yellow marks: the epoch of the lowest validation loss, and that of the best macro-F1."
BEST_EPOCHS = "Yellow marks: the epoch of the lowest validation loss, and that of the best {name}."
RISES = (
    "The validation loss was lowest after epoch {epoch}; from there to the last it rose by {loss} (95 % interval "
    "{low} to {high}, as if of other texts each time), while accuracy changed by {points} points (± {margin}) and the "
    "calibration error by {ece}."
)
WORSE_BY_RULE = (
    "Texts of the kind “{kind}” are wrong more often: {errors} of {n}, {lift} times the rate of all (corrected p {p})."
)
WORSE_BY_SEARCH = "The search found “{kind}”: {errors} of {n} wrong, {lift} times the rate of all (corrected p {p})."
WORSE_RESIDUALS = (
    "Answers on texts of the kind “{kind}” are further off: by {mae} on average, {lift} times that of all (corrected p "
    "{p}); answer minus label is {bias} on average."
)
MORE_OF_THE_KIND = (
    "More training texts of the kinds that are wrong more often may help; that the kinds are the cause is not shown."
)

Translate = Callable[..., str]
Add = Callable[..., None]


def write_page(run: Path, analysis: Analysis, language: str = "en", against: Path | None = None) -> None:
    """Write `report.html` and its data into the folder of a run with a `config.json`; only the first process writes.

    Args and errors are those of `page`.
    """
    if rank():
        return
    kind, said = page_of(analysis.judgements[0].task), translator("en")
    for sentence in omissions(analysis, most_serious(analysis.failures), kind, said):
        print(f"note    {sentence}")
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
    """The page as HTML.

    Args:
        config: the run's `config.json`.
        rows: of its `log.csv`; empty where nothing was trained.
        language: en or ja.
        against: the folder of another run on the same texts, to compare with.

    Raises:
        ValueError: an unknown language, another run of other texts, or a task without a page.
    """
    translate, task = translator(language), analysis.judgements[0].task
    kind = page_of(task)
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["_"] = translate
    environment.filters["p_value"] = p_value
    # Parts that more than one section needs.
    names = {rule.name: (language == "ja" and rule.gloss) or rule.name for rule in analysis.rules}
    splits = [split_part(j, analysis, kind, translate) for j in analysis.judgements]
    sure = any(split["reliability"] for split in splits)
    there = {"curves": rows, "confidence": sure, "judges": analysis.agreements, "probes": analysis.probes}
    there["suspects"] = task.classes
    shown = most_serious(analysis.failures)
    titles = SECTIONS | {"errors": kind.title}
    scores = {name.removeprefix("dev_"): title for name, title in CURVES.items() if rows and name in rows[0]
              and name.startswith("dev_") and name.removeprefix("dev_") not in NO_SHARES}  # fmt: skip
    best = None if task.best == "f1" else {"name": translate(METRICS[task.best]) if task.best in METRICS else task.best}
    # The page from top to bottom.
    return environment.get_template("page.html").render(
        language=language,
        facts=facts_of(config, rows, translate),
        sections=[(id_, translate(title)) for id_, title in titles.items() if there.get(id_, True)],
        findings=findings(analysis, rows, names, translate),
        metrics=[(name, translate(METRICS[name])) for name in kind.metrics],
        panel=kind.panel,
        intervals_note=translate(kind.intervals_note) if kind.intervals_note else None,
        splits=splits,
        sure=sure,
        baselines_note=translate(BASELINES, most=analysis.majority) if analysis.baselines else None,
        simple_note=translate(SIMPLE_NOTE) if any(analysis.beside.values()) else None,
        no_tfidf=translate(NO_TFIDF[analysis.left_out]) if analysis.baselines and analysis.left_out else None,
        against=compare_with(against, analysis.judgements) if against else None,
        curves=page_curves(rows, translate, scores, task.best, kind.nats) if rows else None,
        curves_note=translate(BEST_EPOCHS, **best) if best else translate(BEST_OF_CLASSES),
        rows=rows,
        curve_columns=[(name, translate(title)) for name, title in CURVES.items() if rows and name in rows[0]],
        votes=[{"split": split} | vars(agreement) for split, agreement in analysis.agreements.items()],
        slices_note=translate(kind.slices_note, splits=", ".join(analysis.sliced)),
        residuals=any(isinstance(row, ResidualRow) for row in analysis.slices),
        slices=[vars(row) | {"title": names[row.name]} for row in analysis.slices],
        found=[vars(row) | {"title": row.name} for row in analysis.found] if kind.searches else None,
        filters=filters(shown, kind, names, translate),
        orders=[(value, translate(title)) for value, title in kind.orders],
        title=translate(kind.title),
        counted=translate(kind.counted),
        colours=translate(kind.colours),
        number_of_errors=len(analysis.failures),
        omissions=omissions(analysis, shown, kind, translate),
        rollout_note=translate(ROLLOUT) if kind.explains else "",
        failures=[vars(f) | {"tokens": coloured(f), "likeliest": likeliest(f)} | dict(f.more) for f in shown],
        classes=task.classes,
        slice_names=names,
        suspects=analysis.suspects[:SUSPECTS],
        looked=analysis.judge is not None and not analysis.judge.weak,
        suspects_notes=suspects_notes(analysis, translate),
        probes=[probe_part(row, language, translate) for row in analysis.probes],
    )


def translator(language: str) -> Translate:
    """English → the page's language, with values put in. A missing translation is a KeyError."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not known; choose one of {', '.join(LANGUAGES)}")
    known = json.loads((FOLDER / "ja.json").read_text(encoding="utf-8")) if language == "ja" else None

    def translate(text: str, **values: Any) -> str:
        translated = known[text] if known is not None else text
        return translated.format(**values) if values else translated

    return translate


def facts_of(config: Mapping[str, Any], rows: Sequence[dict], translate: Translate) -> dict[str, Any]:
    options, settings, data = config["options"], config.get("settings") or {}, config["data"]
    # The settings of the training.
    parts = []
    for name in ("epochs", "batch_size", "accumulate", "lr", "weight_decay", "select", "regularizers"):
        if value := settings.get(name):
            value = " + ".join(value) if name == "regularizers" else f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{name.replace('_', ' ')} {value}")
    # All facts, without those that are empty.
    texts = data["texts"] if isinstance(data["texts"], dict) else {options.get("split", "test"): data["texts"]}
    band, precision = config.get("neutral_band"), config.get("precision") or options.get("precision", "")
    shown = {
        "model": options["model"],
        "data": f"{data['name']}: {', '.join(f'{split} {n}' for split, n in texts.items())}",
        "recipe": ", ".join(parts),
        "seed": settings.get("seed", ""),
        "time": f"{sum(row['seconds'] for row in rows):.0f} s" if rows else "",
        "started": config.get("started", ""),
        "machine": ", ".join(f"{name} {value}" for name, value in (config.get("machine") or {}).items()),
        "versions": ", ".join(f"{name} {version}" for name, version in (config.get("versions") or {}).items()),
        "commit": config.get("git") or "",
        "band of doubt": "{label}, {width:g}".format(**band) if band else "",
        "arithmetic": translate(INT8) if precision == "int8" else precision,
    }
    return {
        "title": f"{options['model']}, {data['name']}",
        "key": hashlib.sha256(json.dumps([config.get("started"), config.get("command")]).encode()).hexdigest()[:16],
        "command": shlex.join(config.get("command") or []),
        "shown": [(translate(name), value) for name, value in shown.items() if value != ""],
    }


def likeliest(failure: Failure) -> dict[str, float]:
    """The labels with their probabilities, in their order; of more than PROBABILITIES the likeliest, and the label."""
    ordered = sorted(failure.probabilities, key=lambda label: -failure.probabilities[label])
    chosen = {*ordered[:PROBABILITIES], failure.gold}
    return {label: p for label, p in failure.probabilities.items() if label in chosen}


def most_serious(failures: Sequence[Failure]) -> list[Failure]:
    """The ERRORS failures of each split with the greatest weight, in the order given."""
    places: Counter[str] = Counter()
    chosen = set()
    for failure in sorted(failures, key=lambda failure: -failure.weight):
        places[failure.split] += 1
        if places[failure.split] <= ERRORS:
            chosen.add(id(failure))
    return [failure for failure in failures if id(failure) in chosen]


def omissions(analysis: Analysis, shown: Sequence[Failure], kind: Kind, translate: Translate) -> list[str]:
    """Sentences on the splits of which not all errors are explained, or shown, or not all residuals are listed."""
    failures = analysis.failures
    numbers, on_the_page = (Counter(failure.split for failure in some) for some in (failures, shown))
    explained = Counter(failure.split for failure in failures if failure.explained or not kind.explains)
    texts = {j.split: len(j.examples) for j in analysis.judgements}
    listed = [
        translate(RESIDUALS_SHOWN, split=split, n=texts[split], some=n)
        for split, n in numbers.items()
        if any(isinstance(row, ResidualRow) for row in analysis.slices) and n < texts[split]
    ]
    return listed + [
        translate(text, split=split, n=n, some=some[split])
        for split, n in numbers.items()
        for text, some in ((kind.omitted, explained), (kind.unshown, on_the_page))
        if some[split] < n
    ]


def split_part(judgement: Judgement, analysis: Analysis, kind: Kind, translate: Translate) -> dict[str, Any]:
    """What the panels show of a split; `reliability` is None where probabilities say nothing."""
    split = judgement.split
    classes = {
        translate(MAJORITY) if name == MAJORITY else name: vars(one)
        for name, one in analysis.baselines.get(split, {}).items()
    }
    beside = classes | {translate(name): own for name, own in analysis.beside.get(split, {}).items()}
    return {
        "name": split,
        "n": len(judgement.examples),
        "metrics": judgement.metrics,
        "beside": beside,
        "intervals": {name: analysis.intervals[split].get(name) for name in kind.metrics},
        "reliability": None,
    } | kind.part(judgement, translate)


def suspects_notes(analysis: Analysis, translate: Translate) -> list[str]:
    """Sentences on who named the labels to look at, how good that model is, and what is not shown."""
    judge, named = analysis.judge, len(analysis.suspects)
    if judge is None:
        return [translate(NOT_LOOKED_AT)]
    numbers = {"n": judge.n, "accuracy": f"{judge.accuracy:.1%}", "majority": f"{judge.majority:.1%}"}
    numbers["most"] = analysis.data_labels[judge.most]
    if judge.weak:
        return [translate(TOO_WEAK, **numbers, p=p_value(judge.p))]
    by = translate(RETRAINED, folds=analysis.folds) if analysis.folds else translate(REGRESSION)
    notes = [by, translate(COMPETENCE, **numbers)]
    if analysis.spared:
        notes.append(translate(UNANIMOUS, n=analysis.spared))
    if named > SUSPECTS:
        notes.append(translate(WORST, n=named, some=SUSPECTS))
    return notes


def compare_with(run: Path, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """The texts that only this run, or only another one, has right, on the splits that both have."""
    kind = page_of(judgements[0].task)
    if not kind.nats:
        raise ValueError(
            "tezukuri failures --against compares what is right and what is wrong, and scores are neither: leave it out"
        )
    parts = []
    for judgement in judgements:
        predictions = read_predictions(run, judgement.split)
        if predictions is None:
            continue
        examples = judgement.examples
        own = [(e.id, kind.told(gold, e)) for e, gold in zip(examples, judgement.gold, strict=True)]
        labels, told = ([kind.read(p[name]) for p in predictions] for name in ("label", "predicted"))
        others = [(p["id"], kind.told(label, e)) for p, label, e in zip(predictions, labels, examples, strict=False)]
        if others != own or len(predictions) != len(own):
            file = run / f"predictions-{judgement.split}.jsonl"
            raise ValueError(f"{file} is about other texts or labels: runs stand side by side on the same ones only")
        there, here, gold = (
            np.array([kind.told(answer, e) for answer, e in zip(answers, examples, strict=True)])
            for answers in (told, judgement.predicted, judgement.gold)
        )
        rows = [
            {"id": e.id, "text": e.content, "gold": label, "there": a, "here": b}
            for e, label, a, b in zip(examples, gold.tolist(), there.tolist(), here.tolist(), strict=True)
        ]
        right, was_right = (~kind.wrong(one) for one in (judgement, replace(judgement, predicted=told)))
        parts.append({
            "name": judgement.split,
            "here": right.mean(),
            "there": was_right.mean(),
            "fixed": [rows[i] for i in np.flatnonzero(right & ~was_right)],
            "broken": [rows[i] for i in np.flatnonzero(was_right & ~right)],
            "p": mcnemar(right, was_right),
        })  # fmt: skip
    if not parts:
        raise ValueError(f"{run} has no predictions for any of the splits: is it the folder of a run?")
    return {"title": str(run), "splits": parts}


def probe_part(row: ProbeRow, language: str, translate: Translate) -> dict[str, Any]:
    """One template: what was expected, and some of its failures."""
    return vars(row) | {
        "title": (language == "ja" and row.gloss) or row.name,
        "kind": translate(KINDS[row.kind]),
        "expected": expected(row, translate),
        "rate": row.rate,
        "examples": [example(case, row) for case in row.failures[:EXAMPLES]],
    }


def expected(row: ProbeRow, translate: Translate) -> str:
    if row.kind == "dir":
        return translate(MOVES[row.goes == "up", row.by >= 0], label=row.label, by=f"{abs(row.by):g}")
    return row.label or translate("the same label")


def example(case: Sequence[Answer], row: ProbeRow) -> str:
    """A text or a pair with its predictions; of a direction also the probability in question."""
    shown = []
    for answer in case:
        asked = f"; {row.label} {answer.asked:.2f}" if row.kind == "dir" and answer.label != row.label else ""
        shown.append(f"{answer.text} ({answer.label} {answer.probability:.2f}{asked})")
    return " → ".join(shown)


def filters(
    failures: Sequence[Failure], kind: Kind, names: Mapping[str, str], translate: Translate
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    chosen = []
    for name, title in (("split", "split"), *kind.fields, ("slice", "kind")):
        counts: Counter[str] = Counter()
        for failure in failures:
            values = (vars(failure) | dict(failure.more))["slices" if name == "slice" else name]
            counts.update([values] if isinstance(values, str) else values)
        titles = names if name == "slice" else {sort: translate(sort) for sort in SORTS} if name == "sort" else {}
        options = [(value, f"{titles.get(value, value)} ({n})") for value, n in counts.most_common()]
        chosen.append((name, translate(title), options))
    return chosen


def coloured(failure: Failure) -> list[dict[str, Any]]:
    """The tokens of a text with the classes of their colours: p1 to p4 support the prediction, m1 to m4 oppose it.

    A text that is not explained is one token without colour, or two of a pair; `second` marks where its second begins.
    """
    strongest = {
        name: max((abs(getattr(token, name)) for token in failure.tokens), default=0.0)
        for name in ("gradients", "occlusion", "rollout")
    }

    def colour(value: float, most: float) -> str:
        step = round(4 * abs(value) / most) if most > 0 else 0
        return f"{'p' if value > 0 else 'm'}{step}" if step else ""

    tokens, pieces, done = failure.tokens, [], 0
    if not tokens:
        halves = failure.text[: failure.second], failure.text[failure.second :] if failure.second is not None else ""
        tokens = [Token(half, 0.0, 0.0, 0.0) for half in halves if half]
    for token in tokens:
        pieces.append({"text": token.text, "second": done == failure.second} | {
            f"{name}_class": colour(getattr(token, name), most) for name, most in strongest.items()
        })  # fmt: skip
        done += len(token.text)
    return pieces


# ---- findings


def findings(
    analysis: Analysis, rows: Sequence[dict], names: Mapping[str, str], translate: Translate
) -> list[tuple[str, str, str]]:
    """Sentences from the numbers: kind (fact or possibility), sentence, and the section with the evidence."""
    found: list[tuple[str, str, str]] = []

    def fact(text: str, where: str, **values: Any) -> None:
        found.append((translate("fact"), translate(text, **values), where))

    def possibility(text: str, where: str, **values: Any) -> None:
        found.append((translate("possibility"), translate(text, **values), where))

    classes, kind = analysis.judgements[0].task.classes, page_of(analysis.judgements[0].task)
    if classes:
        class_findings(analysis, fact)
        baseline_findings(analysis, fact)
        score_findings(analysis, fact)
        error_findings(analysis, fact, possibility)
    for judgement in analysis.judgements:
        beside = {translate(name): own for name, own in analysis.beside.get(judgement.split, {}).items()}
        for text, where, values in kind.facts(judgement, beside):
            fact(text, where, **values)
    epoch_findings(rows, analysis, fact, possibility)
    judge_findings(analysis, fact, possibility)
    slice_findings(analysis, names, fact, possibility)
    if analysis.suspects:
        assert analysis.judge is not None  # who named them
        fact(
            "Confident learning names {n} labels to look at, by a model that is right on {accuracy} of the texts.",
            "suspects", n=len(analysis.suspects), accuracy=f"{analysis.judge.accuracy:.1%}",
        )  # fmt: skip
        possibility("Some labels that confident learning names may be wrong, and some errors with them.", "suspects")
    if analysis.probes:
        worst = min(analysis.probes, key=lambda row: row.rate)
        n, passed = sum(row.n for row in analysis.probes), sum(row.passed for row in analysis.probes)
        fact(
            "Of {n} probes {passed} pass; least often those of the template “{template}”: {own} of {all}.",
            "probes", n=n, passed=passed, template=worst.template, own=worst.passed, all=worst.n,
        )  # fmt: skip
    return found


def class_findings(analysis: Analysis, fact: Add) -> None:
    """Labels of which no text is found, although the model knows them."""
    for judgement in analysis.judgements:
        if judgement.split not in analysis.sliced:
            continue
        pairs = list(zip(judgement.gold, judgement.predicted, strict=True))
        there, found = Counter(judgement.gold), {gold for gold, predicted in pairs if gold == predicted}
        lost = [label for label, _ in there.most_common() if label in judgement.model_labels and label not in found]
        said = set(judgement.predicted)
        for text, labels in (
            (NEVER_PREDICTED, [label for label in lost if label not in said]),
            (NEVER_FOUND, [label for label in lost if label in said]),
        ):
            if labels:
                shown = [f"{label} (0/{there[label]})" for label in labels[:LABELS]] + ["…"] * (len(labels) > LABELS)
                numbers = {"k": len(labels), "all": len(there), "labels": ", ".join(shown)}
                fact(text, "scores", split=judgement.split, **numbers)


def baseline_findings(analysis: Analysis, fact: Add) -> None:
    """Splits on which the model is no better than a baseline."""
    for judgement in analysis.judgements:
        standings, score = analysis.baselines.get(judgement.split, {}), judgement.metrics["accuracy"]
        assert score is not None
        for name, text in ((MAJORITY, NO_BETTER), (TFIDF, TFIDF_BETTER)):
            if (one := standings.get(name)) is None:
                continue
            worse = score <= one.accuracy
            if worse or (name == MAJORITY and one.p >= ALPHA):
                numbers = {"score": f"{score:.3f}", "other": f"{one.accuracy:.3f}", "p": p_value(one.p)}
                fact(text, "scores", split=judgement.split, most=analysis.majority, **numbers)


def score_findings(analysis: Analysis, fact: Add) -> None:
    for judgement in analysis.judgements:
        wrong = sum(a != b for a, b in zip(judgement.gold, judgement.predicted, strict=True))
        score, (low, high) = judgement.metrics["accuracy"], analysis.intervals[judgement.split]["accuracy"]
        fact(
            "On {split} {wrong} of {n} texts are wrong: accuracy {score} (95 % interval {low} to {high}).",
            "scores", split=judgement.split, wrong=wrong, n=len(judgement.gold), score=f"{score:.3f}",
            low=f"{low:.3f}", high=f"{high:.3f}",
        )  # fmt: skip
        lacking = [label for label in judgement.labels if label not in judgement.model_labels]
        if lacking:
            best = f"{ceiling(judgement.gold, judgement.model_labels):.1%}"
            fact(
                "The model does not know {labels}: without a band of doubt, at best {best} of {split} can be right.",
                "scores", labels=", ".join(lacking), best=best, split=judgement.split,
            )  # fmt: skip


def error_findings(analysis: Analysis, fact: Add, possibility: Add) -> None:
    held_out = [failure for failure in analysis.failures if failure.split in analysis.sliced]
    if not held_out:
        return
    n = len(held_out)
    (gold, predicted), most = Counter((f.gold, f.predicted) for f in held_out).most_common(1)[0]
    fact(
        "The most frequent error on {splits} is {predicted} where the label is {gold}: {most} of {n}.",
        "errors", splits=", ".join(analysis.sliced), gold=gold, predicted=predicted, most=most, n=n,
    )  # fmt: skip
    contrary = sum(bool(f.neighbours) and f.neighbours[0].label == f.predicted for f in held_out)
    if contrary:
        fact(
            "Of {n} errors there, {contrary} have a nearest training text with the label that was predicted.",
            "errors", contrary=contrary, n=n,
        )  # fmt: skip
        possibility("Some errors and their nearest training texts may be labelled by different rules.", "errors")


def epoch_findings(rows: Sequence[dict], analysis: Analysis, fact: Add, possibility: Add) -> None:
    """What the validation loss did. A change has a name only where it has a size, RISE, and is beyond chance.

    The margins of chance are those of two sets of as many other texts; on the same texts chance does less.
    """
    trained = [row for row in rows if row["train_loss"] is not None]
    if not trained:
        return
    lowest, last = min(trained, key=lambda row: row["dev_loss"]), trained[-1]
    rise = RISE if page_of(analysis.judgements[0].task).nats else RISE * lowest["dev_loss"]
    if lowest is last:
        fell = trained[-2]["dev_loss"] - last["dev_loss"] if len(trained) > 1 else rise
        if fell < rise:
            fact("The validation loss was lowest after the last epoch, but hardly fell in it.", "curves")
            return
        fact("The validation loss was lowest after the last epoch.", "curves")
        possibility("More epochs may help.", "curves")
        return
    loss, of_dev = last["dev_loss"] - lowest["dev_loss"], analysis.intervals.get("dev", {})
    if loss < rise or "loss" not in of_dev:
        hardly = (
            "The validation loss was lowest after epoch {epoch}; from there to the last it hardly changed ({loss})."
        )
        alone = "The validation loss was lowest after epoch {epoch}; the last one's was higher by {loss}."
        fact(hardly if loss < rise else alone, "curves", epoch=int(lowest["epoch"]), loss=f"{loss:+.4f}")
        return
    score, ece = (last[f"dev_{name}"] - lowest[f"dev_{name}"] for name in ("accuracy", "ece"))
    margins = {name: 2**0.5 * (high - low) / 2 for name, (low, high) in of_dev.items()}
    low, high = loss - margins["loss"], loss + margins["loss"]
    fact(
        RISES, "curves", epoch=int(lowest["epoch"]), loss=f"{loss:.3f}", low=f"{low:.3f}", high=f"{high:.3f}",
        points=f"{100 * score:+.1f}", margin=f"{100 * margins['accuracy']:.1f}", ece=f"{100 * ece:+.1f}",
    )  # fmt: skip
    if low <= 0:
        fact("So small a rise may be chance: its interval reaches below 0.", "curves")
    elif score < -margins["accuracy"]:
        possibility("The rise of the loss may be over-fitting: accuracy fell as well.", "curves")
    elif score >= 0:
        overconfidence = "The rise of the loss may be over-confidence rather than over-fitting: accuracy did not fall."
        possibility(overconfidence, "curves")
    else:
        possibility("Over-fitting or over-confidence: accuracy fell, but by no more than chance may do.", "curves")


def judge_findings(analysis: Analysis, fact: Add, possibility: Add) -> None:
    easier = False  # where all judges agree
    for split, judges in analysis.agreements.items():
        if split not in analysis.sliced or judges.unanimous is None or judges.divided is None:
            continue
        fact(
            "On {split} accuracy is {unanimous} where all judges agree and {divided} where they do not; {shared} of "
            "the errors are what at least one judge said.",
            "judges", split=split, unanimous=f"{judges.unanimous:.3f}", divided=f"{judges.divided:.3f}",
            shared=f"{judges.shared or 0:.0%}",
        )  # fmt: skip
        sizes = judges.unanimous_n, judges.divided_n
        right = [round(share * n) for share, n in zip((judges.unanimous, judges.divided), sizes, strict=True)]
        counts = [[hits, n - hits] for hits, n in zip(right, sizes, strict=True)]
        easier |= bool(fisher_exact(counts, alternative="greater").pvalue < ALPHA)
    if easier:
        possibility("Part of the errors may lie in texts that people read in more than one way.", "judges")


def slice_findings(analysis: Analysis, names: Mapping[str, str], fact: Add, possibility: Add) -> None:
    def worse_than_all(text: str, kind: str, row: SliceRow | ResidualRow) -> None:
        numbers = {"n": row.n, "lift": f"{row.lift:.1f}", "p": p_value(row.corrected)}
        if isinstance(row, ResidualRow):
            numbers |= {"mae": f"{row.mae:.3g}", "bias": f"{row.bias:+.3g}"}
        else:
            numbers["errors"] = row.errors
        fact(text, "slices", kind=kind, **numbers)

    worse = [row for row in analysis.slices if row.corrected < ALPHA and (row.lift or 0) > 1]
    for row in worse:
        worse_than_all(WORSE_RESIDUALS if isinstance(row, ResidualRow) else WORSE_BY_RULE, names[row.name], row)
    if worse and isinstance(worse[0], SliceRow):
        possibility(MORE_OF_THE_KIND, "slices")
    if not worse:
        often = "Of no kind of text by rule is it shown that it is wrong more often than the rest."
        far = "Of no kind of text by rule is it shown that answers to it are further off than the rest."
        fact(far if any(isinstance(row, ResidualRow) for row in analysis.slices) else often, "slices")
    for row in [row for row in analysis.found if row.corrected < ALPHA][:3]:
        worse_than_all(WORSE_BY_SEARCH, row.name, row)
