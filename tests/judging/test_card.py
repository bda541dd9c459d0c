"""A judge's card: planted biases found again, controls, people, and what cannot be told."""

import json
import math

import numpy as np
import pytest

from pipeline.judging import card, labels, probes, trust
from pipeline.judging.verdict import outcome
from pipeline.rows.card import Probe
from pipeline.rows.records import Joke, Label, Order
from pipeline.rows.row import make
from pipeline.standin import NOISE, POSITION_BIAS
from tests.conftest import rows
from tests.synthetic import make_run

SPENT = {"tokens": 1200, "cost": 0.03, "currency": "USD"}
STATED = "judge.endpoint.logprobs=false"


def joke(number, text, author="teacher"):
    return make(
        Joke,
        literal_id=f"l_{number:03}",
        literal=f"Literal {number}.",
        text=text,
        author=author,
        index=0,
        call=None,
    )


def probe(name, number, p_a, a="aaa", b="bbb"):
    """A verdict with these probabilities of a, None where an order failed."""
    orders = []
    for shown, p in zip(("ab", "ba"), p_a, strict=True):
        answer = None if p is None else "tie" if p == 0.5 else "a" if p > 0.5 else "b"
        orders.append(
            Order(shown=shown, p_a=p, answer=answer, reason=None, raw=None, call=None, error=None)
        )
    return make(
        Probe,
        probe=name,
        literal_id=f"l_{number:03}",
        literal=f"Literal {number}.",
        role="judge",
        aspect="overall",
        a=f"j_{name}{number}",
        b=f"j_{name}{number}b",
        a_text=a,
        b_text=b,
        orders=orders,
        p_a=None if None in p_a else sum(p_a) / 2,
        outcome=outcome(orders, 0.05),
        judge="x",
    )


def figures(tried, labels=()):
    """By measure."""
    authors = {row.a: "sft" for row in tried}
    return {figure.measure: figure for figure in card.figures("x", tried, labels, authors, SPENT)}


def test_controls_by_hand():
    both, one, none, tie = (0.9, 0.9), (0.9, 0.1), (0.1, 0.1), (0.5, 0.5)
    tried = [
        probe("same joke", 0, tie),
        probe("same joke", 1, one),
        probe("same joke", 2, (1.0, 0.0)),  # it had to state one, which tells nothing
        probe("people's joke", 0, tie),
        probe("people's joke", 1, both),
        probe("bare sentence", 0, both),
        probe("bare sentence", 1, one),
        probe("bare sentence", 2, tie),
        probe("bare sentence", 3, (0.9, None)),
        probe("so funny", 0, tie),
        probe("so funny", 1, both),
        probe("so funny", 2, one),
        probe("so funny", 3, none),
    ]
    made = figures(tried)
    assert (made["same joke"].value, made["same joke"].n) == (0.5, 2)
    bare = made["bare sentence"]
    assert (bare.value, bare.n, bare.failed) == (0.5, 3, 1)
    assert made["so funny"].value == 3 / 4  # a flip gains nothing
    assert made["teacher over people"].value == 0.75
    assert (made["another sentence"].value, made["another sentence"].n) == (None, 0)
    assert (made["failures"].value, made["failures"].failed) == (1 / 13, 1)
    assert made["tokens"].value == 1200 / 13
    assert (made["cost"].value, made["cost"].currency) == (0.03 / 13, "USD")


def test_a_share_s_interval_is_no_point_where_all_pass():
    whole = card.share([1.0] * 40)
    assert whole.value == whole.high == 1.0
    assert whole.low == pytest.approx(40 / (40 + 1.959964**2))  # Wilson's


def test_the_lean_by_hand():
    """Log odds of what is shown first: ln 3 and -ln 3 + 0.4, so that their mean is 0.2."""
    p = 1 / (1 + math.exp(-(0.4 - math.log(3))))
    tried = [probe("answer", number, (0.75, 1 - p)) for number in range(12)]
    bias, noise, n = card.leaning(tried)
    assert (bias.value, bias.low, bias.high) == pytest.approx((0.2, 0.2, 0.2))
    assert (noise.value, n) == (pytest.approx(0.0), 12)


