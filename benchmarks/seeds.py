"""Fine-tune with several seeds, and tell the mean and the standard deviation of what comes out.

    python benchmarks/seeds.py --seeds 5 -- --model mini --data jrte
    python benchmarks/seeds.py --seeds 5 -- --model mini --data jrte --random-weights

What stands after -- goes to finetune. Seeds are 1, 2, …; the splits stay the same. The standard deviation is that of a
sample (n - 1). Run folders go into a temporary folder unless --keep names another.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
from pathlib import Path

from tezukuri.scripts import finetune

SCORES = {"val": ("accuracy", "f1"), "test": ("accuracy", "f1", "loss", "ece")}


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--keep", type=Path, help="folder for the runs")
    options.add_argument("finetune", nargs="*", help="options of finetune, after --")
    chosen = options.parse_args()
    columns = [f"{split} {name}" for split, names in SCORES.items() for name in names]
    print("seed   " + "".join(f"{column:>15}" for column in columns), flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(1, chosen.seeds + 1):
            folder = (chosen.keep or Path(temporary)) / f"seed-{seed}"
            with contextlib.redirect_stdout(io.StringIO()):
                finetune.main([*chosen.finetune, "--seed", str(seed), "--no-report", "--output-dir", str(folder)])
            run = max(folder.glob("*/*/*"))
            found = {split: json.loads((run / f"{split}-metrics.json").read_text()) for split in SCORES}
            rows.append([found[split][name] for split, names in SCORES.items() for name in names])
            print(f"{seed:<7}" + "".join(f"{value:>15.4f}" for value in rows[-1]), flush=True)
    for name, summary in (("mean", statistics.mean), ("sd", statistics.stdev)):
        if len(rows) > 1:
            print(f"{name:<7}" + "".join(f"{summary(column):>15.4f}" for column in zip(*rows, strict=True)))


if __name__ == "__main__":
    main()
