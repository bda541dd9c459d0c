"""What voters are shown, where their votes go, and what those come to."""

import json
import random
import shutil
import subprocess
import sys

import pytest

from pipeline.rows.records import Order, Verdict
from pipeline.rows.row import make
from pipeline.rows.vote import Vote
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import seal
from pipeline.voting import agreement, figures, words
from pipeline.voting.box import Box
from pipeline.voting.turns import Given, Question, Turn, common, following
from tests.conftest import rows
from tests.synthetic import make_run

QUESTIONS = [Question("overall", f"j_{number:03}", "j_t") for number in range(200)]


def all_turns(voter, votes=None, skipping=False):
    """Everything a voter is shown who answers until nothing is left."""
    given, shown = [], []
    while turn := following(QUESTIONS, given, votes or {}, voter):
        shown.append(turn)
        given.append(Given(turn.question, turn.again, skipping))
        assert len(given) < 500
    return shown


def test_a_voter_meets_every_question_once_and_a_twentieth_again():
    shown = all_turns("ann")
    first = [turn.question for turn in shown if not turn.again]
    assert sorted(first) == sorted(QUESTIONS)
    again = [turn.question for turn in shown if turn.again]
    assert len(again) == len(set(again)) == 10
    for question in again:
        places = [place for place, turn in enumerate(shown) if turn.question == question]
        assert places[1] - places[0] >= 10


def test_everybody_s_questions_are_mixed_in():
    everybody = set(QUESTIONS[: common(len(QUESTIONS))])
    assert len(everybody) == 30
    for voter in ("ann", "bob"):
        shown = [turn.question for turn in all_turns(voter)[:70]]
        assert 9 <= len(everybody.intersection(shown)) <= 12


def test_the_question_with_the_fewest_votes_comes_next():
    votes = dict.fromkeys(QUESTIONS, 3) | {QUESTIONS[150]: 1}
    given = [Given(QUESTIONS[0], again=False, skipped=False)]
    assert following(QUESTIONS, given, votes, "ann") == Turn(QUESTIONS[150], again=False)


def test_what_was_skipped_is_not_asked_again():
    assert not [turn for turn in all_turns("ann", skipping=True) if turn.again]


def test_two_questions_are_enough():
    two = QUESTIONS[:2]
    first = following(two, [], {}, "ann")
    second = following(two, [Given(first.question, again=False, skipped=False)], {}, "ann")
    assert {first.question, second.question} == set(two)
    both = [Given(question, again=False, skipped=False) for question in two]
    assert following(two, both, {}, "ann") is None


@pytest.fixture
def box(data):
    box = Box("v1", QUESTIONS, {question.a: f"l_{question.a}" for question in QUESTIONS})
    yield box
    box.close()


def test_a_vote_is_kept_taken_back_and_given_anew(box):
    showing = box.next("ann")
    assert box.next("ann") == showing  # as after a reload
    assert box.answer("ann", showing.id, "left", offensive=False, ms=900)
    assert not box.answer("ann", showing.id, "right", offensive=False, ms=900)
    assert not box.answer("bob", showing.id, "right", offensive=False, ms=900)
    assert box.progress("ann") == (1, 200)
    (ballot,) = box.ballots()
    assert ballot.answer == showing.shown[0]
    assert box.next("ann").id != showing.id
    assert box.undo("ann")
    assert box.next("ann") == showing
    assert box.progress("ann") == (0, 200)
    assert box.answer("ann", showing.id, "alike", offensive=True, ms=100)
    (ballot,) = box.ballots()
    assert (ballot.answer, ballot.offensive, ballot.ms) == ("alike", True, 100)
    assert not box.undo("bob")


def test_sides_are_drawn_and_swapped_when_a_pair_comes_back(box):
    shown = {}
    again = 0
    while showing := box.next("ann"):
        if showing.again:
            again += 1
            assert showing.shown == shown[showing.question][::-1]
        shown.setdefault(showing.question, showing.shown)
        box.answer("ann", showing.id, "left", offensive=False, ms=1)
    assert again == 10
    lefts = sum(side == "ab" for side in shown.values())
    assert 70 < lefts < 130


