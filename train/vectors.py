"""A classifier from few texts: logistic regression on sentence vectors, in the place of fine-tuning.

`--method vectors` leaves the encoder as it is. By `--method setfit` it learns pairs before, alike where both are of one
class: Tunstall et al. 2022 (SetFit, arXiv:2209.11055), section 3. Either way the regression becomes the weights of the
ordinary head, which reads the mean of all tokens as the encoder gives it: not brought to length 1 where the folder's
sentence vectors are, and of the text alone, without the prompt that stands before those.

Letters: n texts, H hidden size, C classes.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data.dataset import Dataset
from ..data.pairs import pairs_of_classes
from ..eval.predict import in_batches
from ..eval.tasks.similarity import BLOCK, Similarity
from ..model.model import Model
from ..model.vectors import Cosine
from ..weights.find import find
from ..weights.sentences import read_vectors
from .batch import Texts
from .loop import evaluate_dev, fine_tune
from .run import Run, Split

PAIRS = 20  # of each text with its class, and as many with others: section 4.1 of the paper
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)  # C, the inverse of the weight of the squares
UNDECIDED = 1.0
FOLDS = 5
NEVER = -20.0  # the bias of a class that has no texts


def check_data(method: str, data: Dataset) -> None:
    """ValueError where there is nothing that the method could learn."""
    if method == "finetune":
        return
    train = data.split("train")
    if len({example.label for example in train}) < 2:
        raise ValueError(f"all texts of the train split of {data.name} are {train[0].label!r}: nothing can be learned")
    if method == "setfit" and any(example.pair is not None for example in train):
        raise ValueError(f"the method setfit makes pairs of texts, and those of {data.name} are pairs: choose vectors")


def pooling_notes(model: str, revision: str | None) -> list[str]:
    """A sentence where the folder of a checkpoint makes sentence vectors of something else than the mean."""
    said = read_vectors(find(model, revision, False, True).folder)
    if said is None or said.pooling == "mean":
        return []
    return [f"its sentence vectors are of the {said.pooling} token, but the classifier reads the mean of all tokens"]


def fit_vectors(
    run: Run, train: Texts, dev: Texts, checkpoints: Path | None = None, resume: bool = False
) -> Iterator[dict[str, Any]]:
    """In the place of `fine_tune`, with the same rows: epoch 0, before, and 1, when all is learned. Args: its own; what
    is kept and resumed is the learning of pairs."""
    model, precision, begun = run.model, run.scorer.precision, time.perf_counter()
    unknown = {"train_loss": None, "grad_norm": None, "seconds": 0.0}
    yield {"epoch": 0, "lr": 0.0} | unknown | evaluate_dev(model, run.task, dev, precision)
    if run.plan.method == "setfit":
        learn_pairs(run, checkpoints, resume)
    size = (model.config.hidden_size,)
    vectors = in_batches(model, lambda packed: model(packed).pooled, size, train.encodings, None, precision, "vectors")
    weight, bias, told = regression(vectors.double().numpy(), train.gold, run.task.labels, run.settings.seed)
    print(f"vectors {told}")
    head: Any = model.classifier
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    loss = run.task.measure(vectors.double().numpy() @ weight.T + bias, train.targets)["loss"]
    scores = evaluate_dev(model, run.task, dev, precision)
    model.eval()
    rate = run.settings.lr if run.plan.method == "setfit" else 0.0
    seconds = time.perf_counter() - begun
    yield {"epoch": 1, "lr": rate, "train_loss": loss, "grad_norm": None, **scores, "seconds": seconds}


def learn_pairs(run: Run, checkpoints: Path | None, resume: bool) -> None:
    """The run's encoder learns, by the cosine, which training texts are of one class."""
    settings, texts = run.settings, run.data.split("train")
    task = Similarity(loss=Cosine.name)
    pairs = pairs_of_classes(texts, run.plan.pairs or PAIRS, settings.seed)
    some = random.Random(settings.seed).sample(pairs, min(BLOCK, len(pairs)))
    train, few = (
        Split(of, task.encode(run.tokenizer, of, **run.scorer.cut), task.targets(of)).texts(task)
        for of in (pairs, some)
    )
    print(f"pairs   {len(pairs):,} pairs of {len(texts):,} texts, {settings.epochs} epoch{'s' * (settings.epochs > 1)}")
    model = Model(run.model.bert, task.labels, task.head, "mean").to(run.scorer.device)
    for row in fine_tune(model, task, train, few, settings, checkpoints, resume):
        print(f"pairs   epoch {row['epoch']}: loss of {len(some)} of them {row['dev_loss']:.4f}")


def regression(
    vectors: np.ndarray, gold: np.ndarray, labels: tuple[str, ...], seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """(n, H) vectors of the classes (n,) → weight (C, H) and bias (C,), whose softmax are the regression's
    probabilities, and a sentence about it. Its features are standardised, which weight and bias take in."""
    there = np.unique(gold)
    strength, told = strength_for(vectors, gold, seed)
    scaler, fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(vectors, gold)
    rows, shift = fitted.coef_ / scaler.scale_, fitted.intercept_  # (C, H), (C,); of two classes (1, H), (1,)
    shift = shift - rows @ scaler.mean_
    if len(there) == 2:
        rows, shift = (np.concatenate([-half, half]) for half in (rows / 2, shift / 2))
    weight, bias = np.zeros((len(labels), vectors.shape[1])), np.full(len(labels), NEVER)
    weight[there], bias[there] = rows, shift
    absent = [label for number, label in enumerate(labels) if number not in there]
    if absent:
        told += f"; never answered, having no training texts: {', '.join(absent)}"
    return weight, bias, f"logistic regression on {len(gold):,} vectors, {told}"


def strength_for(vectors: np.ndarray, gold: np.ndarray, seed: int) -> tuple[float, str]:
    """C with the lowest log loss in cross-validation over the classes of at least two texts, and how it was found."""
    there, counts = np.unique(gold, return_counts=True)
    judged = np.isin(gold, there[counts > 1])
    if len(set(gold[judged])) < 2:
        return UNDECIDED, f"C {UNDECIDED:g}, since too few classes have two texts to choose by"
    folds = int(min(FOLDS, counts[counts > 1].min()))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    choices = {"logisticregression__C": STRENGTHS}
    search = GridSearchCV(model, choices, scoring="neg_log_loss", cv=cut, refit=False)
    best = search.fit(vectors[judged], gold[judged]).best_params_["logisticregression__C"]
    return best, f"C {best:g} by {folds}-fold cross-validation on the training texts"
