"""How many labelled texts are enough, and for what: a study of JRTE and of livedoor's titles; docs/few-shot.md.

    python benchmarks/few_shot.py run --livedoor ldcc-20140209.tar.gz    # all that is not there yet, the cheap first
    python benchmarks/few_shot.py run --data jrte --jrte pn.tsv --methods tfidf vectors --sizes 8 16 --minutes 10
    python benchmarks/few_shot.py write

A cell is a data set, a method, a number of texts a class, and a draw of them from the train split. What it gave on the
whole test split is kept in FOLDER/DATA/METHOD-SIZE-DRAW.json (--output, benchmarks/results/few-shot by default), and a
cell that is there is not made again. Of draws with the same number the smaller is in the larger. The package `setfit`,
of the extra `bench`, is left out where it is not installed.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import math
import statistics
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jglue import shown, spread
from matplotlib.figure import Figure
from measure import machine

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.load import load
from tezukuri.eval.baselines import TFIDF, learn
from tezukuri.eval.plots import png
from tezukuri.eval.runs import version, write_json, write_whole
from tezukuri.eval.tasks.metrics import scores
from tezukuri.train.settings import Settings, enough_epochs
from tezukuri.train.vectors import regression
from tezukuri.weights.save import save
from tezukuri.weights.sentences import Vectors

FOLDER = Path(__file__).parent / "results" / "few-shot"
DOCUMENT = Path(__file__).parents[1] / "docs" / "few-shot.md"
SIZES, DRAWS = (8, 16, 32, 64, 256), (1, 2, 3, 4, 5)
ENOUGH = 3  # draws, to be in the picture, and in a sentence on where lines cross
SHORT_STEPS = 100  # of fine-tuning, at least, in the row that shows how few these are
MOST_PAIRS = 500  # of a cell, unless one for each text and one with another class are more
MODEL = "small"
TITLES = {"jrte": "JRTE: hotel reviews, three classes", "livedoor": "livedoor: titles of news, nine classes"}


@dataclass(frozen=True)
class Cell:
    data: str
    method: str
    size: int
    draw: int

    def file(self, folder: Path) -> Path:
        return folder / self.data / f"{self.method}-{self.size}-{self.draw}.json"


Found = Mapping[Cell, Mapping[str, Any]]

# --- the data ---------------------------------------------------------------------------------------------------


def livedoor(archive: str) -> Dataset:
    """Titles and their nine media; 8 : 1 : 1 are train, dev and test, drawn from the sorted names of the articles."""
    examples = []
    with tarfile.open(archive) as files:
        for member in sorted(files.getmembers(), key=lambda member: member.name):
            _, *rest = member.name.split("/")
            if len(rest) == 2 and rest[1].startswith(f"{rest[0]}-"):  # text/CLASS/CLASS-NUMBER.txt
                content = files.extractfile(member)
                assert content
                _, _, title, *_ = content.read().decode("utf-8").splitlines()
                examples.append(Example(rest[1].removesuffix(".txt"), title.strip(), rest[0], ""))
    Random(0).shuffle(examples)
    n = len(examples) // 10
    splits = ["test"] * n + ["dev"] * n + ["train"] * (len(examples) - 2 * n)
    dealt = [replace(example, split=split) for example, split in zip(examples, splits, strict=True)]
    return Dataset("livedoor", tuple(sorted({e.label for e in dealt})), dealt)


def drawn(data: Dataset, size: int, draw: int) -> Dataset:
    """So many texts a class of train, a text a class of dev, which no method looks at, and all of test."""
    examples = [replace(example, votes=None) for example in data.split("test")]
    for split, most in (("train", size), ("dev", 1)):
        for label in data.labels:
            own = [e for e in data.split(split) if e.label == label]
            if len(own) < most:
                raise ValueError(f"{data.name} has {len(own)} texts of {label} in {split}, and not {most}")
            Random(f"{draw} {label}").shuffle(own)
            examples += [replace(example, votes=None) for example in own[:most]]
    return replace(data, examples=examples, notes=[])


# --- the methods: data and seed → the answers on test, and what is to be said of the run ----------------------------

Answers = tuple[Sequence[str], dict[str, Any]]


def tfidf(data: Dataset, seed: int) -> Answers:
    learned = learn(data.split("train"))
    assert learned
    return learned.answers(data.split("test"))[TFIDF], {}


def tuned(data: Dataset, seed: int, **options: Any) -> Answers:
    """By `tezukuri.finetune`."""
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        common = {"model": MODEL, "seed": seed, "output_dir": folder, "task": "classify"}
        run = tezukuri.finetune(data, report=False, save_model="none", checkpoint=False, **common, **options)
    told = {"rate": run.settings.lr, "regularizers": run.settings.regularizers, "epochs": run.settings.epochs}
    return run.judgements["test"].predicted, told


def vectors(data: Dataset, seed: int) -> Answers:
    """What `finetune --method vectors` computes, but each text is encoded once for all cells."""
    train, test = (vectors_of([e.text for e in data.split(split)]) for split in ("train", "test"))
    gold = np.array([data.labels.index(e.label) for e in data.split("train")])
    weight, bias, told = regression(train, gold, data.labels, seed)
    return [data.labels[column] for column in (test @ weight.T + bias).argmax(axis=1)], {"regression": told}


KNOWN: dict[str, np.ndarray] = {}  # text → (H,)
ENCODER = cache(lambda: tezukuri.Encoder.load(MODEL, normalise=False))


def vectors_of(texts: Sequence[str]) -> np.ndarray:
    """(n, H)"""
    new = [text for text in dict.fromkeys(texts) if text not in KNOWN]
    KNOWN.update(zip(new, ENCODER().encode(new, prompt=""), strict=True))
    return np.array([KNOWN[text] for text in texts], dtype=np.float64)


def finetune(data: Dataset, seed: int) -> Answers:
    """The default recipe, which has more epochs where the texts are few."""
    return tuned(data, seed, select="last")


def short(data: Dataset, seed: int) -> Answers:
    """The same with fewer epochs: three, or as many as make SHORT_STEPS."""
    epochs = enough_epochs(Settings(), len(data.split("train")), SHORT_STEPS)
    return tuned(data, seed, epochs=epochs, select="last")


def pairs_for(data: Dataset) -> int:
    return max(1, min(20, MOST_PAIRS // (2 * len(data.split("train")))))


def setfit(data: Dataset, seed: int) -> Answers:
    answers, told = tuned(data, seed, method="setfit", pairs=pairs_for(data))
    return answers, told | {"pairs": pairs_for(data)}


def package(data: Dataset, seed: int) -> Answers:
    """SetFit itself, its defaults and as many pairs, on the same encoder: mean of tokens, no prompt, any length."""
    from datasets import Dataset as Table
    from setfit import SetFitModel, Trainer, TrainingArguments

    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        encoder, tokenizer = tezukuri.load(MODEL)
        save(encoder, tokenizer, Path(folder) / "plain", vectors=Vectors(normalise=False))
        torch.manual_seed(seed)
        model = SetFitModel.from_pretrained(str(Path(folder) / "plain"), labels=list(data.labels))
        train = data.split("train")
        table = Table.from_dict({"text": [e.text for e in train], "label": [data.labels.index(e.label) for e in train]})
        arguments = TrainingArguments(
            output_dir=folder, num_iterations=pairs_for(data), num_epochs=1, seed=seed, report_to="none",
            save_strategy="no", logging_strategy="no",
        )  # fmt: skip
        Trainer(model=model, args=arguments, train_dataset=table).train()
        answers = [str(label) for label in model.predict([e.text for e in data.split("test")])]
    names = ("setfit", "sentence-transformers", "transformers")
    return answers, {"pairs": pairs_for(data), "versions": {name: version(name) for name in names}}


METHODS: Mapping[str, tuple[str, Callable[[Dataset, int], Answers]]] = {
    "tfidf": ("TF-IDF", tfidf),
    "vectors": ("frozen vectors", vectors),
    "setfit": ("SetFit-like", setfit),
    "finetune": ("fine-tuning", finetune),
    "short": ("fine-tuning, few steps", short),
    "package": ("SetFit itself", package),
}


COMPARED = [name for name in METHODS if name != "short"]  # the methods that sentences are about


def cells(names: Sequence[str], methods: Sequence[str], sizes: Sequence[int], draws: Sequence[int]) -> list[Cell]:
    """The cheap first: TF-IDF and frozen vectors, then the others by size."""
    cheap = [method for method in methods if method in ("tfidf", "vectors")]
    dear = [method for method in methods if method not in cheap]
    found = [Cell(name, method, size, draw) for method in cheap for size in sizes for name in names for draw in draws]
    return found + [
        Cell(name, method, size, draw) for size in sizes for draw in draws for name in names for method in dear
    ]


def run(cell: Cell, data: Dataset) -> dict[str, Any]:
    few = drawn(data, cell.size, cell.draw)
    begun, worked = time.perf_counter(), time.process_time()
    answers, told = METHODS[cell.method][1](few, cell.draw)
    spent = {"seconds": time.perf_counter() - begun, "seconds_of_work": time.process_time() - worked}
    found = scores([e.label for e in few.split("test")], answers, few.labels)
    sizes = {"texts": len(few.split("train")), "test": len(answers)}
    return {"accuracy": found["accuracy"], "f1": found["f1"], **spent, **sizes, **told, "machine": machine()}


# --- the document -----------------------------------------------------------------------------------------------


def read(folder: Path) -> dict[Cell, dict[str, Any]]:
    found = {}
    for data in TITLES:
        for file in sorted((folder / data).glob("*.json")):
            method, size, draw = file.stem.split("-")
            found[Cell(data, method, int(size), int(draw))] = json.loads(file.read_text(encoding="utf-8"))
    return found


def of(found: Found, data: str, method: str, size: int) -> list[Mapping[str, Any]]:
    return [row for cell, row in found.items() if (cell.data, cell.method, cell.size) == (data, method, size)]


def means(found: Found, data: str, method: str) -> dict[int, float]:
    """Size → macro-F1, the mean over draws, where at least ENOUGH were measured."""
    rows = {size: of(found, data, method, size) for size in SIZES}
    return {size: statistics.mean(row["f1"] for row in own) for size, own in rows.items() if len(own) >= ENOUGH}


def crossings(found: Found, data: str) -> list[str]:
    """Where the lines of macro-F1 cross, of the draws that both have: a sentence for every two methods that were
    measured at two sizes or more."""
    told = []
    for first, second in combinations(COMPARED, 2):
        one, other = METHODS[first][0], METHODS[second][0]
        above = {}
        for size in SIZES:
            draws = [draw for draw in DRAWS if {Cell(data, m, size, draw) for m in (first, second)} <= set(found)]
            if len(draws) >= ENOUGH:
                f1 = [[found[Cell(data, m, size, draw)]["f1"] for draw in draws] for m in (first, second)]
                above[size] = statistics.mean(f1[1]) - statistics.mean(f1[0])
        if len(above) < 2:
            continue
        turns = []
        for (n, d), (m, e) in pairwise(above.items()):
            if d * e < 0:
                at = round(n * (m / n) ** (d / (d - e)))  # on a straight line over the logarithm
                better, worse = (other, one) if e > 0 else (one, other)
                turns.append(f"the line of {better} passes that of {worse} at about {at} texts a class")
        if not turns:
            better, worse = (other, one) if sum(above.values()) > 0 else (one, other)
            turns = [f"the line of {better} is above that of {worse} from {min(above)} to {max(above)} texts a class"]
        told.append(f"- {'; '.join(turns)}.")
    return told


def section(found: Found, data: str, title: str) -> list[str]:
    own = {cell: row for cell, row in found.items() if cell.data == data}
    if not own:
        return [f"## {title}\n\nNot measured yet.\n"]
    first = next(iter(own.values()))
    lines = [f"## {title}\n\nJudged on {first['test']} texts.\n"]
    for score, name in (("f1", "macro-F1"), ("accuracy", "accuracy")):
        lines.append(f"| {name}, by texts a class | {' | '.join(map(str, SIZES))} |\n|{' --- |' * (len(SIZES) + 1)}")
        for method, (called, _) in METHODS.items():
            row = [told([float(r[score]) for r in of(found, data, method, size)]) for size in SIZES]
            lines.append(f"| {called} | {' | '.join(row)} |")
        lines.append("")
    if crossed := crossings(found, data):
        lines += [CROSSED, "\n".join(crossed) + "\n"]
    for method in ("setfit", "package"):
        pairs = {size: rows[0]["pairs"] for size in SIZES if (rows := of(found, data, method, size))}
        if pairs:
            each = ", ".join(f"{number} of {size}" for size, number in pairs.items())
            lines.append(f"{METHODS[method][0]}, N by texts a class: {each}.\n")
    spent = [
        f"{called} {spread([r['seconds_of_work'] for r in rows], '{:.0f}')}"
        for method, (called, _) in METHODS.items()
        if (rows := [row for cell, row in own.items() if cell.method == method])
    ]
    where = first["machine"]
    core = f"{where['cpu']}, {where['date']}; texts that another cell of frozen vectors has encoded are not counted"
    return [*lines, f"Seconds of a core for a cell: {', '.join(spent)} ({core}).\n"]


def told(values: Sequence[float]) -> str:
    """`.812 ± .011`, and how many draws, where they are not all."""
    if not values:
        return "not measured"
    return spread(values) + ("" if len(values) == len(DRAWS) else f" ({len(values)} of {len(DRAWS)} draws)")


def missing(found: Found) -> list[str]:
    lines = []
    for data in TITLES:
        for method in COMPARED:
            called = METHODS[method][0]
            lacking = {size: len(DRAWS) - len(of(found, data, method, size)) for size in SIZES}
            each = ", ".join(f"{number} draws of {size}" for size, number in lacking.items() if number)
            if each:
                lines.append(f"- {data}, {called}: {each} texts a class.")
    return lines or ["Every cell was measured."]


def picture(found: Found) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (data, title) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
        for number, (method, (called, _)) in enumerate(METHODS.items()):
            rows = {size: [r["f1"] for r in of(found, data, method, size)] for size in means(found, data, method)}
            # Beside each other, so that bars do not hide others.
            apart = [size * 1.02 ** (number - (len(METHODS) - 1) / 2) for size in rows]
            middles, bars = [[how(row) for row in rows.values()] for how in (statistics.mean, statistics.stdev)]
            if rows:
                axes.errorbar(apart, middles, bars, fmt="o-", ms=4, capsize=2, color=f"C{number}", label=called)
        axes.set(xscale="log", xlabel="texts a class", ylabel="macro-F1", title=title)
        axes.set_xticks(SIZES, map(str, SIZES))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figure


def write(folder: Path, document: Path) -> None:
    found = read(folder)
    lines = [HEAD.format(picture=document.with_suffix(".png").name)]
    for data, title in TITLES.items():
        lines += section(found, data, title)
    lines += ["## Not measured\n", *missing(found), ""]
    versions = next((row["versions"] for cell, row in found.items() if cell.method == "package"), None)
    if versions:
        lines.append(f"SetFit itself: {', '.join(f'{name} {number}' for name, number in versions.items())}.\n")
    write_whole(document.with_suffix(".png"), png(picture(found)))
    write_whole(document, "\n".join(lines))
    print(document)


CROSSED = """\
By the mean macro-F1 of the draws that both methods have, three or more, and between two sizes on a straight line over
the logarithm (a difference that is smaller than the spreads may be chance):
"""
HEAD = """# How many texts are enough

