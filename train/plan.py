"""A run as a dataclass: the command line and Python only fill it, and `config.json` keeps it.

Each field has its text for `--help`; scripts/options.py makes the options of the commands from them.
"""

import atexit
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from ..data.dataset import Dataset
from ..data.folds import parse_fold, with_fold
from ..data.label_names import with_merged_labels
from ..data.leave_out import without
from ..data.load import READERS, load
from ..data.table import NONE
from ..eval.tasks.classify import Classify
from ..eval.tasks.table import kind_of_labels, task_name
from ..eval.tasks.task import Task
from ..model.attention import KERNELS
from ..model.precision import PRECISIONS, choose_device
from ..model.ranks import rank
from ..tokenize.encoding import TRUNCATIONS
from ..weights.find import SHIPPED
from .settings import METHOD_RATES, RECIPES, SCHEDULES, STOP_BY, Settings, rate_for, regularizers_for
from .textbook import textbook
from .track import TRACKERS

LANGUAGES = ("en", "ja")


def option(default: Any, help: str, group: str = "", **more: Any) -> Any:
    """A field with its help, and further arguments for argparse."""
    return field(default=default, metadata={"help": help, "group": group, **more})


def of_recipe(help: str, **more: Any) -> Any:
    """A field that changes the recipe, unless it is None."""
    return option(None, help, RECIPE, **more)


MODEL, DATA, RECIPE, OUTPUT = "model", "data", "recipe (each option changes one value of it)", "output"
CHOICES = "hold the choices, or for similarity texts that are unlike: a,b,c; of JSON also one, which holds a list"
ENCODING = "of the file: utf-8, cp932, … (auto: UTF-8, UTF-16, or cp932 where it is Japanese)"
PAGE = "page of all mistakes (report.html)"


# How a classifier is learned (vectors.py), and options that would be of no effect.
BY_STEPS = (
    "epochs", "batch_size", "accumulate", "lr", "weight_decay", "warmup_ratio", "warmup_steps", "schedule", "beta2",
    "epsilon", "max_grad_norm", "compile", "graphs", "hidden_dropout", "attention_dropout",
)  # fmt: skip
BY_EPOCHS = ("select", "patience", "stop_by", "least_change")
OF_THE_HEAD = ("recipe", "label_smoothing", "class_weights", "classifier_dropout")
METHODS: Mapping[str, Sequence[str]] = {
    "finetune": ["pairs"],
    "vectors": ["pairs", *BY_STEPS, *BY_EPOCHS, *OF_THE_HEAD],
    "setfit": [*BY_EPOCHS, *OF_THE_HEAD],
}
# What methods change in the recipe, and what recipes have beside their settings, where nothing else is asked for.
OF_METHODS: dict[str, dict[str, Any]] = {name: {"epochs": 1, "select": "last"} for name in ("vectors", "setfit")}
OF_RECIPES = {"siamese-tutorial": {"task": "similarity:loss=angular,low=0,high=1", "dev_split": "last-fifth"}}


