"""Make a vocabulary from texts: of WordPiece over MeCab words, or of unigram pieces over the text as it stands.

    python scripts/build_vocab.py --text wiki.txt.gz talk.txt.gz --size 8192 --output vocabulary/
    python scripts/build_vocab.py --kind unigram --text wiki.txt.gz talk.txt.gz --size 8192 --output pieces/

It needs the `tokenizers` package (pip install "tezukuri[pretrain]"); the folder is for `pretrain --tokenizer`,
`finetune --tokenizer`, and transformers' AutoTokenizer (BertJapaneseTokenizer for WordPiece).
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tezukuri.data.passages import count_lines, passages
from tezukuri.eval.progress import progress_bar
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.normalize import normalized
from tezukuri.tokenize.settings import SPECIAL_TOKENS, Settings
from tezukuri.tokenize.steps import BLANK
from tezukuri.tokenize.tokenizer import Tokenizer
from tezukuri.tokenize.unigram import UnigramTokenizer
from tezukuri.tokenize.vocabulary import word_splitter
from tezukuri.weights.files import not_written

UNIGRAM_CLASS = "PreTrainedTokenizerFast"  # whose tokenizer.json says everything
Texts = Callable[[], Iterator[str]]  # from the beginning, each time


def parser() -> argparse.ArgumentParser:
    options = parser_of("build_vocab", __doc__)
    options.add_argument("--kind", choices=["wordpiece", "unigram"], default="wordpiece", help="(%(default)s)")
    options.add_argument("--text", nargs="+", type=Path, required=True, help="files, a passage a line, plain or .gz")
    options.add_argument("--size", type=positive, default=8192, help="tokens of the vocabulary (%(default)s)")
    options.add_argument("--characters", type=positive, default=2500, help="different characters at most (%(default)s)")
    options.add_argument("--passages", type=positive, help="learn from so many passages, drawn at random (all)")
    options.add_argument(
        "--dictionary", choices=["unidic_lite", "ipadic", "unidic"], help="of MeCab, for wordpiece (unidic_lite)"
    )
    options.add_argument("--lower", action="store_true", help="read everything in lower case")
    options.add_argument("--output", type=Path, required=True, help="folder for the tokenizer's files")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.kind == "unigram" and options.dictionary:
        raise ValueError("--dictionary is MeCab's, and --kind unigram reads texts without MeCab: leave it out")
    sizes = [count_lines(path) for path in options.text]
    chosen = min(options.passages or sum(sizes), sum(sizes))

    def texts() -> Iterator[str]:
        drawn = islice(passages(options.text, sizes, 0), chosen)
        return iter(progress_bar(drawn, "passages", "passage", total=chosen))

    settings = Settings(mecab_dic=options.dictionary or "unidic_lite", do_lower_case=options.lower)
    learn = learn_unigram if options.kind == "unigram" else learn_wordpiece
    tokenizer = learn(texts, options.size, options.characters, settings)
    try:
        tokenizer.save(options.output)
    except OSError as error:
        raise not_written(options.output, error) from error
    print(f"{options.output}: {tokenizer.vocab_size} tokens")
    return 0


def learn_wordpiece(texts: Texts, size: int, characters: int, settings: Settings) -> Tokenizer:
    """Over the words of the texts: special tokens, characters, then pieces, the frequent first."""
    library = tokenizers()
    split = word_splitter(settings)
    learner = library.Tokenizer(library.models.WordPiece(unk_token=settings.unk_token))
    learner.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    special = list(settings.special_tokens)
    trainer = library.trainers.WordPieceTrainer(vocab_size=size, limit_alphabet=characters, special_tokens=special)
    seen: Counter[str] = Counter()

    def words() -> Iterator[str]:
        for text in texts():
            own = split(text)
            seen.update("".join(own))
            yield " ".join(own)

    learner.train_from_iterator(words(), trainer)
    tell_left_out(seen, characters)
    ids = learner.get_vocab()
    pieces = sorted(ids.keys() - set(special), key=lambda piece: (len(piece.removeprefix("##")) > 1, ids[piece]))
    return JapaneseTokenizer(special + pieces, settings)


def learn_unigram(texts: Texts, size: int, characters: int, settings: Settings) -> Tokenizer:
    """Over the normalized texts: special tokens, then pieces, the likely first. Rare characters are left out."""
    library = tokenizers()

    def normal(text: str) -> str:
        text = normalized("NFKC", text)
        return text.lower() if settings.do_lower_case else text

    seen = Counter(character for text in texts() for character in normal(text))
    tell_left_out(seen, characters)
    kept = {character for character, _ in seen.most_common(characters)}
    learner = library.Tokenizer(library.models.Unigram())
    steps = library.normalizers
    lower = [steps.Lowercase()] if settings.do_lower_case else []
    one_space = steps.Replace(library.Regex(r"\s+"), " ")
    learner.normalizer = steps.Sequence([steps.NFKC(), *lower, one_space, steps.Strip()])
    # A ▁ for each space and none before a text, so that 近い is one piece at its beginning, inside and after [MASK].
    learner.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme="never")
    learner.decoder = library.decoders.Metaspace(prepend_scheme="never")
    special, cls, sep = list(settings.special_tokens), settings.cls_token, settings.sep_token
    trainer = library.trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=special,
        unk_token=settings.unk_token,
        initial_alphabet=[BLANK],
        show_progress=False,
    )
    common = ("".join(c if c in kept else " " for c in normal(text)) for text in texts())
    learner.train_from_iterator(common, trainer)
    learner.post_processor = library.processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, special.index(token)) for token in (cls, sep)],
    )
    # The library adds scores up, and ranks the rarest characters, in an order that differs from run to run.
    whole = json.loads(learner.to_str())
    pieces = whole["model"]["vocab"][len(special) :]
    least = min((score for piece, score in pieces if len(piece) > 1), default=0.0)
    pieces = [[piece, round(max(score, least), 6)] for piece, score in pieces]
    whole["model"]["vocab"][len(special) :] = sorted(pieces, key=lambda piece: (-piece[1], piece[0]))
    config = {"tokenizer_class": UNIGRAM_CLASS} | dict(zip(SPECIAL_TOKENS, special, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return UnigramTokenizer.from_pretrained(folder)


def tell_left_out(seen: Counter[str], characters: int) -> None:
    if rare := [n for _, n in seen.most_common()[characters:]]:
        share = f"{sum(rare) / seen.total():.2g}"
        print(f"note    --characters {characters} leaves out {len(rare):,} of {len(seen):,}, a share of {share} of all")


def tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('learning a vocabulary needs: pip install "tezukuri[pretrain]"') from error
    return tokenizers


if __name__ == "__main__":
    run_file(__file__)
