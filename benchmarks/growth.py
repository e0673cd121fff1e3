"""How time and memory grow: with the number of sentences, their length, and the size of a batch.

    python benchmarks/growth.py [--data-path pn.tsv] [--tokenizer FOLDER] [--most 1000000]

Sentences are JRTE's, over and over, so that all words are known from the table after the first round. Tokenizing and
classification by mini go from a thousand to --most of them, each number in a process of its own, whose peak memory is
read at its end; then base size with random weights reads texts of 16 to 512 tokens, in batches of 1 to 64. Draws
docs/growth.png.
"""

import argparse
import itertools
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from measure import Side, base_tokenizer, conclude, peak_memory, reviews, seconds, serve

from tezukuri.eval.classifier import Classifier
from tezukuri.eval.plots import png
from tezukuri.eval.predict import predict
from tezukuri.eval.runs import write_whole
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.model.precision import choose_precision, name_of
from tezukuri.scripts.command import keep_freed_memory
from tezukuri.tokenize.encoding import EncodedText
from tezukuri.weights.load import load

LENGTHS = (16, 32, 64, 128, 256, 512)
BATCHES = (1, 4, 16, 64)
PICTURE = Path(__file__).parent.parent / "docs" / "growth.png"


def tokenize(data_path: str | None, tokenizer: str | None, count: int) -> dict[str, float]:
    texts = reviews(data_path)[0]
    ready = base_tokenizer(tokenizer, texts)
    many = list(itertools.islice(itertools.cycle(texts), count))
    ready.encode_batch(texts[:1000])
    return {"seconds": seconds(lambda: ready.encode_batch(many)), "memory": peak_memory()}


def classify(data_path: str | None, count: int) -> dict[str, float]:
    keep_freed_memory()
    torch.manual_seed(0)
    model, tokenizer = load("mini", "classify", labels=("negative", "normal", "positive"))
    classifier = Classifier(model, tokenizer, "cpu")
    texts = reviews(data_path)[0]
    list(classifier.stream(texts[:1000]))
    many = itertools.islice(itertools.cycle(texts), count)
    return {"seconds": seconds(lambda: sum(1 for _ in classifier.stream(many))), "memory": peak_memory()}


def read(length: int) -> dict[str, float]:
    """Seconds a text of base size, by batch size."""
    keep_freed_memory()
    torch.manual_seed(0)
    model = Model(Bert(BertConfig()), ("a", "b")).eval()
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, size=length)
    text = EncodedText(ids, np.zeros_like(ids))
    precision = choose_precision("auto", torch.device("cpu"))
    found = {}
    for size in BATCHES:
        texts = [text] * max(size, 2048 // length)
        runs = [seconds(lambda texts=texts, size=size: predict(model, texts, size, precision)) for _ in range(4)]
        found[str(size)] = statistics.median(runs[1:]) / len(texts)
    return found


def draw(grown: dict[str, dict[str, dict[str, float]]], lengths: dict[str, dict[str, float]], precision: str) -> bytes:
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for name, marker in (("tokenizing", "o"), ("mini", "s")):
        counts = [int(count) for count in grown[name]]
        axes[0].plot(counts, [grown[name][str(n)]["seconds"] for n in counts], marker=marker, label=name)
        axes[1].plot(counts, [grown[name][str(n)]["memory"] for n in counts], marker=marker, label=name)
    for size in BATCHES:
        taken = [1000 * lengths[str(length)][str(size)] for length in LENGTHS]
        axes[2].plot(LENGTHS, taken, marker="o", label=f"batches of {size}")
    titles = [
        ("sentences", "seconds", "Time"),
        ("sentences", "peak memory, MB", "Memory"),
        ("tokens of a text", "ms a text", f"BERT-base, {precision}"),
    ]
    for axis, (x, y, title) in zip(axes, titles, strict=True):
        axis.set(xlabel=x, ylabel=y, title=title, xscale="log")
        axis.legend()
    for axis in (axes[0], axes[2]):
        axis.set(yscale="log")
    axes[2].set_xticks(LENGTHS, [str(length) for length in LENGTHS], minor=False)
    axes[2].minorticks_off()
    axes[1].set(ylim=0)
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path")
    parser.add_argument("--tokenizer")
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--side", choices=["tokenizing", "mini", "length"], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        jobs = {
            "tokenizing": lambda: tokenize(given.data_path, given.tokenizer, given.count),
            "mini": lambda: classify(given.data_path, given.count),
            "length": lambda: read(given.count),
        }
        serve(lambda: {"run": jobs[given.side]})
        return

    def ask(side: str, count: int) -> dict[str, float]:
        with Side(*sys.argv, "--side", side, "--count", str(count)) as process:
            answer = process.ask("run")
        print(f"{side:<12}{count:>10,}  {answer}", flush=True)
        return answer

    counts = [10**n for n in range(3, 10) if 10**n <= given.most]
    grown = {side: {str(count): ask(side, count) for count in counts} for side in ("tokenizing", "mini")}
    lengths = {str(length): ask("length", length) for length in LENGTHS}
    precision = name_of(choose_precision("auto", torch.device("cpu")))
    write_whole(PICTURE, draw(grown, lengths, precision))
    per_million = {
        "mini": 1e6 / counts[-1] * grown["mini"][str(counts[-1])]["seconds"],
        "base, 16 tokens": 1e6 * lengths["16"]["64"],
    }
    hours = {name: taken * torch.get_num_threads() / 3600 for name, taken in per_million.items()}
    conclude("growth", {"core hours per million reviews": hours, **grown, "seconds a text of base size": lengths})


if __name__ == "__main__":
    main()
