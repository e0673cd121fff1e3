"""Heads: an encoder's vectors → logits and their loss, of a class or a number for a sequence, or a word for a mask.

Devlin et al. 2019 (arXiv:1810.04805), sections 3.1 (masked language model), 4.1 (classification), 4.2 (start and end of
an answer) and 5.3 (a tag for each token).

Letters: B sequences, S tokens of the longest, M masked tokens, H hidden size, V vocabulary, C columns of logits.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .bert import ACTIVATIONS, BertConfig
from .initialisation import initialise
from .packing import NOTHING


class Head(nn.Module, ABC):
    """Vectors → logits, and logits → loss. It is made as `Head(hidden_size, C)`.

    reads: its input of each sequence: the `first` token (or the pooler's vector), the `last`, the `mean`, or all
        `tokens`. Of these it makes (T, C), and its loss is given (B, S, C), with NOTHING (packing.py) behind the
        shorter sequences.
    """

    reads = "first"
    problem_type = ""  # its name in `config.json`
    use = "classify"  # which class of the hub's libraries does the same, see weights/architectures.py
    row_each = True  # whether each of the C columns has parameters of its own
    drops = True  # whether dropout stands before it
    gathers = False  # whether its loss is of the examples of all processes, which must then have equally many

    @classmethod
    def width(cls, hidden_size: int, columns: int) -> int:
        """How many logits a sequence has, of a head made as `Head(hidden_size, columns)`."""
        return columns

    def begin(self, targets: Tensor) -> None:
        """Before a new head is trained: what it takes from the (n, C) targets of the training texts."""

    def settle(self) -> None:
        """When it is trained, and before it is saved."""

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
        return divergence(p, q, both_ways)


def divergence(p: Tensor, q: Tensor, both_ways: bool) -> Tensor:
    """KL(p ‖ q) of softmax, from logits (B, C), or KL(p ‖ q) + KL(q ‖ p): a mean over B."""
    p, q = p.float().log_softmax(dim=-1), q.float().log_softmax(dim=-1)
    there = F.kl_div(q, p, log_target=True, reduction="batchmean")
    return there + F.kl_div(p, q, log_target=True, reduction="batchmean") if both_ways else there


class ScoreHead(Head, nn.Linear):
    """A number; targets are numbers of any size.

    While it is trained its logits are `shift + scale · (W x + b)` with mean and deviation of the training scores, so
    that scores from 0 to 100 are learned at the same rate as those from 0 to 1. `settle` makes a plain linear layer of
    it, as the hub's libraries have it. It computes in fp32: bf16 has 3 digits.
    """

    problem_type = "regression"
    scale, shift = 1.0, 0.0

    def begin(self, targets: Tensor) -> None:
        self.scale, self.shift = float(targets.std(correction=0)) or 1.0, float(targets.mean())

    @torch.no_grad()
    def settle(self) -> None:
        self.weight.mul_(self.scale)
        self.bias.mul_(self.scale).add_(self.shift)
        self.scale, self.shift = 1.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            found = F.linear(x.float(), self.weight.float(), self.bias.float())  # (B, H) -> (B, 1)
        return self.shift + self.scale * found

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits - targets) ** 2

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """The squared distance, twice of it with `both_ways`."""
        return (p.float() - q.float()).pow(2).sum(dim=-1).mean() * (2 if both_ways else 1)


class LabelsHead(Head, nn.Linear):
    """Which of C labels, any number of them; targets are 1 or 0. The loss is a mean over labels, as on the hub."""

    problem_type = "multi_label_classification"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") / logits.shape[-1]

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """KL(p ‖ q) of a label's two probabilities, or KL(p ‖ q) + KL(q ‖ p): a mean over labels."""
        p, q = p.float(), q.float()
        there = p.sigmoid() * (F.logsigmoid(p) - F.logsigmoid(q)) + (-p).sigmoid() * (
            F.logsigmoid(-p) - F.logsigmoid(-q)
        )
        return there.mean() + self.apart(q, p) if both_ways else there.mean()


class ChoiceHead(ClassHead):
    """Which of C choices, each of them a sequence; targets are probabilities. One row serves any number of choices."""

    use = "choose"
    row_each = False

    def __init__(self, hidden_size: int, columns: int) -> None:
        super().__init__(hidden_size, 1)
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(-1, self.columns)  # (B·C, H) -> (B·C, 1) -> (B, C)


class TagHead(Head, nn.Linear):
    """Which of C tags each token has; targets (B, S or more) are their numbers, -1 where a token has none.

    The loss is a mean over all tokens of the micro-batch that have a tag, as on the hub.
    """

    reads = "tokens"
    use = "tag"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        tags = targets[:, : logits.shape[1]].long()  # (B, S)
        each = F.cross_entropy(logits.transpose(1, 2), tags, ignore_index=-1, reduction="none")  # (B, C, S) -> (B, S)
        return each * (len(tags) / (tags >= 0).sum().clamp(min=1))

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """KL(p ‖ q), or KL(p ‖ q) + KL(q ‖ p): a mean over all tokens."""
        there = p[:, :, 0] != NOTHING  # (B, S)
        return divergence(p[there], q[there], both_ways)


class SpanHead(Head, nn.Linear):
    """Where an answer begins and where it ends: two logits a token; targets (B, 2) are two places in the sequence.

    Each softmax is over all tokens of a sequence, and the loss is the mean of the two cross-entropies, as on the hub.
    """

    reads = "tokens"
    use = "span"
    drops = False

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        places = targets.long()[:, None]  # (B, 1, 2)
        return -logits.log_softmax(dim=1).gather(1, places)[:, 0] / 2  # (B, S, 2) -> (B, 2)

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """KL(p ‖ q), or KL(p ‖ q) + KL(q ‖ p): the mean of those of start and end."""
        return divergence(p.transpose(1, 2).flatten(0, 1), q.transpose(1, 2).flatten(0, 1), both_ways)


HEADS: dict[str, type[Head]] = {head.problem_type: head for head in (ClassHead, ScoreHead, LabelsHead)}


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
