"""Classify the livedoor news by models of four kinds, and write docs/livedoor.md: resumable, the cheap runs first.

    python benchmarks/livedoor.py run --path ldcc-20140209.tar.gz               # all that is not there yet
    python benchmarks/livedoor.py run mini small --seeds 1 2 --minutes 60       # a part; begins no run after an hour
    python benchmarks/livedoor.py document

A run is a model, a learning rate and a seed, in a process of its own. What it gave is kept in
FOLDER/MODEL/RATE-SEED.json (--output, benchmarks/results/livedoor by default): all that `tezukuri aggregate` reads of a
run, its answers on the test split among it, and no texts. A run that is there is not made again. One that was killed
goes on from its last checkpoint: its folder lies in outputs/livedoor (--working) until it is finished.
"""

import argparse
import json
import math
import multiprocessing
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from measure import machine
from sklearn.linear_model import LogisticRegression

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.load import load
from tezukuri.eval.baselines import tfidf
from tezukuri.eval.runs import write_json, write_whole
from tezukuri.eval.study.aggregate import Configuration, hundredths, tables_of, told
from tezukuri.eval.study.document import table
from tezukuri.eval.study.made import NUMBERS, Made, made_of
from tezukuri.eval.tasks.metrics import scores
from tezukuri.tokenize.tokenizer import Tokenizer
from tezukuri.train.checkpoint import FILE as CHECKPOINT
from tezukuri.train.memory import peak_memory
from tezukuri.train.study import lock
from tezukuri.weights.files import read_json

FOLDER = Path(__file__).parent / "results" / "livedoor"
DOCUMENT = Path(__file__).parents[1] / "docs" / "livedoor.md"
WORKING = Path("outputs") / "livedoor"
SEEDS = (1, 2, 3)
RECIPE = {
    "epochs": 4, "batch_size": 16, "max_length": 128, "truncation": "only_second", "regularizer": "none",
    "report": False, "save_model": "none",
}  # fmt: skip
TEXTS = {"train": 5895, "dev": 736, "test": 736}
WANTED = {"accuracy": 0.95, "f1": 0.945}  # of small with 512 tokens


@dataclass(frozen=True)
class Kind:
    """What learns, at which rates; without rates it is TF-IDF, which has neither these nor seeds."""

    title: str
    rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = SEEDS
    options: Mapping[str, Any] = field(default_factory=dict)  # of fine-tuning, beside RECIPE


# small's rates lie around its default, and so do mini's; new weights are given higher ones.
KINDS = {
    "tfidf-128": Kind("TF-IDF, 128 tokens", seeds=(1,)),
    "tfidf": Kind("TF-IDF, whole articles", seeds=(1,)),
    "mini": Kind("mini", (1.2e-4, 3e-4, 7e-4), options={"model": "mini"}),
    "scratch": Kind("mini from scratch", (3e-4, 7e-4, 1.5e-3), options={"model": "mini", "random_weights": True}),
    "small": Kind("small", (5e-5, 1.2e-4, 2.5e-4), options={"model": "small"}),
    "small-512": Kind("small, 512 tokens", (1.2e-4,), (1,), {"model": "small", "max_length": 512}),
}


@dataclass(frozen=True)
class Cell:
    kind: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.rate:g}-{self.seed}"


def cells(kinds: Sequence[str] = tuple(KINDS), seeds: Sequence[int] = SEEDS) -> list[Cell]:
    """In the order of KINDS; of each kind all rates with the first seed first."""
    return [
        Cell(kind, rate, seed)
        for kind in kinds
        for seed in KINDS[kind].seeds
        if seed in seeds
        for rate in KINDS[kind].rates or (0.0,)
    ]


# --- a run ----------------------------------------------------------------------------------------------------------


def run(cell: Cell, path: str | None, file: Path, working: Path, more: Mapping[str, Any]) -> None:
    """Make one run, and write its file; where another process makes it, as one that has outlived its study, end."""
    working.parent.mkdir(parents=True, exist_ok=True)
    with working.with_suffix(f"{working.suffix}.lock").open("a", encoding="utf-8") as mine:
        try:
            lock(mine)
        except BlockingIOError:
            sys.exit(f"another process makes {cell.name}")
        if file.exists():
            return
        if KINDS[cell.kind].rates:
            found = fine_tuned(cell, path, working, more)
        else:
            found = by_tfidf(cell, load("livedoor", path=path))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, found | {"machine": machine() | gpu()})
        shutil.rmtree(working, ignore_errors=True)


