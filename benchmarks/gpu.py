"""Everything that needs a GPU, in one command: is it right, and how fast is it?

    python benchmarks/gpu.py prepare --tokenizer tohoku-v3 --data-path pn.tsv --ids gpu-ids   # needs no GPU
    python benchmarks/gpu.py correct level2 bulk --ids gpu-ids                                # needs no tokenizer

correct   every kernel, precision and option on the GPU, against fp32 on the CPU
level2    the course's Level 2, 2,430 steps of a base-sized BERT on JRTE's ids, against transformers as the course runs
          it (fp32, padded to the longest text) and tuned (bf16, SDPA, grouped by length, fused AdamW, compiled)
bulk      texts a second, of base size and of multilingual-e5-small's, against transformers tuned

Weights are random: speed does not depend on them. --quick takes a tenth of the steps. `prepare` without --tokenizer
makes a vocabulary, and without --data-path downloads JRTE. Each row is tried on its own: one that fails is told with
its reason. Results go to benchmarks/results/<GPU>/ and, with --output, to a folder of yours. Rows that do not replay
graphs are measured over fewer steps, where Python limits them: each says over how many.

Gates of level2, over 20 steps without dropout on the same weights and batches: in fp32 every loss equals the
opponent's within 1e-3; in bf16 it is at most twice as far from the opponent's fp32 as the opponent's own bf16 is. Of
bulk: logits in fp32 within 1e-3, and in bf16 at most twice as far from them as the opponent's.
"""

import argparse
import itertools
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measure import BASE_VOCABULARY, RESULTS, machine, products
from torch.nn import functional as F

from tezukuri.eval.predict import predict
from tezukuri.eval.runs import write_json
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.heads import ClassHead
from tezukuri.model.model import MaskedLM, Model, use_kernel
from tezukuri.model.packing import NOTHING, pack, sent
from tezukuri.model.precision import PRECISIONS, autocast
from tezukuri.tokenize.encoding import EncodedBatch
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings as TokenizerSettings
from tezukuri.train import loop
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.optimizer import adamw, clip_gradients, muon_and_adamw
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.settings import Pretraining, Settings
from tezukuri.weights.save import save

BATCH, EPOCHS, GATE_STEPS = 16, 10, 20
LABELS = ("negative", "neutral", "positive")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SMALL = {"vocab_size": 250_037, "hidden_size": 384, "intermediate_size": 1536}  # multilingual-e5-small
TINY = {"num_hidden_layers": 3, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 512}


# What is prepared where there is a tokenizer.


def prepare(folder: Path, tokenizer: str | None, data_path: str | None) -> None:
    from measure import base_tokenizer, reviews

    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split in ("train", "test"):
        texts, classes, _ = reviews(data_path, split)
        batch = base_tokenizer(tokenizer, texts).encode_batch(texts)
        made |= {f"{split}_ids": batch.ids.astype(np.uint16), f"{split}_boundaries": batch.boundaries}
        made |= {f"{split}_classes": np.array(classes)}
    np.savez_compressed(folder / "jrte.npz", **made)
    print(f"{folder}: {len(made['train_classes']):,} texts to learn from, {len(made['test_classes']):,} others")


def texts_of(folder: Path, split: str) -> Texts:
    with np.load(folder / "jrte.npz", allow_pickle=False) as found:
        ids, boundaries, classes = (found[f"{split}_{name}"] for name in ("ids", "boundaries", "classes"))
    ids = ids.astype(np.int64)
    batch = EncodedBatch(ids, np.zeros_like(ids), boundaries, np.zeros(len(classes), dtype=bool))
    return Texts(batch, np.eye(3, dtype=np.float32)[classes])


def some(texts: Texts, chosen: Sequence[int] | np.ndarray) -> Texts:
    return Texts([texts.encodings[i] for i in chosen], texts.targets[chosen])


