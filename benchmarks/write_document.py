"""Write the tables of docs/benchmarks.md from benchmarks/results/*/*.json.

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
    "tokenizing-sentencepiece": "tokenizing by unigram pieces (`.model`), one thread, against `sentencepiece`",
    "tokenizing-tokenizers": "tokenizing by unigram pieces (`tokenizer.json`), one thread, against `tokenizers`",
    "train-step-course": "training step, bf16, against the course's recipe (fp32, padded to the longest text of all)",
    "train-step-tuned": "training step, bf16, against `transformers` tuned (bf16, grouped by length)",
    "train-step-fp32": "training step, fp32, against `transformers` (fp32, padded to the batch)",
    "bulk-pipeline": "classifying many sentences, bf16, against `pipeline` (fp32, as its documentation shows it)",
    "bulk-onnx": "classifying many sentences, fp32, against ONNX Runtime (fp32, fused, sorted)",
    "bulk-onnx-int8": "classifying many sentences, int8, against ONNX Runtime (int8, fused, sorted)",
    "vectors": "sentence vectors, fp32, against `sentence-transformers` (fp32, its batches of 32)",
    "vectors-bf16": "sentence vectors, bf16, against `sentence-transformers` (bf16, its batches of 32)",
    "one-sentence": "one sentence, cold process to answer, against `pipeline`",
}
MEASURES = ("seconds a step", "sentences a second", "texts a second", "seconds")
Results = dict[str, dict[str, Any]]  # of one machine, by name


def ratios(machines: dict[str, Results]) -> str:
    lines = [f"| work | {' | '.join(machines)} | command |", "| --- |" + " --- |" * (len(machines) + 1)]
    for name, work in ROWS.items():
        found = [results.get(name) for results in machines.values()]
        cells = [f"**{result['ratio']:.2f}×**" if result else "not measured" for result in found]
        command = next((f"`{result['command']}`" for result in found if result), "")
        lines.append(f"| {work} | {' | '.join(cells)} | {command} |")
    return "\n".join(lines)


def details(machines: dict[str, Results]) -> str:
    shown = (
        *MEASURES,
        "floor",
        "times the floor",
        "peak memory, MB",
        "share of bare MeCab",
        "share of tokenizers",
        "labels as in fp32",
    )
    parts = []
    for machine, results in machines.items():
        parts.append(f"**{machine}**\n")
        for name in ROWS:
            if name in results:
                facts = {k: v for k, v in results[name].items() if k.startswith(("gate", *shown))}
                parts.append(f"- {name}: " + "; ".join(f"{key}: {written(value)}" for key, value in facts.items()))
        parts.append("")
    return "\n".join(parts).strip()


def growth(machines: dict[str, Results]) -> str:
    lines = []
    for machine, results in machines.items():
        if "growth" in results:
            result = results["growth"]
            by_size = result["core hours per million reviews"]
            hours = ", ".join(f"{name}: {value:.2g}" for name, value in by_size.items())
            lines.append(f"Core hours per million reviews on {machine}: {hours} (`{result['command']}`).")
    if not lines:
        return "Not measured yet: `python benchmarks/growth.py`."
    return "\n".join([*lines, "\n![growth](growth.png)"])


def gpus(cards: dict[str, Results]) -> str:
    """What benchmarks/gpu.py found, by card."""
    parts = []
    for card, results in cards.items():
        rows = {part: result["rows"] for part, result in results.items()}
        m = next(iter(results.values()))["machine"]
        versions = ", ".join(f"{name} {m['versions'][name]}" for name in ("torch", "transformers"))
        parts.append(f"**{card}** ({m['date']}, {versions})\n")
        if "correct" in rows:
            passed = sum("failed" not in row for row in rows["correct"].values())
            parts.append(f"{passed} of {len(rows['correct'])} checks of `correct` passed.\n")
        if "level2" in rows:
            parts.append(f"Gates of `level2` that passed: {gates(rows['level2'])}; the compiled rows have none.\n")
            parts.append("| Level 2, 2,430 steps | seconds | at the pace of later epochs | measured steps | GB |")
            parts.append("| --- | --- | --- | --- | --- |")
            for name, row in rows["level2"].items():
                if "seconds of 2,430 steps" in row:
                    whole, pace = row["seconds of 2,430 steps"], row.get("at the pace of later epochs")
                    cells = f"{whole:.1f}", f"{pace:.1f}" if pace else "", row["measured steps"]
                    parts.append(f"| {name} | {' | '.join(map(str, cells))} | {row['memory, GB']:.1f} |")
            floor = rows["level2"].get("floor", {})
            if floor and "failed" not in floor:
                parts.append("\nFloor of a step, in seconds: " + written(floor) + ".")
            parts.append("")
        if "bulk" in rows:
            parts.append(f"Gates of `bulk` that passed: {gates(rows['bulk'])}.\n")
            names = dict.fromkeys(name.split(": ")[1] for name in rows["bulk"] if "gate" not in name)
            parts += ["| texts a second | base | small |", "| --- | --- | --- |"]
            for name in names:
                cells = [speed(rows["bulk"].get(f"{size}: {name}")) for size in ("base", "small")]
                if set(cells) != {NOT_MEASURED}:
                    parts.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(parts) or "Not measured yet: `make gpu`."


NOT_MEASURED = "not measured"


def speed(row: Any) -> str:
    """Texts a second; a row whose answers were not those of fp32 has failed."""
    if isinstance(row, dict) and "failed" in row:
        return "failed"
    return f"{row['texts a second']:,.0f}" if isinstance(row, dict) and "texts a second" in row else NOT_MEASURED


def gates(rows: dict[str, Any]) -> str:
    found = ["failed" not in row for name, row in rows.items() if "gate" in name and isinstance(row, dict)]
    return f"{sum(found)} of {len(found)}"


def written(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {written(inner)}" for key, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def measured_on(machines: dict[str, Results]) -> str:
    lines = []
    for machine, results in machines.items():
        for m in (result["machine"] for result in results.values()):
            versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
            lines.append(f"- {m['date']}: {m['threads']} cores of {machine}, Python {m['python']}, {versions}")
    return "\n".join(dict.fromkeys(lines))


def main() -> None:
    machines: dict[str, Results] = {}
    cards: dict[str, Results] = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if path.stem.endswith("-quick"):
            continue
        if path.stem.startswith("gpu-"):
            cards.setdefault(result["machine"]["gpu"], {})[path.stem.removeprefix("gpu-")] = result
            continue
        machine = f"{result['machine']['cpu']} ({result['machine']['instructions']})"
        machines.setdefault(machine, {})[path.stem] = result
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = {
        "ratios": ratios(machines), "details": details(machines), "growth": growth(machines),
        "machines": measured_on(machines), "gpus": gpus(cards),
    }  # fmt: skip
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert pattern.search(text), f"{DOCUMENT} has no mark <!-- {name} -->"
        text = pattern.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
