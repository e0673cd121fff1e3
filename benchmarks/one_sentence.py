"""One sentence from a cold process to its answer: `predict` with mini, against transformers' pipeline.

    python benchmarks/one_sentence.py

mini is fine-tuned on the sample reviews first, for both. The gate: the same label, with a probability that differs by
less than 0.02 (this side answers in bf16 where the CPU has it).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import conclude, seconds

from tezukuri.scripts import finetune

SENTENCE = "駅から近くて便利でした。"
SCRIPTS = Path(finetune.__file__).parent
PIPELINE = f"""
import json, sys
from transformers import pipeline
print(json.dumps(pipeline("text-classification", model=sys.argv[1])({SENTENCE!r})[0]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        finetune.main(["--model", "mini", "--no-report", "--output-dir", temporary])
        model = str(next(Path(temporary).glob("*/*/*/model")))
        commands = {
            "predict": [sys.executable, str(SCRIPTS / "predict.py"), "--model", model, "--format", "jsonl", SENTENCE],
            "pipeline": [sys.executable, "-c", PIPELINE, model],
        }

        def answer(name: str) -> dict:
            run = subprocess.run(commands[name], capture_output=True, text=True, check=True)
            return json.loads(run.stdout)

        ours, theirs = answer("predict"), answer("pipeline")  # which also fills the system's cache of files
        assert ours["predicted"] == theirs["label"], (ours, theirs)
        distance = abs(ours["probabilities"][theirs["label"]] - theirs["score"])
        assert distance < 0.02, (ours, theirs)
        runs: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(given.rounds):
            for name, found in runs.items() if turn % 2 else reversed(runs.items()):
                found.append(seconds(lambda name=name: answer(name)))
    taken = {name: statistics.median(found) for name, found in runs.items()}
    conclude(
        "one-sentence",
        {
            "seconds": taken,
            "runs": runs,
            "ratio": taken["pipeline"] / taken["predict"],
            "gate: probability": distance,
        },
    )


if __name__ == "__main__":
    main()
