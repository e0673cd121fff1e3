"""Ids of unigram models on random strings, against SentencePiece and the library `tokenizers`.

    python benchmarks/unigram_ids.py --strings 1000000 [--seed 0]

Each of the small models that tests/unigrams.py trains reads so many strings of its own. Prints every string whose ids
differ, and ends with 1 if there is one. Left out is what is known to differ: marks and forms of characters that
another version of Unicode knows, texts of which a character map leaves nothing, and special tokens in a text, which
`tokenizers` trains as pieces.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from unigrams import AROUND, SPECIAL, TRAINED, by_sentencepiece, by_tokenizers, differences, is_new, odd_text

AT_ONCE = 10_000  # strings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong = 0
    for make, names in ((by_sentencepiece, TRAINED), (by_tokenizers, AROUND)):
        for name in names:
            rng = random.Random(f"{given.seed} {name}")
            found = []
            with tempfile.TemporaryDirectory() as folder:
                ours, oracle = make(Path(folder), name)
                for start in range(0, given.strings, AT_ONCE):
                    texts = [odd_text(rng) for _ in range(min(AT_ONCE, given.strings - start))]
                    if make is by_tokenizers:
                        texts = [text for text in texts if not is_new(text) and not any(t in text for t in SPECIAL)]
                    found += differences(ours, oracle, [text for text in texts if not text or ours.normal(text)])
            print(f"{make.__name__.removeprefix('by_'):<14}{name:<32}{len(found)} differ", flush=True)
            print("".join(f"    {text!a}\n" for text in found), end="")
            wrong += len(found)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
