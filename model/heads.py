"""The two heads that this project needs: a class for a sequence, and a word for a masked token.

Letters: B sequences, T tokens in the packed batch, M of them asked for, H hidden size, V vocabulary, C classes.
Source: Devlin et al. 2019 (arXiv:1810.04805), sections 3.1 (masked language model) and 4.1 (classification).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .bert import Bert, Output, initialise
from .config import ACTIVATIONS, BertConfig
from .dropout import Dropout
from .packing import Packed


class BertClassifier(nn.Module):
    """BERT with a linear map from the pooled [CLS] to C classes, named by `config.labels`."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if len(config.labels) < 2:
            raise ValueError(f"a classifier needs at least two labels, not {list(config.labels)}")
        self.config = config
        self.bert = Bert(config)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = Dropout(rate)
        self.classifier = nn.Linear(config.hidden_size, len(config.labels))
        initialise(self.classifier, config.initializer_range)

    def forward(self, packed: Packed, output_hidden_states: bool = False, output_attentions: bool = False) -> Output:
        output = self.bert(packed, output_hidden_states, output_attentions, first_only=not output_hidden_states)
        output.logits = self.classifier(self.dropout(output.pooled))  # (B, H) -> (B, C)
        return output


class MaskedLMHead(nn.Module):
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


class BertMaskedLM(nn.Module):
    """BERT that says which word stands at a token; with `config.labels`, also which class the sequence has.

    The second task of the paper is whether two sentences follow each other; here it is whatever the labels mean.
    """

    def __init__(self, config: BertConfig, pooler: bool = False) -> None:
        super().__init__()
        self.config = config
        self.bert = Bert(config, pooler=pooler or bool(config.labels))
        self.head = MaskedLMHead(config)
        self.classifier = nn.Linear(config.hidden_size, len(config.labels)) if config.labels else None
        if self.classifier:
            initialise(self.classifier, config.initializer_range)

    def forward(
        self,
        packed: Packed,
        at: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Output:
        """`at` (M,) chooses the tokens of the packed batch to score, since V scores for each of T are most of the work.

        The logits are (M, V), or (T, V) without `at`; the class logits (B, C), or None without labels.
        """
        output = self.bert(packed, output_hidden_states, output_attentions)
        if self.classifier:
            output.class_logits = self.classifier(output.pooled)  # (B, H) -> (B, C)
        hidden = output.hidden if at is None else output.hidden[at]
        output.logits = self.head(hidden, self.bert.embeddings.word.weight)
        return output