def test_intervals_of_lean_and_noise_hold_what_is_planted():
    random = np.random.default_rng(0)
    held = {"bias": 0, "noise": 0}
    for _ in range(200):
        noise = random.logistic(0.0, 0.3, (60, 2))
        shown_first = 1 / (1 + np.exp(-(noise + 0.2 + np.outer(random.normal(0, 2, 60), [1, -1]))))
        tried = []
        for number, (ab, ba) in enumerate(shown_first):
            tried.append(probe("answer", number, (float(ab), float(1 - ba))))
        bias, deviation, _ = card.leaning(tried)
        held["bias"] += bias.low < 0.2 < bias.high
        held["noise"] += deviation.low < 0.3 * math.pi / math.sqrt(3) < deviation.high
    assert 180 <= held["bias"] <= 197
    assert 180 <= held["noise"] <= 197


def test_without_probabilities_the_lean_is_read_from_flips():
    firsts = [probe("answer", number, (1.0, 0.0)) for number in range(12)]
    seconds = [probe("answer", 12 + number, (0.0, 1.0)) for number in range(4)]
    agreed = [probe("answer", 16 + number, (1.0, 1.0)) for number in range(30)]
    bias, noise, n = card.leaning([*firsts, *seconds, *agreed])
    assert bias.value == pytest.approx(math.log(12.5 / 4.5) / 2)
    assert bias.low < bias.value < bias.high
    assert (noise.value, n) == (None, 16)
    always = card.leaning(firsts)[0]
    assert always.low > 0
    assert always.high is None  # as far as can be told, without end
    assert card.leaning(agreed)[0].value is None


def test_a_stated_tie_is_a_flip_to_neither_side():
    ties = [probe("answer", number, (0.5, 0.0)) for number in range(50)]
    ties += [probe("answer", 50 + number, (0.5, 1.0)) for number in range(50)]
    firsts = [probe("answer", 100 + number, (1.0, 0.0)) for number in range(10)]
    bias, _, n = card.leaning([*ties, *firsts])
    assert n == 10
    assert bias.low > 0


def test_noise_that_all_but_one_lack_has_no_interval():
    same = [probe("answer", number, (0.75, 0.75)) for number in range(11)]
    noise = card.leaning([*same, probe("answer", 11, (0.9, 0.75))])[1]
    assert noise.value > 0
    assert noise.low is None


def test_agreement_with_people_stands_beside_its_floors():
    labels = []
    tried = []
    for number in range(100):
        row = probe("judged by people", number, (0.9, 0.9), a="long, longer", b="short")
        says = "a" if number < 60 else "b"
        tried.append(row)
        labels.append(
            make(
                Label,
                literal_id=row.literal_id,
                literal=row.literal,
                a=row.a,
                b=row.b,
                a_text=row.a_text,
                b_text=row.b_text,
                label=says,
            )
        )
    made = figures(tried, labels)
    assert made["agreement"].value == made["constant"].value == made["longer"].value == 0.6
    assert made["agreement less longer"].value == 0.0
    said = " ".join(trust.lines(list(made.values())))
    assert "agrees with people in 60 %" in said
    assert "nothing shows that it finds funny what people do" in said
    few = trust.lines(list(figures(tried[:5], labels[:5]).values()))
    assert "was compared with people on 5 pairs alone" in " ".join(few)


def test_all_verdicts_failed_of_a_control_or_of_everything():
    tried = [probe("answer", number, (None, None)) for number in range(3)]
    made = figures(tried)
    assert made["flips"].value is None
    assert made["failures"].value == 1.0
    said = trust.table(list(made.values()))
    assert "prefer a joke to the bare sentence" not in said.partition("judge  ")[0]
    assert "gave no verdict that tells whether the order sways it" in said


def test_one_contestant_and_no_length_differences():
    tried = [probe("answer", number, (0.9, 0.2 + number / 20)) for number in range(12)]
    made = figures(tried)
    assert made["length"].value is None
    assert "gave no verdicts that tell what length does" in " ".join(trust.lines([*made.values()]))


