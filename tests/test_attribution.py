"""Integrated gradients, occlusion and rollout: against loops over single texts, and against what is known by hand."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import classifier, random_texts, tiny
from torch import nn

from tezukuri.eval.failures.attribution import (
    Attribution,
    integrated_gradients,
    micro_batches,
    occlusion,
    rollout,
    rollout_to_head,
)
from tezukuri.eval.predict import NotFiniteError
from tezukuri.model.int8 import to_int8
from tezukuri.model.model import Model
from tezukuri.model.packing import Output, pack

UNK, CLS, SEP, MASK = 1, 2, 3, 4
SPECIAL = (CLS, SEP)
LENGTHS = (7, 2, 19, 1, 12, 19, 3)
CLASSES = np.array([0, 2, 1, 1, 2, 0, 0])


def model_of(seed: int = 0, **changes) -> Model:
    """A random classifier whose vectors are random too."""
    torch.manual_seed(seed)
    model = classifier(**changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def texts_of(seed: int = 0, lengths=LENGTHS) -> list[SimpleNamespace]:
    """[CLS] words [SEP]; the third has an unknown word and another [SEP] too, the last begins with a word."""
    texts = random_texts(tiny(), lengths, seed)
    for text in texts:
        text.ids[text.ids <= MASK] = MASK + 1
        text.ids[-1], text.ids[0] = SEP, CLS
    if len(texts) > 2:
        texts[2].ids[[4, 9]] = UNK, SEP
        texts[-1].ids[0] = MASK + 1
    return texts


def masked(text: SimpleNamespace, *places: int) -> SimpleNamespace:
    ids = text.ids.copy()
    ids[list(places)] = MASK
    return SimpleNamespace(ids=ids, type_ids=text.type_ids)


def words_of(text: SimpleNamespace) -> list[int]:
    return [place for place, word in enumerate(text.ids) if word not in SPECIAL]


def logit(model: nn.Module, text: SimpleNamespace, number: int) -> float:
    with torch.no_grad():
        return float(model(pack([text])).logits[0, number])


def from_vectors(model: Model, text: SimpleNamespace, vectors: torch.Tensor, number: int) -> torch.Tensor:
    """The logit of one text whose word vectors are given, layer by layer."""
    packed, embeddings = pack([text]), model.bert.embeddings
    x = embeddings.norm(vectors + embeddings.segment(packed.type_ids) + embeddings.position(packed.positions))
    for layer in model.bert.layers:
        x, _ = layer(x, packed)
    return model.classifier(model.bert.pooler(x[packed.first]))[0, number]


def by_hand(model: Model, text: SimpleNamespace, number: int, alphas, weights) -> np.ndarray:
    """Integrated gradients of one text, in fp64, one point of the path after the other."""
    model = copy.deepcopy(model).double()
    words = model.bert.embeddings.word.weight.detach()
    end, start = words[torch.tensor(text.ids)], words[torch.tensor(masked(text, *words_of(text)).ids)]
    values = np.zeros(len(text.ids))
    for alpha, weight in zip(alphas, weights, strict=True):
        point = (start + alpha * (end - start)).requires_grad_()
        from_vectors(model, text, point, number).backward()
        for place in range(len(values)):
            values[place] += weight * float(point.grad[place] @ (end - start)[place])
    return values


def explain(model: nn.Module, texts, classes=CLASSES, **options) -> list[Attribution]:
    return integrated_gradients(model, texts, np.asarray(classes), MASK, SPECIAL, **options)


# --- integrated gradients ---------------------------------------------------------------------------------------


def test_the_path_is_integrated_as_text_by_text_and_point_by_point():
    model, texts = model_of(), texts_of()
    found = explain(model, texts)
    assert len({one.steps for one in found}) > 1  # some were doubled, others not
    for text, number, one in zip(texts, CLASSES, found, strict=True):
        weights = np.full(one.steps + 1, 1 / one.steps)
        weights[[0, -1]] /= 2
        alone = by_hand(model, text, number, np.arange(one.steps + 1) / one.steps, weights)
        assert one.values.shape == text.ids.shape
        np.testing.assert_allclose(one.values, alone, rtol=1e-3, atol=1e-4)


def test_another_quadrature_finds_the_same_values():
    model, texts = model_of(1), texts_of(1, (7, 9))
    for text, number, one in zip(texts, (2, 1), explain(model, texts, (2, 1), steps=256), strict=True):
        midpoint = by_hand(model, text, number, (np.arange(256) + 0.5) / 256, np.full(256, 1 / 256))
        assert np.abs(midpoint).max() > 0.05
        np.testing.assert_allclose(one.values, midpoint, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_values_add_up_to_what_the_words_change(seed: int):
    model, texts = model_of(seed), texts_of(seed)
    for text, number, one in zip(texts, CLASSES, explain(model, texts), strict=True):
        change = logit(model, text, number) - logit(model, masked(text, *words_of(text)), number)
        assert one.difference == pytest.approx(change, abs=1e-5)
        assert one.error == pytest.approx(abs(one.values.sum() - change), abs=1e-5)
        assert one.error <= max(0.01 * abs(change), 1e-3) + 1e-5 and one.complete
    assert max(abs(one.difference) for one in explain(model, texts)) > 0.5


@pytest.mark.parametrize(
    ("total", "difference", "complete"),
    [
        (1.009, 1, True),
        (1.011, 1, False),
        (-0.991, -1, True),
        (-0.989, -1, False),
        (9e-4, 0, True),
        (0.1, 0.1011, False),
        (np.nan, 1, False),
    ],
)
def test_complete_is_one_percent_or_a_thousandth(total: float, difference: float, complete: bool):
    assert Attribution(np.array([total - 3, 3]), difference, 8).complete == complete


def test_special_tokens_have_no_value_and_unknown_words_have_one():
    texts = texts_of()
    for text, one in zip(texts, explain(model_of(), texts), strict=True):
        assert [place for place, value in enumerate(one.values) if value != 0] == words_of(text)
    assert UNK in texts[2].ids[words_of(texts[2])]


def test_a_text_is_explained_among_others_as_it_is_alone():
    model, texts = model_of(), texts_of()
    for options in ({}, {"batch_tokens": 1}, {"batch_tokens": 40}):
        together = explain(model, texts, **options)
        for i, one in enumerate(together):
            (alone,) = explain(model, texts[i : i + 1], CLASSES[i : i + 1])
            assert one.steps == alone.steps
            np.testing.assert_allclose(one.values, alone.values, rtol=1e-4, atol=1e-5)


class Power(nn.Module):
    """F = uᵖ, where u is the sum of a text's numbers, one number a word (twice that for class 1)."""

    def __init__(self, numbers: dict[int, float], power: int) -> None:
        super().__init__()
        self.word = nn.Embedding(9, 1)
        self.word.weight.data = torch.tensor([[numbers.get(i, 0.0)] for i in range(9)])
        self.bert = SimpleNamespace(embeddings=SimpleNamespace(word=self.word))
        self.labels = ("a", "b")
        self.power = power

    def forward(self, packed) -> Output:
        numbers = self.word(packed.ids)  # (T, 1)
        sums = torch.cat([part.sum(dim=0) for part in numbers.split(packed.boundaries.diff().tolist())])
        return Output(hidden=numbers, logits=torch.stack([sums, 2 * sums], dim=1) ** self.power)


