"""A training step of a BERT of base size on JRTE, 16 texts a step, against transformers.

    python benchmarks/train_step.py --against course   # bf16 here; there fp32, padded to the longest text of all
    python benchmarks/train_step.py --against tuned    # bf16 twice; there grouped by length, padded to the batch
    python benchmarks/train_step.py --against fp32     # fp32 twice; there padded to the batch

--data-path pn.tsv takes JRTE from this disk, --tokenizer FOLDER a vocabulary (else one is made). Weights are random:
speed does not depend on them. Both sides have dropout 0.1, AdamW in one fused kernel, clipped gradients and a falling
rate. Our side is the loop that `finetune` runs.

First the gate: equal ids; then 20 steps without dropout, from the same weights on the same batches. In fp32 every loss
must equal the opponent's within 1e-3; in bf16 it must be at most twice as far from the opponent's fp32 as the
opponent's own bf16 is.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Side, base_tokenizer, conclude, in_turn, matmul_rate, peak_memory, products, reviews, seconds, serve
from transformers import BertForSequenceClassification, BertJapaneseTokenizer

from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.model.precision import PRECISIONS, autocast
from tezukuri.scripts.command import keep_freed_memory
from tezukuri.train import loop
from tezukuri.train.batch import Texts
from tezukuri.train.optimizer import adamw, clip_gradients
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.settings import Settings
from tezukuri.weights.load import load
from tezukuri.weights.save import save

BATCH = 16
GATE_STEPS = 20
KINDS = {"course": ("bf16", "fp32"), "tuned": ("bf16", "bf16"), "fp32": ("fp32", "fp32")}  # precision here and there
CPU = torch.device("cpu")


def settings(precision: str, epochs: int, warmup_steps: int | None = None) -> Settings:
    return Settings(
        epochs=epochs, batch_size=BATCH, lr=5e-5, precision=precision, select="last", warmup_steps=warmup_steps, seed=1
    )


class Ours:
    """The loop of this project; an epoch of it is a run."""

    def __init__(self, folder: Path, precision: str, gate: bool, steps: int) -> None:
        keep_freed_memory()
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if gate else {}
        self.model, tokenizer = load(folder, "classify", changes=rates)
        texts, classes = json.loads((folder / "texts.json").read_text())
        count = (GATE_STEPS if gate else steps) * BATCH
        targets = np.eye(len(self.model.labels), dtype=np.float32)[classes]
        self.data = Texts(tokenizer.encode_batch(texts[:count]), targets[:count])
        dev = Texts(tokenizer.encode_batch(texts[:1]), targets[:1])
        self.aside = only_seen_words(self.model.bert, tokenizer.encode_batch(texts))  # of the whole split
        self.aside.__enter__()
        self.seen: list[float] = []
        if gate:
            self.watch()
        task = Classify(self.model.labels)
        self.rows = loop.fine_tune(self.model, task, self.data, dev, settings(precision, 1 if gate else 1000))
        next(self.rows)  # what it is before training

    def run(self) -> float:
        return next(self.rows)["seconds"] / (len(self.data.gold) / BATCH)

    def watch(self) -> None:
        """Keep the mean loss of every batch."""
        loss_of = self.model.classifier.loss

        def watched(*arguments: torch.Tensor) -> torch.Tensor:
            losses = loss_of(*arguments)
            self.seen.append(losses.sum().item() / BATCH)
            return losses

        self.model.classifier.loss = watched

    def losses(self) -> list[float]:
        next(self.rows)
        return self.seen


class Theirs:
    """transformers' model in a plain loop, with what its Trainer does in a step."""

    def __init__(self, folder: Path, precision: str, gate: bool, steps: int, kind: str, kernel: str) -> None:
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if gate else {}
        self.model = BertForSequenceClassification.from_pretrained(folder, attn_implementation=kernel, **rates).train()
        tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
        texts, classes = json.loads((folder / "texts.json").read_text())
        longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
        count = (GATE_STEPS if gate else steps) * BATCH
        order = np.random.default_rng([1, 1]).permutation(count)  # that of our loop in its first epoch
        if kind == "tuned" and not gate:  # Trainer's groups: 50 batches at a time, sorted by length
            lengths = np.array([len(ids) for ids in tokenizer(texts[:count])["input_ids"]])
            parts = [order[start : start + 50 * BATCH] for start in range(0, count, 50 * BATCH)]
            order = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
        self.batches = []
        for start in range(0, count, BATCH):
            chosen = order[start : start + BATCH]
            whole = kind == "course" and not gate
            padding = {"padding": "max_length", "max_length": longest} if whole else {"padding": True}
            batch = tokenizer([texts[i] for i in chosen], return_tensors="pt", **padding)
            self.batches.append(dict(batch) | {"labels": torch.tensor([classes[i] for i in chosen])})
        self.precision = PRECISIONS[precision]
        self.optimizer = adamw(self.model, settings(precision, 1))  # torch's fused AdamW, no decay for vectors
        total = len(self.batches) if gate else 1000 * len(self.batches)
        warmup = round(total * 0.1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: s / warmup if s < warmup else (total - s) / (total - warmup)
        )

    def losses(self) -> list[float]:
        seen = []
        for batch in self.batches:
            with autocast(CPU, self.precision):
                loss = self.model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            seen.append(loss.item())
        return seen

    def run(self) -> float:
        return seconds(self.losses) / len(self.batches)


