"""The registry of tokenizers, by the class names in models' files."""

from collections.abc import Mapping
from pathlib import Path

from .japanese import JapaneseTokenizer
from .settings import class_of, one_of
from .tokenizer import Tokenizer
from .unigram import UnigramTokenizer
from .unigram_settings import CLASSES, FILES

KINDS: dict[str, type[Tokenizer]] = {
    "BertJapaneseTokenizer": JapaneseTokenizer,
    "BertTokenizer": JapaneseTokenizer,
    "BertTokenizerFast": JapaneseTokenizer,
    **dict.fromkeys(CLASSES, UnigramTokenizer),
}
UNNAMED = JapaneseTokenizer  # where no file names a class: it assumes one, and notes that


def tokenizer_of(folder: str | Path) -> Tokenizer:
    """The tokenizer in a model's local folder; errors are those of its kind, and ValueError for an unknown class."""
    folder = Path(folder)
    name = class_of(folder)
    if name is None:
        alone = not (folder / "vocab.txt").is_file() and any((folder / file).is_file() for file in FILES)
        return (UnigramTokenizer if alone else UNNAMED).from_pretrained(folder)
    try:
        one_of("tokenizer_class", name, tuple(KINDS))
    except ValueError as error:
        raise ValueError(f"{folder / 'tokenizer_config.json'}: {error}") from error
    return KINDS[name].from_pretrained(folder)


def files_of(folder: Path) -> Mapping[str, str]:
    """`Tokenizer.files` of the tokenizer whose settings are in `folder`."""
    name = class_of(folder)
    if name is None:  # `tokenizer_of` takes what is there
        return {" or ".join(("vocab.txt", *FILES)): "no tokenizer that is read here"}
    return KINDS.get(str(name), UNNAMED).files
