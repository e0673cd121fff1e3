"""LUKE fed with text alone, which makes it a RoBERTa with BERT's pooler: its encoder is `Bert`.

Yamada et al. 2020 (arXiv:2010.01057). The other half of its input, entities, and what only they need (their embeddings,
and queries of their own for attention from and to them, section 3.2) are left aside.
"""

from .roberta import RobertaConfig


class LukeConfig(RobertaConfig):
    """RoBERTa's sizes and rates; those of entities have no influence on text alone."""
