"""Packing, the attention kernels and dropout."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from tiny import LABELS, classifier, random_texts, tiny
from torch.nn import functional as F

from tezukuri.model import attention
from tezukuri.model.bert import Bert
from tezukuri.model.dropout import dropout
from tezukuri.model.int8 import Int8Linear, to_int8
from tezukuri.model.model import MaskedLM, Model, use_kernel
from tezukuri.model.packing import pack
from tezukuri.weights.architectures import config_json, read_config


def test_pack_by_hand():
    config = tiny()
    a, b, c = random_texts(config, [3, 1, 2])
    packed = pack([a, b, c])
    assert packed.ids.tolist() == [*a.ids, *b.ids, *c.ids]
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packed.boundaries.tolist() == [0, 3, 4, 6]
    assert packed.boundaries.dtype == torch.int32
    assert packed.slots.tolist() == [0, 1, 2, 3, 6, 7]
    assert (len(packed), packed.longest, packed.first.tolist()) == (3, 3, [0, 3, 4])


def test_pack_fills_up_and_lets_short_sequences_share_a_row_by_hand():
    a, b, c = random_texts(tiny(), [3, 1, 2])
    packed = pack([a, b, c], multiple=4, share_rows=True)
    assert packed.ids.tolist() == [*a.ids, *b.ids, *c.ids, 0, 0]
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1, 0, 1]
    assert packed.boundaries.tolist() == [0, 3, 4, 6, 8]
    assert packed.slots.tolist() == [0, 1, 2, 5, 3, 4, 6, 7]  # the longest first: a | c b | what fills up
    assert packed.owners.tolist() == [[0, 0, 0], [2, 2, 1], [3, 3, -1]]
    assert (len(packed), packed.rows, packed.first.tolist()) == (3, 3, [0, 3, 4])
    assert pack([a, b], multiple=4, share_rows=True).owners is None  # 4 tokens already, and no room to share
    alone = pack([c], multiple=5)  # what fills up is never the longest
    assert (alone.longest, alone.rows, len(alone), alone.first.tolist()) == (2, 3, 1, [0])
    assert alone.boundaries.tolist() == [0, 2, 4, 5]


def test_batches_have_few_sizes_and_little_that_fills_up():
    shapes = [(n % 20 + 1, n // 21 + 1) for n in range(3, 12_000, 17)]  # tokens of a text, and texts
    text = random_texts(tiny(), [20])[0]
    texts = {n: SimpleNamespace(ids=text.ids[:n], type_ids=text.type_ids[:n]) for n in range(1, 21)}
    sizes = [len(pack([texts[n]] * many, multiple=8).ids) for n, many in shapes]
    tokens = [n * many for n, many in shapes]
    added = [size - n for n, size in zip(tokens, sizes, strict=True)]
    assert min(added) == 0 and all(more < 8 or more < n / 32 for more, n in zip(added, tokens, strict=True))
    assert len(set(sizes)) < 250 < len(set(tokens))
    assert all(size % 8 == 0 for size in sizes)
    assert [len(pack([texts[n]] * 99).ids) for n in (3, 7)] == [297, 693]  # as they are, unless asked for


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("lengths", [[7, 2, 19, 1, 12, 3, 3], [5, 5, 5], [2, 1], [24], [8, 8, 4, 4]])
def test_filling_up_and_sharing_rows_change_nothing(kernel, lengths):
    """Logits and gradients within 1e-5 in fp32: products of other sizes add up in another order."""
    config = tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    results = []
    for settings in ({}, {"multiple": 8}, {"share_rows": True}, {"multiple": 8, "share_rows": True}):
        torch.manual_seed(0)
        model = Model(Bert(config), LABELS).train()
        use_kernel(model, kernel)
        packed = pack(random_texts(config, lengths), **settings)
        assert len(packed.ids) % settings.get("multiple", 1) == 0
        logits = model(packed).logits
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad for p in model.parameters())])
    for one, *others in zip(*results, strict=True):
        for other in others:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5 * max(1, float(one.abs().max())))


@pytest.mark.parametrize("share_rows", [False, True])
def test_a_classifiers_last_layer_gives_cls_alone_and_the_same(share_rows):
    config = tiny(num_hidden_layers=2)
    model = Model(Bert(config), LABELS).eval()
    packed = pack(random_texts(config), share_rows=share_rows)
    short, whole = model(packed), model(packed, output_hidden_states=True)
    assert len(short.hidden) == len(packed) < len(whole.hidden)
    torch.testing.assert_close(short.hidden, whole.hidden[packed.first], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(short.logits, whole.logits, rtol=1e-5, atol=1e-5)


def test_attention_of_sequences_that_share_rows_is_not_shown_as_if_each_had_its_own():
    config = tiny()
    packed = pack(random_texts(config), share_rows=True)
    with pytest.raises(ValueError, match="without share_rows"):
        Model(Bert(config), LABELS).eval()(packed, output_attentions=True)


@pytest.mark.parametrize("lengths", [[], [3, 0, 2]])
def test_pack_refuses_what_has_no_tokens(lengths):
    with pytest.raises(ValueError, match="no sequence" if not lengths else "sequence 1 has no tokens"):
        pack(random_texts(tiny(), lengths))


@pytest.mark.parametrize("lengths", [[7, 2, 19, 1, 12], [5, 5, 5], [24]])
def test_kernels_agree_in_outputs_and_gradients(lengths):
    """Within 1e-5 in fp32: the two only add up in another order."""
    results = {}
    for kernel in ("eager", "sdpa"):
        config = tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        torch.manual_seed(0)
        model = Model(Bert(config), LABELS).train()
        use_kernel(model, kernel)
        output = model(pack(random_texts(config, lengths)), output_hidden_states=True)
        output.logits.square().sum().backward()
        results[kernel] = [output.hidden.detach()] + [p.grad for p in model.parameters()]
    for one, other in zip(results["eager"], results["sdpa"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * max(1, float(one.abs().max())))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_packed_sequence_comes_out_as_it_does_alone(kernel):
    """Within 1e-5 in fp32: products of other sizes add up in another order."""
    config = tiny()
    model = Bert(config).eval()
    use_kernel(model, kernel)
    encodings = random_texts(config)
    together = model(pack(encodings))
    for i, encoding in enumerate(encodings):
        alone = model(pack([encoding]))
        start, end = pack(encodings).boundaries[i : i + 2].tolist()
        torch.testing.assert_close(together.hidden[start:end], alone.hidden, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together.pooled[i], alone.pooled[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_sequences_of_a_batch_do_not_influence_each_other(kernel):
    config = tiny()
    model = Bert(config).eval()
    use_kernel(model, kernel)
    encodings = random_texts(config)
    before = model(pack(encodings)).hidden
    encodings[2].ids = (encodings[2].ids + 31) % config.vocab_size
    after = model(pack(encodings)).hidden
    start, end = pack(encodings).boundaries[2:4].tolist()
    others = torch.ones(len(before), dtype=torch.bool)
    others[start:end] = False
    assert not torch.allclose(before[start:end], after[start:end], atol=0.01)
    torch.testing.assert_close(before[others], after[others], rtol=0, atol=1e-6)


def test_varlen_is_refused_where_it_would_drop_dropout_or_cannot_run():
    config = tiny()
    packed = pack(random_texts(config))
    model = Bert(config)
    use_kernel(model, "varlen")
    with pytest.raises(ValueError, match=r"no dropout, but attention_probs_dropout_prob is 0\.1"):
        model.train()(packed)
    with pytest.raises(ValueError, match=r"bf16 or fp16 on CUDA, not torch\.float32 on cpu"):
        model.eval()(packed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen attention runs on CUDA only")
def test_varlen_agrees_with_sdpa():
    config = tiny(hidden_size=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = Bert(config).cuda().bfloat16().eval()
    packed = pack(random_texts(config)).to("cuda")
    expected = model(packed).hidden
    use_kernel(model, "varlen")
    torch.testing.assert_close(model(packed).hidden, expected, rtol=0.02, atol=0.05)


def test_varlen_gets_the_packed_tokens_as_its_kernel_wants_them(monkeypatch):
    """The kernel is CUDA's; a stand-in with its published signature computes the same on the CPU."""

    def stand_in(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
        assert query.shape[1:] == (4, 8) and max_q == max_k == 19 and cu_seq_q.dtype == torch.int32
        pieces = []
        for start, end in zip(cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), strict=True):
            q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
            pieces.append(torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1))
        return torch.cat(pieces)

    import torch.nn.attention.varlen as varlen_module

    monkeypatch.setattr(varlen_module, "varlen_attn", stand_in)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    packed = pack(random_texts(tiny()))
    qkv = torch.randn(len(packed.ids), 3, 4, 8).bfloat16()
    out, _ = attention.varlen(qkv, packed, 0.0)
    torch.testing.assert_close(out, attention.sdpa(qkv, packed, 0.0)[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("rate", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"])
def test_each_dropout_acts_in_training_alone(kernel, rate):
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    config = tiny(**(off | {rate: 0.5}))
    model = Model(Bert(config), LABELS)
    use_kernel(model, kernel)
    packed = pack(random_texts(config))
    model.train()
    assert not torch.equal(model(packed).logits, model(packed).logits)
    model.eval()
    assert torch.equal(model(packed).logits, model(packed).logits)
    state = torch.get_rng_state()
    model(packed)
    assert torch.equal(state, torch.get_rng_state())  # evaluation draws nothing


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_is_torchs_own_with_other_draws(p):
    """By counting: of a million elements, the share that is dropped lies within five standard deviations of p."""
    torch.manual_seed(0)
    x = torch.linspace(1, 2, 1_000_003, requires_grad=True)
    y = dropout(x, p)
    y.sum().backward()
    kept = y != 0
    for dropped in (~kept, F.dropout(x, p) == 0):
        assert abs(dropped.double().mean() - p) < 5 * (p * (1 - p) / len(x)) ** 0.5
    torch.testing.assert_close(y[kept], F.dropout(x, p).max() / 2 * x[kept], rtol=1e-4, atol=0)
    assert torch.equal(x.grad != 0, kept)
    torch.testing.assert_close(x.grad[kept], torch.full_like(x.grad[kept], 1 / (1 - p)), rtol=1e-4, atol=0)
    for step in range(1, 9):  # neighbours, which may come out of one draw, fall independently of each other
        assert abs((~kept[step:] & ~kept[:-step]).double().mean() - p * p) < 5 * (p / len(x)) ** 0.5


def test_dropout_takes_its_draws_from_torch_and_none_at_nothing():
    x = torch.ones(5, 7, dtype=torch.bfloat16)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    assert first.dtype == x.dtype and not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    state = torch.get_rng_state()
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this CPU takes inputs of 7 bits")
@pytest.mark.parametrize("amx", [False, True])
def test_a_linear_layer_in_int8_is_its_formula(monkeypatch, amx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    engine, prepack, engines = torch.backends.quantized.engine, torch.ops.quantized.linear_prepack, []

    def watched(*arguments):
        engines.append(torch.backends.quantized.engine)
        return prepack(*arguments)

    monkeypatch.setattr(torch.ops.quantized, "linear_prepack", watched)
    torch.manual_seed(0)
    x, linear = torch.randn(5, 64), torch.nn.Linear(64, 8).requires_grad_(False)
    rows = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    weight = (linear.weight / rows).round() * rows
    largest = x.abs().amax(dim=1, keepdim=True)
    rounded = (x / largest * 127).round() / 127 * largest  # each row by itself
    found = Int8Linear(linear)(x)
    assert engines == ["onednn" if amx else engine] and torch.backends.quantized.engine == engine
    torch.testing.assert_close(found, rounded @ weight.T + linear.bias, rtol=1e-5, atol=1e-5)
    assert (found - linear(x)).abs().max() > 1e-3


def test_in_int8_the_answer_to_a_text_does_not_depend_on_its_batch():
    """Vectors a hundred times as large beside them would leave others a few of the 256 steps."""
    torch.manual_seed(0)
    layer, x = Int8Linear(torch.nn.Linear(64, 8)), torch.randn(5, 64)
    alone = layer(x)
    for neighbours in (x * 100, -x.abs(), torch.zeros(3, 64)):
        assert torch.equal(layer(torch.cat([x, neighbours]))[:5], alone)
    assert torch.equal(layer(x[2:3]), alone[2:3])
    assert torch.equal(layer(torch.zeros(1, 64)), layer.bias[None]) and layer(x[:0]).shape == (0, 8)
    assert torch.equal(Int8Linear(torch.nn.Linear(64, 8, bias=False))(torch.zeros(1, 64)), torch.zeros(1, 8))
    model = Model(Bert(tiny(initializer_range=0.3)), LABELS).eval()
    to_int8(model)
    texts = random_texts(model.config, [7, 7, 19, 7, 12])
    together = model(pack(texts)).logits
    for i, text in enumerate(texts):
        torch.testing.assert_close(model(pack([text])).logits[0], together[i], rtol=0, atol=1e-4)


def test_a_model_in_int8_has_no_other_linear_layers_and_answers_nearly_the_same():
    torch.manual_seed(0)
    config = tiny(initializer_range=0.3)
    model = Model(Bert(config), LABELS).eval()
    packed = pack(random_texts(config, [7, 2, 19, 1, 12]))
    before = model(packed).logits.detach()
    to_int8(model)
    assert not any(isinstance(module, torch.nn.Linear) for module in model.modules())
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) == 4 * config.num_hidden_layers + 2
    after = model(packed).logits.detach()
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, before, rtol=0, atol=0.2 * float(before.std()))


def test_int8_is_refused_off_the_cpu():
    with torch.device("meta"):
        model = classifier()
    with pytest.raises(ValueError, match="int8 is for the CPU"):
        to_int8(model)


def test_classifier_dropout_is_hidden_dropout_unless_given():
    assert classifier(hidden_dropout_prob=0.3).dropout.p == 0.3
    assert classifier(hidden_dropout_prob=0.3, classifier_dropout=0.0).dropout.p == 0.0


def test_the_decoder_of_the_masked_lm_is_the_word_embedding_itself():
    config = tiny()
    model = MaskedLM(Bert(config), LABELS).eval()
    packed = pack(random_texts(config))
    before = model(packed).logits
    with torch.no_grad():
        model.bert.embeddings.word.weight[0].mul_(2.0)  # no text here has the token 0
    after = model(packed).logits
    assert torch.equal(before[:, 1:], after[:, 1:]) and not torch.allclose(before[:, 0], after[:, 0])


def test_a_sequence_longer_than_the_positions_is_refused():
    config = tiny()
    with pytest.raises(ValueError, match=r"25 tokens, but the model has learned only 24 positions.*max_length=24"):
        Bert(config)(pack(random_texts(config, [25])))


@pytest.mark.parametrize(
    ("training", "dtype", "longest", "kernel"),
    [
        (False, torch.bfloat16, 20, "eager"),
        (False, torch.bfloat16, 200, "sdpa"),
        (False, torch.float32, 20, "sdpa"),
        (True, torch.bfloat16, 20, "sdpa"),
    ],
)
def test_auto_takes_the_faster_kernel(monkeypatch, training, dtype, longest, kernel):
    called = []
    real = dict(attention.KERNELS)
    for name in real:
        monkeypatch.setitem(attention.KERNELS, name, lambda *a, name=name: called.append(name) or real[name](*a))
    config = tiny(max_position_embeddings=256)
    Bert(config).train(training).to(dtype)(pack(random_texts(config, [3, longest])))
    assert set(called) == {kernel}


def test_unknown_kernels_and_impossible_sizes_are_refused():
    config = tiny()
    model = Bert(config)
    use_kernel(model, "flash")
    with pytest.raises(ValueError, match="'flash' is not known; choose one of auto, eager, sdpa, varlen"):
        model(pack(random_texts(config)))
    with pytest.raises(ValueError, match="hidden_size 30 cannot be divided into 4"):
        tiny(hidden_size=30)
    with pytest.raises(ValueError, match=r"hidden_dropout_prob is 1\.0"):
        tiny(hidden_dropout_prob=1.0)
    for name, value in (("layer_norm_eps", None), ("initializer_range", "0.02"), ("hidden_act", ["gelu"])):
        with pytest.raises(ValueError, match=f"{name} .*{re.escape(repr(value))}"):
            tiny(**{name: value})
    with pytest.raises(ValueError, match="at least two labels"):
        classifier(labels=("a",))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "deberta-v2"),
        ("model_type", ["bert"]),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("pruned_heads", {"0": [1]}),
        ("hidden_act", "quick_gelu"),
    ],
)
def test_a_key_that_changes_the_computation_is_refused_by_name(key, value):
    told = re.escape(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ValueError, match=rf"{key} .*{told}"):
        read_config({"hidden_size": 32, "num_attention_heads": 4, key: value})


def test_a_config_of_2019_is_a_bert_and_unknown_keys_are_told():
    _, config, unknown = read_config({"hidden_size": 32, "num_attention_heads": 4, "rotary": 1, "type_vocab_size": 3})
    assert (config.hidden_size, config.type_vocab_size, unknown) == (32, 3, ["rotary"])


def test_a_config_survives_the_hub_and_back():
    config = tiny(hidden_act="gelu_new", classifier_dropout=0.25)
    settings = json.loads(json.dumps(config_json(Model(Bert(config), LABELS))))
    assert settings["id2label"] == {"0": "a", "1": "b", "2": "c"} and settings["label2id"]["c"] == 2
    assert settings["architectures"] == ["BertForSequenceClassification"]
    _, again, unknown = read_config(settings)
    assert again == config and unknown == []
    with pytest.raises(ValueError, match="no row of ARCHITECTURES has the configuration SimpleNamespace: add one"):
        config_json(SimpleNamespace(config=SimpleNamespace()))
