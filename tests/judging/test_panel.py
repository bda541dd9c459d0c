"""Several judges: their agreement, and a run that a panel judged."""

import re

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from pipeline.config.judging import Judge
from pipeline.judging import panel
from pipeline.judging.verdict import outcome
from pipeline.rows.records import Order, Verdict
from pipeline.rows.row import content_id, make, true_id
from tests.conftest import rows
from tests.synthetic import Synthetic

SAID = {"a": "aa", "b": "bb", "inconsistent": "ab"}


def judged(judge, outcomes):
    """A verdict of each outcome, each on a literal of its own; None for one that failed."""
    verdicts = []
    for number, said in enumerate(outcomes):
        orders = []
        for shown, answer in zip(("ab", "ba"), SAID.get(said, "aa"), strict=True):
            p_a = None if said is None else {"a": 0.9, "b": 0.1}[answer]
            orders.append(
                Order(
                    shown=shown,
                    p_a=p_a,
                    answer=answer,
                    reason=None,
                    raw=None,
                    call=None,
                    error=None,
                )
            )
        verdicts.append(
            make(
                Verdict,
                literal_id=f"l_{number}",
                literal="Rain.",
                role="judge",
                aspect="overall",
                a=f"j_{number}",
                b="j_t",
                a_text="Rain, again.",
                b_text="Rain!",
                orders=orders,
                p_a=None,
                outcome=outcome(orders, 0.05),
                judge=judge,
            )
        )
    return {"sft": verdicts}


def test_agreement_by_hand_and_as_statsmodels_has_it():
    one = judged("x", ["a", "a", "a", "b", "b", "b", "inconsistent", None, "a", "b"])
    two = judged("y", ["a", "a", "b", "b", "b", "a", "inconsistent", "a", "a", None])
    table = np.array([[3, 1, 0], [1, 2, 0], [0, 0, 1]])  # of eight pairs that both judged
    agreed = panel.agreements({"x": one, "y": two})
    assert agreed["x"] == agreed["y"] == agreed["pooled"]
    assert agreed["x"].agree == 6 / 8
    chance = (4 * 4 + 3 * 3 + 1 * 1) / 64
    assert agreed["x"].kappa == pytest.approx((6 / 8 - chance) / (1 - chance))
    assert agreed["x"].kappa == pytest.approx(cohens_kappa(table).kappa)
    assert agreed["x"].kappa_low < agreed["x"].kappa < agreed["x"].kappa_high


def test_the_bootstrap_is_as_wide_as_theory_says():
    random = np.random.default_rng(0)
    first = random.choice(["a", "b"], 400)
    second = np.where(random.random(400) < 0.7, first, random.choice(["a", "b"], 400))
    agreed = panel.agreements({"x": judged("x", first), "y": judged("y", second)})["x"]
    pairs = [[np.sum((first == one) & (second == two)) for two in ("a", "b")] for one in ("a", "b")]
    theory = cohens_kappa(np.array(pairs))
    assert agreed.kappa == pytest.approx(theory.kappa)
    assert agreed.kappa_high - agreed.kappa_low == pytest.approx(
        2 * 1.96 * theory.std_kappa, rel=0.1
    )


def test_of_three_judges_each_is_compared_with_the_others():
    same = ["a", "b", "a", "b"]
    other = ["b", "a", "b", "a"]
    agreed = panel.agreements(
        {"x": judged("x", same), "y": judged("y", same), "z": judged("z", other)}
    )
    assert [agreed[name].agree for name in ("x", "y", "z", "pooled")] == [0.5, 0.5, 0.0, 1 / 3]
    assert [agreed[name].kappa for name in ("x", "y", "z")] == [0.0, 0.0, -1.0]


def test_judges_that_say_one_thing_always_have_no_kappa():
    always = {name: judged(name, ["a"] * 5) for name in ("x", "y")}
    assert panel.agreements(always)["x"] == panel.Agreement(agree=1.0)


def test_kappa_is_of_the_pairs_of_judges_that_have_one():
    steady = ["a"] * 6
    agreed = panel.agreements(
        {"x": judged("x", steady), "y": judged("y", steady), "z": judged("z", ["a", "b"] * 3)}
    )
    assert agreed["pooled"].agree == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert agreed["pooled"].kappa == 0.0
    assert agreed["z"].kappa == 0.0


