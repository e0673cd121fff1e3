"""Write the tables of docs/benchmarks.md from benchmarks/results/*.json.

    python benchmarks/write_document.py

Whatever stands outside the two marks of a table is written by hand and stays.
"""

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
# Result → what it measures
ROWS = {
    "tokenizing": "tokenizing, one thread, against `BertJapaneseTokenizer`",
    "train-step-course": "training step, bf16, against the course's recipe (fp32, padded to the longest text of all)",
    "train-step-tuned": "training step, bf16, against `transformers` tuned (bf16, grouped by length)",
    "train-step-fp32": "training step, fp32, against `transformers` (fp32, padded to the batch)",
    "bulk-pipeline": "classifying many sentences, bf16, against `pipeline` (fp32, as its documentation shows it)",
    "bulk-onnx": "classifying many sentences, fp32, against ONNX Runtime (fp32, fused, sorted)",
    "bulk-onnx-int8": "classifying many sentences, int8, against ONNX Runtime (int8, fused, sorted)",
    "one-sentence": "one sentence, cold process to answer, against `pipeline`",
}
MEASURES = ("seconds a step", "sentences a second", "texts a second", "seconds")


def ratios(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| work | ratio | measured | command |", "| --- | --- | --- | --- |"]
    for name, work in ROWS.items():
        if name not in results:
            lines.append(f"| {work} | not measured | | |")
            continue
        result = results[name]
        measure = next(m for m in MEASURES if m in result)
        sides = ", ".join(f"{side} {value:.3g}" for side, value in result[measure].items())
        lines.append(f"| {work} | **{result['ratio']:.2f}×** | {measure}: {sides} | `{result['command']}` |")
    return "\n".join(lines)


def details(results: dict[str, dict[str, Any]]) -> str:
    shown = ("floor", "times the floor", "peak memory, MB", "share of bare MeCab", "labels as in fp32")
    lines = []
    for name, work in ROWS.items():
        if name in results:
            result = results[name]
            facts = {k: v for k, v in result.items() if k.startswith(("gate", *shown))}
            lines.append(f"- **{work}**: " + "; ".join(f"{key}: {written(value)}" for key, value in facts.items()))
    return "\n".join(lines)


def growth(results: dict[str, dict[str, Any]]) -> str:
    if "growth" not in results:
        return "Not measured yet: `python benchmarks/growth.py`."
    result = results["growth"]
    hours = ", ".join(f"{name}: {value:.2g}" for name, value in result["core hours per million reviews"].items())
    return f"Core hours per million reviews: {hours} (`{result['command']}`).\n\n![growth](growth.png)"


def written(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {written(inner)}" for key, inner in value.items())
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def machines(results: dict[str, dict[str, Any]]) -> str:
    seen = {}
    for result in results.values():
        m = result["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
        seen[
            f"{m['date']}: {m['threads']} cores of {m['cpu']} ({m['instructions']}), Python {m['python']}, {versions}"
        ] = 1
    return "\n".join(f"- {line}" for line in seen)


def main() -> None:
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, table in {"ratios": ratios, "details": details, "growth": growth, "machines": machines}.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert pattern.search(text), f"{DOCUMENT} has no mark <!-- {name} -->"
        text = pattern.sub(lambda found, table=table: f"{found[1]}{table(results)}\n{found[2]}", text)
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
