"""Classifying many sentences of JRTE with a BERT of base size, against what people use for that.

    python benchmarks/bulk.py --against pipeline     # texts; bf16 here; there transformers' pipeline, fp32, by 16
    python benchmarks/bulk.py --against onnx         # ids; fp32 here; there ONNX Runtime, fp32, sorted
    python benchmarks/bulk.py --against onnx-int8    # ids; int8 here; there ONNX Runtime, dynamic int8, sorted

Here batches are of 64, also sorted; ONNX Runtime has its layers fused by its own optimizer, and batches
of 16 or 64, whichever is faster.

--data-path pn.tsv takes JRTE from this disk, --tokenizer FOLDER a vocabulary (else one is made). Weights are random:
speed does not depend on them. The gate: equal ids, and logits that in fp32 differ by at most 1e-4. How many labels int8
or bf16 leaves as they were is counted on trained models: mini, fine-tuned on the sample reviews with three seeds, over
all of JRTE.
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
from measure import Side, base_tokenizer, conclude, in_turn, matmul_rate, products, reviews, seconds, serve
from transformers import BertForSequenceClassification, BertJapaneseTokenizer, pipeline

from tezukuri.eval.classifier import Classifier
from tezukuri.eval.predict import predict
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.scripts import finetune
from tezukuri.scripts.command import keep_freed_memory
from tezukuri.weights.load import load_ready_classifier
from tezukuri.weights.save import save

BATCH = 16
SEEDS = (1, 2, 3)  # of the trained models
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
PRECISIONS = {"pipeline": "bf16", "onnx": "fp32", "onnx-int8": "int8"}


class Ours:
    def __init__(self, folder: Path, kind: str) -> None:
        keep_freed_memory()
        loaded = load_ready_classifier(folder)
        self.kind = kind
        self.classifier = Classifier(loaded.model, loaded.tokenizer, "cpu", PRECISIONS[kind])
        self.texts = json.loads((folder / "texts.json").read_text())
        self.encoded = loaded.tokenizer.encode_batch(self.texts)

    def logits(self) -> list[list[float]]:
        classifier = self.classifier
        return predict(classifier.model, self.encoded, classifier.batch_size, classifier.precision).tolist()

    def floor(self) -> dict[str, float]:
        """Products alone, at the measured rate; it is not told for int8."""
        tokens, precision = len(self.encoded.ids) / len(self.texts), self.classifier.precision
        rate = matmul_rate(precision, round(64 * tokens))
        most = rate / products(self.classifier.model, tokens)
        return {"tokens a sentence": tokens, "matmul GFLOP/s": rate / 1e9, "sentences a second": most}

    def run(self) -> float:
        job = (lambda: self.classifier(self.texts)) if self.kind == "pipeline" else self.logits
        return len(self.texts) / seconds(job)


class Pipeline:
    """As its documentation shows it."""

    def __init__(self, folder: Path) -> None:
        self.pipe = pipeline("text-classification", model=str(folder), tokenizer=str(folder), device="cpu")
        self.texts = json.loads((folder / "texts.json").read_text())

    def run(self) -> float:
        return len(self.texts) / seconds(lambda: self.pipe(self.texts, batch_size=BATCH))

    @torch.inference_mode()
    def logits(self) -> list[list[float]]:
        encoded = [self.pipe.tokenizer(text, return_tensors="pt") for text in self.texts]
        return torch.cat([self.pipe.model(**one).logits for one in encoded]).tolist()


def export(folder: Path) -> str:
    """Write the model as ONNX Runtime wants it: exported, its BERT layers fused, and that in int8 too."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in INPUTS)
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS}
    torch.onnx.export(
        model, example, folder / "plain.onnx", input_names=INPUTS, output_names=["logits"], dynamic_axes=axes,
        dynamo=False,
    )  # fmt: skip
    heads, width = model.config.num_attention_heads, model.config.hidden_size
    fused = optimizer.optimize_model(str(folder / "plain.onnx"), "bert", num_heads=heads, hidden_size=width)
    fused.save_model_to_file(str(folder / "onnx.onnx"))
    extra = {"DefaultTensorType": 1}  # fp32, where it cannot tell what a fused layer gives
    quantize_dynamic(
        folder / "onnx.onnx",
        folder / "onnx-int8.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options=extra,
    )
    return str(fused.get_fused_operator_statistics())


class Onnx:
    """Batches sorted by length, padded to their longest, of the size that is faster; as many threads as torch takes."""

    def __init__(self, folder: Path, kind: str) -> None:
        import onnxruntime

        tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
        texts = json.loads((folder / "texts.json").read_text())
        self.order = np.argsort([len(ids) for ids in tokenizer(texts)["input_ids"]], kind="stable")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(folder / f"{kind}.onnx", options, ["CPUExecutionProvider"])
        taken = {}
        for size in (BATCH, 64):
            self.batches = [
                dict(tokenizer([texts[i] for i in some], return_tensors="np", padding=True, return_token_type_ids=True))
                for some in np.array_split(self.order, range(size, len(texts), size))
            ]
            self.logits()
            taken[seconds(self.logits)] = self.batches
        self.batches = taken[min(taken)]

    def logits(self) -> list[list[float]]:
        scores = np.concatenate([self.session.run(["logits"], batch)[0] for batch in self.batches])
        return scores[np.argsort(self.order)].tolist()

    def run(self) -> float:
        return len(self.order) / seconds(self.logits)


