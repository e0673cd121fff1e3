"""A tokenizer learned from texts: WordPiece over MeCab's words, or unigram pieces over the text as it stands.

The package `tokenizers` learns both, and is imported here alone. Letter: V tokens of the vocabulary.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .japanese import JapaneseTokenizer
from .normalize import normalized
from .settings import SPECIAL_TOKENS, Settings
from .steps import BLANK
from .tokenizer import Tokenizer
from .unigram import UnigramTokenizer
from .vocabulary import word_splitter

UNIGRAM_CLASS = "PreTrainedTokenizerFast"  # whose tokenizer.json says everything
Texts = Callable[[], Iterator[str]]  # from the beginning, each time


def learn_wordpiece(texts: Texts, size: int, characters: int, settings: Settings) -> Tokenizer:
    """Over the words of the texts: special tokens, characters, then pieces, the frequent first.

    size: V at most. characters: how many different ones at most; a note of the tokenizer says what is left out.
    """
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
    ids = learner.get_vocab()
    pieces = sorted(ids.keys() - set(special), key=lambda piece: (len(piece.removeprefix("##")) > 1, ids[piece]))
    tokenizer = JapaneseTokenizer(special + pieces, settings)
    tokenizer.notes = left_out(seen, characters)
    return tokenizer


def learn_unigram(texts: Texts, size: int, characters: int, settings: Settings) -> Tokenizer:
    """Over the normalized texts: special tokens, then pieces, the likely first; the rest is as in `learn_wordpiece`."""
    library = tokenizers()

    def normal(text: str) -> str:
        text = normalized("NFKC", text)
        return text.lower() if settings.do_lower_case else text

    seen = Counter(character for text in texts() for character in normal(text))
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
        tokenizer = UnigramTokenizer.from_pretrained(folder)
    tokenizer.notes = left_out(seen, characters)
    return tokenizer


def left_out(seen: Counter[str], characters: int) -> list[str]:
    """A note, where there are more characters than that."""
    rare = [n for _, n in seen.most_common()[characters:]]
    if not rare:
        return []
    share = f"{sum(rare) / seen.total():.2g}"
    return [f"{len(rare):,} of {len(seen):,} different characters are left out, a share of {share} of all"]


def tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('learning a vocabulary needs: pip install "tezukuri[pretrain]"') from error
    return tokenizers
