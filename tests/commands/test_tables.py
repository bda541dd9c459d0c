"""The paper's tables beside ours, from finished runs."""

import csv
import io

import pytest

from pipeline.commands import tables
from pipeline.config.file import assign, load, parse_assignment, validate
from pipeline.judging import metrics
from pipeline.reading import our_figures
from pipeline.reading.paper_tables import Figure, markdown
from pipeline.reading.published import DATA, EXPERIMENTS, METHODS, OUT_OF_DOMAIN, SEEDS
from tests import ROOT
from tests.conftest import rows
from tests.judging.test_critic import LABELS, labelled
from tests.synthetic import make_run


@pytest.fixture
def runs(data):
    """dpo with three seeds, ft with two; the rest is missing."""
    for seed in range(3):
        make_run(f"t-dpo-{seed}", 60, seed=seed, wins=0.6)
    for seed in range(2):
        make_run(f"t-ft-{seed}", 60, seed=10 + seed, wins=0.3)
    return data


def by_name(prefix="t"):
    return {table.name: table for table in our_figures.tables(prefix)}


def figure(table, label):
    return next(ours[0] for name, _, ours in table.rows if name == label)


def test_ours_is_the_mean_over_seeds_with_an_interval(runs):
    found = figure(by_name()["T2"], "DPO")
    by_hand = []
    for seed in range(3):
        metric = rows(runs / f"runs/t-dpo-{seed}/evaluate/metrics.jsonl")
        by_hand += [
            row["wtr"]
            for row in metric
            if (row["contestant"], row["split"], row["vs"]) == ("round-1", "test", None)
        ]
    assert found.seeds == pytest.approx(by_hand)
    assert found.value == pytest.approx(sum(by_hand) / 3)
    assert found.low < found.value < found.high
    assert found.n == 6
    assert figure(by_name()["T2"], "imitation (sft)").value is not None
    assert len(figure(by_name()["T2"], "FT").seeds) == 2


def test_gains_and_neighbours_are_paired_over_seeds_and_literals(runs):
    t2 = by_name()["T2"]
    gain = next(ours[2] for name, _, ours in t2.rows if name == "DPO")
    by_seed = []
    for seed in range(3):
        metric = rows(runs / f"runs/t-dpo-{seed}/evaluate/metrics.jsonl")
        by_seed += [
            row["delta"]
            for row in metric
            if (row["contestant"], row["split"], row["vs"]) == ("round-1", "test", "sft")
        ]
    assert gain.seeds == pytest.approx(by_seed)
    assert gain.value == pytest.approx(sum(by_seed) / 3)
    assert next(ours[2] for name, _, ours in t2.rows if name == "imitation (sft)").value is None
    assert "Judged by" in "".join(t2.notes)
    assert "Made on: " in "".join(t2.notes)
    for seed in range(2):
        make_run(f"t-brio-{seed}", 60, seed=20 + seed, wins=0.5)
    paired = next(note for note in by_name()["T2"].notes if note.startswith("Differences"))
    assert "DPO less BRIO" in paired
    assert "(2 seeds)" in paired
    assert "BRIO-DPO" not in paired  # there is none


def test_what_no_run_answers_is_a_dash(runs):
    assert figure(by_name()["T2"], "BRIO").value is None
    text = markdown(our_figures.tables("t"))
    assert "| BRIO | 48 | 53 | - | - | - |" in text
    assert "| FT | 23 | 38 | 29 | - | - | - | - | - |" in text  # people have not voted


def test_the_paper_s_numbers_are_there():
    text = markdown(our_figures.tables("nobody"))
    for line in (
        "| cloze | 57 | 47 | 0 | 25 |",
        "| multiple choice | 76 | 59 | 15 | 20 |",
        "| FT | 30 | 28 |",
        "| SD | 35 | 36 |",
        "| DPO | 52 | 60 |",
        "| BRIO-DPO | 56 | 65 |",
        "| BRIO-DPO | 49 |",
        "| FT, a third of the data (12K pairs) | 24 |",
        "| BRIO, a third, pairs refreshed 10 times in 10 epochs | 66 |",
        "| DPO | 51 | 34 | 50 |",
    ):
        assert line in text, line
    assert OUT_OF_DOMAIN["SD"] is None


