"""Vectors a second of many sentences of JRTE, by small, against sentence-transformers on the same weights.

    python benchmarks/vectors.py                     # fp32 on both sides
    python benchmarks/vectors.py --precision bf16    # products in bf16 here, weights in bf16 there

There batches are of --their-batch texts (32, its default), sorted by length and padded to their longest; here they are
of 64, and packed. --data-path pn.tsv takes JRTE from this disk. The gate, in fp32: cosines of both sides' vectors of
each text are above .9999.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Side, conclude, in_turn, reviews, seconds, serve
from sentence_transformers import SentenceTransformer

from tezukuri.eval.encoder import Encoder
from tezukuri.model.precision import PRECISIONS
from tezukuri.scripts.command import keep_freed_memory
from tezukuri.weights.find import SHIPPED
from tezukuri.weights.load import load
from tezukuri.weights.save import save
from tezukuri.weights.sentences import read_vectors


class Ours:
    def __init__(self, folder: Path, precision: str) -> None:
        keep_freed_memory()
        self.encoder = Encoder.load(folder, device="cpu", precision=precision)
        self.texts = json.loads((folder / "texts.json").read_text())

    def vectors(self) -> list[list[float]]:
        return self.encoder.encode(self.texts).tolist()

    def run(self) -> float:
        return len(self.texts) / seconds(lambda: self.encoder.encode(self.texts))


class Theirs:
    def __init__(self, folder: Path, precision: str, batch: int) -> None:
        options = {"dtype": PRECISIONS[precision]}
        self.model, self.batch = SentenceTransformer(str(folder), device="cpu", model_kwargs=options), batch
        self.texts = json.loads((folder / "texts.json").read_text())

    def encode(self) -> Any:
        # Tensors, since numpy has no bf16.
        return self.model.encode(
            self.texts, batch_size=self.batch, show_progress_bar=False, convert_to_tensor=True
        ).float()

    def vectors(self) -> list[list[float]]:
        return self.encode().tolist()

    def run(self) -> float:
        return len(self.texts) / seconds(self.encode)


def lowest_cosine(ours: Side, theirs: Side) -> float:
    """Of the two vectors of each text."""
    a, b = (np.array(side.ask("vectors")) for side in (ours, theirs))
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--data-path")
    parser.add_argument("--texts", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--their-batch", type=int, default=32)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:

        def make() -> dict[str, Any]:
            side: Any = (
                Ours(given.folder, given.precision)
                if given.side == "ours"
                else Theirs(given.folder, given.precision, given.their_batch)
            )
            return {"run": side.run, "vectors": side.vectors}

        serve(make)
        return

    everything, *_ = reviews(given.data_path)
    texts = [everything[i] for i in np.random.default_rng(0).permutation(len(everything))[: given.texts]]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        model, tokenizer = load("small")
        save(model, tokenizer, folder, torch.float32, vectors=read_vectors(SHIPPED["small"]))
        (folder / "texts.json").write_text(json.dumps(texts))
        cosines = {}
        for precision in dict.fromkeys(("fp32", given.precision)):
            command = [sys.argv[0], "--folder", str(folder), "--precision", precision]
            command += ["--their-batch", str(given.their_batch)]
            with Side(*command, "--side", "ours") as ours, Side(*command, "--side", "theirs") as theirs:
                cosines[precision] = lowest_cosine(ours, theirs)
                assert precision != "fp32" or cosines[precision] > 0.9999, f"a cosine is {cosines[precision]}"
                if precision == given.precision:
                    sides = {f"tezukuri, {precision}": ours, f"sentence-transformers, {precision}": theirs}
                    rates = in_turn(sides, given.rounds)
    own, others = (statistics.median(runs) for runs in rates.values())
    conclude(
        "vectors" if given.precision == "fp32" else f"vectors-{given.precision}",
        {
            "texts a second": {name: statistics.median(runs) for name, runs in rates.items()},
            "runs": rates,
            "ratio": own / others,
            "gate: lowest cosine": cosines,
        },
    )


if __name__ == "__main__":
    main()
