"""MeCab's dictionaries: where they are installed, and the options of a model's files that name one.

These options come from the hub, so they are read before MeCab reads them: some of its own end the process (-p) or take
all memory (-r of an endless file).
"""

import importlib
import importlib.util
import re
import shlex
from pathlib import Path

DICTIONARIES = {"unidic_lite": "unidic-lite", "ipadic": "ipadic", "unidic": "unidic"}  # module → package to install
# The folders in which systems keep dictionaries: Debian, Fedora, MeCab's own default, Homebrew on both kinds of Mac.
SYSTEM_FOLDERS = (
    "usr/lib/*/mecab/dic", "usr/lib/mecab/dic", "usr/lib64/mecab/dic", "usr/share/mecab/dic", "var/lib/mecab/dic",
    "usr/local/lib/mecab/dic", "opt/homebrew/lib/mecab/dic",
)  # fmt: skip
SYSTEM_FILES = ("/dev/null", "/etc/mecabrc", "/usr/local/etc/mecabrc", "/opt/homebrew/etc/mecabrc")  # for -r
LONG_NAMES = {"--dicdir": "-d", "--rcfile": "-r", "--userdic": "-u", "--cost-factor": "-c", "--nbest": "-N"}
PATHS = ("-d", "-r", "-u")
NUMBERS = {"-c": r"[1-9]\d{0,8}", "-N": "1"}  # which leave the words as they are


def dictionary_options(dictionary: str | None) -> str:
    """MeCab's options for a dictionary that is a Python package; raises ValueError, ModuleNotFoundError."""
    if dictionary is None:
        return ""
    if dictionary not in DICTIONARIES:
        raise ValueError(f"mecab_dic {dictionary!r} is not known: use one of {', '.join(DICTIONARIES)}")
    try:
        folder = Path(importlib.import_module(dictionary).DICDIR)
    except ModuleNotFoundError as error:
        package = DICTIONARIES[dictionary]
        raise ModuleNotFoundError(
            f"this tokenizer needs the MeCab dictionary {dictionary}: pip install {package}", name=dictionary
        ) from error
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the package {dictionary} is installed, but its dictionary is not at {folder}: "
            f"python -m {dictionary} download"
        )
    return f'-d "{folder}" -r "{folder / "mecabrc"}"'


def checked_options(given: str) -> str:
    """The options of `mecab_option` for MeCab, in short form and with resolved paths.

    Raises ValueError, which names the option, for any but -d, -r and -u of an installed dictionary, -c and -N 1.
    """
    try:
        words = iter(shlex.split(given))
    except ValueError as error:
        raise ValueError(f"mecab_option {given!r} cannot be read: {error}") from error
    options: list[str] = []
    for word in words:
        # -d PATH, -dPATH, --dicdir PATH or --dicdir=PATH
        name, value = (*word.split("=", 1), "")[:2] if word.startswith("--") else (word[:2], word[2:])
        name = LONG_NAMES.get(name, name)
        if name not in (*PATHS, *NUMBERS):
            raise ValueError(f"mecab_option {word!r} is not supported: only {', '.join((*PATHS, *NUMBERS))} are")
        value = value or next(words, "")
        if name in PATHS:
            value = ",".join(str(installed(name, path)) for path in value.split(","))
        elif not re.fullmatch(NUMBERS[name], value):
            raise ValueError(f"mecab_option {name} {value!r} is not supported: only {name} 1 and the like are")
        options += [name, value]
    return shlex.join(options)


def installed(option: str, path: str) -> Path:
    """A path of a MeCab option, resolved; ValueError where it is not inside an installed dictionary."""
    if option == "-r" and path in SYSTEM_FILES:
        return Path(path)
    found = Path(path).resolve()
    if not path or not any(found.is_relative_to(folder) for folder in dictionary_folders()):
        raise ValueError(
            f"mecab_option {option} {path!r} is not in an installed dictionary: install it as one of MeCab's (in "
            f"/{SYSTEM_FOLDERS[-2]}), or name a package as mecab_dic: {', '.join(DICTIONARIES)}"
        )
    if not (found.is_dir() if option == "-d" else found.is_file()):
        raise ValueError(f"mecab_option {option} {path!r}: there is no such {'folder' if option == '-d' else 'file'}")
    return found


def dictionary_folders() -> list[Path]:
    """The folders of installed dictionaries, resolved; what the system's folders link to counts as inside them."""
    packages = [importlib.import_module(name) for name in DICTIONARIES if importlib.util.find_spec(name)]
    system = [folder for pattern in SYSTEM_FOLDERS for folder in Path("/").glob(pattern) if folder.is_dir()]
    linked = [entry for folder in system for entry in folder.iterdir()]
    return [folder.resolve() for folder in (*(Path(package.DICDIR) for package in packages), *system, *linked)]
