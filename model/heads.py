"""What is asked of an encoder's vectors: a class for a sequence, or a word for a masked token.

Letters: B sequences, M tokens that are asked for, H hidden size, V vocabulary, C columns of logits.
Source: Devlin et al. 2019 (arXiv:1810.04805), sections 3.1 (masked language model) and 4.1 (classification).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .bert import ACTIVATIONS, BertConfig
from .initialisation import initialise


class Head(nn.Module, ABC):
    """How logits come about, and what they cost. It is made as `Head(hidden_size, C)`.

    reads: the vector that it is given of each sequence: `first` (that of the pooler where there is one), `last`,
        `mean`, or `tokens`, the vectors of all of them.
    problem_type: what `config.json` calls it.
    """

    reads = "first"
    problem_type = ""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits and targets (B, C), both fp32 → the loss of each sequence (B,), or its summands (B, C)."""

    @abstractmethod
    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """How far answers q are from answers p, of logits (B, C) both: a scalar, the mean over B.

        With `both_ways`, plus how far p are from q.
        """


class ClassHead(Head, nn.Linear):
    """Which of C classes; targets are probabilities."""

    problem_type = "single_label_classification"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, column by column."""
        return -(targets * logits.log_softmax(dim=-1))

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """KL(p ‖ q), or KL(p ‖ q) + KL(q ‖ p), of the probabilities."""
        p, q = p.float().log_softmax(dim=-1), q.float().log_softmax(dim=-1)
        there = F.kl_div(q, p, log_target=True, reduction="batchmean")
        return there + F.kl_div(p, q, log_target=True, reduction="batchmean") if both_ways else there


class WordHead(nn.Module):
    """A vector → a score for every word: the scores are its products with the word embeddings themselves ("tied")."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        x = self.norm(self.activation(self.dense(x)))  # (M, H)
        return F.linear(x, word_embeddings, self.bias)  # (M, H) × (V, H) -> (M, V)