`small` with 8 to 256 labelled texts a class, by five methods, one of them twice, on the whole test split. Written by
[benchmarks/few_shot.py](../benchmarks/few_shot.py), which is resumable; means ± standard deviations over draws of the
training texts. No method looks at dev. Where not all draws were measured, the others' means are of other texts too.
The task of JRTE is not new to `small`: before it came on board it read 13,482 sentences of reviews, none of JRTE's,
with the judgements of a language model on the same three classes ([its card](../weights/small/README.md), step 5).

![macro-F1 over texts a class]({picture})

- **TF-IDF**: logistic regression on n-grams of characters, the baseline that `finetune` prints.
- **frozen vectors**: `tezukuri finetune --method vectors`, logistic regression on the mean of all tokens.
- **SetFit-like**: `tezukuri finetune --method setfit --pairs N`. The encoder first learns which texts are of one class,
  from N pairs of each text with its class and N with others (Tunstall et al. 2022, arXiv:2209.11055), in one epoch at
  2e-5. That rate was chosen on JRTE's dev split, with `small` before that step: the mean macro-F1 with 8 and 32 texts
  a class, of three other draws each, was .660 at 2e-5, .652 at 5e-5 and .642 at 1.2e-4 (AMD EPYC, 2026-11-27).
- **fine-tuning**: `tezukuri finetune --select last`, the default recipe, which gives a new head at least 300 steps.
- **fine-tuning, few steps**: the same in 3 epochs, or in as many as make 100 steps, as this study had it at first. At
  256 titles a class it would be fine-tuning itself: 3 epochs make 432 steps there.