def model_of(seed: int = 0, **changes: Any) -> Model:
    torch.manual_seed(seed)
    return Model(Bert(BertConfig(**({"vocab_size": BASE_VOCABULARY} | changes))), LABELS)


def settings(**changes: Any) -> Settings:
    return Settings(**({"epochs": 1, "batch_size": BATCH, "lr": 5e-5, "select": "last", "seed": 1} | changes))


# correct


def losses_of(model: Model, train: Texts, names: Sequence[str] = (), **changes: Any) -> np.ndarray:
    """The loss of every step of an epoch, seen where the loop checks them: a replayed step is not seen by Python."""
    kept: list[float] = []
    check = loop.require_finite

    def watched(losses: list[torch.Tensor], *others: Any) -> list[float]:
        kept[:] = torch.stack(losses).tolist()
        return check(losses, *others)

    loop.require_finite = watched
    try:
        dev = some(train, range(2))
        members = regularizers_of(names)
        list(loop.fine_tune(model, Classify(LABELS), train, dev, settings(**changes), regularizers=members))
    finally:
        loop.require_finite = check
    return np.array(kept)


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖, not a number where one of them has such."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


def gradients(model: Model, train: Texts, device: torch.device, precision: str, kernel: str) -> list[torch.Tensor]:
    model = model.to(device)
    use_kernel(model, kernel)
    model.zero_grad()
    packed = pack([train.encodings[i] for i in range(64)], 8).to(device)
    with autocast(device, PRECISIONS[precision]):
        logits = model(packed).logits.float()
    model.classifier.loss(logits, torch.from_numpy(train.targets[:64]).to(device)).sum().backward()
    return [logits.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])]


