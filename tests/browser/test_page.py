"""The page of mistakes in a real browser: what can be done on it, with which hands, in which light, and how large."""

import csv
import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright
from test_failures import CONFIG, LABELS, ROWS
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER

from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval.failures.analysis import Analysis, Failure, analyse
from tezukuri.eval.failures.page import page
from tezukuri.eval.failures.slices import Rule
from tezukuri.eval.judge import judge
from tezukuri.eval.look.page import write_look
from tezukuri.eval.look.quiz import quiz_of, write_quiz
from tezukuri.eval.look.survey import survey
from tezukuri.eval.predict import Scorer
from tezukuri.eval.runs import write_jsonl
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
WITHOUT = (
    "no Chromium found: install one (Debian, Ubuntu: apt-get install chromium fonts-noto-cjk) or say where one is: "
    "make browser-test CHROMIUM=path"
)
MANY = 10_000
SOME_TEXTS = [
    *TEXTS,
    "ＷｉＦｉが遅くて困りました。",
    "朝食は\n  和食でした。",
    '窓から"海", 山が見えます。',
    "駅まで歩けます。",
]
OPEN = "document.querySelectorAll('details').forEach(part => { part.open = true; })"
RUN_CODE = "window.hacked=1"
HOSTILE = [
    f"<script>{RUN_CODE}</script>",
    f'"><img src=x onerror="{RUN_CODE}">',
    f"</script><script>{RUN_CODE}</script>",
    f"</style></textarea></title><svg onload={RUN_CODE}>",
    f"javascript:{RUN_CODE}",
    f"' onfocus='{RUN_CODE}' autofocus='",
    "nothing\0is\0here",
    "\u202etxt.exe\u202c \u2067right\u2069 \u200f",
    "<!-- <base href=https://example.com/> {{ 7 * 7 }} &lt;b&gt;",
]
HOSTILE_LABELS = (f"<script>{RUN_CODE}</script>", f'"><img src=x onerror="{RUN_CODE}">', "\u202elabel")


