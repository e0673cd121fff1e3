"""BERT in one file, from its configuration to the encoder: embeddings, L layers, and the pooler.

Devlin et al. 2019 (arXiv:1810.04805), section 3; the layer is the Transformer encoder's of Vaswani et al. 2017
(arXiv:1706.03762), section 3.1, with the normalisation after each sum ("post-LN").

Letters: B sequences, T tokens in the packed batch, S tokens of the longest sequence, H hidden size, N heads, F
feed-forward size, L layers, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Attention
from .dropout import Dropout
from .initialisation import initialise, table
from .packing import Output, Packed

SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2)."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}


@dataclass
class BertConfig:
    """Sizes and rates of one BERT; the defaults are BERT-base's. Impossible values are a ValueError."""

    vocab_size: int = 32768  # V
    hidden_size: int = 768  # H
    num_hidden_layers: int = 12  # L
    num_attention_heads: int = 12  # N; a head has D = H / N dimensions
    intermediate_size: int = 3072  # F
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1  # after the embeddings and after each sublayer
    attention_probs_dropout_prob: float = 0.1  # on the attention probabilities
    classifier_dropout: float | None = None  # on the pooled output; None means hidden_dropout_prob
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02  # standard deviation of new weights
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0  # kept for the saved file

    first_position = 0  # of a sequence's first token; no field, since in BERT it is always 0

    def __post_init__(self) -> None:
        for name in SIZES:
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} is {size!r}; it must be a whole number above 0")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} cannot be divided into {self.num_attention_heads} attention heads"
            )
        if str(self.hidden_act) not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            rate = getattr(self, name)
            if rate is not None and not (isinstance(rate, int | float) and 0 <= rate < 1):
                raise ValueError(f"{name} is {rate!r}; a dropout rate lies in [0, 1)")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"{name} is {value!r}; it must be a number from 0")

    @property
    def word_head_act(self) -> str:
        """The activation in the head for masked words."""
        return self.hidden_act


class Embeddings(nn.Module):
    """Token ids → vectors: the sum of a word, a position and a segment vector, normalised (figure 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word: nn.Module = table(config.vocab_size, config.hidden_size)
        self.position = table(config.max_position_embeddings, config.hidden_size)
        self.segment = table(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.first_position = config.first_position

    def forward(self, packed: Packed) -> Tensor:
        """→ (T, H). A sequence longer than the learned positions is a ValueError."""
        room = self.position.num_embeddings - self.first_position
        if packed.longest > room:
            raise ValueError(
                f"a sequence has {packed.longest} tokens, but the model has learned only {room} positions; "
                f"encode with max_length={room}"
            )
        positions = packed.positions + self.first_position
        x = self.word(packed.ids) + self.segment(packed.type_ids) + self.position(positions)
        return self.dropout(self.norm(x))


class Layer(nn.Module):
    """One encoder layer: attention, then two linear maps with an activation between them, each added to its input."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config.hidden_size, config.num_attention_heads, config.attention_probs_dropout_prob)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self, x: Tensor, packed: Packed, show: bool = False, first_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(T, H) → (T, H), or with `first_only` (B, H) of the first tokens; `show` is attention's."""
        attended, probabilities = self.attention(x, packed, show, first_only)
        if first_only:
            x = x[packed.first]
        x = self.attention_norm(x + self.dropout(attended))
        wide = self.activation(self.up(x))  # (T, H) -> (T, F)
        return self.norm(x + self.dropout(self.down(wide))), probabilities  # (T, F) -> (T, H)


class Pooler(nn.Module):
    """A sequence as one vector: its [CLS] token through a linear map and tanh (google-research/bert, modeling.py)."""

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
        self.pooler: Pooler | None = Pooler(config) if pooler else None
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(
        self,
        packed: Packed,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_only: bool = False,
    ) -> Output:
        """With `first_only` the last layer computes each [CLS] alone, which saves three quarters of its products."""
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