def sentence(*words: int) -> SimpleNamespace:
    return SimpleNamespace(ids=np.array([CLS, *words, SEP]), type_ids=np.zeros(len(words) + 2, dtype=int))


def test_of_a_linear_model_one_step_gives_gradient_times_difference():
    model = Power({5: 3.0, 6: -1.0, MASK: 0.5, CLS: 100.0}, power=1)
    one, other = explain(model, [sentence(5, 6), sentence(6)], (0, 1), steps=1)
    np.testing.assert_allclose(one.values, [0, 2.5, -1.5, 0])
    np.testing.assert_allclose(other.values, [0, -3, 0])  # class 1 counts twice
    assert (one.difference, other.difference, one.steps, other.steps) == (1, -3, 1, 1)


def test_steps_are_doubled_for_the_texts_that_need_it_until_the_values_add_up():
    """With F = u³ from 0 to u, n steps of the trapezoidal rule give u³ (1 + 1 / 2n²): 1 % is kept from 8 steps on."""
    model = Power({5: 3.0, 6: -1.0, 7: 0.1}, power=3)
    long, short = explain(model, [sentence(5, 6), sentence(7)], (0, 0), steps=1)
    assert (long.steps, short.steps) == (8, 1)  # 0.1³ / 2 is below 1e-3
    assert long.complete and short.complete
    np.testing.assert_allclose(long.values, np.array([0, 12, -4, 0]) * (1 + 1 / 128), rtol=1e-5)
    np.testing.assert_allclose(short.values, [0, 1.5e-3, 0], rtol=1e-5)
    assert long.difference == pytest.approx(8)