def test_controls_are_made_of_jokes():
    jokes = [joke(0, "The cat sat, twice."), joke(1, "One"), joke(2, "Literal 2.")]
    made = list(probes.controls(jokes, 40, "overall"))
    texts = {(tried.probe, tried.pair[0].literal_id): tried.pair[1].text for tried in made}
    assert texts["bare sentence", "l_000"] == "Literal 0."
    assert texts["another sentence", "l_001"] == "The cat sat, twice."
    assert texts["so funny", "l_001"] == "One So funny!"
    assert sorted(texts["shuffled words", "l_000"].split()) == sorted("The cat sat, twice.".split())
    assert texts["shuffled words", "l_000"] != "The cat sat, twice."
    assert sorted(texts["shuffled words", "l_001"]) == sorted("One")
    assert ("bare sentence", "l_002") not in texts  # it says nothing else
    assert len(list(probes.controls(jokes, 2, "overall"))) < len(made)
    alone = {tried.probe for tried in probes.controls(jokes[:1], 9, "consistency")}
    assert alone == {"same joke", "shuffled words", "so funny"}
    of_humor = {tried.probe for tried in probes.controls(jokes, 9, "humor")}
    assert "another sentence" not in of_humor


def test_answers_go_by_turns_and_no_literal_twice_while_there_are_others():
    pairs = [
        (joke(number, f"{author} {number}", author), joke(number, "x"))
        for author in ("sft", "round-1")
        for number in range(6)
    ]
    chosen = [tried.pair[0] for tried in probes.answers(pairs, 6)]
    assert [one.author for one in chosen] == ["sft", "round-1"] * 3
    assert len({one.literal_id for one in chosen}) == 6
    assert len(probes.answers(pairs, 100)) == 12


def test_peoples_jokes_about_the_run_s_sentences_meet_the_teacher_s():
    label = make(
        Label,
        literal_id="l_000",
        literal="Literal 0.",
        a="j_1",
        b="j_2",
        a_text="Ha.",
        b_text="Ho.",
        label="b",
    )
    other = label.model_copy(update={"literal_id": "l_999"})
    tried = list(
        probes.by_people([label, other], labels.pairs([label, other]), [joke(0, "Teacher.")])
    )
    assert [one.probe for one in tried] == ["judged by people", "people's joke", "judged by people"]
    assert [one.text for one in tried[1].pair] == ["Teacher.", "Ho."]


# --- the whole stage, with the stand-in as judge


@pytest.fixture
def run(data):
    return make_run("v1", 1500)


def card_of(run, judge="standin-judge"):
    found = rows(run / "judge-card/card.jsonl")
    return {row["measure"]: row for row in found if row["judge"] == judge}


def test_what_is_planted_in_the_stand_in_is_found_again(cli, run):
    said = cli("judge-card", "--run", "v1")
    made = card_of(run)
    assert made["position bias"]["value"] == pytest.approx(POSITION_BIAS, abs=0.1)
    planted = NOISE / 1.8 * math.pi / math.sqrt(3)  # of a logistic draw
    assert made["noise"]["value"] == pytest.approx(planted, rel=0.2)
    assert made["another sentence"]["value"] > 0.5  # its sentences are much alike
    assert "standin-judge can be trusted to " in said
    assert "It was compared with people on none" in said
    assert "judge-card: whole" in cli("verify", "--run", "v1")
    assert "shuffled words" in cli("show", "--run", "v1", "--stage", "judge-card", "--limit", "400")
    assert "complete, nothing to do" in cli("judge-card", "--run", "v1")
    cli("report", "--run", "v1")
    assert "What the judge is worth" in (run / "report.html").read_text()
    path = run / "judge-card/card.jsonl"
    path.write_text(
        path.read_text().replace('"measure":"so funny","value":', '"measure":"so funny","value":1')
    )
    assert "not what the verdicts say" in cli("verify", "--run", "v1", code=5)


def test_a_strong_bias_is_found_by_flips_alone_where_there_are_no_logprobs(cli, run):
    bias = "judge.endpoint.extra_body={position_bias=1.0,noise=2.0}"
    cli("judge-card", "--run", "v1", "--set", STATED, "--set", bias)
    made = card_of(run)
    assert made["noise"]["value"] is None
    in_noise = 1.0 / (2.0 / 1.8)  # in units of the logistic that the noise is
    assert made["position bias"]["low"] < in_noise < made["position bias"]["high"]