def test_one_judge_or_a_judge_that_failed_agrees_with_nobody():
    assert panel.agreements({"x": judged("x", ["a"])})["x"] == panel.Agreement()
    nothing = {"x": judged("x", ["a", "b"]), "y": judged("y", [None, None])}
    assert panel.agreements(nothing)["x"] == panel.Agreement()


def test_the_ids_of_verdicts_differ_by_judge_and_of_those_without_one_stay():
    of_x, of_y = (judged(name, ["a"])["sft"][0] for name in ("x", "y"))
    assert of_x.id != of_y.id
    alone = judged(None, ["a"])["sft"][0]
    former = content_id("v", "judge", "overall", "j_0", "j_t")  # of verdict/2
    assert alone.id == true_id(alone) == former


def test_a_panel_has_rates_for_each_and_pooled(data):
    made = Synthetic("v1", 400, panel=("standin-critic",))
    folder = made.write().folder / "evaluate"
    assert list(made.config.judge.judges) == ["standin-judge", "standin-critic"]
    found = {}
    for row in rows(folder / "metrics.jsonl"):
        if row["vs"] is None:
            found[row["contestant"], row["judge"]] = row
    judges = ("standin-judge", "standin-critic")
    for name in ("base", "sft", "round-1"):
        own = [found[name, judge]["wtr"] for judge in judges]
        assert found[name, "pooled"]["wtr"] == pytest.approx(sum(own) / 2)
        assert found[name, "pooled"]["n"] == found[name, judges[0]]["n"] == 40
        assert found[name, "pooled"]["win"] == sum(found[name, judge]["win"] for judge in judges)
        assert found[name, "pooled"]["low"] < found[name, "pooled"]["wtr"]
    kappas = {found["teacher", judge]["kappa"] for judge in (*judges, "pooled")}
    assert len(kappas) == 1
    assert abs(kappas.pop()) < 0.3  # they are drawn apart


def test_a_panel_is_verified_shown_and_reported(cli, data):
    made = Synthetic("v1", 400, panel=("standin-critic",)).write()
    assert "evaluate: whole" in cli("verify", "--run", "v1")
    said = cli("report", "--run", "v1")
    page = (made.folder / "report.html").read_text()
    assert "Judged by standin-judge; standin-critic, which is also the critic; pooled" in page
    assert "The same by each judge of the panel" in page
    assert page.count("test: two judges agree on ") == 1
    assert "agrees with the others" not in page
    first = rows(made.folder / "evaluate/records.jsonl")[0]
    assert "says standin-critic" in cli("show", first["literal_id"], "--run", "v1")
    assert said.startswith("round-1 ties or beats its teacher in ")
    Synthetic("v2", 400, seed=1, panel=("standin-critic",)).write()
    assert "round-1" in cli("diff", "v1", "v2")
    lines = (made.folder / "evaluate/metrics.jsonl").read_text()
    path = made.folder / "evaluate/metrics.jsonl"
    alone = [line for line in lines.splitlines(keepends=True) if "pooled" not in line]
    path.write_text("".join(alone))
    assert "but verdicts of ['pooled', 'standin-critic', 'standin-judge']" in cli(
        "verify", "--run", "v1", code=5
    )
    path.write_text(re.sub('"wtr":0[.][0-9]+', '"wtr":0.01', lines))
    said = cli("verify", "--run", "v1", code=5)
    assert said.count("wtr is not the mean of the verdicts' scores") == 9  # three by three


def test_a_judge_twice_is_refused_and_one_name_twice_is_numbered():
    endpoint = {"base_url": "standin:", "model": "standin-judge"}
    member = {"endpoint": endpoint}
    with pytest.raises(ValueError, match="would give the same answers a second time"):
        Judge(endpoint=endpoint, panel=[member])
    warmer = {**member, "temperature": 0.5}
    judge = Judge(endpoint=endpoint, panel=[warmer])
    assert list(judge.judges) == ["standin-judge", "standin-judge #2"]


def test_a_judge_whose_model_is_called_pooled_has_another_name():
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "pooled"}
    assert list(Judge(endpoint=endpoint).judges) == ["pooled #2"]
