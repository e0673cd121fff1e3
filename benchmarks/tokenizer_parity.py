"""Hold our ids against those of transformers' BertJapaneseTokenizer, line by line, and take the time of both.

    python benchmarks/tokenizer_parity.py --data FOLDER [--lines 200000]

FOLDER has data/tohoku-v3 (vocabulary and settings), data/text/*.gz (a text a line) and
data/economy-watchers/current.tsv.gz (the text in the last column). Ends with 1 at the first difference.
"""

import argparse
import gzip
import random
import sys
import time
from pathlib import Path

from tqdm import tqdm
from transformers import BertJapaneseTokenizer

from tezukuri.tokenize.japanese import JapaneseTokenizer

BATCH = 10_000  # lines


def sample_of_lines(data: Path, wanted: int) -> list[str]:
    """`wanted` lines (or all, if there are fewer) drawn from all files together, the same each time."""
    lines = []
    for path in [*sorted((data / "text").glob("*.gz")), data / "economy-watchers" / "current.tsv.gz"]:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            lines += [line.rstrip("\n").split("\t")[-1] for line in file]
    return random.Random(0).sample(lines, min(wanted, len(lines)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--lines", type=int, default=200_000)
    given = parser.parse_args()

    model = given.data / "data" / "tohoku-v3"
    ours, oracle = JapaneseTokenizer.from_pretrained(model), BertJapaneseTokenizer.from_pretrained(model)
    lines = sample_of_lines(given.data / "data", given.lines)
    seconds = {"ours": 0.0, "oracle": 0.0}
    tokens = 0
    for start in tqdm(range(0, len(lines), BATCH), unit="batch"):
        texts = lines[start : start + BATCH]
        before = time.perf_counter()
        found = ours.encode_batch(texts)
        between = time.perf_counter()
        expected = oracle(texts, split_special_tokens=True, verbose=False)["input_ids"]
        seconds["ours"] += between - before
        seconds["oracle"] += time.perf_counter() - between
        tokens += len(found.ids)
        for text, ids, wanted in zip(texts, found, expected, strict=True):
            if ids.ids.tolist() != wanted:
                print(f"different ids for {text!r}\nours:   {ids.ids.tolist()}\noracle: {wanted}")
                return 1
    print(f"{len(lines):,} lines, {tokens:,} tokens: all ids equal")
    for name, taken in seconds.items():
        print(f"{name:6}  {len(lines) / taken:9,.0f} lines/s")
    print(f"ratio   {seconds['oracle'] / seconds['ours']:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