KILLED = """
import os, signal, sys
from pipeline.voting.box import Box
from tests.voting.test_votes import QUESTIONS
box = Box("v1", QUESTIONS, {question.a: "l" for question in QUESTIONS})
for number in range(int(sys.argv[1])):
    showing = box.next("ann")
    box.answer("ann", showing.id, "right", False, 1)
    print(number + 1, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_vote_that_was_confirmed_is_lost_to_sigkill(box, data):
    total = 0
    for number in (1, 3, 2):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(number)], capture_output=True, text=True
        )
        assert done.returncode == -9, done.stderr
        total += int(done.stdout.split()[-1])
        assert len(box.ballots()) == total


def vote(voter, number, answer, shown="ab", again=False, author="sft", offensive=False):
    return make(
        Vote,
        literal_id=f"l_{number}",
        literal="Rain.",
        aspect="overall",
        a=f"{author}_{number}",
        b="j_t",
        a_text="Rain, again.",
        b_text="Rain!",
        shown=shown,
        answer=answer,
        offensive=offensive,
        voter=voter,
        again=again,
        ms=1000,
        at="2026-11-27T10:00:00.000+00:00",
    )


def test_rates_by_hand():
    votes = [
        vote("ann", 0, "a"),
        vote("bob", 0, "b"),
        vote("ann", 1, "alike"),
        vote("ann", 2, "b"),
        vote("ann", 3, "skip"),
        vote("ann", 2, "a", again=True),
        vote("ann", 0, "b", author="round-1"),
    ]
    authors = {one.a: one.a.partition("_")[0] for one in votes}
    splits = {one.literal_id: "test" for one in votes}
    last, first = figures.rates(votes, authors, splits)
    assert (first.contestant, first.wtr, first.n, first.votes) == ("sft", 0.5, 3, 4)
    assert (last.contestant, last.wtr, last.n, last.votes) == ("round-1", 0.0, 1, 1)
    assert first.low <= first.wtr <= first.high


def test_alpha_of_a_textbook_table():
    """Krippendorff's example of nominal data: four units, two voters, one disagreement.

    Units aa, aa, bb, ab: 1 - (n - 1) * disagreeing pairs of values / products of their counts,
    which is 1 - 7 * 1 / (5 * 3).
    """
    votes = []
    for number, (one, other) in enumerate(["aa", "aa", "bb", "ab"]):
        votes += [vote("ann", number, one), vote("bob", number, other)]
    assert agreement.alpha(votes).value == pytest.approx(1 - 7 / 15)
    assert agreement.alpha([vote("ann", 0, "a"), vote("ann", 1, "b")]).value is None
    assert agreement.alpha([vote("ann", 0, "a"), vote("bob", 0, "a")]).value is None


def test_alpha_of_coins_is_nothing():
    draw = random.Random(0)
    votes = [
        vote(name, number, draw.choice("ab")) for number in range(200) for name in ("ann", "bob")
    ]
    found = agreement.alpha(votes)
    assert found.low < 0 < found.high


def test_consistency_is_over_what_was_answered_both_times():
    votes = [vote("ann", 0, "a"), vote("ann", 1, "b"), vote("ann", 2, "skip"), vote("ann", 3, "a")]
    votes += [
        vote("ann", n, answer, again=True) for n, answer in enumerate(["a", "a", "a", "skip"])
    ]
    same, number = agreement.consistency(votes)
    assert (same.value, number) == (0.5, 2)


def test_a_voter_who_always_says_left_is_named():
    draw = random.Random(1)
    votes = []
    for number in range(30):
        shown = draw.choice(["ab", "ba"])
        votes.append(vote("lefty", number, shown[0], shown))
        votes.append(vote("ann", number, draw.choice("ab"), shown))
    (line,) = agreement.one_sided(votes)
    assert line.startswith("lefty said left 30 of 30 times")


def verdict(number, p_a):
    orders = []
    for shown, p in zip(("ab", "ba"), p_a, strict=True):
        answer = "a" if p > 0.5 else "b"
        orders.append(
            Order(shown=shown, p_a=p, answer=answer, reason=None, raw=None, call=None, error=None)
        )
    return make(
        Verdict,
        literal_id=f"l_{number}",
        literal="Rain.",
        role="judge",
        aspect="overall",
        a=f"sft_{number}",
        b="j_t",
        a_text="Rain, again.",
        b_text="Rain!",
        orders=orders,
        p_a=sum(p_a) / 2,
        outcome="a",
        judge="x",
    )


def test_the_judge_stands_between_its_floors_and_its_ceiling():
    votes = []
    for number, (ann, bob) in enumerate(["aa", "ab", "bb", "aa"]):
        votes += [vote("ann", number, ann), vote("bob", number, bob)]
    votes.append(vote("ann", 4, "alike"))
    verdicts = [verdict(0, (0.9, 0.9)), verdict(1, (0.9, 0.9)), verdict(2, (0.9, 0.1))]
    found = agreement.agreement(votes, verdicts)
    assert found.judge.value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found.n == 6  # on three pairs that the judge has judged
    assert found.constant == 0.5
    assert found.longer == 0.5
    assert found.over.value == pytest.approx(found.judge.value - 0.5)
    assert (found.voters.value, found.pairs_of_voters) == (3 / 4, 4)


def test_a_judge_below_its_floors_is_named():
    votes = [vote("ann", number, "ab"[number % 2]) for number in range(80)]
    authors = {one.a: "sft" for one in votes}
    splits = {one.literal_id: "test" for one in votes}

    def warned(p_a):
        verdicts = [verdict(number, p_a(number)) for number in range(80)]
        return words.below_floor(figures.told(votes, authors, splits, verdicts).facts())

    contrary = warned(lambda number: ((0.1, 0.1), (0.9, 0.9))[number % 2])
    assert "in 0 % (0 to 5), and is worse than one side always" in contrary
    assert "cannot be told from one side always" in warned(lambda number: (0.9, 0.9))
    assert warned(lambda number: ((0.9, 0.9), (0.1, 0.1))[number % 2]) is None
    few = figures.told(votes[:1], authors, splits, [verdict(0, (0.1, 0.1))])
    assert words.below_floor(few.facts()) is None


def test_a_voter_who_voted_on_other_questions_goes_on(box):
    for _ in range(40):
        box.answer("ann", box.next("ann").id, "left", offensive=False, ms=1)
    fewer = Box("v2", QUESTIONS[100:160], {one.a: "l" for one in QUESTIONS[100:160]})
    shown = []
    while showing := fewer.next("ann"):
        assert fewer.next("ann") == showing
        shown.append(showing.question)
        assert fewer.answer("ann", showing.id, "left", offensive=False, ms=1)
    assert set(shown) <= set(QUESTIONS[100:160])
    assert fewer.progress("ann") == (60, 60)
    fewer.close()


def test_an_import_answers_what_is_open_and_changes_no_answer(box):
    showing = box.next("ann")
    of_open = make_vote(showing.question, "alike")
    assert box.add([of_open]) == 1
    assert [ballot.answer for ballot in box.ballots()] == ["alike"]
    assert box.add([make_vote(showing.question, "a")]) == 0
    assert [ballot.answer for ballot in box.ballots()] == ["alike"]


def make_vote(question, answer):
    return vote("ann", 0, answer).model_copy(update={"a": question.a, "b": question.b})


# --- the command, without its page


@pytest.fixture
def voted(cli, data):
    """A run with votes of two voters in the box, given on the questions of the page."""
    folder = make_run("v1", 600)
    answers = {row["id"]: row for row in rows(folder / "evaluate/answers.jsonl")}
    verdicts = [
        row
        for row in rows(folder / "evaluate/records.jsonl")
        if answers[row["a"]]["author"] != "base"
    ]
    questions = [Question("overall", row["a"], row["b"]) for row in verdicts]
    box = Box("v1", questions, {row["a"]: row["literal_id"] for row in verdicts})
    for voter in ("ann", "bob"):
        for number in range(40):
            said = ("left", "right", "alike", "skip")[number % 4]
            box.answer(voter, box.next(voter).id, said, offensive=number == 7, ms=500)
    box.close()
    return folder


def make_step(cli, tmp_path):
    """The step of the votes there are, by taking in a file without any."""
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    return cli("vote", "--run", "v1", "--import", str(empty))


def test_votes_become_a_step_of_the_run(cli, voted, tmp_path):
    said = make_step(cli, tmp_path)
    assert " votes by 2 voters" in said
    assert "2 votes say that one of the two may offend" in said
    assert "vote: whole" in cli("verify", "--run", "v1")
    assert "vote" in cli("status", "--run", "v1")
    first = rows(voted / "vote/records.jsonl")[0]
    assert first["voter"] in cli("show", first["id"], "--run", "v1")
    assert "ann" in cli("show", "--run", "v1", "--stage", "vote")
    cli("report", "--run", "v1")
    page = (voted / "report.html").read_text()
    assert "What people say" in page
    manifest = json.loads((voted / "vote/manifest.json").read_text())
    assert manifest["people"]["voters"] == 2
    assert "evaluate: complete, nothing to do" in cli("evaluate", "--run", "v1")
    make_step(cli, tmp_path)  # again, which changes nothing
    assert rows(voted / "vote/records.jsonl")[0] == first


def test_the_judge_s_card_has_its_agreement_with_votes(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    said = cli("judge-card", "--run", "v1", "--set", "judge_card.controls=2")
    judge = json.loads((voted / "vote/manifest.json").read_text())["people"]["judge"]
    [line] = [line for line in said.splitlines() if line.split()[1:2] == ["votes"]]
    shown = [f"{judge[key]:.3f}" for key in ("agreement", "agreement_low", "agreement_high")]
    assert line.split()[2:6] == [shown[0], shown[1], "-", shown[2]]
    assert line.split()[6] == str(judge["n"])
    assert "what two voters agree with each other: the ceiling" in said
    cli("report", "--run", "v1")
    assert "two voters</th>" in (voted / "report.html").read_text()


def test_votes_go_out_as_labels_and_come_in_elsewhere(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    labels = tmp_path / "labels.jsonl"
    said = cli("vote", "--run", "v1", "--export", str(labels))
    assert "left out, as voters call them alike or disagree" in said
    found = rows(labels)
    assert {row["label"] for row in found} == {"a", "b"}
    assert "agreement" in cli("agreement", "--run", "v1", "--set", f"agreement.labels={labels}")
    votes = tmp_path / "votes.jsonl"
    votes.write_bytes((voted / "vote/records.jsonl").read_bytes())
    (voted.parent.parent / "cache/votes.sqlite").unlink()
    shutil.rmtree(voted / "vote")
    said = cli("vote", "--run", "v1", "--import", str(votes))
    assert f"{len(rows(votes))} votes added, 0 here already" in said
    assert len(rows(voted / "vote/records.jsonl")) == len(rows(votes))


def test_a_run_copied_without_the_box_keeps_its_votes(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    before = rows(voted / "vote/records.jsonl")
    (voted.parent.parent / "cache/votes.sqlite").unlink()
    make_step(cli, tmp_path)
    assert {row["id"] for row in rows(voted / "vote/records.jsonl")} == {
        row["id"] for row in before
    }


def test_votes_on_other_answers_are_refused(cli, voted, tmp_path):
    path = tmp_path / "others.jsonl"
    path.write_bytes(b"".join(vote("ann", number, "a").line() for number in range(3)))
    said = cli("vote", "--run", "v1", "--import", str(path), code=5)
    assert "none of its 3 votes is on an answer of this run" in said


def test_votes_on_answers_of_before_are_left_out_with_a_reason(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    kept = len(rows(voted / "vote/records.jsonl"))
    path = voted / "evaluate/records.jsonl"
    voted_on = {row["a"] for row in rows(voted / "vote/records.jsonl")}
    lines = [json.dumps(row) for row in rows(path)]
    gone = next(row["a"] for row in rows(path) if row["a"] in voted_on)
    path.write_text("".join(f"{line}\n" for line in lines if gone not in line))
    manifest = json.loads((voted / "evaluate/manifest.json").read_text())
    del manifest["seal"]
    manifest["sha256"] = file_hash(path)
    (voted / "evaluate/manifest.json").write_text(
        json.dumps({**manifest, "seal": seal(manifest)}, indent=1, ensure_ascii=False) + "\n"
    )
    said = make_step(cli, tmp_path)
    assert "vote on an answer of before" in said
    assert 0 < kept - len(rows(voted / "vote/records.jsonl")) <= 4


def test_a_file_of_votes_that_was_edited_by_hand_is_refused(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    path = tmp_path / "edited.jsonl"
    text = (voted / "vote/records.jsonl").read_text()
    path.write_text(text.replace('"voter":"ann"', '"voter":"carl"', 1))
    said = cli("vote", "--run", "v1", "--import", str(path), code=5)
    assert "it was edited by hand" in said


def test_a_box_that_is_none_is_left_as_it_is(cli, voted, tmp_path):
    path = voted.parent.parent / "cache/votes.sqlite"
    path.write_bytes(b"this is no database" * 100)
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    said = cli("vote", "--run", "v1", "--import", str(empty), code=5)
    assert "file is not a database. It is left as it is" in said
    assert path.read_bytes().startswith(b"this is no database")


def test_a_copied_run_s_votes_on_other_sentences_count_nowhere(cli, voted, tmp_path):
    make_step(cli, tmp_path)
    (voted.parent.parent / "cache/votes.sqlite").unlink()
    path = voted / "vote/records.jsonl"
    text = path.read_text()
    first = rows(path)[0]
    empty = tmp_path / "none.jsonl"
    path.write_text(text.replace(first["literal_id"], "l_000000000000"))
    said = cli("vote", "--run", "v1", "--import", str(empty), code=5)
    assert "vote/records.jsonl is not what its stage wrote" in said
    shutil.copy(path, tmp_path / "votes.jsonl")
    shutil.rmtree(voted / "vote")
    cli("vote", "--run", "v1", "--import", str(tmp_path / "votes.jsonl"))
    assert 0 < len(rows(path)) < text.count("\n")
    huge = tmp_path / "huge.jsonl"
    huge.write_text(text.replace('"ms":500', f'"ms":{10**30}', 1))
    assert "ms" in cli("vote", "--run", "v1", "--import", str(huge), code=5)


def test_answers_whose_ids_are_forged_are_refused(cli, voted, tmp_path):
    path = voted / "evaluate/answers.jsonl"
    path.write_text(path.read_text().replace("broke again", "is EVIL"))
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    said = cli("vote", "--run", "v1", "--import", str(empty), code=5)
    assert "the run was edited" in said


def test_votes_that_were_taken_back_stay_so(cli, data, tmp_path):
    folder = make_run("v1", 600)
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    answers = {row["id"]: row for row in rows(folder / "evaluate/answers.jsonl")}
    verdicts = [
        row
        for row in rows(folder / "evaluate/records.jsonl")
        if answers[row["a"]]["author"] == "sft"
    ]
    questions = [Question("overall", row["a"], row["b"]) for row in verdicts]
    box = Box("v1", questions, {row["a"]: row["literal_id"] for row in verdicts})
    for _ in range(2):
        box.answer("ann", box.next("ann").id, "left", offensive=False, ms=1)
    cli("vote", "--run", "v1", "--import", str(empty))
    assert len(rows(folder / "vote/records.jsonl")) == 2
    assert box.undo("ann")
    assert box.undo("ann")
    assert "there is no vote on run v1" in cli(
        "vote", "--run", "v1", "--import", str(empty), code=4
    )
    assert not (folder / "vote").exists()
    assert "there is no vote on run v1" in cli(
        "vote", "--run", "v1", "--import", str(empty), code=4
    )
    box.close()


def test_before_anybody_has_voted(cli, data, tmp_path):
    make_run("v1", 120)
    said = cli("vote", "--run", "v1", "--export", str(tmp_path / "labels.jsonl"), code=4)
    assert "no pair of run v1 has a side that most voters prefer" in said
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    assert "there is no vote on run v1" in cli(
        "vote", "--run", "v1", "--import", str(empty), code=4
    )


def test_a_contestant_that_is_not_there_is_named(cli, data):
    make_run("v1", 120)
    said = cli("vote", "--run", "v1", "--contestants", "round-2", code=3)
    assert "there are sft, round-1" in said
