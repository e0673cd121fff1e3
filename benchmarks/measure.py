"""What the benchmarks share: sides that take turns, the limits of the machine, and where results go.

Each side of a comparison is a process of its own (`Side`), so that neither profits or suffers from the other's memory
and settings; they wait for each other and never run at the same time.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from tezukuri.data.load import load
from tezukuri.eval.runs import version, write_json
from tezukuri.model.model import Model
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "fugashi", "numpy")
BASE_VOCABULARY = 32_768  # pieces of tohoku-nlp/bert-base-japanese-v3


class Side:
    """One side of a comparison: a process that answers questions with JSON, and otherwise waits."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the side {self.process.args} ended before it answered {question!r}")
        return json.loads(answer)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(make: Callable[[], dict[str, Callable[[], Any]]]) -> None:
    """Be a side: make it, then answer each line of standard input on standard output, where nothing else may print."""
    out, sys.stdout = sys.stdout, sys.stderr
    answers = make()
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), file=out, flush=True)


def in_turn(sides: dict[str, Side], rounds: int, question: str = "run") -> dict[str, list[float]]:
    """Ask every side once to warm up, then `rounds` times in turn, each round in the opposite order of the last."""
    answers: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items() if turn % 2 else reversed(sides.items()):
            answer = side.ask(question)
            print(f"  {'warm-up' if not turn else f'round {turn}'}  {name:<28}{answer:10.3f}", flush=True)
            if turn:
                answers[name].append(answer)
    return answers


def seconds(job: Callable[[], object]) -> float:
    before = time.perf_counter()
    job()
    return time.perf_counter() - before


def peak_memory() -> float:
    """The most memory that this process has held, in MB; on Linux from /proc (ru_maxrss begins at the parent's)."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    import resource  # which Windows has not

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


@torch.inference_mode()
def matmul_rate(precision: torch.dtype, rows: int, width: int = 768) -> float:
    """FLOP per second of the feed-forward's products at this many rows, over 57 MB of matrices in bf16."""
    x = torch.randn(rows, width, dtype=precision)
    matrices = [torch.randn(4 * width, width, dtype=precision) for _ in range(12)]
    sweep = [seconds(lambda: [F.linear(x, matrix) for matrix in matrices]) for _ in range(8)]
    return 2 * rows * 4 * width * width * len(matrices) / statistics.median(sweep[2:])


def products(model: Model, tokens: float) -> float:
    """FLOP of the encoder's products, forward: every token with every weight, and in the last layer with its queries,
    keys and values alone. Attention's own products are left out."""
    last = f".layers.{model.config.num_hidden_layers - 1}."
    matrices = [(name, p) for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    return 2 * tokens * sum(p.numel() for name, p in matrices if last not in name or "qkv" in name)


def machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    amx = torch.cpu._is_amx_tile_supported()
    return {
        "date": date.today().isoformat(),
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability() + (" and AMX" if amx else ""),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if version(name)},
    }


def machine_name() -> str:
    """Of the folder of this kind of machine."""
    here = machine()
    return re.sub(r"\W+", "-", f"{here['cpu']} {here['instructions']}".lower()).strip("-")


def conclude(name: str, result: dict[str, Any]) -> None:
    """Show a result and keep it as `benchmarks/results/<cpu>/<name>.json`."""
    given = [Path(word).name if Path(word).exists() else word for word in sys.argv[1:]]  # files by their names alone
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    here = machine()
    folder = RESULTS / machine_name()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{name}.json", {"command": command, **result, "machine": here})
    for key, value in result.items():
        print(f"{key:<28}{value:.3f}" if isinstance(value, float) else f"{key:<28}{value}")


def reviews(data_path: str | None, split: str | None = None) -> tuple[list[str], list[int], tuple[str, ...]]:
    """JRTE's texts, class numbers and labels."""
    data = load("jrte", path=data_path)
    chosen = data.split(split) if split else data.examples
    return [e.text for e in chosen], [data.labels.index(e.label) for e in chosen], data.labels


def base_tokenizer(folder: str | None, texts: list[str]) -> JapaneseTokenizer:
    """The tokenizer of a folder; without one, a vocabulary of the usual size made from the texts and filled up."""
    if folder:
        return JapaneseTokenizer.from_pretrained(folder)
    made = vocabulary_of(texts)[:BASE_VOCABULARY]
    return JapaneseTokenizer(made + [f"[unused{i}]" for i in range(BASE_VOCABULARY - len(made))])