def export_aside(folder: Path) -> None:
    """In a process of its own, whose memory is not the opponent's."""
    with Side(sys.argv[0], "--folder", str(folder), "--side", "export") as process:
        print(f"ONNX: {process.ask('export')}", flush=True)


def agreement(folder: Path, texts: list[str], kind: str) -> dict[str, float]:
    """The mean share of labels that are as in fp32, on trained models: of int8 here and there, of bf16 here."""
    names = {"ours": "labels as in fp32", "theirs": "labels as in fp32, theirs"}
    shares: dict[str, list[float]] = {name: [] for name in (names if kind == "onnx-int8" else ["ours"])}
    for seed in SEEDS:
        runs = folder.parent / f"runs-{seed}"
        told = ["--model", "mini", "--save-model", "best", "--no-report", "--seed", str(seed)]
        finetune.main([*told, "--output-dir", str(runs)])
        trained = next(runs.glob("*/*/*/model"))
        (trained / "texts.json").write_text(json.dumps(texts))
        command = [sys.argv[0], "--folder", str(trained), "--against"]
        with Side(*command, "onnx", "--side", "ours") as side:
            fp32 = np.array(side.ask("logits")).argmax(axis=1)
        if kind == "onnx-int8":
            export_aside(trained)
        for name, found in shares.items():
            with Side(*command, kind, "--side", name) as side:
                found.append(float((np.array(side.ask("logits")).argmax(axis=1) == fp32).mean()))
    print(f"labels as in fp32, seeds {SEEDS}: {shares}", flush=True)
    return {names[name]: statistics.mean(found) for name, found in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=PRECISIONS, default="pipeline")
    parser.add_argument("--data-path")
    parser.add_argument("--tokenizer")
    parser.add_argument("--texts", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "theirs", "export"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kind = given.against
    if given.side:

        def make() -> dict[str, Any]:
            if given.side == "export":
                return {"export": lambda: export(given.folder)}
            if given.side == "ours":
                side: Any = Ours(given.folder, kind)
            else:
                side = Pipeline(given.folder) if kind == "pipeline" else Onnx(given.folder, kind)
            return {"run": side.run, "logits": side.logits, "floor": getattr(side, "floor", None)}

        serve(make)
        return

    everything, _, labels = reviews(given.data_path)
    texts = [everything[i] for i in np.random.default_rng(0).permutation(len(everything))[: given.texts]]
    tokenizer = base_tokenizer(given.tokenizer, everything)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        torch.manual_seed(0)
        save(Model(Bert(BertConfig(vocab_size=tokenizer.vocab_size)), labels), tokenizer, folder)
        (folder / "texts.json").write_text(json.dumps(texts))
        theirs_ids = BertJapaneseTokenizer.from_pretrained(folder)(texts)["input_ids"]
        assert [ids.tolist() for ids, _ in tokenizer.encode_batch(texts)] == theirs_ids, "the ids differ"
        command = [sys.argv[0], "--folder", str(folder), "--against", kind]
        if kind != "pipeline":
            export_aside(folder)
        reference = "onnx" if kind == "pipeline" else kind.removesuffix("-int8")
        fp32 = [sys.argv[0], "--folder", str(folder), "--against", reference]
        with (
            Side(*fp32, "--side", "ours") as ours,
            Side(*(command if kind == "pipeline" else fp32), "--side", "theirs") as other,
        ):
            distance = float(np.abs(np.array(ours.ask("logits")) - np.array(other.ask("logits"))).max())
        assert distance <= 1e-4, f"the logits differ by {distance}"
        with Side(*command, "--side", "ours") as ours, Side(*command, "--side", "theirs") as other:
            sides = {f"tezukuri, {PRECISIONS[kind]}": ours, kind: other}
            rates = in_turn(sides, given.rounds)
            limit = ours.ask("floor") if kind != "onnx-int8" else None
        kept = agreement(folder, everything, kind) if kind != "onnx" else {}
    own, others = (statistics.median(runs) for runs in rates.values())
    conclude(
        f"bulk-{kind}",
        {
            "sentences a second": {name: statistics.median(runs) for name, runs in rates.items()},
            "runs": rates,
            "ratio": own / others,
            **({"floor": limit, "times the floor": limit["sentences a second"] / own} if limit else {}),
            "gate: fp32 logits": distance,
            **kept,
        },
    )


if __name__ == "__main__":
    main()