def fine_tuned(cell: Cell, path: str | None, working: Path, more: Mapping[str, Any]) -> dict[str, Any]:
    stopped = sorted(working.rglob(CHECKPOINT))
    if stopped:
        trained = tezukuri.finetune(resume=stopped[-1].parent)
    else:
        options = {**RECIPE, **KINDS[cell.kind].options, "lr": cell.rate, "seed": cell.seed, **more}
        trained = tezukuri.finetune("livedoor", data_path=path, output_dir=working, **options)
    config = read_json(trained.folder / "config.json")
    facts = {name: config["data"][name] for name in ("texts", "truncated_share")}
    return packed(made_of(trained.folder)) | facts | {"precision": config["precision"]}


def by_tfidf(cell: Cell, data: Dataset) -> dict[str, Any]:
    """Logistic regression on n-grams of characters: of whole articles, or of what `small` reads of them."""
    examples = {name: sorted(data.split(name), key=lambda e: e.id) for name in ("train", "dev", "test")}  # as made_of
    texts = {name: [e.content for e in own] for name, own in examples.items()}
    if cell.kind == "tfidf-128":
        tokenizer = tezukuri.load("small")[1]
        texts = {name: [beginning(e, tokenizer) for e in own] for name, own in examples.items()}
    labels = {name: [str(e.label) for e in own] for name, own in examples.items()}
    begun = time.perf_counter()
    vectors = tfidf(len(texts["train"]))
    learned = LogisticRegression(C=10, max_iter=1000).fit(vectors.fit_transform(texts["train"]), labels["train"])
    seconds = time.perf_counter() - begun
    answers = {name: learned.predict(vectors.transform(texts[name])).tolist() for name in ("dev", "test")}
    on_dev, on_test = (scores(labels[name], answers[name], data.labels) for name in ("dev", "test"))
    values: dict[str, float | None] = dict.fromkeys(NUMBERS) | {name: on_test[name] for name in on_test}
    values |= {"lr": 0.0, "best-val-f1": on_dev["f1"], "seconds": seconds, "loss": None}
    values |= {"parameters": learned.coef_.size, "process_memory": peak_memory(torch.device("cpu")).get("process")}
    made = Made(
        cell.kind, values, "livedoor", "", "", {}, tuple(data.labels), tuple(labels["test"]), tuple(answers["test"])
    )
    return packed(made) | {"texts": {name: len(own) for name, own in texts.items()}}


def beginning(example: Example, tokenizer: Tokenizer) -> str:
    """What 128 tokens hold of an article: its title, and the body as far as they reach."""
    assert example.pair is not None
    length, how = RECIPE["max_length"], RECIPE["truncation"]
    read = tokenizer.encode(example.text, example.pair, max_length=length, truncation=how)
    return f"{example.text}\n{example.pair[: read.offsets[-2][1]]}"  # the last token is </s>


def packed(made: Made) -> dict[str, Any]:
    """A run as JSON: labels as digits, and no path."""
    digit = {label: str(number) for number, label in enumerate(made.labels)}
    found = asdict(replace(made, place="")) | {"texts_sha256": made.texts}
    return found | {name: "".join(digit[label] for label in found[name]) for name in ("gold", "predicted")}


def unpacked(kind: str, place: str, found: Mapping[str, Any]) -> Made:
    """Such a run."""
    names = dict(enumerate(found["labels"]))
    gold, predicted = (tuple(names[int(digit)] for digit in found[name]) for name in ("gold", "predicted"))
    return Made(KINDS[kind].title, found["values"], "livedoor", found["gold"], place, {}, tuple(found["labels"]),
                gold, predicted, found["started"], where(found))  # fmt: skip


def where(found: Mapping[str, Any]) -> str:
    """The machine of a run."""
    machine = found["machine"]
    return f"{machine.get('gpu') or machine['cpu']}, {machine['threads']} thread{'s' * (machine['threads'] > 1)}"


