"""One vector a text, and its nearest neighbours: against the oracle, and against all cosines at once."""

import numpy as np
import pytest
import torch
from tiny import classifier, random_texts, tiny
from tiny_checkpoint import TEXTS, checkpoint
from torch.overrides import TorchFunctionMode

from tezukuri.eval.failures import neighbours
from tezukuri.eval.failures.neighbours import nearest, representations
from tezukuri.eval.predict import predict
from tezukuri.model.bert import Bert
from tezukuri.model.packing import pack
from tezukuri.weights.load import load


def unit(n: int, seed: int = 0) -> torch.Tensor:
    vectors = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


def test_a_text_is_the_mean_of_its_tokens_in_the_oracle_too(tmp_path):
    theirs = checkpoint(tmp_path, "BertModel")
    bert, tokenizer = load(tmp_path, "encode")
    means = []
    for text in TEXTS:
        with torch.no_grad():
            means.append(theirs(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].mean(dim=0))
    expected = torch.stack(means)
    found = representations(bert, tokenizer.encode_batch(TEXTS), batch_size=3)
    assert found.shape == (4, 32) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True), rtol=0, atol=1e-5)


def test_representations_do_not_depend_on_their_batch_and_leave_the_model_as_it_was():
    model = classifier(hidden_dropout_prob=0.5).train()
    texts = random_texts(model.config)
    state = torch.get_rng_state()
    found = representations(model.bert, texts, batch_size=2)
    assert torch.equal(state, torch.get_rng_state()) and all(module.training for module in model.modules())
    alone = torch.cat([representations(model.bert, [text]) for text in texts])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(texts)))
    assert (found @ found.T).fill_diagonal_(0).max() < 0.99  # they differ
    assert representations(model.bert, []).shape == (0, 32)


def test_an_encoder_without_a_pooler_has_representations_and_precision_counts():
    bert = Bert(tiny(), pooler=False)
    texts = random_texts(bert.config)
    exact, rough = representations(bert, texts), representations(bert, texts, precision=torch.bfloat16)
    assert rough.dtype == torch.float32 and 0 < (exact - rough).abs().max() < 0.1


def test_logits_are_those_of_the_model_itself():
    model = classifier().eval()
    texts = random_texts(model.config)
    with torch.no_grad():
        pooled = torch.cat([model.bert(pack([text])).pooled for text in texts])
        expected = model.classifier(pooled)
    torch.testing.assert_close(predict(model, texts, batch_size=2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 70, 2**22], ids=["a row", "two rows", "all"])
def test_the_nearest_are_those_of_all_cosines(at_once, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    queries, references = unit(11), unit(30, seed=1)
    numbers, cosines = nearest(queries, references, 4)
    every = queries.numpy() @ references.numpy().T
    assert numbers.numpy().tolist() == np.argsort(-every, axis=1)[:, :4].tolist()
    torch.testing.assert_close(cosines, torch.from_numpy(-np.sort(-every, axis=1)[:, :4]))


@pytest.mark.parametrize("at_once", [1, 70, 2**22], ids=["a row", "two rows", "all"])
def test_a_text_is_not_its_own_neighbour_but_its_copy_is(at_once, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    texts = torch.cat([unit(30), unit(30)[:1]])  # the last is a copy of the first
    chosen = torch.tensor([30, 4, 0, 17, 5])
    numbers, cosines = nearest(texts[chosen], texts, 3, exclude=chosen)
    assert not (numbers == chosen[:, None]).any() and (cosines[[1, 3, 4]] < 0.999).all()
    assert numbers[0, 0] == 0 and numbers[2, 0] == 30 and cosines[0, 0] == pytest.approx(1)
    assert nearest(texts[chosen], texts, 1)[1].flatten().tolist() == pytest.approx([1] * 5)  # unless nobody says so


def test_there_are_no_more_neighbours_than_texts():
    texts = unit(3)
    assert nearest(texts, texts, 5)[0].sort(dim=1).values.tolist() == [[0, 1, 2]] * 3
    numbers, cosines = nearest(texts, texts, 5, exclude=torch.arange(3))
    assert numbers.sort(dim=1).values.tolist() == [[1, 2], [0, 2], [0, 1]] and cosines.isfinite().all()
    assert [tensor.shape for tensor in nearest(texts[:0], texts, 2)] == [(0, 2), (0, 2)]


class Largest(TorchFunctionMode):
    """Watches the size of what is computed."""

    numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_many_texts_take_little_memory(monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 1000)
    texts = unit(90)
    with Largest() as largest:
        nearest(texts, texts, 2, exclude=torch.arange(90))
    assert 720 <= largest.numbers <= 1000  # all vectors are 720 numbers, all cosines would be 8,100
