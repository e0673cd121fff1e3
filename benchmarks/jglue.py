"""Fine-tune `small` on the tasks of JGLUE and its relatives, and write docs/jglue.md: resumable.

    python benchmarks/jglue.py run                                # everything that is not there yet, one after another
    python benchmarks/jglue.py run jsts --seeds 1 2 --path jsts=jsts-v1.3
    python benchmarks/jglue.py document

Data are downloaded, or read from --path NAME=PATH. What a run found is kept in FOLDER/NAME/SEED.json (--output,
benchmarks/results/jglue by default), and a run that is there is not made again. The last epoch's model is judged, so
that no split was used to choose anything.

Of jnli and jsquad the dev split is divided: nine tenths to learn from, and one tenth as dev, none of whose second texts
stands in train. A model of jrte-rte is also asked about jnli, from which it has learned nothing.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import machine
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

import tezukuri
from tezukuri.data.dataset import Dataset
from tezukuri.data.load import load
from tezukuri.eval.baselines import learn
from tezukuri.eval.runs import write_json
from tezukuri.eval.tasks.metrics import scores
from tezukuri.eval.tasks.table import task_for
from tezukuri.eval.yardsticks import YARDSTICKS
from tezukuri.train.run import Run

FOLDER = Path(__file__).parent / "results" / "jglue"
DOCUMENT = Path(__file__).parents[1] / "docs" / "jglue.md"


@dataclass(frozen=True)
class Row:
    """A data set, how `small` learns it, and what else is known of it."""

    title: str
    scores: tuple[str, ...]  # that the table shows
    options: Mapping[str, Any] = field(default_factory=dict)  # of fine-tuning
    divide: bool = False  # dev into train and dev, since there is no train
    published: str = ""
    splits: tuple[str, ...] = ("dev", "test")  # that the table shows
    note: str = ""
    seeds: int = 3  # 5 where a run takes less than ten minutes on a core of a CPU


RECIPE = {"batch_size": 32, "regularizer": "none"}  # half an hour a run on a core of a CPU where it is longest
ROWS = {
    "jsts": Row(
        "JSTS: how alike two sentences are, from 0 to 5", ("pearson", "spearman"), {"max_length": 128},
        published="v3 .915 / .878 (textbook), XLM-R base .877 / .831 (JGLUE)",
    ),
    "jcola": Row(
        "JCoLA: whether a sentence is acceptable (dev in domain, test out of it)", ("accuracy", "mcc"),
        published="XLM-R base .827 / .172",
        note="So it has learned next to nothing: its accuracy is the majority's, and its MCC depends on the seed. "
        "Five epochs gave .779 / .139 with seed 1, and the majority's answers with seeds 2 and 3.",
        seeds=5,
    ),
    "jcommonsenseqa": Row(
        "JCommonsenseQA: one of five answers", ("accuracy",), {"max_length": 64, "epochs": 4},
        published="v3 .840 (textbook)",
    ),
    "jrte-rte": Row("JRTE: entailment between sentences of hotel reviews", ("accuracy", "f1"), {"epochs": 2}),
    "ner-wikipedia": Row(
        "Named entities of Wikipedia, of eight kinds", ("micro_f1", "precision", "recall"), {"epochs": 5},
        published="v3 .87 (textbook)",
    ),
    "jnli": Row(
        "JNLI, learned from nine tenths of dev", ("accuracy", "f1"), {"epochs": 5}, divide=True,
        splits=("test",),  # the tenth of dev has pairs whose first sentence stands in train
        published="v3 .909 with the train split (textbook)",
    ),
    "chabsa": Row(
        "chABSA: positive or negative sentences of annual reports", ("accuracy", "f1"), {"epochs": 4}, seeds=5
    ),
    "jsquad": Row(
        "JSQuAD, learned from nine tenths of dev", ("exact_match", "character_f1"), {"max_length": 384}, divide=True
    ),
}  # fmt: skip


def read(name: str, path: str | None) -> Dataset:
    """The data; of a row that divides them dev in ten parts, all questions to a context in the same one."""
    data = load(name, path=path)
    if not ROWS[name].divide:
        return data
    contexts = sorted({e.pair or "" for e in data.split("dev")})
    Random(0).shuffle(contexts)
    tenth = set(contexts[: len(contexts) // 10])
    split = {True: "dev", False: "train"}
    examples = [replace(e, split=split[(e.pair or "") in tenth]) if e.split == "dev" else e for e in data.examples]
    return replace(data, examples=examples, notes=[*data.notes, "train is nine tenths of dev, by the second text"])


def run(
    name: str, seed: int, data: Dataset, model: str, more: Mapping[str, Any], paths: Mapping[str, str]
) -> dict[str, Any]:
    """Fine-tune once; the scores of dev and test, and the seconds."""
    begun = time.perf_counter()
    with TemporaryDirectory() as folder:
        options = {"task": data.task, "select": "last", "report": False, "checkpoint": False, "save_model": "none"}
        options |= {"model": model, "seed": seed, "output_dir": folder, **RECIPE, **ROWS[name].options, **more}
        trained = tezukuri.finetune(data, **options)
        seconds = time.perf_counter() - begun
        found = {}
        for split, judgement in trained.judgements.items():
            found[split] = {k: v for k, v in judgement.metrics.items() if v is not None}
            if trained.task.classes:
                found[split]["mcc"] = float(matthews_corrcoef(judgement.gold, judgement.predicted))
    zero_shot = {"zero_shot": asked_about_jnli(trained, paths.get("jnli"))} if name == "jrte-rte" else {}
    return {
        "scores": found,
        "texts": {s: sum(e.split == s for e in data.examples) for s in ("train", "dev", "test")},
        "settings": {k: v for k, v in vars(trained.settings).items() if k != "seed"},
        "seconds": seconds,
        "machine": machine() | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        **zero_shot,
    }


def asked_about_jnli(trained: Run, path: str | None) -> dict[str, float]:
    """A model of jrte-rte on JNLI's test split, where all that is not entailment is called so."""
    examples = [replace(e, label=binary(e.label)) for e in load("jnli", path=path).split("test")]
    answers = trained.task.answers(trained.scorer.logits(trained.scorer.encode(examples)))
    gold = [e.label for e in examples]
    majority = max(Counter(gold).values()) / len(gold)
    return {
        "accuracy": accuracy_score(gold, answers),
        "f1": f1_score(gold, answers, average="macro"),
        "majority": majority,
    }


