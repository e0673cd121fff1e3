"""Checkpoint → model and tokenizer, with a report of what was loaded, left out and made new.

Letters: H hidden size, C classes.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..model.heads import HEADS, ChoiceHead, ClassHead, Head, SpanHead, TagHead
from ..model.initialisation import initialise
from ..model.model import MaskedLM, Model, use_kernel
from ..model.vectors import LOSSES
from ..tokenize.encoding import TRUNCATIONS
from ..tokenize.kinds import tokenizer_of
from ..tokenize.settings import owner_and_name
from ..tokenize.tokenizer import Tokenizer
from .architectures import POOLING, read_config
from .compact import FILE as COMPACT
from .compact import read_compact
from .files import CheckpointError, Files, first_line, read_json
from .find import find
from .names import Names
from .sentences import MODULES, read_vectors


class UnnamedChoicesError(CheckpointError):
    """A model of choices that does not say of how many."""


Use = Literal["encode", "classify", "fill-mask"]
# Classes of the hub's libraries that call different heads `classifier`.
CLASSIFIERS = ("SequenceClassification", "TokenClassification", "MultipleChoice", "MaskedLM", "Entity")
VECTORS = ("text", "pair")  # names for what a head of sentence vectors reads
HEADS_OF_CLASSES: dict[str, type[Head]] = {
    "ForMultipleChoice": ChoiceHead, "ForTokenClassification": TagHead, "ForQuestionAnswering": SpanHead,
}  # fmt: skip
FROM_POSITION_0 = "rinna/japanese-roberta-base"  # a RoBERTa that was trained so, which its config.json cannot say
PADDING = 128  # rows of an embedding that no token has: many models are filled up to a multiple of 8, 64 or 128
PLACEHOLDER = re.compile(r"LABEL_\d+")
log = logging.getLogger("tezukuri")


@dataclass
class LoadReport:
    """What became of a checkpoint's tensors."""

    source: str
    loaded: list[str] = field(default_factory=list)  # canonical names
    left_out: dict[str, str] = field(default_factory=dict)  # canonical name → why
    new: list[str] = field(default_factory=list)  # our parameters that the checkpoint lacks
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} tensors from {self.source}" if self.loaded else f"new: {self.source}"]
        for why in dict.fromkeys(self.left_out.values()):
            names = [name for name, reason in self.left_out.items() if reason == why]
            lines.append(f"  left out: {', '.join(names[:3])}{' …' if len(names) > 3 else ''} ({why})")
        if self.loaded and self.new:
            lines.append(f"  new, to be trained: {', '.join(self.new)}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


@dataclass
class Loaded:
    model: Any  # an encoder, a Model or a MaskedLM
    tokenizer: Tokenizer
    report: LoadReport
    cut: dict[str, Any] = field(default_factory=dict)  # how texts were cut in training, where the folder tells
    task: dict[str, Any] = field(default_factory=dict)  # what it keeps of the task that the model was trained for
    folder: Path | None = None  # that the files are in


class Options(TypedDict, total=False):
    """Keyword arguments of `load`."""

    revision: str | None
    reset_head: bool
    changes: Mapping[str, Any] | None
    kernel: str


Labels = Sequence[str] | None


@overload
def load(
    name_or_folder: str | Path, task: Literal["encode"] = "encode", labels: Labels = None, **options: Unpack[Options]
) -> tuple[Any, Tokenizer]: ...
@overload
def load(
    name_or_folder: str | Path, task: Literal["classify"], labels: Labels = None, **options: Unpack[Options]
) -> tuple[Model, Tokenizer]: ...
@overload
def load(
    name_or_folder: str | Path, task: Literal["fill-mask"], labels: Labels = None, **options: Unpack[Options]
) -> tuple[MaskedLM, Tokenizer]: ...
def load(
    name_or_folder: str | Path,
    task: Use = "encode",
    labels: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    reset_head: bool = False,
    changes: Mapping[str, Any] | None = None,
    kernel: str = "auto",
) -> tuple[Any, Tokenizer]:
    """Load a BERT from a local folder or the hub, in evaluation mode and fp32, on the CPU.

    New weights, pickles and assumed settings are logged as a warning.

    Args:
        name_or_folder: `small` or `mini`, which come with this package, a folder in the hub's layout, or a hub id.
        task: `encode` gives the encoder alone (Bert), `classify` a Model for classes, `fill-mask` a MaskedLM.
        labels: names of the classes, for `classify`. By default those of the checkpoint.
        revision: branch, tag or commit of the hub; known models have a default.
        reset_head: put a new head in the place of the checkpoint's.
        changes: fields of its configuration to change, such as {"hidden_dropout_prob": 0.2}.
        kernel: attention's, see model/attention.py.

    Raises:
        CheckpointError: the checkpoint cannot be had, or does not fit; the message names the tensor.
    """
    loaded = load_with_report(
        name_or_folder, task, labels, revision=revision, reset_head=reset_head, changes=changes, kernel=kernel
    )
    if loaded.report.new or loaded.report.notes:
        log.warning("%s", loaded.report)
    return loaded.model, loaded.tokenizer


def load_with_report(
    name_or_folder: str | Path,
    task: Use = "encode",
    labels: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    reset_head: bool = False,
    changes: Mapping[str, Any] | None = None,
    head: type[Head] | None = ClassHead,
    pooling: str | None = None,
    kernel: str = "auto",
) -> Loaded:
    """As `load`, but with the report instead of a warning.

    head: that of `classify`, None for that of the file.
    pooling: what the head reads in place of what the checkpoint says, `first` or `mean` (see `Head.reads`).
    """
    if task not in ("encode", "classify", "fill-mask"):
        raise ValueError(f"task {task!r} is not known; choose encode, classify or fill-mask")
    # The configuration.
    of_vectors = task == "encode" or (head is not None and head.use == "encode")
    files = find(str(name_or_folder), revision, True, of_vectors)
    report = LoadReport(files.source, notes=list(files.notes))
    settings = read_json(files.folder / "config.json")
    head = head or head_of(settings)
    architecture, config, unknown = read_config(settings)
    use = head.use if task == "classify" else task
    if use not in architecture.classes:
        known = " or ".join(architecture.classes)
        raise CheckpointError(f"{files.source}: this kind of encoder is not loaded for {use}: choose {known}")
    if unknown:
        report.notes.append(f"config.json has keys that are not known here and were passed over: {', '.join(unknown)}")
    if from_position_0(files.folder, settings, str(name_or_folder)):
        config = replace(config, first_position=0)
        report.notes.append(f"positions begin at 0, as the page of {FROM_POSITION_0} asks")
    config = replace(config, **(changes or {}))

    # The tensors, and which of the head are used.
    names = architecture.names.of(use)
    tensors = read_tensors(files, names, report)
    check_sizes(config, tensors, names, report)
    if use == "encode" and task == "classify":
        labels = tuple(labels or VECTORS)
    elif task == "classify":
        others = [kind for kind in CLASSIFIERS if not architecture.classes[use].endswith(f"For{kind}")]
        labels = settle_labels(settings, tensors, names, labels, reset_head, head, others, report, files.folder)
    if reset_head and use in names.heads:
        for name in [name for name in tensors if name.startswith(names.heads[use])]:
            del tensors[name]
            report.left_out[name] = "its head was reset"
    if task == "fill-mask":
        check_word_head(tensors, names, reset_head, report)

    # The model, its tensors in place, and the tokenizer.
    pooler = names.heads.get("encode")
    anew = ""  # what may be lacking, and is new then: the pooler where a head read the mean until now
    has_pooler = pooler is not None and any(name.startswith(pooler) for name in tensors)
    with torch.device("meta"):  # shapes only
        if task == "classify":
            # A new pooler is made only for a head that reads it; sentence vectors are those before it.
            own = own_pooling(settings, head, files.folder)
            reads = pooling or own
            anew = "bert.pooler." if reads != own else ""
            model: Any = Model(
                architecture.encoder(config, reads == "first" and use != "encode"), labels or (), head, reads
            )
        elif task == "fill-mask":
            model = MaskedLM(architecture.encoder(config, has_pooler or bool(labels)), labels or ())
        else:
            model = architecture.encoder(config, has_pooler)
    fill(model, "bert." if task == "encode" else "", tensors, names, report, anew)
    use_kernel(model, kernel)
    tokenizer = tokenizer_of(files.folder)
    report.notes += tokenizer.notes
    if tokenizer.template.second_type and getattr(config, "type_vocab_size", 2) == 1:
        tokenizer.template = replace(tokenizer.template, second_type=0)
        report.notes.append("the model has one segment: both texts of a pair are in it")
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{files.source}: {next(iter(tokenizer.files))} has {tokenizer.vocab_size} tokens, but the model embeds "
            f"{config.vocab_size}"
        )
    if config.vocab_size - tokenizer.vocab_size >= PADDING:
        report.notes.append(
            f"{next(iter(tokenizer.files))} has {tokenizer.vocab_size} tokens, and the model embeds "
            f"{config.vocab_size}: if a part of the file is missing, fetch it again"
        )
    return Loaded(model.eval(), tokenizer, report, *kept_cut(settings), files.folder)


