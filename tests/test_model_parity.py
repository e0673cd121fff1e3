"""Our encoders give what the reference implementation gives, on random tiny models in fp32 with dropout off.

Tolerances: outputs within 2e-6 (1e-5 of LUKE, whose reference adds up in another order), gradients within 1e-6 of their
own size plus 2e-6 (two orders of summation differ by so much in fp32).
"""

import pytest
import torch
import transformers
from tiny import LABELS, random_texts, tiny
from torch.nn import functional as F

from tezukuri.model.model import MaskedLM, Model, use_kernel
from tezukuri.model.packing import pack
from tezukuri.weights.architectures import ARCHITECTURES, architecture_of, config_json, use_of

CONFIGURATIONS = {
    "plain": {},
    "one layer, one head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "deep and narrow": {"num_hidden_layers": 5, "hidden_size": 16, "num_attention_heads": 8},
    "tanh gelu": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "coarse layer norm": {"layer_norm_eps": 1e-5},
    "four segments": {"type_vocab_size": 4},
}
KINDS = pytest.mark.parametrize("kind", list(ARCHITECTURES))
LENGTHS = [7, 2, 19, 1, 12]


def encoder(kind="bert", pooler=True, **changes) -> torch.nn.Module:
    row = ARCHITECTURES[kind]
    return row.encoder(row.config(**vars(tiny(**changes)) | {"pad_token_id": row.config().pad_token_id}), pooler)


def texts_for(config) -> list:
    """Random texts without padding's id, which to the reference is no token of a text."""
    encodings = random_texts(config, LENGTHS)
    for encoding in encodings:
        encoding.ids[encoding.ids == config.pad_token_id] += 1
    return encodings


def padded(encodings, pad_id=0) -> dict[str, torch.Tensor]:
    def rows(name, filling=0):
        return torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(getattr(e, name)).long() for e in encodings], batch_first=True, padding_value=filling
        )

    lengths = torch.tensor([len(e.ids) for e in encodings])
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {"input_ids": rows("ids", pad_id), "token_type_ids": rows("type_ids"), "attention_mask": mask}


def names_on_hub(model: torch.nn.Module, name: str) -> list[str]:
    """The reference's parameters that make up one of ours."""
    names, use = architecture_of(model)[1].names, use_of(model)
    hub = names.of(use).on_hub(name if use != "encode" else f"bert.{name}")
    return [one.partition(".")[2] for one in hub] if use == "encode" else hub


def twins(ours: torch.nn.Module) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our model, and the oracle's with the same weights, both with dropout off."""
    torch.manual_seed(1)
    settings = config_json(ours)
    theirs = getattr(transformers, settings["architectures"][0])
    oracle = theirs(theirs.config_class(**settings, attn_implementation="eager"))
    if use_of(ours) == "fill-mask":  # which the reference itself omits for LUKE
        oracle.get_output_embeddings().weight = oracle.get_input_embeddings().weight
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if parameter.ndim == 1:  # biases and normalisations away from 0 and 1
                parameter.add_(torch.randn_like(parameter) * 0.1)
            names = names_on_hub(ours, name)
            for hub, part in zip(names, parameter.chunk(len(names)), strict=True):
                oracle.get_parameter(hub).copy_(part)
    return ours.eval(), oracle.eval()


def compare_gradients(ours: torch.nn.Module, oracle: torch.nn.Module, atol: float = 2e-6) -> None:
    compared = set()
    for name, parameter in ours.named_parameters():
        names = names_on_hub(ours, name)
        expected = torch.cat([oracle.get_parameter(hub).grad for hub in names])
        if name.endswith("attention.qkv.bias"):
            # A key's bias moves all scores of a query alike, so its gradient is zero but for rounding.
            assert expected.chunk(3)[1].abs().max() < 1e-5 * max(1, expected.abs().max())
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=atol * max(1, expected.abs().max()))
        compared.update(oracle.get_parameter(hub) for hub in names)
    assert compared == {parameter for parameter in oracle.parameters() if parameter.grad is not None}


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@KINDS
def test_every_hidden_state_and_the_pooled_output_equal_the_oracles(kind, changes, kernel):
    ours, oracle = twins(encoder(kind, **changes))
    use_kernel(ours, kernel)
    encodings = texts_for(ours.config)
    rows = padded(encodings, ours.config.pad_token_id)
    with torch.no_grad():
        mine = ours(pack(encodings), output_hidden_states=True)
        theirs = oracle(**rows, output_hidden_states=True)
    atol = 1e-5 if kind == "luke" else 2e-6
    real = rows["attention_mask"].bool()
    assert len(mine.hidden_states) == ours.config.num_hidden_layers + 1
    for layer, expected in zip(mine.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(layer, expected[real], rtol=1e-5, atol=atol)
    torch.testing.assert_close(mine.hidden, theirs.last_hidden_state[real], rtol=1e-5, atol=atol)
    torch.testing.assert_close(mine.pooled, theirs.pooler_output, rtol=1e-5, atol=atol)


@KINDS
def test_attention_probabilities_equal_the_oracles_and_are_zero_outside_the_sequences(kind):
    ours, oracle = twins(encoder(kind))
    encodings = texts_for(ours.config)
    with torch.no_grad():
        mine = ours(pack(encodings), output_attentions=True).attentions
        theirs = oracle(**padded(encodings, ours.config.pad_token_id), output_attentions=True).attentions
    assert len(mine) == ours.config.num_hidden_layers
    for layer, expected in zip(mine, theirs, strict=True):
        for row, length in enumerate(LENGTHS):
            torch.testing.assert_close(layer[row, :, :length, :length], expected[row, :, :length, :length])
            torch.testing.assert_close(layer[row, :, :length].sum(-1), torch.ones(layer.shape[1], length))
            assert not layer[row, :, length:].any() and not layer[row, :, :, length:].any()


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@KINDS
def test_classification_logits_loss_and_gradients_equal_the_oracles(kind, kernel):
    ours, oracle = twins(Model(encoder(kind), LABELS))
    use_kernel(ours, kernel)
    encodings, labels = texts_for(ours.config), torch.tensor([0, 2, 1, 1, 0])
    logits = ours(pack(encodings)).logits
    loss = F.cross_entropy(logits, labels)
    theirs = oracle(**padded(encodings, ours.config.pad_token_id), labels=labels)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(loss, theirs.loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    theirs.loss.backward()
    compare_gradients(ours, oracle)


@pytest.mark.parametrize("act", ["gelu", "relu"])
@KINDS
def test_masked_lm_logits_loss_and_gradients_equal_the_oracles(kind, act):
    ours, oracle = twins(MaskedLM(encoder(kind, pooler=False, hidden_act=act)))
    encodings = texts_for(ours.config)
    rows = padded(encodings, ours.config.pad_token_id)
    real = rows["attention_mask"].bool()
    chosen = torch.rand(real.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    targets = torch.where(chosen & real, (rows["input_ids"] * 7) % ours.config.vocab_size, -100)
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
