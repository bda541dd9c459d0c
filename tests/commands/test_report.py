"""report: one page, whole and harmless."""

import html
import html.parser
import json
import re
import shutil
import subprocess

import pytest

from pipeline.commands import report
from pipeline.reading import charts, variety
from pipeline.runs.manifest import seal
from tests.conftest import rows
from tests.synthetic import make_run

NASTY = '</pre><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">\u2028שלום & 🤡'


def spoil(path, **changes):
    """Change a text in every row."""
    found = [
        {**row, **{key: value for key, value in changes.items() if key in row}}
        for row in rows(path)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")


@pytest.fixture
def page(cli, data):
    """The page of a run whose models wrote markup wherever they could."""
    folder = make_run("v1", 120)
    make_run("v0", 120, seed=4)
    answers = [{**row, "text": NASTY} for row in rows(folder / "evaluate/answers.jsonl")]
    (folder / "evaluate/answers.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in answers)
    )
    spoil(folder / "evaluate/records.jsonl", a_text=NASTY)
    spoil(folder / "teacher/records.jsonl", text=NASTY, literal=NASTY)
    found = [
        {**row, "orders": [{**o, "reason": NASTY} for o in row["orders"]]}
        for row in rows(folder / "evaluate/records.jsonl")
    ]
    (folder / "evaluate/records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    said = cli("report", "--run", "v1", "--against", "v0")
    assert said.endswith(f"\n{folder}/report.html\n")
    assert said.startswith("round-1 ties or beats its teacher in ")
    return folder / "report.html"


class Tags(html.parser.HTMLParser):
    """Collects tags, and checks that they close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ("meta", "input", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_what_models_wrote_is_text(page):
    tags = Tags()
    tags.feed(page.read_text())
    assert tags.open == []
    assert tags.seen.count("script") == 1
    assert "img" not in tags.seen
    assert not [
        found
        for found in tags.attributes
        if found[1] in ("src", "style") or found[1].startswith("on")
    ]
    links = [value for tag, name, value in tags.attributes if name == "href"]
    assert all(link.startswith("#") for link in links)
    ids = {value for _, name, value in tags.attributes if name == "id"}
    assert {link[1:] for link in links} <= ids
    policy = next(
        value
        for tag, name, value in tags.attributes
        if tag == "meta" and value.startswith("default-src")
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "שלום &amp; 🤡" in page.read_text()


def test_the_page_says_what_a_person_needs(page):
    text = page.read_text()
    for row in rows(page.parent / "evaluate/metrics.jsonl"):
        if row["vs"] is None and row["contestant"] != "teacher":
            for name in ("wtr", "fresh_wtr"):
                assert f">{row[name]:.3f}<" in text
            assert f"{row['low']:.3f} to {row['high']:.3f}" in text
            assert f"{row['fresh_low']:.3f} to {row['fresh_high']:.3f}" in text
    for words in (
        "round-1 ties or beats its teacher in",
        "; its fresh rate, in which what it says often counts less, is",
        "Share of the most common device on test",
        "self-BLEU",
        "Note:",
        "margin grew",
        "v1 against v0",
        "same candidate",
        "inconsistent",
        "prompts",
        "Write {{ n }} humorous paraphrases",
    ):
        assert words in text
    assert text.count("<article>") == min(report.SIDE_BY_SIDE, 12)
    assert 'lang="en"' in text
    assert text.count('<svg role="img"') >= 4


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_in_a_browser_the_filter_runs_and_nothing_else(page, tmp_path):
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        ["chromium", *flags, "--dump-dom", f"file://{page}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "12 of 12</p>" in done.stdout
    assert "<title>humor-distill: v1</title>" in done.stdout


def test_collapse_is_named_against_the_teacher():
    def spread(name, **values):
        usual = {
            "answers": 100,
            "ending": "x",
            "ending_share": 0.1,
            "device": "\u2026 lol",
            "device_share": 0.1,
            "device_usual": 0.1,
            "distinct_2": 0.6,
            "length_ratio": 1.6,
            "repeats": 0.0,
        }
        return {"author": name, **usual, **values}

    assert variety.collapse([spread("teacher"), spread("sft")]) == []
    silent = [spread("teacher"), spread("sft", answers=0, device=None, distinct_2=None)]
    assert variety.collapse(silent) == ["sft gave no answer"]
    said = variety.collapse(
        [spread("teacher"), spread("round-1", ending="at every party.", ending_share=0.71)]
    )
    assert said == [
        "round-1 says one thing often: 71 % of its answers end in “at every party.” (the teacher's "
        "most common "
        "ending: 10 %)."
    ]
    said = variety.collapse(
        [
            spread("teacher"),
            spread("sft", device="\u2026 which the \u2026 will mention", device_share=0.3),
        ]
    )
    assert said == [
        "sft says one thing often: 30 % of its answers add “… which the … will mention” to their "
        "sentence (the teacher's most common device: 10 %)."
    ]
    copies = spread("base", device="\u2026", device_share=0.9)
    assert variety.collapse([spread("teacher"), copies]) == []
    assert (
        "distinct-2 is 0.30"
        in variety.collapse([spread("teacher"), spread("sft", distinct_2=0.3)])[0]
    )
    assert (
        "0.50 times as long"
        in variety.collapse([spread("teacher"), spread("sft", length_ratio=0.8)])[0]
    )
    assert "word for word" in variety.collapse([spread("teacher"), spread("sft", repeats=0.4)])[0]


def test_the_most_common_ending():
    assert variety.common_ending(["a b c d", "x b C d", "b c"]) == ("b c d", 2 / 3)
    assert variety.common_ending([]) == ("", 0.0)


def test_a_run_without_an_evaluation_has_no_report(cli, data):
    (make_run("v1", 40) / "evaluate/manifest.json").unlink()
    assert "humor-distill all --run v1" in cli("report", "--run", "v1", code=4)


def test_charts_draw_to_scale():
    drawn = charts.bars(
        [("a", 0.0, 0.0, 0.5), ("b", 1.0, None, None), ("c", None, None, None)], "t"
    )
    widths = [float(found) for found in re.findall(r'class="bar".*?width="([\d.]+)"', drawn)]
    assert widths == [0.0, charts.WIDTH - charts.LEFT - 60]
    assert "no verdict" in drawn
    parts = charts.stacked([("a", {"win": 3, "loss": 1})], "t")
    wide = [float(found) for found in re.findall(r'class="(?:win|loss)".*?width="([\d.]+)"', parts)]
    assert wide[0] == pytest.approx(3 * wide[1], abs=0.2)
    assert "<b>" not in charts.lines({"<b>": [(1, 2.0), (2, 1.0)]}, "<i>")
    assert charts.lines({}, "nothing").startswith("<svg")


def test_forty_sentences_are_enough(cli, data):
    folder = make_run("v1", 600)
    cli("report", "--run", "v1")
    text = (folder / "report.html").read_text()
    assert text.count("<article>") == 40
    assert text.count('data-who="round-1"') == 40


def test_the_teacher_s_joke_is_the_one_that_was_judged(cli, data):
    folder = make_run("v1", 120)
    judged = {row["b_text"] for row in rows(folder / "evaluate/records.jsonl")}
    spoil(folder / "teacher/records.jsonl", text="A joke that came later.")
    cli("report", "--run", "v1")
    text = (folder / "report.html").read_text()
    assert "A joke that came later." not in text
    assert sum(html.escape(joke, quote=False) in text for joke in judged) == len(judged)


def test_a_step_made_before_its_input_is_named(cli, data):
    folder = make_run("v1", 60)
    path = folder / "round-1/critic/manifest.json"
    manifest = {**json.loads(path.read_text()), "sha256": "0" * 64}
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    assert "round-1/dpo read other rows or weights of critic than there are now." in cli(
        "report", "--run", "v1"
    )
    assert re.search(
        r"round-1/dpo +stale .* read other rows or weights of critic", cli("status", "--run", "v1")
    )