def analysed(texts: list[str], labels: tuple[str, ...], wrong: bool = True) -> Analysis:
    """Each text in each split; each label is given, and each other one predicted, unless nothing is to be wrong."""
    judgements = []
    for s, split in enumerate(("train", "dev", "test")):
        gold = [labels[i % len(labels)] for i in range(2 * len(texts))]
        some = [
            Example(f"{split}-{i}", text, label, split, {label: 2, labels[0]: 1})
            for i, (text, label) in enumerate(zip(texts * 2, gold, strict=True))
        ]
        said = [(i + wrong * (1 + (i // 3 + s) % 2)) % len(labels) for i in range(len(some))]
        sure = np.random.default_rng(s).uniform(1, 3, len(some))
        judgements.append(judge(Classify(labels), split, some, np.eye(len(labels))[said] * sure[:, None], labels))
    torch.manual_seed(4)
    model = Model(Bert(BertConfig(**SIZES)), labels).eval()
    rule = Rule(labels[0] + " & 駅", "駅の文", "", lambda text: "駅" in text.text)
    return analyse(Scorer(model, TOKENIZER, Classify(model.labels)), judgements, judgements[0].examples, labels, [rule])


def written(folder: Path, analysis: Analysis, labels: tuple[str, ...] = LABELS, language: str = "en") -> Path:
    path = folder / "報告.html"
    path.write_text(page(analysis, CONFIG, ROWS, language), encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    asked = os.environ.get("CHROMIUM")
    program = next(filter(None, map(shutil.which, [asked] if asked else NAMES)), None)
    if not program:
        pytest.exit(WITHOUT, returncode=1)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program)


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; in the end none may have run foreign code, complained, or asked for anything but itself."""
    trouble: list[str] = []
    pages: list[Page] = []

    def open_page(path: Path, at: str = "", before: str = "", **options: Any) -> Page:
        context = stack.enter_context(browser.new_context(**options))
        context.set_default_timeout(20_000)
        context.add_init_script(before)
        own = (path.as_uri(), "blob:")  # a download is a blob
        context.on("request", lambda asked: None if asked.url.startswith(own) else trouble.append(asked.url))
        context.on("console", lambda message: trouble.append(message.text))
        context.on("weberror", lambda error: trouble.append(str(error.error)))
        context.on("dialog", lambda dialog: trouble.append(dialog.message))
        shown = context.new_page()
        shown.goto(path.as_uri() + at)
        pages.append(shown)
        return shown

    with ExitStack() as stack:
        yield open_page
        assert pages and [shown for shown in pages if shown.evaluate("'hacked' in window")] == []
    assert trouble == []


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    return analysed(SOME_TEXTS, LABELS)


@pytest.fixture(scope="session")
def report(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"), analysis)


@pytest.fixture(scope="session")
def japanese(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("japanese"), analysis, language="ja")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hostile"), analysed(HOSTILE, HOSTILE_LABELS), HOSTILE_LABELS)


@pytest.fixture(scope="session")
def huge(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same errors over and over, each with a text of its own."""
    dice = random.Random(0)

    def another(number: int) -> Failure:
        failure = analysis.failures[number % len(analysis.failures)]
        own = replace(failure.tokens[0], text=f"{number}番")
        tokens = [*dice.choices(failure.tokens, k=dice.randint(5, 15)), own]
        return replace(failure, id=f"made-{number}", text="".join(token.text for token in tokens), tokens=tokens)

    return written(tmp_path_factory.mktemp("huge"), replace(analysis, failures=[another(n) for n in range(MANY)]))


def listed(shown: Page) -> list[str]:
    """The ids of the errors that can be seen, in their order, once the page says that it is so many."""
    seen = "[...document.querySelectorAll('.error')].map(e => [e.checkVisibility(), e.dataset.id])"
    errors = shown.evaluate(seen)
    ids = [name for visible, name in errors if visible]
    expect(shown.locator("#count")).to_have_text(f"{len(ids)} of {len(errors)} errors")
    return ids


def focused(shown: Page) -> str:
    """What has the focus: its id, its name, or what it is."""
    return shown.evaluate("(e => e.id || e.name || e.localName)(document.activeElement)")


# --- finding errors ---------------------------------------------------------------------------------------------


def test_each_filter_leaves_the_errors_that_fit(show, report, analysis):
    shown, failures = show(report), analysis.failures
    rules = {name for failure in failures for name in failure.slices}
    assert len(listed(shown)) == len(failures) > 40 and len(rules) > 2
    chosen: list[tuple[str, str, Callable[[Failure], bool]]] = [
        ("split", "dev", lambda f: f.split == "dev"),
        ("gold", "normal", lambda f: f.gold == "normal"),
        ("predicted", "negative", lambda f: f.predicted == "negative"),
        *(("slice", name, lambda f, name=name: name in f.slices) for name in sorted(rules)),
    ]
    for name, value, fits in chosen:
        option = shown.locator(f"select[name={name}] option").filter(
            has_text=re.compile(rf"{re.escape(value)} \(\d+\)$")
        )
        shown.select_option(f"select[name={name}]", value)
        wanted = {f.id for f in failures if fits(f)}
        assert set(listed(shown)) == wanted and 0 < len(wanted) < len(failures)
        assert option.text_content().endswith(f"({len(wanted)})")
        shown.get_by_role("button", name="show all").click()
        assert len(listed(shown)) == len(failures)
    for name, value, _ in chosen[:3]:
        shown.select_option(f"select[name={name}]", value)
    assert set(listed(shown)) == {f.id for f in failures if all(fits(f) for *_, fits in chosen[:3])}


def test_words_are_searched_as_they_stand_whatever_their_width_and_case(show, report, analysis):
    shown = show(report)
    for words, part in (("駅", "駅"), ("wifi", "ＷｉＦｉ"), ('"海"', '"海"'), ("ﾎﾃﾙ", "ホテル"), ("(.*", "(.*")):
        shown.get_by_label("words").fill(words)
        wanted = {f.id for f in analysis.failures if part in f.text}
        assert set(listed(shown)) == wanted and bool(wanted) == (words != "(.*"), words


def test_a_cell_of_the_confusion_matrix_lists_its_errors(show, report, analysis):
    shown = show(report)
    counts = Counter((f.split, f.gold, f.predicted) for f in analysis.failures)
    cells = shown.locator("button.cell")
    assert cells.count() == len(counts) > 10
    shown.select_option("select[name=order]", "length down")
    shown.get_by_label("words").fill("ホテル")  # what was chosen before gives way to the cell
    for (split, gold, predicted), n in list(counts.items())[::5]:
        cell = shown.locator(f"button.cell[data-split={split}][data-gold={gold}][data-predicted={predicted}]")
        assert cell.text_content() == str(n)
        cell.click()
        wanted = {f.id for f in analysis.failures if (f.split, f.gold, f.predicted) == (split, gold, predicted)}
        assert set(listed(shown)) == wanted and len(wanted) == n
        first = shown.locator(".error:visible").first
        expect(first).to_be_focused()
        expect(first).to_be_in_viewport()


def test_a_cell_of_which_no_error_is_on_the_page_lists_none(show, analysis, tmp_path):
    some = [failure for failure in analysis.failures if failure.predicted != "negative"]
    shown = show(written(tmp_path, replace(analysis, failures=some)))
    shown.locator("button.cell[data-predicted=negative]").first.click()
    assert listed(shown) == []
    shown.locator("button.cell[data-predicted=positive]").first.click()
    assert len(listed(shown)) > 0


def test_every_order_sorts_and_equal_ones_come_as_on_the_page(show, report, analysis):
    shown = show(report)
    orders: dict[str, Callable[[Failure], float]] = {
        "length down": lambda f: -len(f.tokens),
        "split up": lambda f: ("test", "dev", "train").index(f.split),
        "confidence down": lambda f: -round(max(f.probabilities.values()), 4),
        "length up": lambda f: len(f.tokens),
        "confidence up": lambda f: round(max(f.probabilities.values()), 4),
    }
    assert set(shown.locator("select[name=order] option").evaluate_all("all => all.map(o => o.value)")) == set(orders)
    for order, key in orders.items():
        shown.select_option("select[name=order]", order)
        assert listed(shown) == [f.id for f in sorted(analysis.failures, key=key)], order


def test_an_address_leads_to_an_error_and_opens_it(show, report, analysis):
    shown = show(report, at="#e40")
    wanted = shown.locator("#e40")
    assert wanted.get_attribute("data-id") == analysis.failures[39].id
    for _ in range(2):
        expect(wanted).to_be_focused()
        expect(wanted).to_be_in_viewport()
        expect(wanted.get_by_text("the nearest training texts")).to_be_visible()
        shown.get_by_label("words").fill("nowhere")
        assert listed(shown) == []
        shown.evaluate("location.hash = ''")
        shown.evaluate("location.hash = '#e40'")
    link = shown.locator("#e3 .own a")
    link.click()
    assert shown.url.endswith("#e3")
    expect(shown.locator("#e3")).to_be_focused()


# --- tags -------------------------------------------------------------------------------------------------------


def tag(shown: Page, number: int, text: str) -> None:
    shown.locator(f"#e{number} input").fill(text)


def exported(shown: Page) -> list[list[str]]:
    with shown.expect_download() as waiting:
        shown.get_by_role("button", name="export tags as CSV").click()
    assert waiting.value.suggested_filename == "tags.csv"
    content = waiting.value.path().read_bytes().decode("utf-8")
    assert content.startswith("\ufeff") and content.endswith("\r\n")  # a spreadsheet knows UTF-8 by its first mark
    return list(csv.reader(content[1:].splitlines(keepends=True)))


def test_tags_are_counted_filtered_kept_and_exported(show, report, analysis):
    shown = show(report)
    for number, text in ((7, "irony, 皮肉"), (2, "皮肉、皮肉"), (9, 'say "so"')):
        tag(shown, number, text)
    for _ in range(2):
        expect(shown.locator("#tag-counts")).to_have_text('· 皮肉 2 · irony 1 · say "so" 1')
        assert shown.locator("select[name=tag] option").all_text_contents()[1:] == [
            "皮肉 (2)",
            "irony (1)",
            'say "so" (1)',
        ]
        shown.select_option("select[name=tag]", "皮肉")
        assert set(listed(shown)) == {analysis.failures[i - 1].id for i in (2, 7)}
        shown.reload()
        assert shown.locator("#e7 input").input_value() == "irony, 皮肉"
        assert len(listed(shown)) == len(analysis.failures)
    rows = [analysis.failures[number - 1] for number in (2, 7, 9)]
    assert exported(shown) == [
        ["split", "id", "gold", "predicted", "tags", "text"],
        *(
            [f.split, f.id, f.gold, f.predicted, tags, f.text]
            for f, tags in zip(rows, ("皮肉", "irony, 皮肉", 'say "so"'), strict=True)
        ),
    ]
    shown.select_option("select[name=tag]", "irony")
    tag(shown, 7, " ")  # the last tag of its name takes its filter with it
    assert len(listed(shown)) == len(analysis.failures)
    shown.reload()
    expect(shown.locator("#tag-counts")).to_have_text('· 皮肉 1 · say "so" 1')
    assert len(exported(shown)) == 3


def test_a_page_has_the_tags_of_its_run_and_no_others(show, report, tmp_path):
    path, text = tmp_path / "report.html", report.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    shown = show(path)
    tag(shown, 1, "mine")
    for changed, there in ((re.sub('data-run="[^"]+"', 'data-run="other"', text), ""), (text, "mine")):
        path.write_text(changed, encoding="utf-8")
        shown.reload()
        assert shown.locator("#e1 input").input_value() == there


NO_STORAGE = """
Object.defineProperty(window, "localStorage", {get() { throw new DOMException("no", "SecurityError"); }});
"""


def test_where_the_browser_keeps_nothing_tags_work_and_the_reader_is_told(show, report):
    shown = show(report, before=NO_STORAGE)
    told = shown.get_by_text("This browser keeps no tags")
    expect(told).to_be_hidden()
    tag(shown, 1, "mine")
    expect(told).to_be_visible()
    expect(shown.locator("#tag-counts")).to_have_text("· mine 1")
    assert [row[4] for row in exported(shown)] == ["tags", "mine"]


def test_no_cell_of_the_export_is_a_formula(show, hostile):
    shown = show(hostile)
    dangerous = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "＝1+1", '=HYPERLINK("x")', "-x"]
    harmless = ["-1", "+2.5", "1=1", "a"]
    for number, text in enumerate(dangerous + harmless, start=1):
        tag(shown, number, text)
    rows = exported(shown)[1:]
    assert [row[4] for row in rows] == [f"'{text}" for text in dangerous] + harmless
    assert [row[5] for row in rows[:2]] == HOSTILE[:2] and rows[0][2] == HOSTILE_LABELS[0]


# --- text is text -----------------------------------------------------------------------------------------------


def test_what_looks_like_code_is_shown_and_not_run(show, hostile):
    shown = show(hostile)
    texts = shown.locator(".error .text").all_text_contents()
    assert set(texts) == {text.replace("\0", "") for text in HOSTILE}  # browsers drop NUL
    labels = shown.locator("select[name=gold] option").evaluate_all("all => all.map(o => o.value)")
    assert set(labels[1:]) == set(HOSTILE_LABELS)
    elements = set(shown.locator("*").evaluate_all("all => all.map(e => e.localName)"))
    assert elements.isdisjoint({"img", "base", "iframe", "object"}) and shown.locator("script").count() == 1
    shown.evaluate(OPEN)
    for number, text in enumerate((*HOSTILE, *HOSTILE_LABELS), start=1):
        tag(shown, number, text)
    for label in HOSTILE_LABELS:
        shown.select_option("select[name=gold]", label)
        assert listed(shown)
    counted = shown.locator("#tag-counts bdi").all_text_contents()
    assert {HOSTILE[0], HOSTILE[4], HOSTILE_LABELS[1]} <= set(counted)
    shown.select_option("select[name=gold]", "")
    shown.select_option("select[name=tag]", HOSTILE[0])
    assert len(listed(shown)) == 2  # the text and the label
    shown.reload()
    assert shown.locator("#e1 input").input_value() == HOSTILE[0]


def test_the_direction_of_a_label_ends_with_it(show, hostile):
    shown = show(hostile)
    turned = shown.locator(".error header .gold").filter(has_text="label").first
    box, arrow = turned.bounding_box(), turned.locator("xpath=..").bounding_box()
    assert box["x"] == pytest.approx(arrow["x"], abs=1) and box["width"] < arrow["width"]


# --- the keyboard -----------------------------------------------------------------------------------------------


def test_keys_go_from_error_to_error_and_to_the_tags(show, report):
    shown = show(report)
    shown.select_option("select[name=split]", "dev")
    shown.evaluate("document.activeElement.blur()")
    ids = [e.get_attribute("id") for e in shown.locator(".error:visible").all()]
    for keys, at in (("j", 0), ("jj", 2), ("k", 1), ("kkk", 0)):
        shown.keyboard.type(keys)
        assert focused(shown) == ids[at]
        expect(shown.locator(f"#{ids[at]}")).to_be_in_viewport()
    shown.keyboard.press("t")
    shown.keyboard.type("jk")  # letters, not errors
    assert focused(shown) == "input" and shown.locator(f"#{ids[0]} input").input_value() == "jk"
    shown.keyboard.press("Escape")
    assert focused(shown) == ids[0]
    for _ in range(len(ids)):
        shown.keyboard.press("j")
    assert focused(shown) == ids[-1]
    shown.keyboard.press("Control+k")  # is the browser's
    shown.keyboard.press("k")
    assert focused(shown) == ids[-2]


FOCUS = """() => {
    const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
    const on = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return {seen: at.contains(on) || on.contains(at) && on.matches("label"), outline: parseFloat(style.outlineWidth),
            style: style.outlineStyle, own: !!at.closest(".error")};
}"""


def test_tab_reaches_all_in_order_with_a_focus_that_is_seen_and_not_covered(show, report):
    shown = show(report, viewport={"width": 1280, "height": 700})
    assert shown.locator("button.cell").evaluate_all("all => all.every(e => e.localName == 'button')")
    first = shown.locator("button.cell").first
    first.focus()
    shown.keyboard.press("Enter")
    assert focused(shown) == shown.locator(".error:visible").first.get_attribute("id")
    shown.get_by_role("button", name="show all").click()
    shown.locator("select[name=split]").focus()
    order = []
    for _ in range(40):
        order.append(focused(shown))
        look = shown.evaluate(FOCUS)
        assert look["seen"] and look["outline"] >= 2 and look["style"] == "solid", order
        shown.keyboard.press("Tab")
    names = ["split", "gold", "predicted", "slice", "tag", "words", "order", "all", "export"]
    assert order == names + ["summary", "a", "input"] * 10 + ["summary"]
    for _ in range(10):  # and back, where the bars above might cover what has the focus
        shown.keyboard.press("Shift+Tab")
        assert shown.evaluate(FOCUS)["seen"]


def test_what_a_reader_hears_is_named_and_in_order(show, japanese):
    shown = show(japanese)
    levels = [int(name[1]) for name in shown.locator("h1, h2, h3, h4").evaluate_all("all => all.map(e => e.localName)")]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in pairwise(levels))
    assert shown.locator("input, select").evaluate_all("all => all.every(e => e.labels.length == 1)")
    assert shown.locator("button, a, summary").evaluate_all("all => all.every(e => e.textContent.trim())")
    ids = shown.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    sections = [link.get_attribute("href").removeprefix("#") for link in shown.locator("nav a").all()]
    assert set(sections) <= set(ids) and len(sections) > 5 and len(shown.locator("section").all()) == len(sections)
    assert shown.locator("html").get_attribute("lang") == "ja"
    assert shown.locator(".text:not([lang=ja])").count() == 0 < shown.locator(".text").count()
    assert shown.locator("figure [role=img][aria-label]").count() == shown.locator("figure").count() > 1
    live = shown.locator("[aria-live=polite]")
    shown.get_by_label("語句").fill("どこにもない")
    expect(live).to_have_text(re.compile(r"\d+ 件中 0 件"))
    shown.get_by_text("数値で見る").press("Enter")
    expect(shown.get_by_role("columnheader", name="検証損失")).to_be_visible()
    assert shown.locator("#curves tr").count() == 1 + len(ROWS)


# --- light, width and paper -------------------------------------------------------------------------------------

# The contrast of each piece of text with what is painted behind it (WCAG 2, 1.4.3), where it is below 4.5.
FAINT = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const bytes = (color) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = (top, below, share) => below.map((b, i) => b + (top[i] - b) * share);
    const light = (rgb) => rgb.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const behind = (e) => {
        if (!e) return bytes("Canvas").slice(0, 3);
        const [r, g, b, a] = bytes(getComputedStyle(e).backgroundColor);
        return over([r, g, b], behind(e.parentElement), a / 255);
    };
    const faint = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || e.matches("script, option") || !e.checkVisibility()) continue;
        let share = 1;
        for (let at = e; at; at = at.parentElement) share *= getComputedStyle(at).opacity;
        const style = getComputedStyle(e), ground = behind(e.closest("svg") ? e.closest("svg").parentElement : e);
        const ink = over(bytes(e.closest("svg") ? style.fill : style.color).slice(0, 3), ground, share);
        const [dark, bright] = [light(ink), light(ground)].sort((a, b) => a - b);
        const contrast = (bright + .05) / (dark + .05);
        seen += 1;
        if (contrast < 4.5) faint.add(`${e.localName}.${e.className.baseVal ?? e.className} ${contrast.toFixed(2)}`);
    }
    return {faint: [...faint], seen};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_light_and_dark(show, report, scheme):
    shown = show(report, color_scheme=scheme)
    shown.evaluate(OPEN)
    tag(shown, 1, "mine")
    found = shown.evaluate(FAINT)
    assert found["faint"] == [] and found["seen"] > 500
    classes = set(shown.locator("#list span[class]").evaluate_all("all => all.map(e => e.className)"))
    assert {f"{side}{step}" for side in "pm" for step in range(1, 5)} <= classes
    strokes = {
        side: shown.locator(f".text .{side}4").first.evaluate("e => getComputedStyle(e).textDecorationStyle")
        for side in "pm"
    }
    assert strokes == {"p": "solid", "m": "dashed"}  # what speaks for and against is told not by colour alone


