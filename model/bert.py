"""BERT itself: embeddings, L encoder layers, and the pooler.

Letters: B sequences, T tokens in the packed batch, S tokens of the longest sequence, H hidden size, N heads, F
feed-forward size. Source: Devlin et al. 2019 (arXiv:1810.04805), section 3; the layer is the Transformer encoder's of
Vaswani et al. 2017 (arXiv:1706.03762), section 3.1, with the normalisation after each sum ("post-LN").
"""

from dataclasses import dataclass

from torch import Tensor, nn

from .attention import Attention
from .config import ACTIVATIONS, BertConfig
from .dropout import Dropout
from .embeddings import Embeddings
from .packing import Packed


@dataclass
class Output:
    """What a forward pass gives; None where it was not asked for or the model has no such part."""

    hidden: Tensor  # (T, H) the last layer; (B, H) where only [CLS] was asked for
    pooled: Tensor | None = None  # (B, H)
    logits: Tensor | None = None  # (B, C) of a classifier, (T, V) of a masked-language model
    class_logits: Tensor | None = None  # (B, C) of a masked-language model with labels
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (T, H): embeddings, then every layer
    attentions: tuple[Tensor, ...] | None = None  # L of (B, N, S, S): query × key, zero outside a sequence


class Layer(nn.Module):
    """One encoder layer: attention, then two linear maps with a bend between them, each added to its input."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self, x: Tensor, packed: Packed, show: bool = False, first_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(T, H) → (T, H), or with `first_only` (B, H), the first token of each sequence; and attention's `show`."""
        attended, probabilities = self.attention(x, packed, show, first_only)
        if first_only:
            x = x[packed.first]
        x = self.attention_norm(x + self.dropout(attended))
        wide = self.activation(self.up(x))  # (T, H) -> (T, F)
        return self.norm(x + self.dropout(self.down(wide))), probabilities  # (T, F) -> (T, H)


class Pooler(nn.Module):
    """A sequence as one vector: its [CLS] token through a linear map and tanh (the authors' code, modeling.py)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        return self.dense(first).tanh()  # (B, H) -> (B, H)


class Bert(nn.Module):
    """The encoder: a packed batch of token ids → one vector a token, and one a sequence where there is a pooler."""

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = Pooler(config) if pooler else None
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(
        self,
        packed: Packed,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_only: bool = False,
    ) -> Output:
        """With `first_only` the last layer gives only what becomes of each [CLS]: of the other tokens it needs no more
        than keys and values, which leaves out three quarters of its products.
        """
        x = self.embeddings(packed)  # (T, H)
        hidden_states, attentions = [x], []
        for number, layer in enumerate(self.layers, start=1):
            x, probabilities = layer(x, packed, output_attentions, first_only and number == len(self.layers))
            if output_hidden_states:
                hidden_states.append(x)
            if output_attentions:
                attentions.append(probabilities)
        return Output(
            hidden=x,
            pooled=self.pooler(x if first_only else x[packed.first]) if self.pooler else None,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def initialise(module: nn.Module, std: float) -> None:
    """New weights of one module: normal with deviation `std`, zero biases, an identity normalisation (the paper's A.2).

    The authors' code truncates the normal distribution at two deviations; today's libraries, and we, do not.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # a shape without numbers, which a checkpoint will give
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm):
        nn.init.zeros_(module.bias)