def floor(folder: Path, precision: str, steps: int) -> dict[str, float]:
    """Seconds of a step's parts alone: products at the measured rate; casts, clipping and AdamW as the loop does them.

    The products are those of the encoder, forward once and backward twice. The update is of the words that the texts
    have.
    """
    texts, _ = json.loads((folder / "texts.json").read_text())
    model, tokenizer = load(folder, "classify")
    tokens = len(tokenizer.encode_batch(texts[: steps * BATCH]).ids) / steps
    aside = only_seen_words(model.bert, tokenizer.encode_batch(texts))
    aside.__enter__()  # and kept: what is lost ends
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    rate = matmul_rate(PRECISIONS[precision], round(tokens))
    work = 3 * products(model, tokens)
    optimizer = adamw(model, settings(precision, 1))
    for p in model.parameters():
        p.grad = torch.randn_like(p)

    def rest() -> float:
        return seconds(lambda: (clip_gradients(model, optimizer, 1.0, in_step=True), optimizer.step()))

    def casts() -> float:
        return seconds(lambda: [p.to(torch.bfloat16) for p in matrices]) if precision == "bf16" else 0.0

    update = statistics.median([rest() for _ in range(6)][1:]) + statistics.median([casts() for _ in range(6)][1:])
    return {
        "tokens a step": tokens,
        "matmul GFLOP/s": rate / 1e9,
        "products": work / rate,
        "casts, clip, AdamW": update,
    }


def gate(command: list[str], kind: str) -> dict[str, float]:
    """The largest distances between the losses of both sides; AssertionError where they are too large."""
    found = {}
    for side, precision in itertools.product(("ours", "theirs"), dict.fromkeys((*KINDS[kind], "fp32"))):
        with Side(*command, "--side", side, "--precision", precision, "--gate") as process:
            found[side, precision] = np.array(process.ask("losses"))
    reference = found["theirs", "fp32"]
    distances = {"gate: fp32 from theirs": float(np.abs(found["ours", "fp32"] - reference).max())}
    assert len(reference) == GATE_STEPS and distances["gate: fp32 from theirs"] < 1e-3, distances
    if "bf16" in KINDS[kind]:
        distances["gate: bf16 from fp32"] = float(np.abs(found["ours", "bf16"] - reference).max())
        distances["gate: their bf16 from fp32"] = float(np.abs(found["theirs", "bf16"] - reference).max())
        assert distances["gate: bf16 from fp32"] <= 2 * distances["gate: their bf16 from fp32"], distances
    return distances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=KINDS, default="tuned")
    parser.add_argument("--data-path")
    parser.add_argument("--tokenizer")
    parser.add_argument("--steps", type=int, help="in a round (50 for tuned, whose groups are of 50; else 12)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "theirs", "floor"], help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kernel", default="sdpa", help=argparse.SUPPRESS)
    parser.add_argument("--gate", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    kind = given.against
    given.steps = given.steps or (50 if kind == "tuned" else 12)
    if given.side == "floor":
        serve(lambda: {"floor": lambda: floor(given.folder, given.precision, given.steps)})
        return
    if given.side:

        def make() -> dict[str, Any]:
            arguments = given.folder, given.precision, given.gate, given.steps
            side = Ours(*arguments) if given.side == "ours" else Theirs(*arguments, kind, given.kernel)
            return {"run": side.run, "losses": side.losses, "memory": peak_memory}

        serve(make)
        return

    texts, classes, labels = reviews(given.data_path, "train")
    order = np.random.default_rng(0).permutation(len(texts))
    texts, classes = [texts[i] for i in order], [classes[i] for i in order]
    tokenizer = base_tokenizer(given.tokenizer, texts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        torch.manual_seed(0)
        save(Model(Bert(BertConfig(vocab_size=tokenizer.vocab_size)), labels), tokenizer, folder)
        (folder / "texts.json").write_text(json.dumps([texts, classes]))
        theirs = BertJapaneseTokenizer.from_pretrained(folder)(texts)["input_ids"]
        assert [ids.tolist() for ids, _ in tokenizer.encode_batch(texts)] == theirs, "the ids differ"
        command = [sys.argv[0], "--against", kind, "--folder", str(folder), "--steps", str(given.steps)]
        started = time.perf_counter()
        distances = gate(command, kind)
        print(f"gate passed in {time.perf_counter() - started:.0f} s: {distances}", flush=True)
        here, there = KINDS[kind]
        with Side(*command, "--side", "floor", "--precision", here) as side:
            limit = side.ask("floor")
        theirs = [*command, "--side", "theirs", "--precision", there]
        with ExitStack() as stack:
            sides = {f"tezukuri, {here}": stack.enter_context(Side(*command, "--side", "ours", "--precision", here))}
            for kernel in ("sdpa",) if kind == "course" else ("sdpa", "eager"):  # the better of the two counts
                side = stack.enter_context(Side(*theirs, "--kernel", kernel))
                sides[f"transformers {kind}, {there}, {kernel}"] = side
            taken = in_turn(sides, given.rounds)
            memory = [side.ask("memory") for side in sides.values()]
    own, *others = (statistics.median(runs) for runs in taken.values())
    lowest = limit["products"] + limit["casts, clip, AdamW"]
    conclude(
        f"train-step-{kind}",
        {
            "seconds a step": {name: statistics.median(runs) for name, runs in taken.items()},
            "runs": taken,
            "ratio": min(others) / own,
            "floor": limit | {"seconds": lowest},
            "times the floor": own / lowest,
            "peak memory, MB": dict(zip(taken, memory, strict=True)),
            **distances,
        },
    )


if __name__ == "__main__":
    main()