@dataclass(frozen=True)
class Options:
    """The options of every run; a value of the wrong type or out of its range is a ValueError."""

    device: str = option("auto", "cpu, cuda, cuda:1, … (auto: a GPU where there is one)")
    output_dir: str = option("outputs", "where the run folder is made (%(default)s)", OUTPUT)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for one in fields(self):
            value: Any = getattr(self, one.name)
            choices = one.metadata.get("choices")
            kinds = [get_origin(hint) or hint for hint in get_args(hints[one.name]) or [hints[one.name]]]
            kinds += [int] if float in kinds else []
            if not isinstance(value, tuple(kinds)) or (isinstance(value, bool) and bool not in kinds):
                wanted = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
                raise ValueError(f"{one.name} is {value!r}; it must be {wanted}")
            if choices and value is not None and value not in choices:
                raise ValueError(f"{one.name} {value!r} is not known; choose one of {', '.join(choices)}")
            if one.metadata.get("positive") and isinstance(value, int) and value < 1:
                raise ValueError(f"{one.name} is {value}; it must be at least 1")

    @classmethod
    def of(cls, **options: Any) -> Self:
        """A plan from some of its fields (numbers may be numpy's, paths `Path`s); ValueError for an unknown one."""
        names = [one.name for one in fields(cls)]
        for name in options:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
                raise ValueError(f"a run has no option {name!r}: {meant}")
        for name, value in options.items():
            options[name] = str(value) if isinstance(value, Path) else value.item() if hasattr(value, "item") else value
        return cls(**options)

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Self:
        """The plan in a run's `config.json`; options of other versions of this code are ignored."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in config["options"].items() if name in names})

    def whole_paths(self) -> Self:
        """With absolute paths, so that a run can be resumed from any folder."""
        changed: dict[str, Any] = {}
        for name in ("data", "data_path", "model", "tokenizer", "leave_out", "terms"):
            value = getattr(self, name, None)
            if value and value not in (*READERS, "scratch", *SHIPPED) and Path(value).exists():
                changed[name] = str(Path(value).resolve())
        if getattr(self, "text", None):
            changed["text"] = [str(Path(file).resolve()) for file in self.text]  # type: ignore[attr-defined]
        if getattr(self, "regularizer", None):
            changed["regularizer"] = [whole_path(text) for text in self.regularizer]  # type: ignore[attr-defined]
        return replace(self, **changed)

    def with_own_folder(self) -> Self:
        """With a temporary folder for the output, unless this is the first of several processes."""
        if not rank():
            return self
        folder = tempfile.mkdtemp(prefix="tezukuri-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return replace(self, output_dir=folder)

    def __repr__(self) -> str:
        own = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in own.items())})"


@dataclass(frozen=True, repr=False)
class DataOptions(Options):
    """The options of a run on labelled texts. Errors are those of Options."""

    data: str = option("sample", f"{', '.join(READERS)}, or a .tsv, .csv or .jsonl file (%(default)s)", DATA)
    data_path: str | None = option(None, "file or folder of a data set, instead of a download", DATA, metavar="PATH")
    text_column: str = option("text", "(%(default)s; to answer questions, also question)", DATA, metavar="NAME")
    label_column: str = option(
        "label",
        "(%(default)s; none for the similarity of texts without one; for --task tag also entities, a list of "
        '{"start": 0, "end": 2, "kind": "…"}, for span also '
        'answers, a list of {"start": 0, "text": "…"}; in a .csv as JSON)',
        DATA,
        metavar="NAME",
    )
    pair_column: str | None = option(
        None, "holds a second text, for tasks about two (to answer questions, context)", DATA, metavar="NAME"
    )
    choice_columns: Sequence[str] | None = option(None, CHOICES, DATA, names=True, metavar="NAMES")
    split_column: str | None = option(
        None, "holds train, dev, test (split, where there is one; none: drawn at random)", DATA, metavar="NAME"
    )
    id_column: str | None = option(
        None, "names each row (id, where there is one; none: file and line)", DATA, metavar="NAME"
    )
    encoding: str = option(
        "auto",
        ENCODING,
        DATA,
        metavar="NAME",
    )
    classes: Sequence[str] | None = option(
        None, "all labels, in order: bad,good (those of the file, sorted)", DATA, names=True, metavar="NAMES"
    )
    merge_labels: bool = option(False, "join labels that look alike (Good and good)", DATA)
    split_seed: int = option(0, "for data without splits, or without dev (%(default)s)", DATA)
    dev_split: str | None = option(
        None,
        "where a file has no splits: dev and test are drawn at random, or dev is the last-fifth of its rows (random)",
        DATA,
        choices=["random", "last-fifth"],
    )
    bad_rows: str = option("error", "stop, or go on without them", DATA, choices=["error", "skip"])
    report: bool = option(True, "make it at the end", PAGE)
    language: str = option("en", "of the page (%(default)s)", PAGE, choices=list(LANGUAGES))

    def read_data(self, labels_are: str = "name") -> Dataset:
        return load(
            self.data,
            path=self.data_path,
            text_column=self.text_column,
            label_column=self.label_column,
            pair_column=self.pair_column,
            split_column=self.split_column,
            id_column=self.id_column,
            encoding=self.encoding,
            labels=self.classes,
            merge_labels=self.merge_labels,
            seed=self.split_seed,
            last_fifth=self.last_fifth,
            bad_rows=self.bad_rows,  # type: ignore[arg-type]  # one of its choices
            labels_are=labels_are,
            choice_columns=self.choice_columns,
        )

    @property
    def last_fifth(self) -> bool:
        """Whether dev is to be the last fifth of a file."""
        return self.dev_split == "last-fifth"

    def of_memory(self, data: Dataset) -> Dataset:
        """Data in memory as this plan wants them; ValueError for an option that is about files."""
        about_files = (
            "data_path",
            "dev_split",
            "text_column",
            "label_column",
            "pair_column",
            "choice_columns",
            "split_column",
            "id_column",
            "encoding",
        )
        for one in fields(self):
            if one.name in about_files and getattr(self, one.name) != one.default:
                raise ValueError(f"{one.name} is about files, and {data.name} is in memory: leave it out")
        if self.classes is not None and list(self.classes) != list(data.labels):
            raise ValueError(f"the classes are {', '.join(self.classes)}, but {data.name} has {', '.join(data.labels)}")
        return with_merged_labels(data) if self.merge_labels else data


@dataclass(frozen=True, repr=False)
class Plan(DataOptions):
    """The options of fine-tuning. Errors are those of Options."""

    command: ClassVar[str] = "finetune"  # that goes on with a run which was stopped

    model: str = option("small", "small, mini, scratch, a folder or a hub id (%(default)s)", MODEL)
    revision: str | None = option(None, "branch, tag or commit of the hub", MODEL)
    tokenizer: str | None = option(None, "for scratch: folder or hub id of the vocabulary (else made anew)", MODEL)
    reset_head: bool = option(False, "put a new classifier in place of the model's own", MODEL)
    pooling: str | None = option(
        None,
        "what the head reads: first token (with the pooler, but for similarity), mean of all tokens, or for similarity "
        "the last token (model's own)",
        MODEL,
        choices=["first", "last", "mean"],
    )  # fmt: skip
    normalise: bool | None = option(None, "for similarity: bring vectors to length 1, or not (model's own)", MODEL)
    random_weights: bool = option(False, "initialise all weights anew, to compare with", MODEL)
    hidden_dropout: float | None = option(None, "rate after each layer (model's own)", MODEL, metavar="P")
    attention_dropout: float | None = option(None, "rate on attention (model's own)", MODEL, metavar="P")
    classifier_dropout: float | None = option(None, "rate before the classifier (model's own)", MODEL, metavar="P")
    attention: str = option("auto", "kernel (%(default)s)", MODEL, choices=["auto", *KERNELS])

    leave_out: str | None = option(None, "training texts to leave out, by id (suspects.csv)", DATA, metavar="FILE.csv")
    fold: str | None = option(
        None, "cross-validation: train and dev are dealt into N parts, and the K-th is dev", DATA, metavar="K/N"
    )
    task: str | None = option(
        None, "{tasks}: what is predicted (that of the data; of own ones classify; for adapt similarity)", DATA
    )

    recipe: str = option("default", "(%(default)s)", RECIPE, choices=[*RECIPES, "textbook"])
    method: str = option(
        "finetune",
        "of a classifier: all weights learn; or logistic regression on sentence vectors as they are; or on those of an "
        "encoder that has learned pairs of the classes (%(default)s)",
        RECIPE,
        choices=list(METHODS),
    )
    pairs: int | None = of_recipe(
        "of each text with its class, and as many with others: for setfit (20), and for adapt by classes (1)",
        positive=True,
    )
    epochs: int | None = of_recipe(
        "passes over the training texts (for a new head more, if they are few)", positive=True
    )
    batch_size: int | None = of_recipe("texts in a micro-batch, of all processes together", positive=True)
    accumulate: int | None = of_recipe("micro-batches in a step", positive=True)
    lr: float | None = of_recipe("highest learning rate (by default that of the model's width)")
    weight_decay: float | None = of_recipe("of matrices")
    decay_all: bool | None = of_recipe("weight decay of biases and normalisations too")
    warmup_ratio: float | None = of_recipe("share of all steps in which the rate rises")
    warmup_steps: int | None = of_recipe("the same as a number")
    schedule: str | None = of_recipe("of the rate after the warm-up: down to 0, or constant", choices=SCHEDULES)
    beta2: float | None = of_recipe("of Adam")
    epsilon: float | None = of_recipe("of Adam")
    max_grad_norm: float | None = of_recipe("gradients are clipped to this norm")
    max_length: int | None = of_recipe("tokens of a text; longer ones are truncated", positive=True)
    truncation: str | None = of_recipe("how", choices=list(TRUNCATIONS))
    label_smoothing: float | None = of_recipe("--regularizer label-smoothing:epsilon=E", metavar="E")
    class_weights: str | None = of_recipe("--regularizer class-balanced:beta=1", choices=["none", "balanced"])
    regularizer: Sequence[str] | None = of_recipe(
        "{shelf}, or FILE.py:CLASS; once for each, in the place of the recipe's; or none",
        action="append",
        metavar="NAME[:key=value,…]",
    )
    select: str | None = of_recipe("which epoch is kept: best on dev, best-NAME (best-loss, …) or last", metavar="HOW")
    patience: int | None = of_recipe("stop after so many epochs without a better one (0: never)")
    stop_by: str | None = of_recipe("what patience looks at: scores of dev, or the loss of training", choices=STOP_BY)
    least_change: float | None = of_recipe("by which the loss of training must fall in a better epoch")
    precision: str | None = of_recipe("of matrix products", choices=["auto", *PRECISIONS])
    compile: bool | None = of_recipe("torch.compile the model")
    graphs: bool | None = of_recipe("replay steps as CUDA graphs: faster on a GPU where batches are small")
    seed: int | None = of_recipe("of head, dropout and order of the texts")

    save_model: str = option("best", "keep the chosen epoch's model", OUTPUT, choices=["best", "none"])
    judge_train: bool = option(False, "also score the training texts, without dropout", OUTPUT)
    checkpoint: bool = option(True, "allow --resume", OUTPUT)
    track: str | None = option(None, "also write curves for it (pip install tezukuri[track])", OUTPUT, choices=TRACKERS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise ValueError("the warm-up is given twice, as warmup_ratio and as warmup_steps: give one of them")
        if self.fold is not None:
            parse_fold(self.fold)
        of_recipe = OF_RECIPES.get(self.recipe, {}).get("task", "")
        if of_recipe and self.task in (None, of_recipe.partition(":")[0]):
            object.__setattr__(self, "task", of_recipe)
        if isinstance(self.regularizer, str):
            object.__setattr__(self, "regularizer", [self.regularizer])
        self.check_method()
        if self.method != "finetune":  # by the mean of all tokens, with a new head
            object.__setattr__(self, "pooling", "mean")
            object.__setattr__(self, "reset_head", True)

    def check_method(self) -> None:
        """ValueError where the method is not for the task, or an option would be of no effect."""
        unused = [name for name in METHODS[self.method] if getattr(self, name) != DEFAULTS[name]]
        if self.method != "finetune":
            if self.task not in (None, Classify.name):
                raise ValueError(f"the method {self.method} is for the task {Classify.name}, not for {self.task}")
            if self.pooling not in (None, "mean"):
                raise ValueError(f"the method {self.method} reads the mean of all tokens: leave the pooling out")
            unused += ["regularizer"] * (self.regularizer not in (None, ["none"]))
        if unused:
            raise ValueError(f"{unused[0]} has no effect by the method {self.method}: leave it out")

    def read_data(self, labels_are: str | None = None) -> Dataset:
        """The labels are of the kind that the task has, unless another is given."""
        has_labels = self.label_column != NONE
        kind = labels_are or kind_of_labels(self.task, self.pair_column is not None, has_labels)
        return self.chosen(super().read_data(kind))

    @property
    def last_fifth(self) -> bool:
        return (self.dev_split or OF_RECIPES.get(self.recipe, {}).get("dev_split")) == "last-fifth"

    def for_task_of(self, data: Dataset) -> Self:
        """With the task that it names, or else that of the data, which is said."""
        if self.task is None and (task := task_name(None, data)) != Classify.name:
            print(f"task    {task}, as {data.name} is for it")
        return replace(self, task=task_name(self.task, data))

    def of_memory(self, data: Dataset) -> Dataset:
        return self.chosen(super().of_memory(data))

    def chosen(self, data: Dataset) -> Dataset:
        """The data without what is to be left out, and then with the fold."""
        data = without(data, Path(self.leave_out)) if self.leave_out else data
        return with_fold(data, *parse_fold(self.fold), self.split_seed) if self.fold else data

    def settings(self, task: Task | None = None, voted: bool = False, hidden_size: int | None = None) -> Settings:
        """The recipe with the plan's changes; `voted` is whether the training texts have votes of judges."""
        recipe = textbook(task, choose_device(self.device)) if self.recipe == "textbook" else RECIPES[self.recipe]
        if recipe.truncation == "only_second" and not (task and task.pairs and not task.separate):  # no second text
            recipe = replace(recipe, truncation="longest_first")
        given = {one.name: getattr(self, one.name, None) for one in fields(Settings)}
        changed = {name: value for name, value in given.items() if value is not None}
        ours = self.recipe == "default"
        if self.regularizer is not None:
            regularizers = [] if list(self.regularizer) == ["none"] else list(self.regularizer)
        else:
            usual = ours and self.method == "finetune"
            regularizers = list(regularizers_for(voted, task is None or task.r_drop)) if usual else []
        if self.label_smoothing is not None:
            regularizers.append(f"label-smoothing:epsilon={self.label_smoothing}")
        if self.class_weights == "balanced":
            regularizers.append("class-balanced:beta=1")
        changed["regularizers"] = tuple(regularizers)
        if changed.get("stop_by") == "dev":
            changed.setdefault("least_change", 0.0)
        if task and task.select and recipe.select == "best":
            changed.setdefault("select", task.select)
        if "warmup_ratio" in changed:
            changed["warmup_steps"] = None
        if ours and hidden_size and self.lr is None:
            changed["lr"] = rate_for(hidden_size) * (task.rate if task else 1) * METHOD_RATES.get(self.method, 1)
        return replace(recipe, **OF_METHODS.get(self.method, {}) | changed)

    def changes(self) -> dict[str, float]:
        """Changes of the model's configuration."""
        rates = {
            "hidden_dropout_prob": self.hidden_dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "classifier_dropout": self.classifier_dropout,
        }
        return {name: rate for name, rate in rates.items() if rate is not None}


DEFAULTS = {one.name: one.default for one in fields(Plan)}


def whole_path(regularizer: str) -> str:
    """`mine.py:Mine`, `mine:Mine` and `distillation:teacher=FOLDER` with an absolute path."""
    module, colon, kind = regularizer.partition(":")
    if colon and module.isidentifier() and not re.match(r"\w+=", kind) and Path(f"{module}.py").is_file():
        regularizer = f"{module}.py:{kind}"
    file, _, rest = regularizer.partition(".py:")
    if rest:
        return f"{Path(file).resolve()}.py:{rest}"

    def whole(teacher: re.Match[str]) -> str:
        return str(Path(teacher[0]).resolve()) if Path(teacher[0]).exists() else teacher[0]  # of the hub

    return re.sub(r"(?<=[:,]teacher=)[^,]+", whole, regularizer)