@pytest.mark.parametrize("path", ["report", "japanese", "hostile"])
def test_no_width_makes_the_page_scroll_sideways(show, request, path):
    shown = show(request.getfixturevalue(path))
    shown.evaluate(OPEN)
    tag(shown, 1, "あ" * 200 + "," + "w" * 200)
    for width in (320, 390, 800, 1280):
        shown.set_viewport_size({"width": width, "height": 800})
        assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_shows_all_open_and_the_screen_is_as_before_afterwards(show, report, analysis):
    shown = show(report, color_scheme="dark", viewport={"width": 700, "height": 1000})
    shown.locator("#e1 summary").click()
    details = shown.locator("details").count()
    shown.evaluate(
        "addEventListener('beforeprint', () => { window.shut = document.querySelector('details:not([open])') })"
    )
    pdf = shown.pdf()
    assert shown.evaluate("window.shut === null") and shown.locator("details[open]").count() == 1 < details
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > len(analysis.failures) / 10
    shown.evaluate(OPEN)
    shown.emulate_media(media="print")
    skipped = "all => all.filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length"
    assert shown.locator(".error .text").evaluate_all(skipped) == 0
    expect(shown.locator(".filters")).to_be_hidden()
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = shown.locator(".wide")
    assert wide.evaluate_all("all => all.every(e => e.scrollWidth <= e.clientWidth + 1)")
    assert wide.evaluate_all("all => all.every(e => getComputedStyle(e).overflowX == 'visible')")  # not cut off