def test_a_text_that_would_need_too_many_steps_is_said_to_be_incomplete():
    model = Power({5: 3.0, 6: -1.0, 7: 0.1}, power=3)
    long, short = explain(model, [sentence(5, 6), sentence(7)], (0, 0), steps=1, most_steps=7)
    assert (long.steps, long.complete) == (4, False) and (short.steps, short.complete) == (1, True)
    assert long.error == pytest.approx(8 / 32)
    assert explain(model, [sentence(5, 6)], (0,), steps=1, most_steps=8)[0].complete


# --- occlusion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 100, 5000])
def test_occlusion_is_that_of_one_token_after_the_other(batch_tokens: int):
    model, texts = model_of(), texts_of()
    found = occlusion(model, texts, CLASSES, MASK, SPECIAL, batch_tokens)
    assert len(found) == len(texts)
    for text, number, drops in zip(texts, CLASSES, found, strict=True):
        expected = np.zeros(len(text.ids))
        for place in words_of(text):
            expected[place] = logit(model, text, number) - logit(model, masked(text, place), number)
        np.testing.assert_allclose(drops, expected, atol=1e-5)
        assert [place for place, drop in enumerate(drops) if drop != 0] == words_of(text)
    assert max(np.abs(drops).max() for drops in found) > 0.1


def test_occlusion_changes_no_text():
    texts = texts_of()
    before = [text.ids.copy() for text in texts]
    occlusion(model_of(), texts, CLASSES, MASK, SPECIAL)
    assert all((text.ids == ids).all() for text, ids in zip(texts, before, strict=True))


# --- both -------------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("method", [integrated_gradients, occlusion])


def state_of(model: Model) -> dict:
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "trained": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "weights": {name: value.tolist() for name, value in model.state_dict().items()},
        "config": copy.copy(model.config),
        "random": torch.get_rng_state().tolist(),
    }


@BOTH
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(method, fails: bool):
    model, texts = model_of(kernel="varlen").train(), texts_of()  # whose kernel takes no fp32
    model.bert.layers[0].eval()
    model.bert.embeddings.requires_grad_(False)
    model.classifier.bias.grad = torch.ones(3)
    before = state_of(model)
    if fails:
        texts.append(texts_of(lengths=[25])[0])  # longer than the model's positions
        with pytest.raises(ValueError, match="has learned only 24 positions"):
            method(model, texts, np.append(CLASSES, 0), MASK, SPECIAL)
    else:
        method(model, texts, CLASSES, MASK, SPECIAL)
    assert state_of(model) == before


@BOTH
def test_training_mode_and_contexts_of_the_caller_change_nothing(method):
    model, texts = model_of(), texts_of()

    def values() -> list[np.ndarray]:
        found = method(model, texts, CLASSES, MASK, SPECIAL)
        return [one.values if isinstance(one, Attribution) else one for one in found]

    expected = values()
    model.train()
    contexts = [torch.enable_grad(), torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)]
    for context in contexts:
        with context:
            assert all(map(np.array_equal, values(), expected)), context


@BOTH
def test_no_texts_have_no_explanations(method):
    assert method(model_of(), [], np.zeros(0, dtype=int), MASK, SPECIAL) == []


@BOTH
@pytest.mark.parametrize(
    ("classes", "special_ids", "message"),
    [
        ([0, 1], SPECIAL, r"7 texts need a class each, but classes has the shape \(2,\)"),
        ([-1, 0, 1, 0, 0, 0, 0], SPECIAL, "classes must be numbers from 0 to 2"),
        ([3, 0, 1, 0, 0, 0, 0], SPECIAL, "classes must be numbers from 0 to 2"),
        (CLASSES, (0, UNK, *SPECIAL, MASK), "the special ids are those of .* alone; 4 is .MASK.'s"),
    ],
)
def test_what_cannot_be_explained_is_refused(method, classes, special_ids, message: str):
    with pytest.raises(ValueError, match=message):
        method(model_of(), texts_of(), np.array(classes), MASK, special_ids)