def gpu() -> dict[str, str]:
    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


# --- the document ---------------------------------------------------------------------------------------------------


def read(folder: Path) -> dict[Cell, dict[str, Any]]:
    """ValueError where a file is broken, or of other texts than the corpus."""
    found = {cell: read_json(file) for cell in cells() if (file := folder / f"{cell.name}.json").is_file()}
    if other := [cell for cell, one in found.items() if one["texts"] != TEXTS]:
        raise ValueError(f"{folder / other[0].name}.json is of other texts than the corpus: remove it")
    return found


def document(folder: Path) -> str:
    found = read(folder)
    parts = [HEAD]
    if found:
        runs = [unpacked(cell.kind, cell.name, one) for cell, one in found.items()]
        (one,) = tables_of(runs)  # ValueError where they were judged by different labels
        parts += [told(one), *of_length(found), "## All rates", ALL, all_rates(one.configurations)]
        parts += ["## What it took", took(found)]
    lacking = [cell for cell in cells() if cell not in found]
    parts += ["## Not measured", missing(lacking)]
    return "\n\n".join(parts) + "\n"


def of_length(found: Mapping[Cell, Mapping[str, Any]]) -> list[str]:
    """What the first 128 tokens cost `small` at one rate, and whether it is as good as wanted with 512."""
    (rate,) = KINDS["small-512"].rates
    short, long = ([one for cell, one in found.items() if (cell.kind, cell.rate) == (kind, rate)]
                   for kind in ("small", "small-512"))  # fmt: skip
    lines = []
    shares = {cell.kind: one["truncated_share"]["test"] for cell, one in found.items() if "truncated_share" in one}
    if "small" in shares:
        lines.append(f"- Of the test articles {shares['small']:.1%} are longer than 128 tokens of `small`" + (
            f", and {shares['small-512']:.1%} longer than 512." if "small-512" in shares else "."))  # fmt: skip
    if short and long:
        gaps = {name: 100 * (mean(long, name) - mean(short, name)) for name in ("accuracy", "f1")}
        same = len({where(one) for one in (*short, *long)}) == 1
        times = f", and takes {mean(long, 'seconds') / mean(short, 'seconds'):.1f} times the time" if same else ""
        lines.append(
            f"- With 512 tokens, at the rate {rate:g}, `small` has {gaps['accuracy']:+.2f} points of accuracy and "
            f"{gaps['f1']:+.2f} of macro-F1 ({len(long)} run against {len(short)}){times}. Another seed may bring "
            "another difference; whether the best of both differ by more than chance over the test articles, the "
            "letters above say."
        )
    if long:
        met = all(mean(long, name) >= least for name, least in WANTED.items())
        wanted = f"{100 * WANTED['accuracy']:g} accuracy and {100 * WANTED['f1']:g} macro-F1"
        lines.append(f"- The aim of {wanted} with 512 tokens was {'reached' if met else 'not reached'}.")
    return ["## What the first 128 tokens cost", "\n".join(lines)] if lines else []