def test_the_command_writes_markdown_csv_and_a_figure(cli, runs, tmp_path):
    said = cli("tables", "--prefix", "t", "--out", tmp_path / "out")
    assert "T2. WTR in the domain" in said
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out/tables.csv").read_text())))
    ours = next(
        line
        for line in lines
        if (line["table"], line["row"], line["source"]) == ("T2", "DPO", "ours")
    )
    assert 100 * figure(by_name()["T2"], "DPO").value == pytest.approx(
        float(ours["value"]), abs=1e-3
    )
    assert ours["seeds"] == "3"
    drawn = (tmp_path / "out/tables.svg").read_text()
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert drawn.count('class="mark"') == sum(
        entry.paper[0] is not None for entry in (*METHODS, *DATA)
    ) + sum(value is not None for value in OUT_OF_DOMAIN.values())
    assert (tmp_path / "out/tables.md").read_text() == markdown(our_figures.tables("t"))


def test_table_1_is_the_agreement_of_runs(cli, tmp_path, data):
    flags = labelled(tmp_path, LABELS)
    flags[1] = "t-critic-choice-0"
    cli("agreement", *flags)
    agreed, moved, _ = next(
        ours for name, _, ours in by_name()["T1"].rows if name == "multiple choice"
    )
    assert (agreed.value, agreed.n) == (1.0, 2)
    assert moved.value == 0.0


def test_every_row_has_a_run_that_can_be_configured():
    """Configurations and settings of every experiment are valid, and its contestant is one of the
    run's."""
    for entry in (*METHODS, *DATA):
        experiment = EXPERIMENTS[entry.experiment]
        path = ROOT / f"configs/{experiment.config}.toml"
        settings = load(path)
        for setting in experiment.settings:
            assign(
                settings,
                *parse_assignment(setting.format(third=400, two_thirds=800, weights="weights")),
            )
        config = validate(settings, str(path))
        best = f"best-of-{config.evaluate.best_of}"
        assert entry.contestant in {
            "teacher",
            "sft",
            best,
            f"round-{len(config.rounds)}",
            "retriever",
        }, entry
        assert experiment.source in ("", *EXPERIMENTS)
    assert [SEEDS[entry.experiment] for entry in METHODS] == [3] * len(METHODS)


def test_make_makes_what_is_missing_and_nothing_twice(runs, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("pipeline.commands.stage.run", asked.append)
    tables.make("t", None)
    names = [args.run for args in asked]
    assert not {"t-dpo-0", "t-dpo-1", "t-dpo-2", "t-ft-0", "t-ft-1"} & set(names)
    assert "t-ft-2" in names
    assert names.count("t-brio-0") == 1
    assert not any("critic" in name for name in names)  # nobody gave labels
    third = next(args for args in asked if args.run == "t-third-brio-0")
    assert "literals.limit={train=400}" in third.set
    brio = next(args for args in asked if args.run == "t-brio-2")
    assert brio.source == "t-dpo-2"
    assert "seed=2" in brio.set


def test_how_the_order_compares(runs, monkeypatch):
    order = {"ft": 0.2, "sd": 0.3, "brio": 0.6, "dpo": 0.5, "brio-dpo": 0.7}
    monkeypatch.setattr(
        our_figures,
        "figures",
        lambda prefix, entry, split, seeds=None: [Figure(order.get(entry.experiment), 0.0, 1.0, 9)],
    )
    said = list(our_figures._order("t", "test", {entry.label: entry.paper[0] for entry in METHODS}))
    theirs, ours = "BRIO-DPO > DPO > BRIO > SD > FT", "BRIO-DPO > BRIO > DPO > SD > FT"
    assert said == [f"Order in the paper: {theirs}. Ours: {ours}. Kendall's tau +0.80."]
    assert metrics.kendall_tau([56, 52, 48, 35, 30], [0.7, 0.5, 0.6, 0.3, 0.2]) == pytest.approx(
        0.8
    )


def test_labels_that_are_not_there_are_named_and_nothing_is_made_without_being_asked(
    cli, monkeypatch
):
    monkeypatch.setattr("pipeline.commands.tables.make", lambda *_: pytest.fail("a run was made"))
    said = cli("tables", "--labels", "nowhere.jsonl", "--prefix", "t")
    assert "nowhere.jsonl: not there, so table 1 stays without our figures" in said