# --- few and many -----------------------------------------------------------------------------------------------


def test_a_page_without_errors_is_whole(show, tmp_path):
    shown = show(written(tmp_path, analysed(SOME_TEXTS, LABELS, wrong=False)))
    expect(shown.locator("#errors")).to_contain_text("None.")
    assert shown.locator(".error, .filters, button").count() == 0
    shown.keyboard.type("jkt")
    shown.pdf()
    assert shown.locator("details").count() > 0 == shown.locator("details[open]").count()


def test_many_thousand_errors_are_borne(show, huge):
    """The times are far above what it takes, for slow machines; that little is laid out is what makes it fast."""
    started = time.monotonic()
    shown = show(huge)
    times = {"open": time.monotonic() - started}

    def laid_out() -> int:
        seen = "e => e.checkVisibility({contentVisibilityAuto: true})"
        return shown.evaluate(f"[...document.querySelectorAll('.error .text')].filter({seen}).length")

    def timed(name: str, do: Callable[[], Any]) -> None:
        started = time.monotonic()
        do()
        shown.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        times[name] = time.monotonic() - started

    assert len(listed(shown)) == MANY
    timed("jump", lambda: shown.locator("nav a[href='#errors']").click())
    assert 0 < laid_out() < 200
    timed("filter", lambda: shown.select_option("select[name=gold]", "normal"))
    assert 0 < len(listed(shown)) < MANY and laid_out() < 200
    timed("all", lambda: shown.locator("#all").click())
    timed("sort", lambda: shown.select_option("select[name=order]", "length down"))
    timed("words", lambda: shown.locator("[name=words]").fill("9999番"))
    assert listed(shown) == ["made-9999"]
    timed("tag", lambda: shown.locator(".error:not([hidden]) input").fill("last"))
    expect(shown.locator("#tag-counts")).to_have_text("· last 1")
    timed("next", lambda: shown.keyboard.press("Escape"))
    print(" ".join(f"{name} {seconds:.2f}" for name, seconds in times.items()))
    assert times.pop("open") < 40 and max(times.values()) < 8, times