def mean(some: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.mean(one["values"][name] for one in some)


def all_rates(configurations: Sequence[Configuration]) -> str:
    rows = [
        [one.model, f"{one.runs[0].number('lr'):g}", str(len(one.runs)), hundredths(one, "best-val-f1"),
         hundredths(one, "accuracy"), hundredths(one, "f1")]
        for one in configurations
    ]  # fmt: skip
    return table(["model", "lr", "seeds", "dev macro-F1", "accuracy", "macro-F1"], rows)


def took(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Seconds and memory by kind and machine."""
    rows = []
    of_kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell, one in found.items():
        of_kinds.setdefault((cell.kind, where(one)), []).append(one)
    for (kind, place), own in of_kinds.items():
        values = [one["values"] for one in own]
        memory = next((f"{statistics.mean(sizes) / 2**30:.2f} GiB ({told_as})"
                       for name, told_as in (("gpu_memory", "GPU"), ("process_memory", "process"))
                       if (sizes := [v[name] for v in values if v[name]])), "")  # fmt: skip
        dates = sorted({one["machine"]["date"] for one in own})
        when = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
        seconds = statistics.mean(v["seconds"] for v in values)
        precision = ", ".join(sorted({one["precision"] for one in own if "precision" in one}))
        rows.append([KINDS[kind].title, f"{values[0]['parameters'] / 1e6:,.1f} M", f"{seconds:,.0f}", memory, precision,
                     f"{place}, {when}"])  # fmt: skip
    header = ["model", "parameters", "seconds of training", "memory at the peak", "precision", "machine"]
    return table(header, rows)


def missing(lacking: Sequence[Cell]) -> str:
    if not lacking:
        return "Every run was made."
    by_kind: dict[str, list[str]] = {}
    for cell in lacking:
        by_kind.setdefault(cell.kind, []).append(f"{cell.rate:g} with seed {cell.seed}" if cell.rate else "its one run")
    return "\n".join(f"- {KINDS[kind].title}: {', '.join(own)} (`run {kind}`)." for kind, own in by_kind.items())


HEAD = """# Nine news sites: livedoor

Which of nine sites an article of the livedoor news corpus is from, by models of four kinds. Written by
[benchmarks/livedoor.py](../benchmarks/livedoor.py), which is resumable, from its runs as `tezukuri aggregate` does.

Title and body are a pair, of which the body alone is cut; the corpus is split 8 : 1 : 1, so that the test split has 736
of its 7,367 articles. What learns takes 4 epochs in batches of 16, with no regularizer; the epoch, and of the rates
one, are chosen by macro-F1 on dev. Unless it is said, a model reads the first 128 tokens.

- **TF-IDF**: logistic regression on n-grams of 1 to 3 characters, of whole articles, and of what `small` reads of them
  in 128 tokens. It has no rate, which the table writes as 0, and no seed.
- **mini**, **small**: the models on board, fine-tuned.
- **mini from scratch**: `--random-weights`: mini's vocabulary and form, with new weights.

Published by [hppRC's tutorial](https://github.com/hppRC/bert-classification-tutorial), with 512 tokens, 20 epochs, one
seed and splits that cannot be drawn again: tohoku v3 96.88 accuracy and 96.39 macro-F1, LUKE-base 97.01 and 96.46."""
ALL = "Means ± standard deviations over seeds, in hundredths; accuracy and macro-F1 are those of the test split."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "document"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(KINDS)} (all)")
    parser.add_argument("--path", help="ldcc-20140209.tar.gz, or its folder (else it is downloaded)")
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after so many")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of finetune, as JSON")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--working", type=Path, default=WORKING, help="for runs that go on")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in KINDS]:
        parser.error(f"there is no {unknown[0]}: name some of {', '.join(KINDS)}")
    if chosen.what == "document":
        file = DOCUMENT if chosen.output == FOLDER else chosen.output / DOCUMENT.name
        if not read(chosen.output):
            parser.error(f"there is no run in {chosen.output}")
        write_whole(file, document(chosen.output))
        print(file)
        return
    more = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in chosen.option)}
    if more and (chosen.output == FOLDER or chosen.working == WORKING):
        parser.error("runs with other options are no part of the document: give another --output and --working")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM; the same command goes on"))
    begun = time.perf_counter()
    for cell in cells(chosen.names or tuple(KINDS), chosen.seeds):
        file = chosen.output / f"{cell.name}.json"
        if file.exists():
            continue
        if time.perf_counter() - begun > 60 * chosen.minutes:
            raise SystemExit(f"stopped after {chosen.minutes:g} minutes, before {cell.name}")
        # In a process of its own, whose memory is that of this run.
        arguments = (cell, chosen.path, file, chosen.working / cell.name, more)
        process = multiprocessing.get_context("spawn").Process(target=run, args=arguments)
        process.start()
        try:
            process.join()
        finally:  # a run that goes on keeps a checkpoint, and ends
            process.terminate()
            process.join()
        if process.exitcode:
            raise SystemExit(f"{cell.name} ended with exit code {process.exitcode}; the same command goes on with it")
        values = json.loads(file.read_text(encoding="utf-8"))["values"]
        scored = ", ".join(f"{name} {100 * values[name]:.2f}" for name in ("accuracy", "f1"))
        print(f"{cell.name}: {scored}, {values['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