@BOTH
def test_a_broken_model_is_told(method):
    model = model_of()
    with torch.no_grad():
        model.classifier.bias[1] = torch.nan  # the class of the third text is the first to have it
    with pytest.raises(NotFiniteError, match="scores for text 3 are no finite numbers"):
        method(model, texts_of(), CLASSES, MASK, SPECIAL)


def test_an_int8_model_has_no_gradients():
    model = model_of()
    to_int8(model)
    with pytest.raises(ValueError, match="an int8 model has no gradients"):
        explain(model, texts_of())


@pytest.mark.parametrize(
    ("tokens", "sizes"), [(1, [1] * 10), (20, [3, 2, 1, 1, 1, 1, 1]), (40, [5, 3, 2]), (190, [10]), (1000, [10])]
)
def test_micro_batches_hold_each_copy_once_and_no_more_tokens_than_they_may(tokens: int, sizes: list[int]):
    texts, copies = texts_of(), np.array([2, 0, 0, 3, 6, 5, 4, 4, 4, 1])  # 1, 2, 3, 2 × 7, 3 × 12 and 2 × 19 tokens
    batches = list(micro_batches(texts, copies, tokens))
    assert [len(packed) for _, packed in batches] == sizes
    assert sorted(np.concatenate([numbers for numbers, _ in batches])) == list(range(10))
    for numbers, packed in batches:
        assert packed.ids.tolist() == np.concatenate([texts[i].ids for i in copies[numbers]]).tolist()


# --- rollout ----------------------------------------------------------------------------------------------------


def test_rollout_by_hand():
    """Two sequences, of 2 tokens and of 1; two heads, whose mean counts; the upper layer's rows come first."""
    lower = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], [[[1.0, 0.0], [0.0, 0.0]]] * 2])
    upper = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]] * 2, [[[1.0, 0.0], [0.0, 0.0]]] * 2])
    # With the residual connection: lower [[3/4, 1/4], [1/4, 3/4]], upper [[1/2, 1/2], [1/2, 1/2]].
    torch.testing.assert_close(rollout([lower])[0], torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    torch.testing.assert_close(rollout([lower, upper])[0], torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    torch.testing.assert_close(rollout([lower, upper])[1], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    # Only the order tells these apart: the upper layer is the factor on the left.
    one = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    other = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    torch.testing.assert_close(rollout([one, other])[0], torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def test_rollout_of_a_model_adds_up_to_one_at_each_token_and_is_nothing_beyond():
    texts = texts_of()
    model = model_of()
    with torch.no_grad():
        rolled = rollout(model(pack(texts), output_attentions=True).attentions)
        assert rolled.shape == (7, 19, 19)
        for i, text in enumerate(texts):
            length = len(text.ids)
            assert rolled[i, :length].sum(dim=1).tolist() == pytest.approx([1] * length, abs=1e-5)
            assert not rolled[i, length:].any() and not rolled[i, :, length:].any()
            alone = rollout(model(pack([text]), output_attentions=True).attentions)[0]
            torch.testing.assert_close(rolled[i, :length, :length], alone, atol=1e-5, rtol=1e-4)


def test_what_is_looked_at_is_the_rollout_of_each_text_alone():
    texts, model = texts_of(), model_of(kernel="sdpa").train()
    found = rollout_to_head(model, texts, batch_tokens=30)
    assert model.training and model.bert.layers[0].attention.kernel == "sdpa"
    model.eval()
    with torch.no_grad():
        for text, values in zip(texts, found, strict=True):
            alone = rollout(model(pack([text]), output_attentions=True).attentions)[0, 0]
            assert values == pytest.approx(alone.numpy(), abs=1e-5) and values.sum() == pytest.approx(1, abs=1e-5)
    assert rollout_to_head(model, []) == []
    model.reads = "mean"  # of the rows of all tokens, then
    for text, values in zip(texts, rollout_to_head(model, texts, batch_tokens=30), strict=True):
        with torch.no_grad():
            alone = rollout(model(pack([text]), output_attentions=True).attentions)[0].mean(dim=0)
        assert values == pytest.approx(alone.numpy(), abs=1e-5)


def test_rollout_needs_a_layer():
    with pytest.raises(ValueError, match="at least one layer"):
        rollout([])
