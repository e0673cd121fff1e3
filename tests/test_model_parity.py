"""Our BERT gives what the reference implementation gives, on random tiny models in fp32 with dropout off.

Tolerances: outputs within 2e-6, gradients within 1e-6 of their own size plus 2e-6 (two orders of summation differ by so
much in fp32).
"""

import pytest
import torch
import transformers
from tiny import LABELS, random_texts, tiny
from torch.nn import functional as F

from tezukuri.model.bert import Bert
from tezukuri.model.model import MaskedLM, Model, use_kernel
from tezukuri.model.packing import pack
from tezukuri.weights.architectures import config_json
from tezukuri.weights.names import BERT

CONFIGURATIONS = {
    "plain": {},
    "one layer, one head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "deep and narrow": {"num_hidden_layers": 5, "hidden_size": 16, "num_attention_heads": 8},
    "tanh gelu": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "coarse layer norm": {"layer_norm_eps": 1e-5},
    "four segments": {"type_vocab_size": 4},
}
LENGTHS = [7, 2, 19, 1, 12]


def padded(encodings) -> dict[str, torch.Tensor]:
    def rows(name):
        return torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(getattr(e, name)).long() for e in encodings], batch_first=True
        )

    lengths = torch.tensor([len(e.ids) for e in encodings])
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {"input_ids": rows("ids"), "token_type_ids": rows("type_ids"), "attention_mask": mask}


def twins(ours: torch.nn.Module, theirs: type) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our model, and the oracle's with the same weights, both with dropout off."""
    torch.manual_seed(1)
    oracle = theirs(transformers.BertConfig(**config_json(ours), attn_implementation="eager"))
    prefix = "bert." if isinstance(ours, Bert) else ""
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if parameter.ndim == 1:  # biases and normalisations away from 0 and 1
                parameter.add_(torch.randn_like(parameter) * 0.1)
            names = [hub.removeprefix(prefix) for hub in BERT.on_hub(prefix + name)]
            for hub, part in zip(names, parameter.chunk(len(names)), strict=True):
                oracle.get_parameter(hub).copy_(part)
    return ours.eval(), oracle.eval()


def compare_gradients(ours: torch.nn.Module, oracle: torch.nn.Module) -> None:
    prefix = "bert." if isinstance(ours, Bert) else ""
    compared = set()
    for name, parameter in ours.named_parameters():
        names = [hub.removeprefix(prefix) for hub in BERT.on_hub(prefix + name)]
        expected = torch.cat([oracle.get_parameter(hub).grad for hub in names])
        if name.endswith("attention.qkv.bias"):
            # A key's bias moves all scores of a query alike, so its gradient is zero but for rounding.
            assert expected.chunk(3)[1].abs().max() < 1e-5 * max(1, expected.abs().max())
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=2e-6 * max(1, expected.abs().max()))
        compared.update(names)
    unmatched = {name for name, p in oracle.named_parameters() if p.grad is not None} - compared
    assert unmatched <= {"cls.predictions.decoder.bias"}  # the oracle's second name for cls.predictions.bias


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_every_hidden_state_and_the_pooled_output_equal_the_oracles(changes, kernel):
    config = tiny(**changes)
    ours, oracle = twins(Bert(config), transformers.BertModel)
    use_kernel(ours, kernel)
    encodings = random_texts(config, LENGTHS)
    with torch.no_grad():
        mine = ours(pack(encodings), output_hidden_states=True)
        theirs = oracle(**padded(encodings), output_hidden_states=True)
    real = padded(encodings)["attention_mask"].bool()
    assert len(mine.hidden_states) == config.num_hidden_layers + 1
    for layer, expected in zip(mine.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(layer, expected[real], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(mine.hidden, theirs.last_hidden_state[real], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(mine.pooled, theirs.pooler_output, rtol=1e-5, atol=2e-6)


def test_attention_probabilities_equal_the_oracles_and_are_zero_outside_the_sequences():
    config = tiny()
    ours, oracle = twins(Bert(config), transformers.BertModel)
    encodings = random_texts(config, LENGTHS)
    with torch.no_grad():
        mine = ours(pack(encodings), output_attentions=True).attentions
        theirs = oracle(**padded(encodings), output_attentions=True).attentions
    assert len(mine) == config.num_hidden_layers
    for layer, expected in zip(mine, theirs, strict=True):
        for row, length in enumerate(LENGTHS):
            torch.testing.assert_close(layer[row, :, :length, :length], expected[row, :, :length, :length])
            torch.testing.assert_close(layer[row, :, :length].sum(-1), torch.ones(config.num_attention_heads, length))
            assert not layer[row, :, length:].any() and not layer[row, :, :, length:].any()


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_classification_logits_loss_and_gradients_equal_the_oracles(kernel):
    config = tiny()
    ours, oracle = twins(Model(Bert(config), LABELS), transformers.BertForSequenceClassification)
    use_kernel(ours, kernel)
    encodings, labels = random_texts(config, LENGTHS), torch.tensor([0, 2, 1, 1, 0])
    logits = ours(pack(encodings)).logits
    loss = F.cross_entropy(logits, labels)
    theirs = oracle(**padded(encodings), labels=labels)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle)


def test_masked_lm_logits_loss_and_gradients_equal_the_oracles():
    config = tiny()
    ours, oracle = twins(MaskedLM(Bert(config, pooler=False)), transformers.BertForMaskedLM)
    encodings = random_texts(config, LENGTHS)
    rows = padded(encodings)
    real = rows["attention_mask"].bool()
    chosen = torch.rand(real.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    targets = torch.where(chosen & real, (rows["input_ids"] * 7) % config.vocab_size, -100)
    theirs = oracle(**rows, labels=targets)
    everywhere = ours(pack(encodings)).logits
    torch.testing.assert_close(everywhere, theirs.logits[real], rtol=1e-5, atol=1e-5)
    at = (targets[real] != -100).nonzero().flatten()
    logits = ours(pack(encodings), at=at).logits
    torch.testing.assert_close(logits, everywhere[at], rtol=1e-5, atol=1e-5)
    loss = F.cross_entropy(logits, targets[real][at])
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle)
