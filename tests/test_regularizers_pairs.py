"""Every two regularizers of the shelf: they work together, in either order, or are refused by name."""

from itertools import combinations

import numpy as np
import pytest
from test_regularizers_texts import RICH, made, save_teacher
from test_regularizers_weights import structure
from test_train import DEV, model_of, settings, weights
from tiny import TASK

from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.regularizer import Regularizer
from tezukuri.train.regularizers.shelf import SHELF
from tezukuri.train.team import Team

REFUSED = {
    frozenset(pair.split(" and "))
    for pair in [
        # one loss of its own, one adversary of the embeddings, one average to look with
        "focal and class-balanced", "fgm and smart", "fgm and freelb", "smart and freelb", "swa and ema",
        # what a blend of two texts has no answer to
        "hidden-mixup and r-drop", "hidden-mixup and simcse", "hidden-mixup and supcon", "hidden-mixup and judge-votes",
        "hidden-mixup and distillation",
        # pretrained weights that are held, and weights that are made anew or frozen
        "fresh-top and mixout", "fresh-top and l2-sp", "lora and mixout", "lora and l2-sp", "lora and fresh-top",
        "lora and gradual-unfreezing",
    ]
}  # fmt: skip
FEW = Texts(*(part[:11] for part in RICH[:4]))  # two micro-batches, the second of them not full


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    return folder, save_teacher(folder)


@pytest.mark.parametrize("pair", list(combinations(SHELF, 2)), ids=" and ".join)
def test_two_together_work_in_either_order_or_are_refused_by_name(pair, teacher):
    for order in (pair, pair[::-1]):
        model, both = model_of(), [made(name, teacher) for name in order]
        before, start = structure(model), weights(model)
        chosen = settings(epochs=1, batch_size=8, accumulate=2, precision="bf16", select="last")
        run = fine_tune(model, TASK, FEW, DEV, chosen, regularizers=both)
        if frozenset(pair) in REFUSED:
            with pytest.raises(ValueError, match=f"{order[0]}.*{order[1]}|{order[1]}.*{order[0]}"):
                next(run)
            continue
        row = list(run)[-1]
        assert np.isfinite([value for value in row.values() if value is not None]).all()
        assert structure(model) == before and bool((weights(model) != start).any())


@pytest.mark.parametrize("name", SHELF)
def test_where_another_fails_to_begin_nothing_stays_in_the_model(name, teacher):
    class Failing(Regularizer):
        name = "failing"

        def begin(self, model, train, dev):
            raise ValueError("it cannot begin")

    model = model_of()
    before = structure(model)
    both = [made(name, teacher), Failing()]
    with pytest.raises(ValueError, match="it cannot begin"), Team(both).at_work(model, FEW, DEV):
        pass
    assert structure(model) == before
