"""vote: a page on which people say which of two answers is the funnier one, blind."""

import argparse
import json
import os
import shutil
import threading
import webbrowser
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline import SPOKEN_STAGE
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, DataError, StageError, meant
from pipeline.execution.execute import execute
from pipeline.judging import compared, probes
from pipeline.judging.verdict import Pair
from pipeline.reading.comparison import EVALUATE
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import true_id
from pipeline.rows.vote import Vote
from pipeline.runs.files import ANSWERS, RECORDS
from pipeline.runs.hashes import file_hash
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step
from pipeline.vocabulary import Aspect
from pipeline.voting import agreement, page
from pipeline.voting.box import Box, every_question
from pipeline.voting.box import path as box_path
from pipeline.voting.turns import Question
from pipeline.writing import write_text

TEACHER = Step("teacher")
VOTE = Step(SPOKEN_STAGE)


def run(args: argparse.Namespace) -> None:
    """Open the page, or write or read votes; then what they come to is a step of the run."""
    run = existing(args.run)
    for step in (TEACHER, EVALUATE):
        if run.manifest(step) is None:
            raise StageError(
                f"vote needs {step} of run {run.name}. First: {step.command(run.name)}"
            )
    config = run.config()
    if config is None:
        raise StageError(f"run {run.name} has no config.json: no stage of it was started.")
    pairs = compared.pairs(
        jsonl.read(run.at(EVALUATE) / ANSWERS, Joke),
        jsonl.read(run.at(TEACHER) / RECORDS, Joke),
        jsonl.read(run.at(EVALUATE) / RECORDS, Verdict),
    )
    literals = {a.id: a.literal_id for a, _ in pairs}
    box = Box(run.name, every_question(pairs), literals)
    made = run.manifest(VOTE)
    if made and not box.of_run():  # of a run that was copied here without the box
        kept = run.folder / str(VOTE) / RECORDS
        if file_hash(kept) != made["sha256"]:
            raise DataError(f"{kept} is not what its stage wrote: restore it, or remove {VOTE}/.")
        box.add(_on(pairs, jsonl.load(kept, Vote)))
    if args.export:
        _export(run, box, pairs, args.export, args.aspect[0])
        return
    if args.import_:
        _import(box, pairs, args.import_)
    else:
        asked = _asked(config, pairs, args)
        _serve(Box(run.name, asked, literals), pairs, args)
    folder = run.folder / str(VOTE)
    if not box.ballots():
        if folder.is_dir() and not folder.is_symlink():  # all votes were taken back
            shutil.rmtree(folder)
        raise StageError(f"vote: there is no vote on run {run.name}, so nothing is written.")
    box.close()
    execute(run, VOTE, config, force=folder.exists())


def _asked(config: Config, pairs: Sequence[Pair], args: argparse.Namespace) -> list[Question]:
    """The questions: a sample of the pairs on the first split that is evaluated, by contestant."""
    from pipeline.runs.literals import literals

    split = config.evaluate.splits[0]
    inside = {literal.id for literal in literals(config, split)}
    known = list(dict.fromkeys(a.author for a, _ in pairs))
    wanted = args.contestants.split(",") if args.contestants else known
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"--contestants {name}: there are {', '.join(known)}.{meant(name, known)}"
            )
    chosen = [pair for pair in pairs if pair[0].literal_id in inside and pair[0].author in wanted]
    questions = []
    for tried in probes.answers(chosen, args.pairs):
        a, b = tried.pair
        questions += [Question(aspect, a.id, b.id) for aspect in args.aspect]
    if not questions:
        raise StageError(f"vote: evaluate has no answer to vote on, on the split {split}.")
    return questions


def _serve(box: Box, pairs: Sequence[Pair], args: argparse.Namespace) -> None:
    texts = {(a.id, b.id): page.Texts(a.literal, a.text, b.text) for a, b in pairs}

    def opened(address: str) -> None:
        print(f"{len(box.questions)} questions: {address}")
        print("Ctrl-C here ends the vote; every vote is kept at once.", flush=True)
        if not args.no_browser:  # in a thread, as some browsers run in the terminal until closed
            threading.Thread(target=_open, args=[address, leading], daemon=True).start()

    leading = box_path().with_name(f"vote-{os.getpid()}.html")
    try:
        page.serve(box, texts, args.host, args.port, opened)
    finally:
        leading.unlink(missing_ok=True)
        box.close()


def _open(address: str, leading: Path) -> None:
    """Open the page by a file that nobody else can read, as all can read a program's arguments."""
    leading.touch(mode=0o600)
    leading.write_text(f'<meta http-equiv="refresh" content="0;url={address}">', "utf-8")
    webbrowser.open(leading.as_uri())


def _export(run: Run, box: Box, pairs: Sequence[Pair], path: Path, aspect: Aspect) -> None:
    """The pairs on which most voters prefer one side, as agreement.labels reads them."""
    texts = {(a.id, b.id): (a.literal, a.text, b.text) for a, b in pairs}
    answers: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for ballot in box.ballots():
        pair = ballot.question.a, ballot.question.b
        counts = ballot.answer != "skip" and not ballot.again
        if counts and ballot.question.aspect == aspect and pair in texts:
            answers[texts[pair]][ballot.answer] += 1
    lines = []
    for (literal, a, b), tally in answers.items():
        if tally["a"] != tally["b"] and tally["alike"] < tally.total() / 2:
            label = "a" if tally["a"] > tally["b"] else "b"
            said = {f"said_{name}": tally[name] for name in agreement.ANSWERS}
            row = {"literal": literal, "a": a, "b": b, "label": label, **said}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if not lines:
        raise StageError(f"vote: no pair of run {run.name} has a side that most voters prefer.")
    write_text(path, "".join(lines))
    left = len(answers) - len(lines)
    print(f"{path}: {len(lines)} pairs; {left} left out, as voters call them alike or disagree")


def _import(box: Box, pairs: Sequence[Pair], path: Path) -> None:
    """Votes made elsewhere, on answers that this run has."""
    every = jsonl.load(path, Vote)
    for vote in every:
        if vote.id != true_id(vote):
            raise DataError(
                f"{path}: {vote.id} is not the id that its content gives: it was edited by hand. "
                "Take the file as it was written."
            )
    votes = _on(pairs, every)
    other = len(every) - len(votes)
    if other and not votes:
        raise DataError(
            f"{path}: none of its {other} votes is on an answer of this run: they were given on "
            "another run, or before it was made again."
        )
    added = box.add(votes)
    print(f"{path}: {added} votes added, {len(votes) - added} here already", end="")
    print(f"; {other} on answers that this run has not" if other else "")


def _on(pairs: Sequence[Pair], votes: Iterable[Vote]) -> list[Vote]:
    """The votes that are on these answers, word for word."""
    known = {(a.id, b.id): (a.literal_id, a.literal, a.text, b.text) for a, b in pairs}
    own = []
    for vote in votes:
        words = (vote.literal_id, vote.literal, vote.a_text, vote.b_text)
        if known.get((vote.a, vote.b)) == words:
            own.append(vote)
    return own