# --- data at a look, and the quiz -------------------------------------------------------------------------------


def test_hostile_data_are_only_texts_at_a_look(show, tmp_path: Path):
    examples = [Example(text, text, label, split) for text in HOSTILE for label in HOSTILE_LABELS
                for split in ("train", "test")]  # fmt: skip
    found = survey(Dataset(HOSTILE[0], HOSTILE_LABELS, examples), TOKENIZER, HOSTILE[1])
    for width in (1000, 390):
        shown = show(write_look(tmp_path, found), viewport={"width": width, "height": 800})
        assert shown.locator("article").count() == 10 and shown.locator("svg").count() == 3
        assert shown.evaluate("document.documentElement.scrollWidth") == width


def test_the_quiz_tells_its_answers_and_the_score_at_the_button(show, tmp_path: Path):
    rows = [
        {"id": str(n), "text": text, "label": HOSTILE_LABELS[0], "predicted": HOSTILE_LABELS[1],
         "probabilities": dict(zip(HOSTILE_LABELS, (0.1, 0.8, 0.1), strict=True))} for n, text in enumerate(HOSTILE[:4])
    ]  # fmt: skip
    write_jsonl(tmp_path / "predictions-test.jsonl", rows)
    shown = show(write_quiz(tmp_path, quiz_of(tmp_path)))
    expect(shown.locator("#answers")).to_be_hidden()
    for number, choice in enumerate((0, 0, 1), start=1):
        shown.locator(f"[name=q{number}]").nth(choice).check()
    shown.get_by_role("button", name="Show the answers").click()
    expect(shown.locator("#score")).to_have_text("You 2 of 3, the model 0 of 3: these are its errors; 1 not answered.")
    assert [cell.rsplit(", ", 1)[-1] for cell in shown.locator(".you").all_inner_texts()] == [
        "right", "right", "wrong", "–",
    ]  # fmt: skip