- **SetFit itself**: the package `setfit` on the same encoder with as many pairs, and else with its own
  defaults, of which the rate is 2e-5.

JRTE's training texts are drawn without their judges' votes. livedoor's titles are those of `ldcc-20140209.tar.gz`,
8 : 1 : 1 for train, dev and test by a seed. N is 20, as in the paper, or less, so that a cell has 500 pairs at most or,
where that is more, N = 1.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--data", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--jrte", metavar="PATH", help="a local copy (else it is downloaded)")
    parser.add_argument("--livedoor", metavar="PATH", help="ldcc-20140209.tar.gz (without it, JRTE alone)")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--draws", type=int, nargs="+", default=list(DRAWS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell after so many")
    parser.add_argument("--output", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    if chosen.what == "write":
        write(chosen.output, DOCUMENT)
        return
    if importlib.util.find_spec("setfit") is None and "package" in chosen.methods:
        print("SetFit itself is left out: the package setfit is not installed")
        chosen.methods.remove("package")
    if "livedoor" in chosen.data and not chosen.livedoor:
        print("livedoor is left out: give its archive, --livedoor ldcc-20140209.tar.gz")
        chosen.data.remove("livedoor")
    begun = time.perf_counter()
    data = {
        name: load("jrte", path=chosen.jrte) if name == "jrte" else livedoor(chosen.livedoor) for name in chosen.data
    }
    for cell in cells(chosen.data, chosen.methods, chosen.sizes, chosen.draws):
        file = cell.file(chosen.output)
        if file.exists():
            continue
        if time.perf_counter() - begun > 60 * chosen.minutes:
            print(f"stopped after {chosen.minutes:g} minutes, before {file.name} of {cell.data}")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        found = run(cell, data[cell.data])
        write_json(file, found)
        told = f"macro-F1 {shown(found['f1'])}, accuracy {shown(found['accuracy'])}, {found['seconds']:.0f} s"
        print(f"{cell.data} {file.stem}: {told}", flush=True)


if __name__ == "__main__":
    main()
