"""Heads: an encoder's vectors → logits and their loss, of a class for a sequence, or a word for a masked token.

Devlin et al. 2019 (arXiv:1810.04805), sections 3.1 (masked language model) and 4.1 (classification).

Letters: B sequences, M masked tokens, H hidden size, V vocabulary, C columns of logits.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .bert import ACTIVATIONS, BertConfig
from .initialisation import initialise


class Head(nn.Module, ABC):
    """Vectors → logits, and logits → loss. It is made as `Head(hidden_size, C)`.

    reads: its input of each sequence: the `first` token (or the pooler's vector), the `last`, the `mean`, or all
        `tokens`.
    """

    reads = "first"
    problem_type = ""  # its name in `config.json`

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits and targets (B, C), both fp32 → losses (B,), or their summands (B, C)."""

    @abstractmethod
    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """The divergence of q from p, logits (B, C) both, plus with `both_ways` that of p from q: a mean over B."""


class ClassHead(Head, nn.Linear):
    """Which of C classes; targets are probabilities."""

    problem_type = "single_label_classification"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return -(targets * logits.log_softmax(dim=-1))

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """KL(p ‖ q), or KL(p ‖ q) + KL(q ‖ p)."""
        p, q = p.float().log_softmax(dim=-1), q.float().log_softmax(dim=-1)
        there = F.kl_div(q, p, log_target=True, reduction="batchmean")
        return there + F.kl_div(p, q, log_target=True, reduction="batchmean") if both_ways else there


class WordHead(nn.Module):
    """A vector → a logit for every word: its products with the word embeddings themselves ("tied")."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.word_head_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        x = self.norm(self.activation(self.dense(x)))  # (M, H)
        return F.linear(x, word_embeddings, self.bias)  # (M, H) × (V, H) -> (M, V)
