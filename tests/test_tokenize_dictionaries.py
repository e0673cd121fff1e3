"""MeCab's options in a model's files: those that name an installed dictionary, and no others."""

import ipadic
import pytest
import unidic_lite

from tezukuri.tokenize import dictionaries
from tezukuri.tokenize.dictionaries import checked_options
from tezukuri.tokenize.words import MecabWords

LITE, IPADIC = unidic_lite.DICDIR, ipadic.DICDIR


@pytest.mark.parametrize(
    "option",
    [
        f"-d {IPADIC}",
        f"-d{IPADIC}",
        f"--dicdir={IPADIC} -N 1",
        f"--dicdir '{IPADIC}' --rcfile /dev/null -c 700",
        f'-r /dev/null -d "{LITE}/../../ipadic/dicdir/."',
    ],
)
def test_an_installed_dictionary_may_be_named_in_each_of_mecabs_ways(option):
    by_option = MecabWords(None, f"-r /dev/null {option}", normalize=True, lower=False)
    by_name = MecabWords("ipadic", None, normalize=True, lower=False)
    text = "日本人でした"
    assert by_option(text) == by_name(text) != MecabWords("unidic_lite", None, normalize=True, lower=False)(text)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("-p", "mecab_option '-p' is not supported: only -d, -r, -u, -c, -N are"),
        ("--partial", "mecab_option '--partial' is not supported"),
        ("-a", "mecab_option '-a' is not supported"),
        ("-c 1 -o /tmp/out", "mecab_option '-o' is not supported"),
        ("--output=/tmp/out", "mecab_option '--output=/tmp/out' is not supported"),
        ("-O wakati", "mecab_option '-O' is not supported"),
        ("-N 2", "mecab_option -N '2' is not supported"),
        ("-c -1", "mecab_option -c '-1' is not supported"),
        ("texts.txt", "mecab_option 'texts.txt' is not supported"),
        ("-d 'x", "cannot be read: No closing quotation"),
        ("-r /dev/zero", "mecab_option -r '/dev/zero' is not in an installed dictionary: install it as one of"),
        ("-d /dev/null", "mecab_option -d '/dev/null' is not in an installed dictionary"),
        ("-d", "mecab_option -d '' is not in an installed dictionary"),
        (f"-d {LITE}/../../..", "is not in an installed dictionary"),
        (f"-u {LITE}/sys.dic,/etc/passwd", "mecab_option -u '/etc/passwd' is not in an installed dictionary"),
        (f"-d {LITE}/nowhere", "there is no such folder"),
        (f"-d {LITE}/sys.dic", "there is no such folder"),
        (f"-r {LITE}", "there is no such file"),
    ],
)
def test_any_other_option_is_refused_by_name(option, said):
    with pytest.raises(ValueError) as caught:
        MecabWords("unidic_lite", option, normalize=True, lower=False)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_links_are_followed_before_a_path_is_judged(tmp_path, monkeypatch):
    """A link inside the system's folder leads to a dictionary elsewhere (Homebrew); one outside proves nothing."""
    (tmp_path / "system" / "dic").mkdir(parents=True)
    (tmp_path / "cellar").mkdir()
    (tmp_path / "cellar" / "dicrc").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "system" / "dic" / "linked").symlink_to(tmp_path / "cellar")
    (tmp_path / "to-ipadic").symlink_to(IPADIC)
    (tmp_path / "cellar" / "out").symlink_to(tmp_path / "outside")
    place = str(tmp_path / "system" / "dic")
    with pytest.raises(ValueError, match="is not in an installed dictionary"):
        checked_options(f"-d {place}/linked")
    monkeypatch.setattr(dictionaries, "SYSTEM_FOLDERS", (*dictionaries.SYSTEM_FOLDERS, place.lstrip("/")))
    assert checked_options(f"-d {place}/linked") == f"-d {tmp_path.resolve() / 'cellar'}"
    assert checked_options(f"-d {tmp_path}/to-ipadic").startswith("-d ")
    for path in (f"{place}/linked/out", f"{place}/../../outside", f"{tmp_path}/outside"):
        with pytest.raises(ValueError, match="is not in an installed dictionary"):
            checked_options(f"-d {path}")


def test_a_dictionary_that_mecab_cannot_read_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(dictionaries, "SYSTEM_FOLDERS", (str(tmp_path).lstrip("/"), "usr"))
    words = MecabWords(None, f"-r /dev/null -d {tmp_path}/empty", normalize=True, lower=False)
    with pytest.raises(ValueError, match=r"MeCab cannot start with -r /dev/null -d .*/empty: name an installed"):
        words("東京")