def correct(folder: Path, quick: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each check gives its distances; an assertion says which is too large."""
    train = texts_of(folder, "train")
    few = some(train, range(GATE_STEPS * BATCH))
    sizes = TINY | NO_DROPOUT
    exact = {"fp32": (2e-5, 2e-4), "bf16": (0.03, 0.06), "fp16": (0.004, 0.02)}  # of logits, of gradients
    expected = gradients(model_of(**sizes), train, CPU, "fp32", "sdpa")

    def kernel_check(precision: str, kernel: str) -> dict[str, float]:
        found = gradients(model_of(**sizes), train, CUDA, precision, kernel)
        distances = {"logits": far(found[0], expected[0]), "gradients": far(found[1], expected[1])}
        assert distances["logits"] < exact[precision][0] and distances["gradients"] < exact[precision][1], distances
        return distances

    for precision, kernel in itertools.product(exact, ("eager", "sdpa", "varlen")):
        if (precision, kernel) != ("fp32", "varlen"):
            yield f"{kernel}, {precision}", lambda p=precision, k=kernel: kernel_check(p, k)

    def heads_check() -> dict[str, float]:
        found = {}
        for reads in ("first", "last", "mean", "tokens"):
            torch.manual_seed(0)
            head = type("Reader", (ClassHead,), {"reads": reads})
            model = Model(Bert(BertConfig(vocab_size=BASE_VOCABULARY, **sizes)), LABELS, head).eval()
            packed = pack([train.encodings[i] for i in range(64)])
            with torch.no_grad():
                before = model(packed).logits
                there = before != NOTHING  # of tokens
                found[reads] = far(model.to(CUDA)(packed.to(CUDA)).logits.cpu()[there], before[there])
        assert all(distance < 1e-4 for distance in found.values()), found
        return found

    yield "heads that read other vectors, fp32", heads_check

    reference: dict[tuple[str, ...], np.ndarray] = {}

    def loss_check(names: Sequence[str], limit: float, kernel: str = "auto", **changes: Any) -> dict[str, float]:
        key = tuple(names)
        if key not in reference:
            reference[key] = losses_of(model_of(**sizes), few, names, precision="fp32", lr=3e-4)
        model = model_of(**sizes).to(CUDA)
        use_kernel(model, kernel)
        found = losses_of(model, few, names, **{"lr": 3e-4} | changes)
        wanted = reference[key]
        apart = {"losses": float(np.abs(found - wanted[: len(found)]).max()), "steps": len(found)}
        assert apart["losses"] < limit and len(found) == len(wanted), apart
        return apart

    checks = {
        "fp32": ([], 1e-3, {"precision": "fp32"}),
        "bf16": ([], 0.03, {"precision": "bf16"}),
        "fp16 with its scaler": ([], 0.01, {"precision": "fp16"}),
        "bf16, varlen": ([], 0.03, {"precision": "bf16", "kernel": "varlen"}),
        "fp32, graphs": ([], 1e-3, {"precision": "fp32", "graphs": True}),
        "bf16, graphs": ([], 0.03, {"precision": "bf16", "graphs": True}),
        "bf16, graphs, varlen": ([], 0.03, {"precision": "bf16", "graphs": True, "kernel": "varlen"}),
        "fp32, compiled": ([], 1e-3, {"precision": "fp32", "compile": True}),
        "bf16, graphs, varlen, compiled": (
            [], 0.03, {"precision": "bf16", "graphs": True, "kernel": "varlen", "compile": True},
        ),
        "r-drop, fp32": (["r-drop"], 1e-3, {"precision": "fp32"}),
        "r-drop and label smoothing, fp32, graphs": (
            ["r-drop", "label-smoothing"], 1e-3, {"precision": "fp32", "graphs": True},
        ),
        "fgm, fp32": (["fgm"], 2e-3, {"precision": "fp32"}),
        "two micro-batches, fp32": ([], 1e-3, {"precision": "fp32", "accumulate": 2, "batch_size": 8}),
    }  # fmt: skip
    for name, (names, limit, changes) in checks.items():
        yield f"20 steps: {name}", lambda n=names, x=limit, c=changes: loss_check(n, x, **c)

    def dropout_check() -> dict[str, float]:
        same = some(train, [0] * (8 * BATCH))  # one text again and again, at a rate of almost nothing
        losses = losses_of(model_of(**TINY).to(CUDA), same, precision="fp32", graphs=True, lr=1e-12)
        assert len(set(np.round(losses, 6))) > 6, losses
        return {"losses of 8 replays differ by": float(losses.std())}

    yield "graphs draw new dropout at every replay", dropout_check

    def resume_check(graphs: bool) -> dict[str, float]:
        how = settings(epochs=3, precision="fp32", graphs=graphs, lr=3e-4)
        dev, ends = some(train, range(2)), []
        with TemporaryDirectory() as temporary:
            for stop in (False, True):
                run = Path(temporary) / str(stop)
                run.mkdir()
                model = model_of(**TINY).to(CUDA)
                rows = fine_tune(model, Classify(LABELS), few, dev, how, run)
                if stop:
                    next(rows), next(rows)
                    rows.close()
                    model = model_of(seed=7, **TINY).to(CUDA)
                    rows = fine_tune(model, Classify(LABELS), few, dev, how, run, resume=True)
                list(rows)
                ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        distance = far(ends[1], ends[0])
        assert distance < 1e-3, distance
        return {"weights": distance}

    yield "resume", lambda: resume_check(False)
    yield "resume, graphs", lambda: resume_check(True)

    def pretraining_check(precision: str, limit: float) -> dict[str, float]:
        found = {}
        for side, device, name in (("expected", CPU, "fp32"), ("found", CUDA, precision)):
            torch.manual_seed(0)
            model = MaskedLM(Bert(BertConfig(vocab_size=8192, **sizes), pooler=False)).to(device)
            packed = pack([replace_ids(few.encodings[i]) for i in range(64)], 8).to(device)
            optimizers = muon_and_adamw(model, Pretraining(lr=1e-3))
            losses = []
            for _ in range(10):
                with autocast(device, PRECISIONS[name]):
                    logits = model(packed).logits
                loss = F.cross_entropy(logits.float(), packed.ids)
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
                losses.append(loss.item())
            found[side] = np.array(losses)
        apart = float(np.abs(found["found"] - found["expected"]).max())
        assert apart < limit and found["expected"][-1] < found["expected"][0], (apart, found)
        return {"losses": apart}

    yield "masked words with Muon, fp32", lambda: pretraining_check("fp32", 0.02)
    yield "masked words with Muon, bf16", lambda: pretraining_check("bf16", 0.1)


def replace_ids(encoding: Any) -> Any:
    return type(encoding)(encoding.ids % 8192, encoding.type_ids)


# level2


class Theirs:
    """transformers' model in a plain loop, with what its Trainer does in a step."""

    def __init__(self, train: Texts, kind: str, precision: str, compiled: bool = False, **changes: Any) -> None:
        self.model, self.precision = reference_of(model_of(**changes)).train().to(CUDA), PRECISIONS[precision]
        self.forward = torch.compile(self.model, dynamic=True) if compiled else self.model
        lengths = np.array([len(train.encodings[i].ids) for i in range(len(train.targets))])
        order = np.random.default_rng([1, 1]).permutation(len(lengths))  # that of our loop in its first epoch
        if kind == "tuned":  # Trainer's groups: 50 batches at a time, sorted by length
            parts = [order[start : start + 50 * BATCH] for start in range(0, len(order), 50 * BATCH)]
            order = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
        chosen = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        longest = int(lengths.max()) if kind == "course" else None
        self.batches = [padded(train, rows, longest) for rows in chosen]
        self.optimizer = adamw(self.model, settings(lr=5e-5))
        total = EPOCHS * len(self.batches) if kind != "gate" else len(self.batches)
        warmup = round(total * 0.1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: s / warmup if s < warmup else max(0, total - s) / (total - warmup)
        )

    def losses(self, steps: int | None = None) -> list[float]:
        seen = []
        for batch in self.batches[:steps]:
            batch = {name: x.to(CUDA, non_blocking=True) for name, x in batch.items()}
            with autocast(CUDA, self.precision):
                loss = self.forward(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            seen.append(loss.detach())
        return torch.stack(seen).float().tolist()


def padded(train: Texts, rows: Sequence[int], longest: int | None = None) -> dict[str, torch.Tensor]:
    texts = [train.encodings[i].ids for i in rows]
    width = longest or max(map(len, texts))
    ids = torch.zeros(len(texts), width, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.from_numpy(np.asarray(text))
    mask = torch.arange(width) < torch.tensor([len(text) for text in texts])[:, None]
    labels = torch.from_numpy(train.targets[rows].argmax(axis=1))
    batch = {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": torch.zeros_like(ids), "labels": labels}
    return {name: x.pin_memory() for name, x in batch.items()}


def reference_of(model: Model) -> Any:
    """transformers' model with the same weights."""
    from transformers import BertForSequenceClassification

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += [f"w{i}" for i in range(model.config.vocab_size - len(vocabulary))]
    tokenizer = JapaneseTokenizer(vocabulary, TokenizerSettings(word_tokenizer_type="basic"))
    with TemporaryDirectory() as temporary:
        save(model, tokenizer, Path(temporary) / "model")
        return BertForSequenceClassification.from_pretrained(Path(temporary) / "model", attn_implementation="sdpa")


OURS = {  # options beside bf16, and the rate of attention's dropout
    "loop as it is": ({}, "auto", 0.1),
    "varlen": ({}, "varlen", 0.0),
    "graphs": ({"graphs": True}, "auto", 0.1),
    "graphs, varlen": ({"graphs": True}, "varlen", 0.0),
    "graphs, varlen, compiled": ({"graphs": True, "compile": True}, "varlen", 0.0),
}


def level2(folder: Path, quick: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    train = texts_of(folder, "train")
    dev = some(train, range(1))
    gate_texts = some(train, range(GATE_STEPS * BATCH))
    found: dict[tuple[str, str], np.ndarray] = {}
    steps = len(train.targets) // BATCH

    def opponents_losses() -> str:
        for precision in ("fp32", "bf16"):
            found["theirs", precision] = np.array(Theirs(gate_texts, "gate", precision, **NO_DROPOUT).losses())
        return "kept"

    yield "gate: the opponent", opponents_losses

    def gate(name: str, precision: str, kernel: str = "auto", **changes: Any) -> dict[str, float]:
        model = model_of(**NO_DROPOUT).to(CUDA)
        use_kernel(model, kernel)
        how = {"precision": precision, "warmup_steps": 2} | changes
        losses = losses_of(model, gate_texts, **how)
        if not found:
            opponents_losses()
        distance = float(np.abs(losses - found["theirs", "fp32"]).max())
        own = float(np.abs(found["theirs", "bf16"] - found["theirs", "fp32"]).max())
        assert distance <= (1e-3 if precision == "fp32" else 2 * own), (distance, own)
        return {"from their fp32": distance, "their bf16": own}

    yield "gate: fp32", lambda: gate("fp32", "fp32")
    for name, (changes, kernel, _) in OURS.items():
        if "compile" not in changes:
            yield f"gate: {name}", lambda n=name, k=kernel, c=changes: gate(n, "bf16", k, **c)

    def floor() -> dict[str, float]:
        tokens = len(train.encodings.ids) / steps
        model = model_of().to(CUDA)
        rate = matmul_rate(round(tokens))
        with only_seen_words(model.bert, train.encodings):
            optimizer = adamw(model, settings(), graphs=True)
            for p in model.parameters():
                p.grad = torch.randn_like(p)
            update = replayed(lambda: (clip_gradients(model, optimizer, 1.0, in_step=True), optimizer.step()))
        work = 3 * products(model, tokens) / rate
        return {
            "tokens a step": tokens, "matmul TFLOP/s at this size": rate / 1e12,
            "matmul TFLOP/s at its best": matmul_rate(8192) / 1e12,
            "products": work, "clip, AdamW": update, "seconds of all steps": EPOCHS * steps * (work + update),
        }  # fmt: skip

    yield "floor", floor

    def ours(changes: dict[str, Any], kernel: str, rate: float) -> dict[str, float]:
        whole = changes and not quick
        texts = train if whole else some(train, range(100 * BATCH))
        model = model_of(attention_probs_dropout_prob=rate).to(CUDA)
        use_kernel(model, kernel)
        how = settings(precision="bf16", epochs=EPOCHS if whole else 2, warmup_steps=500, **changes)
        torch.cuda.reset_peak_memory_stats()
        with only_seen_words(model.bert, train.encodings):
            rows = list(fine_tune(model, Classify(LABELS), texts, dev, how))[1:]
        taken = [row["seconds"] for row in rows]  # of epochs; in the first, kernels are chosen and steps recorded
        each = len(texts.targets) // BATCH
        every = EPOCHS * steps
        return {
            "seconds of 2,430 steps": sum(taken) if whole else taken[-1] / each * every,
            "at the pace of later epochs": statistics.median(taken[1:]) / each * every,
            "first epoch": taken[0], "measured steps": each * len(taken),
            "memory, GB": torch.cuda.max_memory_allocated() / 1e9,
        }  # fmt: skip

    def theirs(kind: str, precision: str, compiled: bool) -> dict[str, float]:
        torch.cuda.reset_peak_memory_stats()
        side = Theirs(train, kind, precision, compiled)
        count = 10 if quick else 100 if kind == "tuned" else 50
        first = seconds(lambda: side.losses(count))
        again = seconds(lambda: side.losses(count))
        return {
            "seconds of 2,430 steps": again / count * EPOCHS * steps, "measured steps": count, "first round": first,
            "memory, GB": torch.cuda.max_memory_allocated() / 1e9,
        }  # fmt: skip

    for compiled in (False, True):  # which takes long before it begins
        for name, (changes, kernel, rate) in OURS.items():
            if changes.get("compile", False) == compiled:
                yield f"tezukuri, bf16, {name}", lambda c=changes, k=kernel, r=rate: ours(c, k, r)
        if compiled:
            yield "transformers, tuned, compiled, bf16", lambda: theirs("tuned", "bf16", True)
        else:
            yield "transformers, course, fp32", lambda: theirs("course", "fp32", False)
            yield "transformers, tuned, bf16", lambda: theirs("tuned", "bf16", False)


def seconds(job: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    before = time.perf_counter()
    job()
    torch.cuda.synchronize()
    return time.perf_counter() - before


def timed(job: Callable[[], object], times: int) -> float:
    """Seconds of a job, in the median."""
    job()
    return statistics.median(seconds(job) for _ in range(times))


def replayed(job: Callable[[], object]) -> float:
    """Seconds of a job on the GPU alone, without Python."""
    graph = torch.cuda.CUDAGraph()
    job()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        job()
    return timed(graph.replay, 20)


def matmul_rate(rows: int, width: int = 768) -> float:
    """FLOP per second of the feed-forward's products in bf16 at this many rows, over 57 MB of matrices."""
    x = torch.randn(rows, width, dtype=torch.bfloat16, device=CUDA)
    matrices = [torch.randn(4 * width, width, dtype=torch.bfloat16, device=CUDA) for _ in range(12)]
    taken = replayed(lambda: [F.linear(x, matrix) for matrix in matrices * 10])
    return 2 * rows * 4 * width * width * len(matrices) * 10 / taken


# bulk


def bulk(folder: Path, quick: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    test = texts_of(folder, "train")
    times = 2 if quick else 20
    count = len(test.targets)
    many = EncodedBatch(
        np.tile(test.encodings.ids, times),
        np.tile(test.encodings.type_ids, times),
        np.append(0, np.tile(np.diff(test.encodings.boundaries), times).cumsum()),
        np.zeros(times * count, dtype=bool),
    )
    yield from bulk_of("base", {}, test, many)
    yield from bulk_of("small", SMALL, test, many)


def bulk_of(
    size: str, changes: dict[str, Any], test: Texts, many: EncodedBatch
) -> Iterator[tuple[str, Callable[[], Any]]]:
    logits: dict[str, torch.Tensor] = {}
    models = {"ours": model_of(**changes).eval().to(CUDA)}

    def exact() -> dict[str, float]:
        use_kernel(models["ours"], "auto")
        logits["fp32"] = predict(models["ours"], test.encodings, 64)
        models["theirs"] = reference_of(models["ours"]).eval().to(CUDA)
        logits["theirs"] = their_logits(models["theirs"], test.encodings, 256)
        distance = float((logits["fp32"] - logits["theirs"]).abs().max())
        assert distance < 1e-3, distance
        models["theirs"].bfloat16()
        logits["their bf16"] = their_logits(models["theirs"], test.encodings, 256)
        return {"fp32 logits": distance, "their bf16 from fp32": far(logits["their bf16"], logits["fp32"])}

    def ours(texts: int, kernel: str) -> dict[str, float]:
        if not logits:
            exact()
        use_kernel(models["ours"], kernel)
        apart = far(predict(models["ours"], test.encodings, texts, torch.bfloat16), logits["fp32"])
        assert apart <= 2 * far(logits["their bf16"], logits["fp32"]), apart
        taken = min(seconds(lambda: predict(models["ours"], many, texts, torch.bfloat16)) for _ in range(2))
        return {"texts a second": len(many) / taken, "from fp32": apart}

    def theirs(texts: int, compiled: bool) -> dict[str, float]:
        if not logits:
            exact()
        forward = torch.compile(models["theirs"], dynamic=True) if compiled else models["theirs"]
        their_logits(forward, test.encodings, texts)
        taken = min(seconds(lambda: their_logits(forward, many, texts)) for _ in range(2))
        return {"texts a second": len(many) / taken}

    yield f"{size}: gate", exact
    for batch, kernel in ((64, "auto"), (1024, "auto"), (1024, "varlen"), (4096, "varlen")):
        yield f"{size}: tezukuri, bf16, {kernel}, by {batch}", lambda b=batch, k=kernel: ours(b, k)
    for batch, compiled in ((256, False), (1024, False), (4096, False), (1024, True)):
        name = f"{size}: transformers, bf16, sorted, by {batch}{', compiled' if compiled else ''}"
        yield name, lambda b=batch, c=compiled: theirs(b, c)


@torch.inference_mode()
def their_logits(model: Any, texts: EncodedBatch, size: int) -> torch.Tensor:
    lengths = np.diff(texts.boundaries)
    order = np.argsort(-lengths, kind="stable")
    found = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        width = int(lengths[rows[0]])
        places = texts.boundaries[rows][:, None] + np.arange(width)
        mask = np.arange(width) < lengths[rows][:, None]
        ids = np.where(mask, texts.ids[np.minimum(places, len(texts.ids) - 1)], 0)
        batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids)}
        found.append(model(**{name: sent(torch.from_numpy(x), CUDA) for name, x in batch.items()}).logits)
    return torch.cat(found).float()[torch.from_numpy(np.argsort(order)).to(CUDA)].cpu()


# All of it.


PARTS = {"correct": correct, "level2": level2, "bulk": bulk}


def keep(file: Path, rows: dict[str, Any], given: argparse.Namespace, card: str | None) -> None:
    """Add rows to those of a file; a quick run has a file of its own."""
    file = file.with_stem(f"{file.stem}-quick") if given.quick else file
    file.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(file.read_text())["rows"] if file.exists() else {}
    write_json(file, {"rows": before | rows, "machine": machine() | {"gpu": card, "cuda": torch.version.cuda}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["prepare", *PARTS])
    parser.add_argument("--ids", type=Path, default=Path("gpu-ids"), help="folder that prepare makes (%(default)s)")
    parser.add_argument("--tokenizer", help="of prepare")
    parser.add_argument("--data-path", help="of prepare: JRTE's pn.tsv")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="rows whose names have one of these in them, beside those kept"
    )
    parser.add_argument("--output", type=Path, help="folder for the results too")
    given = parser.parse_args()
    if "prepare" in given.parts:
        prepare(given.ids, given.tokenizer, given.data_path)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    broken = 0
    folders = [folder for folder in (RESULTS / str(card).lower().replace(" ", "-"), given.output) if folder]
    for part in [part for part in given.parts if part != "prepare"]:
        if not card:
            raise SystemExit("gpu.py: error: torch sees no GPU here; `prepare` is the part that needs none")
        begun = time.perf_counter()
        rows: dict[str, Any] = {}
        for name, job in PARTS[part](given.ids, given.quick):
            if not any(words in name for words in given.only):
                continue
            started = time.perf_counter()
            try:
                rows[name] = job()
            except Exception as error:
                rows[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
                traceback.print_exc()
            told = json.dumps(rows[name], default=str) if isinstance(rows[name], dict) else rows[name]
            print(f"{part:<8}{time.perf_counter() - started:7.1f} s  {name:<44}{told}", flush=True)
            torch.cuda.empty_cache()
            for folder in folders:
                keep(folder / f"gpu-{part}.json", {name: rows[name]}, given, card)
        taken, failed = time.perf_counter() - begun, sum("failed" in row for row in rows.values())
        print(f"{part}: {len(rows) - failed} of {len(rows)} rows in {taken:.0f} s", flush=True)
        broken += failed
    if broken:
        raise SystemExit(f"gpu.py: error: {broken} row{'s' * (broken > 1)} failed")


if __name__ == "__main__":
    main()
