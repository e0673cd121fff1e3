"""Sentence vectors: a head whose logits are the vectors themselves, and the losses that they are learned by.

The texts of an example are read apart by the same encoder ("Siamese": Reimers and Gurevych 2019, arXiv:1908.10084).

Letters: B examples in a micro-batch, P texts of each (a text, its pair, and texts that are unlike it), H hidden size.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .heads import Head
from .ranks import gathered

NEAR_1 = 0.99999  # the angle's gradient is infinite at a cosine of 1


class VectorHead(Head):
    """The vectors of the P texts of an example, one behind the other, as logits (B, P·H). Nothing in it is learned.

    Targets are (B, 1 + P): how alike text and pair are, from 0 to 1, or NaN where nobody has judged it; and a number
    for each text, the same for the same one. `loss` is a subclass's.
    """

    name = ""  # of the loss
    reads = "mean"
    use = "encode"
    row_each = False
    drops = False
    least_scores = 1  # how many different ones it needs to learn anything
    calibrated = False  # whether `alike` itself is learned, and not the order of pairs
    of_scores = "scores of {low:g} count as unlike, of {high:g} as the same"  # a note on how they are learned

    def __init__(self, hidden_size: int, columns: int) -> None:
        super().__init__()
        self.texts = columns

    @classmethod
    def width(cls, hidden_size: int, columns: int) -> int:
        return columns * hidden_size

    def forward(self, x: Tensor) -> Tensor:
        return x.float().view(-1, self.texts * x.shape[-1])  # (B·P, H) -> (B, P·H)

    def parts(self, logits: Tensor) -> Tensor:
        return logits.float().unflatten(1, (self.texts, -1))  # (B, P·H) -> (B, P, H)

    def alike(self, vectors: Tensor) -> Tensor:
        """(B, P, H) → (B,) how alike text and pair are."""
        return F.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1)

    def of_all(self, *own: Tensor) -> tuple[Tensor, ...]:
        """While training the rows of all processes, which meet here; and (B,) where the own ones are among them."""
        return gathered(*own) if self.training else (*own, torch.arange(len(own[0]), device=own[0].device))

    def apart(self, p: Tensor, q: Tensor, both_ways: bool = False) -> Tensor:
        """1 less the cosine, twice of it with `both_ways`: a mean over B and P."""
        cosines = F.cosine_similarity(self.parts(p), self.parts(q), dim=-1)
        return (1 - cosines).mean() * (2 if both_ways else 1)


class Cosine(VectorHead):
    """(cos(u, v) − y)²: Reimers and Gurevych 2019 (arXiv:1908.10084), section 3, regression objective."""

    name = "cosine"
    calibrated = True

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (self.alike(self.parts(logits)) - targets[:, 0]) ** 2


class Angular(Cosine):
    """(1 − arccos(cos(u, v)) / π − y)²: Cer et al. 2018 (arXiv:1803.11175), equation 1, learned by squares."""

    name = "angular"

    def alike(self, vectors: Tensor) -> Tensor:
        return 1 - super().alike(vectors).clamp(-NEAR_1, NEAR_1).arccos() / math.pi


class CoSENT(VectorHead):
    """log(1 + Σ exp(λ (s_i − s_j))) over all i, j with y_i < y_j of a batch, of all processes: Huang et al. 2024
    (CoSENT, IEEE/ACM TASLP 32, equation 9). Only the order of the scores counts."""

    name = "cosent"
    gathers = True
    of_scores = "the order of the scores alone is learned: answers from {low:g} to {high:g} are cosines from 0 to 1"
    least_scores = 2
    scale = 20.0

    def ordered(self, vectors: Tensor) -> Tensor:
        """(B,) what is to be ordered as the scores are."""
        return self.alike(vectors)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        found, gold, own = self.of_all(self.scale * self.ordered(self.parts(logits)), targets[:, 0])
        above = found[:, None] - found[None, :]  # (B, B): how much i is above j
        wrong = above.masked_fill(gold[:, None] >= gold[None, :], -math.inf)
        return torch.cat([found.new_zeros(1), wrong.flatten()]).logsumexp(dim=0).expand(len(own))


class AnglE(CoSENT):
    """CoSENT's loss of the angle between complex vectors, the halves of u and v being their real and imaginary parts:
    Li and Li 2023 (arXiv:2309.12871), section 3.4."""

    name = "angle"

    def ordered(self, vectors: Tensor) -> Tensor:
        u, v = F.normalize(vectors[:, :2], dim=-1).unbind(dim=1)
        if u.shape[-1] % 2:
            u, v = F.pad(u, (0, 1)), F.pad(v, (0, 1))
        (real, imaginary), (other_real, other_imaginary) = u.chunk(2, dim=-1), v.chunk(2, dim=-1)
        turned = (imaginary * other_real - real * other_imaginary).sum(dim=-1)
        return ((u * v).sum(dim=-1) + turned).abs()


class Contrastive(VectorHead):
    """y d² + (1 − y) max(0, m − d)² with d = 1 − cos(u, v), halved: Hadsell et al. 2006 (CVPR), equation 4. Targets
    between 0 and 1 are mixed."""

    name = "contrastive"
    margin = 0.5

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        distance, gold = 1 - self.alike(self.parts(logits)), targets[:, 0]
        return (gold * distance**2 + (1 - gold) * F.relu(self.margin - distance) ** 2) / 2


class Ranking(VectorHead):
    """−log softmax of cos(u_i, v_j) / τ at j = i, over all pairs and unlike texts of a batch, of all processes:
    Henderson et al. 2017 (arXiv:1705.00652), section 4.4; van den Oord et al. 2018 (arXiv:1807.03748), equation 4.

    Where text and pair are the same sentence under two dropouts it is unsupervised SimCSE, with unlike texts the
    supervised one: Gao et al. 2021 (arXiv:2104.08821), equations 4 and 5 (τ = .05).
    What is the same as the text or its pair, elsewhere in the batch, is no rival of this pair, nor is another pair of
    the same text.
    """

    name = "ranking"
    gathers = True
    of_scores = "every pair is learned as alike, whatever its score"
    temperature = 0.05

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        vectors, numbers = F.normalize(self.parts(logits), dim=-1), targets[:, 1:]  # (B, P, H), (B, P)
        all_vectors, all_numbers, own = self.of_all(vectors, numbers)
        rivals = all_vectors[:, 1:].transpose(0, 1).flatten(0, 1)  # (P − 1) · all B, pairs first
        same = no_rivals(numbers, all_numbers).scatter(1, own[:, None], False)
        found = (vectors[:, 0] @ rivals.T).masked_fill(same, -math.inf)
        return F.cross_entropy(found / self.temperature, own, reduction="none")


def no_rivals(numbers: Tensor, all_numbers: Tensor) -> Tensor:
    """(B, P) and (n, P) numbers of texts → (B, (P − 1) · n): whether a pair, or behind them an unlike text, of the n is
    what a row of the B has itself, or a pair of the same text."""
    others = all_numbers[:, 1:].T.reshape(1, -1, 1)
    same = (others == numbers[:, None, :2]).any(dim=-1)
    same[:, : len(all_numbers)] |= numbers[:, :1] == all_numbers[:, 0]
    return same


LOSSES: dict[str, type[VectorHead]] = {
    loss.name: loss for loss in (Cosine, Angular, CoSENT, AnglE, Contrastive, Ranking)
}
NUMBERS = {"cosent": "scale", "angle": "scale", "contrastive": "margin", "ranking": "temperature"}


def vector_head(loss: str, **options: float) -> type[VectorHead]:
    """The head for a loss of LOSSES, with a number of its own in the place of the usual one.

    Raises:
        ValueError: there is no such loss, or it has no such number.
    """
    if loss not in LOSSES:
        raise ValueError(f"the loss {loss!r} is not known; choose one of {', '.join(LOSSES)}")
    kind = LOSSES[loss]
    for name, value in options.items():
        if name != NUMBERS.get(loss):
            raise ValueError(f"the loss {loss} has no {name}{f': it has {NUMBERS[loss]}' if loss in NUMBERS else ''}")
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value:g}; it must be a number above 0")
    return type(kind.__name__, (kind,), dict(options)) if options else kind