def own_pooling(settings: Mapping[str, Any], head: type[Head], folder: Path) -> str:
    """What a head reads, as a folder says it, or else the head's class."""
    if head.use == "encode":
        said = read_vectors(folder)
        return said.pooling if said else head.reads
    return head.reads if head.reads == "tokens" else str(settings.get(POOLING, head.reads))


def load_ready_classifier(
    name_or_folder: str | Path,
    labels: Sequence[str] | None = None,
    revision: str | None = None,
    head: type[Head] | None = None,
    choices: int = 0,
) -> Loaded:
    """A trained model with its head, by default the one that its `config.json` speaks of.

    choices: how many it takes one of, where neither it nor `labels` say so; at least 2, or 0 for not known.

    CheckpointError where a part of it would be new.
    """
    try:
        loaded = load_with_report(name_or_folder, "classify", labels, revision=revision, head=head)
    except UnnamedChoicesError:
        if choices < 2:
            raise
        names = [f"choice{number}" for number in range(choices)]
        loaded = load_with_report(name_or_folder, "classify", names, revision=revision, head=head)
        loaded.report.notes.append(
            f"the model does not say how many choices there are: {choices}, as there are columns"
        )
    if loaded.report.new:
        raise CheckpointError(
            f"{loaded.report.source} is no trained classifier (it lacks {', '.join(loaded.report.new)}): fine-tune it "
            "first (tezukuri finetune)"
        )
    return loaded