def test_a_panel_people_and_what_a_dry_run_says(cli, run, tmp_path):
    answers = rows(run / "teacher/records.jsonl")
    labels = [
        {"literal": row["literal"], "a": "Well, well.", "b": "So it goes, they say.", "label": "b"}
        for row in answers[::3][:30]
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(label) + "\n" for label in labels))
    more = (
        "--set",
        "judge.panel=[{endpoint={base_url='standin:',model='standin-critic'}}]",
        "--set",
        f"agreement.labels={path}",
        "--set",
        "judge_card.controls=5",
        "--set",
        "judge_card.answers=10",
        "--set",
        "judge_card.people=25",
    )
    said = cli("judge-card", "--run", "v1", "--dry-run", *more)
    asked = 2 * (10 + 5 * 5 + 2 * 25)  # each is about a sentence of the run
    assert f"would ask standin-judge at standin: up to {asked} times" in said
    assert f"would ask standin-critic at standin: up to {asked} times" in said
    cli("judge-card", "--run", "v1", *more)
    for judge in ("standin-judge", "standin-critic"):
        made = card_of(run, judge)
        assert made["agreement"]["n"] == made["teacher over people"]["n"] == 25
        assert made["longer"]["value"] == made["constant"]["value"] == 1.0
        assert made["teacher over people"]["value"] > 0.9
    assert "judge-card: whole" in cli("verify", "--run", "v1")


def test_a_judge_that_refuses_one_control(cli, run, monkeypatch):
    """Its verdicts there failed, and the rest of the card is as it was."""
    from pipeline import standin

    answered = standin.respond

    def refusing(body):
        status, answer = answered(body)
        if "So funny!" in body["messages"][0]["content"]:
            answer["choices"][0]["message"] |= {"content": None, "refusal": "Not that."}
        return status, answer

    monkeypatch.setattr("pipeline.standin.respond", refusing)
    said = cli("judge-card", "--run", "v1")
    made = card_of(run)
    assert (made["so funny"]["value"], made["so funny"]["failed"]) == (None, 40)
    assert made["bare sentence"]["failed"] == 0
    assert made["failures"]["value"] == 40 / made["failures"]["n"]
    assert "40 of 400 verdicts failed" in said


def test_a_judge_that_answers_nothing(cli, run, monkeypatch):
    from pipeline import standin

    answered = standin.respond

    def silent(body):
        status, answer = answered(body)
        answer["choices"][0]["message"]["content"] = "Both are fine."
        answer["choices"][0]["logprobs"] = None
        return status, answer

    monkeypatch.setattr("pipeline.standin.respond", silent)
    said = cli("judge-card", "--run", "v1", code=4)
    assert "400 of 400 verdicts failed" in said


def test_another_judge_is_tried_on_a_run_before_it_judges_one(cli, run):
    cli(
        "judge-card",
        "--run",
        "other",
        "--from",
        "v1",
        "--set",
        "judge.endpoint.model=standin-critic",
    )
    made = rows(run.parent / "other/judge-card/card.jsonl")
    assert {row["judge"] for row in made} == {"standin-critic"}
    assert (run.parent / "other/evaluate").is_symlink()
    assert "another recipe" in cli("evaluate", "--run", "other", code=4)


def test_the_report_says_who_judged_whoever_was_tried_since(cli, run):
    cli("judge-card", "--run", "v1", "--set", "judge.endpoint.model=standin-critic")
    cli("report", "--run", "v1")
    assert (
        "Judged by standin-judge in both presentation orders" in (run / "report.html").read_text()
    )


def test_labels_beyond_those_that_are_asked_about_are_not_read(cli, run, tmp_path):
    label = {"literal": "Snow fell.", "a": "So it did.", "b": "Again?", "label": "b"}
    path = tmp_path / "labels.jsonl"
    path.write_text(
        "".join(json.dumps(one) + "\n" for one in (label, label, {**label, "a": "No."}))
    )
    flags = ["--set", f"agreement.labels={path}", "--set", "judge_card.people=1"]
    cli("judge-card", "--run", "v1", *flags)
    assert "judge-card: whole" in cli("verify", "--run", "v1")


def test_a_key_that_is_missing_is_said_before_anybody_is_asked(cli, run, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    panel = "judge.panel=[{endpoint={base_url='https://x.example/v1',model='m',api_key_env='NO_SUCH_KEY'}}]"
    assert "NO_SUCH_KEY" in cli("judge-card", "--run", "v1", "--set", panel, code=3)
    assert (
        not (run / "judge-card/records.jsonl.partial").exists()
        or not (run / "judge-card/records.jsonl.partial").read_bytes()
    )


def test_before_an_evaluation_there_is_no_card(cli, data):
    folder = make_run("v1", 120)
    (folder / "evaluate/manifest.json").unlink()
    said = cli("judge-card", "--run", "v1", code=4)
    assert "First: humor-distill evaluate --run v1" in said
