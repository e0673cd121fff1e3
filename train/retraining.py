"""Cross-validation: each text is judged by a model that was not trained on it.

Letters: n texts, C classes.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from ..data.dataset import SPLITS
from ..eval.failures.analysis import Retrained
from ..eval.failures.suspects import stratified_folds
from .finetune import make, rows_of
from .regularizers.shelf import regularizers_of
from .regularizers.trust import require_trusted
from .run import Run
from .seen_words import only_seen_words


def retrain(run: Run, folds: int, trust: bool = False) -> Retrained:
    """Probabilities (n, C) of the texts of train, dev and test, in this order, by a model trained on other folds.

    Each is trained as the run was, on the training texts of the other folds, and its epoch chosen by their dev texts;
    test texts are never trained on. `trust` runs code of the run's regularizers whatever became of it.

    Raises:
        ValueError: there are more folds than texts, a label has a single training text, the code is not trusted, or the
            task is not about classes.
    """
    if not run.task.classes:
        raise ValueError(f"--retrain is for labels of classes, and the task of {run.folder} is {run.task.name}")
    require_trusted(run.folder, run.settings.regularizers, trust)
    # Folds with equal shares of every class and split.
    data, settings = run.data, run.settings
    examples = [example for split in SPLITS for example in data.examples if example.split == split]
    if folds > len(examples):
        raise ValueError(f"{len(examples)} texts cannot be dealt out to {folds} folds: give --retrain fewer")
    label, least = Counter(e.label for e in data.split("train")).most_common()[-1]
    if least < 2:
        raise ValueError(f"the label {label!r} has a single training text, so that --retrain would name no suspects")
    parts = [len(SPLITS) * data.labels.index(e.label) + SPLITS.index(e.split) for e in examples]
    fold = stratified_folds(np.array(parts), folds, settings.seed)
    probabilities = np.zeros((len(examples), len(data.labels)))
    for number in range(folds):
        print(f"\nfold    {number + 1} of {folds}, here called test")
        # This fold is the test split, and the real test texts of the others are left out.
        out = fold == number
        pairs = [(e, judged) for e, judged in zip(examples, out, strict=True) if judged or e.split != "test"]
        dealt = replace(data, examples=[replace(e, split="test") if judged else e for e, judged in pairs])
        # A run without files.
        torch.manual_seed(settings.seed)
        loaded = make(run.plan, data, run.task)
        model = loaded.model.to(run.scorer.device)
        part = Run(run.folder, run.plan, settings, dealt, run.task, model, loaded.tokenizer)
        splits = part.splits()
        train, dev = (splits[name].texts(run.task) for name in ("train", "dev"))
        regularizers = regularizers_of(settings.regularizers)
        with only_seen_words(model.bert, train.encodings):
            for row in rows_of(part, train, dev, regularizers=regularizers):
                print(f"epoch {row['epoch']}: accuracy on dev {row['dev_accuracy']:.3f}")
        probabilities[out] = part.judge("test", splits["test"]).probabilities
    return Retrained(probabilities, folds)