def from_position_0(folder: Path, settings: Mapping[str, Any], name: str = "") -> bool:
    """Whether a model is FROM_POSITION_0, by its name or as a copy in a folder."""
    owner, _, own = FROM_POSITION_0.partition("/")
    copied = owner_and_name(folder) in ((owner, own), (None, own)) and "first_position" not in settings
    return name == FROM_POSITION_0 or (copied and settings.get("model_type") == "roberta")


def head_of(settings: Mapping[str, Any]) -> type[Head]:
    """The head that a `config.json` speaks of, as the hub's libraries read it."""
    if (loss := kept_cut(settings)[1].get("loss")) in LOSSES:
        return LOSSES[loss]
    for name in map(str, settings.get("architectures") or []):
        for ending, head in HEADS_OF_CLASSES.items():
            if name.endswith(ending):
                return head
    alone = len(settings.get("id2label") or "..") == 1
    return HEADS.get(str(settings.get("problem_type") or ("regression" if alone else "")), ClassHead)


def read_tensors(files: Files, names: Names, report: LoadReport) -> dict[str, Tensor]:
    """All tensors of a checkpoint by their canonical names."""
    tensors: dict[str, Tensor] = {}
    wrappers = set()
    for path in files.weights:
        try:
            if path.name == COMPACT:
                content = read_compact(path)
            elif path.suffix == ".safetensors":
                content = load_file(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(f"{path} {why_unreadable(path, error)}") from error
        if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
            raise CheckpointError(f"{path} does not hold tensors by name, as a checkpoint does: choose another file")
        for name, tensor in content.items():
            wrapper, rest = names.unwrapped(name)
            wrappers |= {wrapper} - {""}
            ours = names.canonical(rest)
            if ours in tensors and (tensors[ours].dtype != tensor.dtype or not torch.equal(tensors[ours], tensor)):
                raise CheckpointError(f"{path} has two tensors for {ours}, one of them {name}: leave one out")
            tensors[ours] = tensor
    if wrappers:
        report.notes.append(f"the tensors' names were read without the {' and '.join(sorted(wrappers))} before them")
    for name, twin in names.tied.items():
        if name in tensors and twin not in tensors:
            tensors[twin] = tensors.pop(name)
    return tensors


def check_sizes(config: Any, tensors: dict[str, Tensor], names: Names, report: LoadReport) -> None:
    """CheckpointError where sizes of config.json are not those of the tensors, before a model of that size is made."""
    for field_, (name, dimension) in names.sizes.items():
        size, shape = getattr(config, field_), tuple(tensors[name].shape) if name in tensors else ()
        if len(shape) > dimension and shape[dimension] != size:
            raise CheckpointError(f"{report.source}: tensor {name} is {shape}, but config.json has {field_} {size}")
    layers, found = getattr(config, "num_hidden_layers", 0), names.layers(tensors)
    if layers > found:
        raise CheckpointError(
            f"{report.source} lacks the tensors of layer {found}: config.json has num_hidden_layers {layers}, but "
            f"there are tensors of {found} layers"
        )


def why_unreadable(path: Path, error: Exception) -> str:
    """The end of a sentence that begins with the file."""
    try:
        with path.open("rb") as file:  # safetensors calls any file that cannot be opened "No such file"
            begins = file.read(100)
    except OSError as unreadable:
        return f"cannot be read ({unreadable.strerror}): see to its disk, and to its permissions"
    if begins.startswith(b"version https://git-lfs."):
        return "is a pointer of git-lfs instead of the file: run git lfs pull in its folder"
    if isinstance(error, safetensors.SafetensorError | OSError | RuntimeError | EOFError | ValueError):
        return f"cannot be read ({first_line(error)}): if it is damaged, fetch it again"
    if isinstance(error, MemoryError):
        return "needs more memory than there is here: choose a smaller model, or another machine"
    # An UnpicklingError: it met something else than tensors, code or bytes without sense.
    return "holds more than tensors, or is damaged, and is refused: fetch it again, or ask for safetensors"


def settle_labels(
    settings: dict[str, Any],
    tensors: dict[str, Tensor],
    names: Names,
    wanted: Sequence[str] | None,
    reset_head: bool,
    head: type[Head],
    others: Sequence[str],
    report: LoadReport,
    folder: Path,
) -> tuple[str, ...]:
    """The names of the C columns; the checkpoint's head is brought into their order.

    others: classes of the hub's libraries whose head is another one.
    """
    # What is wanted, and what the checkpoint has: a head without a linear layer has the columns of config.json.
    own = [name for leaf in ("weight", "bias") for name in names.on_hub(f"classifier.{leaf}") if name in tensors]
    if isinstance(wanted, str):
        raise CheckpointError(f"labels must be a list of names, not the text {wanted!r}")
    if wanted is not None and len(set(wanted)) != len(wanted):
        raise CheckpointError(f"labels must differ from each other: {', '.join(wanted)}")
    architecture = " ".join(map(str, settings.get("architectures") or []))
    of_another_kind = any(kind in architecture for kind in others)
    named = label_names(settings, None if reset_head or of_another_kind else head)
    another = not own and bool(named) and head is not ClassHead and settings.get("problem_type") == head.problem_type
    if of_another_kind or not (own or another):
        for name in [name for name in tensors if of_another_kind and name.startswith(names.heads[head.use])]:
            del tensors[name]
            report.left_out[name] = f"the head of a {architecture}"
        if wanted is None and (folder / MODULES).is_file():
            raise CheckpointError(
                f"{report.source} is an encoder of sentence vectors (for tezukuri embed and search), and no "
                "classifier: fine-tune it first (tezukuri finetune)"
            )
        if wanted is None:
            raise CheckpointError(
                f"{report.source} has no classifier for sentences: fine-tune it first (tezukuri finetune)"
            )
        return tuple(wanted)
    if not head.row_each:
        if wanted is None and len(named) < 2:
            raise UnnamedChoicesError(
                f"{report.source} does not say how many choices there are, of which it takes one: give a label for "
                "each (evaluate --labels choice0,choice1,…), or their columns (evaluate --choice-columns a,b,…)"
            )
        return tuple(named if wanted is None else wanted)
    # How many classes, and the names that config.json has for them.
    rows = len(tensors[own[0]]) if own else len(named)
    stated = settings.get("num_labels", settings.get("_num_labels", len(named) or rows))
    for number in {stated, len(named) or rows} - {rows}:
        report.notes.append(f"config.json speaks of {number} labels, but the head has {rows} rows: the head decides")
    named = (named + [f"LABEL_{i}" for i in range(len(named), rows)])[:rows]
    # The checkpoint's names, or those that are wanted in their place.
    if reset_head:
        return tuple(named if wanted is None else wanted)
    if wanted is None or list(wanted) == named:
        return tuple(named)
    if len(wanted) == rows and all(PLACEHOLDER.fullmatch(name) for name in named):
        report.notes.append(f"the head's rows have no names; they are taken to be {', '.join(wanted)}")
        return tuple(wanted)
    if own and sorted(wanted) == sorted(named):
        report.notes.append(f"the head's rows were reordered from {', '.join(named)} to {', '.join(wanted)}")
        order = [named.index(label) for label in wanted]
        for name in own:
            tensors[name] = tensors[name][order]
        return tuple(wanted)
    raise CheckpointError(
        f"{report.source} is a classifier of {', '.join(named)}; for {', '.join(wanted)} it needs a new head: "
        "fine-tune it with one (tezukuri finetune --reset-head)"
    )


def kept_cut(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How texts were cut in training, and what is kept of the task, as `save` wrote it into a `config.json`; {} where
    nothing is told."""
    kept = settings.get("tezukuri", {})
    task = kept.get("task", {}) if isinstance(kept, dict) else {}
    if not isinstance(task, dict):
        raise CheckpointError(f"config.json: the task under tezukuri is {json.dumps(task)}, no object: delete it")
    cut = {name: value for name, value in kept.items() if name != "task"} if isinstance(kept, dict) else kept
    known = {"max_length": lambda n: type(n) is int and n > 0, "truncation": lambda how: how in TRUNCATIONS}
    if not isinstance(cut, dict) or any(name not in known or not known[name](value) for name, value in cut.items()):
        raise CheckpointError(
            f"config.json: tezukuri is {json.dumps(cut)}; it tells how texts are cut, as in "
            '{"max_length": 128, "truncation": "head_tail"}: mend it, or delete it'
        )
    return dict(cut), task


def label_names(settings: dict[str, Any], head: type[Head] | None = ClassHead) -> list[str]:
    """The class names of a `config.json`, none where it has none; ValueError where it speaks of another head."""
    kind = settings.get("problem_type")
    if head and kind not in (None, head.problem_type):
        raise CheckpointError(
            f"config.json: problem_type is {kind}, and not {head.problem_type}: put a new head in its place "
            "(tezukuri finetune --reset-head)"
        )
    names = settings.get("id2label") or {}
    try:
        names = {int(row): str(label) for row, label in names.items()}
    except (ValueError, AttributeError):
        raise CheckpointError(f"config.json: id2label is {json.dumps(names)}; it must map 0, 1, … to names") from None
    if sorted(names) != list(range(len(names))) or len(set(names.values())) != len(names):
        raise CheckpointError(f"config.json: id2label is {json.dumps(names)}; it must map 0, 1, … to different names")
    return [names[row] for row in sorted(names)]


def fill(model: Any, prefix: str, tensors: dict[str, Tensor], names: Names, report: LoadReport, anew: str = "") -> None:
    """Put tensors into a model on the meta device, initialise what the checkpoint lacks, and fill the report.

    Only whole heads may be lacking, and what begins with `anew`.
    """
    lacking = tuple(head for head in names.heads.values() if not any(name.startswith(head) for name in tensors))
    state, used, missing = {}, set(), []
    for ours, parameter in model.named_parameters():
        on_hub = names.on_hub(prefix + ours)
        if on_hub[0].startswith(lacking) or (anew and ours.startswith(anew) and on_hub[0] not in tensors):
            missing.append(ours)
            continue
        parts = [take(tensors, name, parameter.shape, len(on_hub), report) for name in on_hub]
        state[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]  # 3 × (H, H) -> (3H, H)
        used.update(on_hub)
    model.load_state_dict(state, strict=False, assign=True)
    for module in model.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            materialise(module, model.config.initializer_range)
    report.loaded, report.new = sorted(used), missing
    account_for_the_rest(tensors, used, names, report)


def take(tensors: dict[str, Tensor], name: str, shape: torch.Size, parts: int, report: LoadReport) -> Tensor:
    """One tensor in fp32, its shape checked: `shape` is that of `parts` such tensors below each other."""
    if name not in tensors:
        raise CheckpointError(f"{report.source} lacks the tensor {name}: it is no whole BERT of this size")
    expected = (shape[0] // parts, *shape[1:])
    if tuple(tensors[name].shape) != expected:
        raise CheckpointError(
            f"{report.source}: tensor {name} is {tuple(tensors[name].shape)}, but config.json makes it {expected}"
        )
    return tensors[name].float()


def materialise(module: nn.Module, std: float) -> None:
    """Initialise a module on the meta device."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(torch.zeros(parameter.shape)))
    initialise(module, std)


def check_word_head(tensors: dict[str, Tensor], names: Names, reset_head: bool, report: LoadReport) -> None:
    """There must be a masked-language head, and its decoder must be the word embeddings."""
    if not reset_head and not any(name.startswith(names.heads["fill-mask"]) for name in tensors):
        raise CheckpointError(
            f"{report.source} has no head for masked words: choose a model that was pretrained to guess "
            "them, or learn a new one (tezukuri pretrain --reset-head)"
        )
    for name, twin in names.tied.items():
        if name in tensors and twin in tensors and not torch.equal(tensors[name], tensors[twin]):
            raise CheckpointError(f"{report.source}: tensor {name} differs from {twin}, to which this BERT ties it")


def account_for_the_rest(tensors: dict[str, Tensor], used: set[str], names: Names, report: LoadReport) -> None:
    """Report the other tensors; CheckpointError for one that is not known to be of no use here."""
    reasons = dict(names.left_out) | dict.fromkeys(names.heads.values(), "a head that this task does not use")
    for name in sorted(tensors.keys() - used):
        why = next((why for beginning, why in reasons.items() if re.match(beginning, name)), None)
        if why is None:
            raise CheckpointError(f"{report.source}: no place for the tensor {name} in this BERT: is it another kind?")
        report.left_out[name] = why
