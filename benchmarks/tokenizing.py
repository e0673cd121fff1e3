"""Texts → ids, one thread, against the reference for the tokenizer in a folder.

    python benchmarks/tokenizing.py --tokenizer FOLDER --data-path pn.tsv --text FILE.txt.gz … [--lines 100000]

FOLDER has the vocabulary and its settings, and the files a text a line; the lines are drawn from all files together,
the same each time, and JRTE's texts go before them. The gate: all ids equal; ends with 1 at the first difference.

For MeCab and WordPiece (tohoku-nlp/bert-base-japanese-v3) the reference is BertJapaneseTokenizer. Bare MeCab is
分かち書き (-Owakati) of the normalized texts through fugashi: what no tokenizer over MeCab can go below.
For a unigram model it is SentencePiece, if the folder has a .model, with the same pieces in the library `tokenizers`
beside it; or `tokenizers`, if it has a tokenizer.json.
"""

import argparse
import gzip
import os
import random
import statistics
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread, read when the library is first used

import fugashi
import sentencepiece
import tokenizers
from measure import conclude, reviews, seconds
from tokenizers import models, normalizers, pre_tokenizers
from transformers import BertJapaneseTokenizer

from tezukuri.tokenize.dictionaries import dictionary_options
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.tokenize.model_file import UNKNOWN, ModelFile, read_model
from tezukuri.tokenize.pieces import Stretches
from tezukuri.tokenize.unigram import UnigramTokenizer

BATCH = 10_000  # lines
Read = Callable[[list[str]], Any]  # texts → ids


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
    ours = tokenizer_of(given.tokenizer)
    unigram = isinstance(ours, UnigramTokenizer)
    others = unigram_others(Path(given.tokenizer)) if unigram else mecab_others(ours, given.tokenizer, parts)
    reference, their_ids = next(iter(others.items()))
    jobs = {"tezukuri": ours.encode_batch} | others
    tokens = 0
    for part in parts:  # the gate, which also warms everything up
        found = ours.encode_batch(part)
        tokens += len(found.ids)
        for text, one, wanted in zip(part, found, their_ids(part), strict=True):
            ids = one.ids.tolist()
            ids = [ids[i] for i in ours.template.inside(len(ids))] if unigram else ids  # the texts' own
            if ids != wanted:
                print(f"different ids for {text!r}\nours:   {ids}\ntheirs: {wanted}")
                return 1
    print(f"gate passed: {len(texts):,} texts, {tokens:,} tokens, all ids equal", flush=True)
    runs: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(given.rounds):
        forget(ours)
        taken = dict.fromkeys(jobs, 0.0)
        for i in range(len(parts)):
            for name, job in jobs.items() if (turn + i) % 2 else reversed(jobs.items()):
                taken[name] += seconds(lambda job=job, i=i: job(parts[i]))
        for name, total in taken.items():
            runs[name].append(len(texts) / total)
    rates = {name: statistics.median(found) for name, found in runs.items()}
    shares = {f"share of {name}": rates["tezukuri"] / rates[name] for name in list(others)[1:]}
    result = {
        "texts a second": rates,
        "runs": runs,
        "ratio": rates["tezukuri"] / rates[reference],
        **shares,
        "texts": len(texts),
        "tokens": tokens,
    }
    conclude(f"tokenizing-{reference}" if unigram else "tokenizing", result)
    return 0


def forget(ours: JapaneseTokenizer | UnigramTokenizer) -> None:
    """Each round begins without a word in the table."""
    if isinstance(ours, JapaneseTokenizer):
        ours.word_ids.clear()
        return
    ours.unigram.stretches = Stretches()
    for step in ours.recipe.steps:
        getattr(step, "kept", {}).clear()


def mecab_others(ours: JapaneseTokenizer, folder: str, parts: list[list[str]]) -> dict[str, Read]:
    theirs = BertJapaneseTokenizer.from_pretrained(folder)
    mecab = fugashi.GenericTagger(f"{dictionary_options(ours.settings.mecab_dic)} -Owakati")
    normal = {id(part): [unicodedata.normalize("NFKC", text) for text in part] for part in parts}

    def their_ids(part: list[str]) -> list[list[int]]:
        return theirs(
            part,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    return {
        "BertJapaneseTokenizer": their_ids,
        "bare MeCab": lambda part: [mecab.parse(text) for text in normal[id(part)]],
    }


def unigram_others(folder: Path) -> dict[str, Read]:
    def read_by(library: tokenizers.Tokenizer) -> Read:
        library.encode_special_tokens = True
        return lambda part: [one.ids for one in library.encode_batch_fast(part, add_special_tokens=False)]

    whole = folder / "tokenizer.json"
    if whole.is_file():
        return {"tokenizers": read_by(tokenizers.Tokenizer.from_file(str(whole)))}
    path = next(folder.glob("*.model"))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    as_library = read_by(in_library(read_model(path.read_bytes())))
    return {"sentencepiece": lambda part: theirs.encode(part, num_threads=1), "tokenizers": as_library}


def in_library(model: ModelFile) -> tokenizers.Tokenizer:
    """The pieces in `tokenizers`, as transformers converts them; ids of rare texts differ."""
    pieces = list(zip(model.pieces, model.scores, strict=True))
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, model.kinds.index(UNKNOWN), model.byte_fallback))
    charsmap = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    one_space = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([*charsmap, one_space])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


if __name__ == "__main__":
    sys.exit(main())
