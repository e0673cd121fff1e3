"""Texts → ids with the vocabulary of tohoku-nlp/bert-base-japanese-v3, one thread, against BertJapaneseTokenizer.

    python benchmarks/tokenizing.py --tokenizer FOLDER --data-path pn.tsv --text FILE.txt.gz … [--lines 100000]

FOLDER has the vocabulary and its settings, and the files a text a line; the lines are drawn from all files together,
the same each time, and JRTE's texts go before them. Bare MeCab is 分かち書き (-Owakati) of the normalized texts through
fugashi: what no tokenizer over MeCab can go below. The gate: all ids equal; ends with 1 at the first difference.
"""

import argparse
import gzip
import random
import statistics
import sys
import unicodedata

import fugashi
from measure import conclude, reviews, seconds
from transformers import BertJapaneseTokenizer

from tezukuri.tokenize.dictionaries import dictionary_options
from tezukuri.tokenize.japanese import JapaneseTokenizer

BATCH = 10_000  # lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--data-path")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    lines = []
    for path in given.text:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            lines += [line.rstrip("\n") for line in file]
    texts = reviews(given.data_path)[0] + random.Random(0).sample(lines, min(given.lines, len(lines)))
    parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    ours, theirs = (
        JapaneseTokenizer.from_pretrained(given.tokenizer),
        BertJapaneseTokenizer.from_pretrained(given.tokenizer),
    )
    mecab = fugashi.GenericTagger(f"{dictionary_options(ours.settings.mecab_dic)} -Owakati")
    normal = [[unicodedata.normalize("NFKC", text) for text in part] for part in parts]

    def their_ids(part: list[str]) -> list[list[int]]:
        return theirs(
            part,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    jobs = {
        "tezukuri": lambda i: ours.encode_batch(parts[i]),
        "BertJapaneseTokenizer": lambda i: their_ids(parts[i]),
        "bare MeCab": lambda i: [mecab.parse(text) for text in normal[i]],
    }
    tokens = 0
    for part in parts:  # the gate, which also warms everything up
        found = ours.encode_batch(part)
        tokens += len(found.ids)
        for text, ids, wanted in zip(part, found, their_ids(part), strict=True):
            if ids.ids.tolist() != wanted:
                print(f"different ids for {text!r}\nours:   {ids.ids.tolist()}\ntheirs: {wanted}")
                return 1
    print(f"gate passed: {len(texts):,} texts, {tokens:,} tokens, all ids equal", flush=True)
    runs: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(given.rounds):
        ours.word_ids.clear()  # each round begins without a word in the table
        taken = dict.fromkeys(jobs, 0.0)
        for i in range(len(parts)):
            for name, job in jobs.items() if (turn + i) % 2 else reversed(jobs.items()):
                taken[name] += seconds(lambda job=job, i=i: job(i))
        for name, total in taken.items():
            runs[name].append(len(texts) / total)
    rates = {name: statistics.median(found) for name, found in runs.items()}
    conclude(
        "tokenizing",
        {
            "texts a second": rates,
            "runs": runs,
            "ratio": rates["tezukuri"] / rates["BertJapaneseTokenizer"],
            "share of bare MeCab": rates["tezukuri"] / rates["bare MeCab"],
            "texts": len(texts),
            "tokens": tokens,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
