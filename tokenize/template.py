"""Where special tokens stand around one text, and around a pair of texts.

    BERT      [CLS] A [SEP]     [CLS] A [SEP] B [SEP]    type ids 0 up to and with the first [SEP], 1 after it
    RoBERTa   <s> A </s>        <s> A </s></s> B </s>    type ids 0
    Gemma     <bos> A           <bos> A B

Devlin et al. 2019 (arXiv:1810.04805), figure 2; Liu et al. 2019 (arXiv:1907.11692).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Token = TypeVar("Token")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Template(Generic[Token]):
    """`before` A `after`, and for a pair `before` A `between` B `after`; of tokens, their ids, or their `Piece`s."""

    before: tuple[Token, ...]
    between: tuple[Token, ...]
    after: tuple[Token, ...]
    second_type: int = 0  # the type id of B and of what comes after it; all else has 0

    @property
    def special(self) -> frozenset[Token]:
        """The tokens that it adds, each once."""
        return frozenset((*self.before, *self.between, *self.after))

    def added(self, paired: bool = False) -> int:
        """How many tokens it adds to one text, or to a pair."""
        return sum(self.added_by_type(paired))

    def added_by_type(self, paired: bool) -> tuple[int, int]:
        """How many of them have the type id 0, and how many that of the second text."""
        if paired:
            return len(self.before) + len(self.between), len(self.after)
        return len(self.before) + len(self.after), 0

    def around(self, first: Sequence[Token], second: Sequence[Token] | None = None) -> list[Token]:
        """The tokens of one text, or of a pair, with the special tokens."""
        tokens: list[Token] = []
        self.lay(tokens, first, second)
        return tokens

    def lay(self, tokens: list[Token], first: Sequence[Token], second: Sequence[Token] | None) -> None:
        """Append `around` to `tokens`, so that the many texts of a batch are copied once."""
        tokens += self.before
        tokens += first
        if second is not None:
            tokens += self.between
            tokens += second
        tokens += self.after

    def inside(self, length: int) -> range:
        """Where the text's own tokens stand in the encoding of one text, of `length` tokens."""
        return range(len(self.before), length - len(self.after))

    def map(self, change: Callable[[Token], Other]) -> "Template[Other]":
        """The same template of other tokens: tokens → ids."""
        before, between, after = (tuple(map(change, part)) for part in (self.before, self.between, self.after))
        return Template(before, between, after, self.second_type)