def binary(label: str) -> str:
    return label if label == "entailment" else "non-entailment"


def baselines(data: Dataset, split: str) -> dict[str, dict[str, float]]:
    """Simple answers on one split, learned from train: those that `finetune` prints beside its scores."""
    task = task_for(data.task, data)
    train, judged = data.split("train"), data.split(split)
    if task.name in YARDSTICKS:
        return {k: dict(v) for k, v in YARDSTICKS[task.name](task, train, judged).items()}
    if not task.classes:
        return {}
    learned = learn(train)
    assert learned is not None
    gold = [e.label for e in judged]
    found = {}
    for name, answers in learned.answers(judged).items():
        found[name] = dict(scores(gold, answers, data.labels)) | {"mcc": float(matthews_corrcoef(gold, answers))}
    return found


def document(folder: Path) -> None:
    lines = [HEAD]
    for name, row in ROWS.items():
        runs = [json.loads(path.read_text()) for path in sorted((folder / name).glob("[0-9]*.json"))]
        if not runs:
            lines.append(f"## {row.title}\n\nNot measured yet: `python benchmarks/jglue.py run {name}`.\n")
            continue
        first = runs[0]
        sizes = ", ".join(f"{n:,} {split}" for split, n in first["texts"].items() if n)
        settings = first["settings"]
        lines.append(f"## {row.title}\n\n{sizes}. `python benchmarks/jglue.py run {name}`: {told(settings)}.\n")
        splits = [split for split in row.splits if split in first["scores"]]
        columns = [f"{split} {score}" for split in splits for score in row.scores]
        lines.append(f"| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
        simple = json.loads((folder / name / "baselines.json").read_text())
        for title in dict.fromkeys(title for split in splits for title in simple.get(split, {})):
            cells = [simple[split].get(title, {}).get(score) for split in splits for score in row.scores]
            lines.append(f"| {title} | {' | '.join('' if cell is None else shown(cell) for cell in cells)} |")
        cells = [spread([r["scores"][split][score] for r in runs]) for split in splits for score in row.scores]
        lines.append(f"| **small**, {len(runs)} seed{'s' * (len(runs) > 1)} | {' | '.join(cells)} |\n")
        if row.published:
            lines.append(f"Published for others, on dev: {row.published}.\n")
        if row.note:
            lines.append(f"{row.note}\n")
        if "zero_shot" in first:
            zero = {k: spread([r["zero_shot"][k] for r in runs]) for k in first["zero_shot"]}
            lines.append(
                "The same models, asked about JNLI's test split, from which they learned nothing, entailment or not: "
                f"accuracy {zero['accuracy']}, macro-F1 {zero['f1']}; the most frequent answer: {zero['majority']}.\n"
            )
        lines.append(f"({'; '.join(places(runs))}.)\n")
    DOCUMENT.write_text("\n".join(lines).replace("\n\n\n", "\n\n"), encoding="utf-8")
    print(DOCUMENT)


def places(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each machine that made some of the runs, and how long it took."""
    made: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        where = run["machine"]
        place = where.get("gpu") or where["cpu"], where["date"], where.get("beside", "")
        made.setdefault(place, []).append(run["seconds"])
    for (name, date, beside), seconds in made.items():
        of = f"{len(seconds)} of them on " if len(made) > 1 else ""
        told = f"{of}{name}, {date}, {spread(seconds, '{:.0f}')} seconds a run"
        yield f"{told}, {beside}" if beside else told


def told(settings: Mapping[str, Any]) -> str:
    regularizers = ", ".join(settings["regularizers"]) or "no regularizer"
    return (
        f"{settings['epochs']} epochs, batches of {settings['batch_size']}, rate {settings['lr']:g}, {regularizers}, "
        f"at most {settings['max_length']} tokens"
    )


def shown(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def spread(values: Sequence[float], form: str = "") -> str:
    """The mean, and the standard deviation of a sample."""
    numbers = [statistics.mean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]
    return " ± ".join(form.format(number) if form else shown(number) for number in numbers)


HEAD = """# small on JGLUE and its relatives

What the model on board reaches on tasks that others have measured, beside simple answers. Written by
[benchmarks/jglue.py](../benchmarks/jglue.py), which is resumable; means ± standard deviations over seeds. The model of
the last epoch is judged, so that dev chose nothing. Test splits are JGLUE's own of version 1.3. Runs of 2026-11-27 and
before are of `small` as it was before it read reviews (without step 5 of [its card](../weights/small/README.md)).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "document"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument("--seeds", type=int, nargs="+", help="(1 to 3, or 5 where a run is short)")
    parser.add_argument("--path", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--model", default="small")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of finetune, as JSON")
    chosen = parser.parse_args()
    if chosen.what == "document":
        document(chosen.output)
        return
    paths = dict(pair.split("=", 1) for pair in chosen.path)
    more = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in chosen.option)}
    for name in chosen.names or ROWS:
        data = read(name, paths.get(name))
        kept = chosen.output / name
        kept.mkdir(parents=True, exist_ok=True)
        if not (kept / "baselines.json").exists():
            splits = [split for split in ("dev", "test") if any(e.split == split for e in data.examples)]
            write_json(kept / "baselines.json", {split: baselines(data, split) for split in splits})
        for seed in chosen.seeds or range(1, ROWS[name].seeds + 1):
            if not (kept / f"{seed}.json").exists():
                found = run(name, seed, data, chosen.model, more, paths)
                write_json(kept / f"{seed}.json", found)
                print(name, seed, json.dumps(found["scores"]), flush=True)


if __name__ == "__main__":
    main()
