"""The loop's numbers, which a change of the code must not change: every regularizer, resumed runs, two processes.

    python benchmarks/golden.py            # compares with what is kept for this kind of machine
    python benchmarks/golden.py --keep     # keeps it, in benchmarks/results/<cpu>/golden.txt

A line for each run of a tiny random model: a hash of its weights at the end, and all rows of its log to six digits.
Bits depend on the processor and on torch, so that nothing is compared between machines.
"""

import argparse
import difflib
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
import torch
from measure import RESULTS, machine_name
from tiny import TASK, classifier, random_texts, tiny
from tiny_checkpoint import SIZES, TOKENIZER

from tezukuri.model import ranks
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import SHELF, regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.weights.save import save

PLAIN = Settings(epochs=2, batch_size=8, lr=1e-3, precision="fp32")
SETS = [
    "none", "r-drop", "fgm + ema", "label-smoothing + multi-sample-dropout", "smart", "class-balanced", "focal + swa",
    "supcon", "hidden-mixup", "lora:rank=2", "temperature", "freelb + awp", "r-drop + judge-votes",
    "focal + judge-votes", *SHELF,
]  # fmt: skip
RESUMED = ["none", "child-tuning", "ema", "swa", "mixout", "l2-sp", "gradual-unfreezing", "r-drop + fgm"]
SHARED = ["none", "r-drop", "fgm + ema"]  # by two processes


def corpus(n: int, seed: int = 0) -> Texts:
    rng = np.random.default_rng(seed)
    encodings = random_texts(tiny(), rng.integers(3, 15, n), seed)
    gold = np.array([encoding.ids[1] % 3 for encoding in encodings])
    votes = rng.integers(0, 3, (n, 3))
    votes[np.arange(n), gold] += 3
    votes[::7] = 0
    sentences = [
        ["駅から近くて便利でした。", "部屋が狭くて最悪でした。", "普通のホテルです。"][label] for label in gold
    ]
    return Texts(encodings, np.eye(3, dtype=np.float32)[gold], sentences, votes)


TRAIN, DEV = corpus(53), corpus(20, 1)


def line(name: str, names: str, settings: Settings = PLAIN, teacher: str = "", folder: Path | None = None) -> str:
    """One run; with a folder it is stopped after an epoch and resumed in another model."""
    asked = [n if n != "distillation" else f"distillation:teacher={teacher}" for n in names.split(" + ")]

    def start(seed: int, resume: bool = False) -> tuple[torch.nn.Module, Iterator[dict]]:
        torch.manual_seed(seed)
        model = classifier(initializer_range=0.1)
        regularizers = [] if asked == ["none"] else regularizers_of(asked)
        return model, fine_tune(model, TASK, TRAIN, DEV, settings, folder, resume, regularizers)

    model, rows = start(0)
    if folder:
        folder.mkdir()
        next(rows), next(rows)
        rows.close()  # type: ignore[attr-defined]
        model, rows = start(1, resume=True)
    log = list(rows)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().tobytes()
    keys = [key for key in log[-1] if key not in ("seconds", "epoch", "lr")]
    shown = [[None if row[key] is None else round(row[key], 6) for key in keys] for row in log]
    return f"{name} {hashlib.sha256(weights).hexdigest()[:12]} {shown}"


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as temporary:
        torch.manual_seed(5)
        teacher = f"{temporary}/teacher"
        save(classifier(**SIZES), TOKENIZER, Path(teacher))
        yield from (line(names.replace(" + ", "+"), names, teacher=teacher) for names in SETS)
        for select in ("best-f1", "best-accuracy", "best-loss", "last"):
            settings = replace(PLAIN, select=select, epochs=3, patience=1, accumulate=2, warmup_steps=2)
            yield line(f"select {select}", "ema", settings)
        yield line("bf16", "r-drop", replace(PLAIN, precision="bf16"))
        for names in RESUMED:
            name = names.replace(" + ", "+")
            yield line(f"resumed {name}", names, folder=Path(temporary) / name)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", __file__, "--worker"]
    yield from subprocess.run(torchrun, capture_output=True, text=True, check=True).stdout.splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.worker:
        ranks.start()
        for names in SHARED:
            found = line(f"two processes {names.replace(' + ', '+')}", names)
            print(found if not ranks.rank() else "", end="\n" if not ranks.rank() else "", flush=True)
        ranks.stop()
        return 0
    kept = RESULTS / machine_name() / "golden.txt"
    found = []
    for one in lines():
        print(one[:100], flush=True)
        found.append(one + "\n")
    if options.keep:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("".join(found))
        return 0
    if not kept.is_file():
        print(f"nothing is kept for this machine: run it before a change with --keep, for {kept}")
        return 2
    differences = list(difflib.unified_diff(kept.read_text().splitlines(True), found, "kept", "now", n=0))
    print("".join(differences) or f"all {len(found)} lines are those of {kept}")
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
