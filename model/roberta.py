"""RoBERTa: BERT's encoder with other positions, another way into the classifier, and one segment.

Liu et al. 2019 (arXiv:1907.11692). XLM-R (Conneau et al. 2020, arXiv:1911.02116) and CamemBERT (Martin et al. 2020,
arXiv:1911.03894) are the same computation under other names. All else is in bert.py.

A sequence's first token has the position after padding's id, for in fairseq, where RoBERTa was made, padding had a
position too: with 514 positions and padding 1, a text has 512 tokens, of positions 2 to 513.

Letters: B sequences, H hidden size.
"""

from dataclasses import dataclass

from torch import Tensor

from .bert import Bert, BertConfig, Pooler
from .dropout import Dropout
from .initialisation import initialise


@dataclass
class RobertaConfig(BertConfig):
    """As BERT's, with padding's id, on which positions depend."""

    pad_token_id: int | None = 1
    first_position: int = -1  # of a sequence's first token; -1: pad_token_id + 1

    word_head_act = "gelu"  # whatever hidden_act is

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.pad_token_id) is not int or self.pad_token_id < 0:
            raise ValueError(f"pad_token_id is {self.pad_token_id!r}; it must be a number, as positions begin after it")
        if self.first_position == -1:
            self.first_position = self.pad_token_id + 1
        if type(self.first_position) is not int or not 0 <= self.first_position < self.max_position_embeddings:
            raise ValueError(
                f"positions begin at {self.first_position!r}, and max_position_embeddings is "
                f"{self.max_position_embeddings}: no token has room"
            )


class XlmRobertaConfig(RobertaConfig):
    """Conneau et al. 2020 (arXiv:1911.02116): RoBERTa for 100 languages."""


class CamembertConfig(RobertaConfig):
    """Martin et al. 2020 (arXiv:1911.03894): RoBERTa for French."""


class DroppedPooler(Pooler):
    """What RoBERTa's classifier does before its last map, dropout, a linear map and tanh, in the place of a pooler."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        rate = config.classifier_dropout
        self.dropout = Dropout(config.hidden_dropout_prob if rate is None else rate)

    def forward(self, first: Tensor) -> Tensor:
        return super().forward(self.dropout(first))  # (B, H) -> (B, H)


class Roberta(Bert):
    """The encoder; its first positions come by way of the configuration."""

    def __init__(self, config: RobertaConfig, pooler: bool = True) -> None:
        super().__init__(config, pooler=False)
        if pooler:
            self.pooler = DroppedPooler(config)
            self.pooler.apply(lambda module: initialise(module, config.initializer_range))
