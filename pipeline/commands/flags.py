"""The flags of every command, and nothing heavier than argparse."""

import argparse
from pathlib import Path

from pipeline import ROUND_STAGES, SPOKEN_STAGE, STAGES, __version__
from pipeline.commands import import_flags
from pipeline.commands.parser import Parser
from pipeline.vocabulary import ASPECTS, OUTCOMES

STAGE_HELP = {
    "reward-model": "pairs that people judged teach a model what is funny",
    "teacher": "the teacher writes jokes for every literal",
    "sft": "the student imitates them",
    "sample": "the round's student writes its own",
    "critic": "the teacher judges them in pairs, in both orders",
    "dpo": "the student learns from the verdicts, by the round's objective",
    "retriever": "a student that finds the nearest of the teacher's jokes",
    "evaluate": "the judge compares every student with the teacher",
    "judge-card": "the judge is tried: order, length, controls, people",
    "agreement": "the critic judges pairs that people judged",
    "all": "every stage that is not complete, in order",
}

TRIED = ("teacher", "critic", "evaluate", "agreement")
"""Stages that have `tries`."""


def parser() -> Parser:
    """The parser of the command line: a subparser for each stage, then for each other command."""
    top = Parser(
        prog="humor-distill",
        description="Distil a funny large language model into a small one, with the large one as "
        "teacher and critic.",
    )
    top.add_argument("--version", action="version", version=f"humor-distill {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    top.commands = commands
    for name, text in STAGE_HELP.items():
        _stage(commands.add_parser(name, help=text, description=text), name)
    for add, name, text in (
        (_init, "init", "make a project's folder: configurations and prompts to edit"),
        (_status, "status", "what is complete, what it cost"),
        (_show, "show", "one joke's whole life, or the rows of a stage"),
        (_diff, "diff", "what two runs did differently, and what came of it"),
        (_verify, "verify", "check every byte, row, join and count of a run"),
        (_vote, "vote", "a page on which people judge the answers, blind"),
        (_report, "report", "one HTML page that says how the run went"),
        (_try, "try", "type a sentence, and see every student's answer"),
        (_export, "export", "a student to keep, or the run's rows as a data set"),
        (import_flags.add, "import", "bring your own sentences"),
        (_rm, "rm", "remove a run that no other run reads steps of"),
        (_tables, "tables", "the paper's tables from finished runs, beside the paper's numbers"),
    ):
        add(commands.add_parser(name, help=text, description=text))
    return top


def _stage(command: argparse.ArgumentParser, name: str) -> None:
    _run(command)
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the run's configuration (default: what it last ran with, else RUN's, else demo's)",
    )
    command.add_argument(
        "--from", dest="source", metavar="RUN", help="link the earlier steps of another run"
    )
    if name in (*ROUND_STAGES, "all"):
        command.add_argument(
            "--round",
            type=int,
            metavar="N",
            help="the round, from 1 (default: the first that is not complete)",
        )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a configuration key, e.g. seed=1",
    )
    command.add_argument(
        "--force", action="store_true", help="make the step again, even if it is complete"
    )
    command.add_argument(
        "--accept-failed",
        action="store_true",
        help="complete the step without the rows of calls that failed for good",
    )
    _adopt(command)
    looks = command.add_mutually_exclusive_group()
    if name in TRIED:
        looks.add_argument(
            "--try",
            dest="tried",
            type=_positive,
            metavar="N",
            help="print what would come of the first N sentences or pairs, and write nothing",
        )
    looks.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--run", required=True, metavar="NAME", help="the run, a folder in data/runs"
    )


def _init(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=_folder, metavar="FOLDER", help="the folder to make")


def _folder(text: str) -> Path:
    if not text:  # as a variable that is not set gives
        raise argparse.ArgumentTypeError("it has no name")
    return Path(text)


def _status(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", metavar="NAME", help="the run (default: list the runs)")


def _rm(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="RUN", help="the run")
    command.add_argument("--yes", action="store_true", help="do not ask whether it is meant")


def _show(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="any row's id, or the start of one: the whole life of its literal",
    )
    _run(command)
    command.add_argument(
        "--stage", choices=(*STAGES, SPOKEN_STAGE), help="without ID: list this stage's rows"
    )
    command.add_argument("--round", type=int, default=1, metavar="N", help="the round (default: 1)")
    command.add_argument(
        "--outcome", choices=OUTCOMES, help="only such verdicts; in evaluate, a is the student"
    )
    command.add_argument(
        "--author",
        metavar="NAME",
        help="only jokes by, or verdicts on, e.g. teacher, sft, round-1; of judge-card, a control",
    )
    command.add_argument(
        "--where",
        nargs=2,
        metavar=("WINNER", "LOSER"),
        help="the sentences on which one contestant's answer did better than another's",
    )
    command.add_argument(
        "--dropped", nargs="?", const="", metavar="REASON", help="what the stage left out, and why"
    )
    command.add_argument(
        "--limit", type=_positive, default=20, metavar="N", help="rows to list (default: 20)"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _diff(command: argparse.ArgumentParser) -> None:
    command.add_argument("one", metavar="RUN")
    command.add_argument("other", metavar="RUN")
    command.add_argument(
        "--list", action="store_true", help="the ids of all sentences on which verdicts differ"
    )


def _verify(command: argparse.ArgumentParser) -> None:
    _run(command)


def _report(command: argparse.ArgumentParser) -> None:
    _run(command)
    command.add_argument("--against", metavar="RUN", help="another run, to compare with")
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to (default: report.html in the run's folder)",
    )


def _vote(command: argparse.ArgumentParser) -> None:
    _run(command)
    command.add_argument(
        "--pairs",
        type=_positive,
        default=200,
        metavar="N",
        help="pairs to ask about (default: 200)",
    )
    command.add_argument(
        "--contestants", metavar="NAME,...", help="only these (default: all but base)"
    )
    command.add_argument(
        "--aspect",
        nargs="+",
        choices=ASPECTS,
        default=["overall"],
        help="what is asked: overall (default), or humor and consistency apart",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, for this machine alone)",
    )
    command.add_argument(
        "--port", type=int, default=8765, metavar="N", help="0 is any that is free (default: 8765)"
    )
    command.add_argument("--no-browser", action="store_true", help="only print the address")
    files = command.add_mutually_exclusive_group()
    files.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write what most voters prefer, for agreement.labels",
    )
    files.add_argument(
        "--import",
        dest="import_",
        type=Path,
        metavar="FILE",
        help="take votes made elsewhere (vote/1)",
    )


def _adopt(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--adopt",
        action="store_true",
        help="of a run that was copied here: talk to whom its configuration names",
    )


def _trust(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that comes with the student; without it none runs, whatever the run says",
    )


def _try(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "sentence", nargs="*", metavar="SENTENCE", help="sentences (default: asked for, one by one)"
    )
    _run(command)
    _adopt(command)
    _trust(command)


def _export(command: argparse.ArgumentParser) -> None:
    _run(command)
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--contestant", metavar="NAME", help="the student: base, sft, round-1, ...")
    what.add_argument("--rows", action="store_true", help="the run's JSONL files, as a data set")
    command.add_argument("out", type=Path, metavar="OUT", help="the folder to make")
    push = "then push the folder to the Hub, e.g. me/funny-student"
    command.add_argument("--push", metavar="REPO", help=push)
    command.add_argument(
        "--gguf",
        choices=["f32", "f16", "bf16", "q8_0"],
        help="also as a file for llama.cpp and Ollama, with a Modelfile",
    )
    command.add_argument(
        "--check",
        type=_positive,
        metavar="N",
        help="compare N greedy answers of what was made with the run's own",
    )
    _adopt(command)
    _trust(command)


def _tables(command: argparse.ArgumentParser) -> None:
    command.add_argument("--make", action="store_true", help="first make the runs that are missing")
    command.add_argument(
        "--prefix", default="tables", help="the runs are PREFIX-METHOD-SEED (default: tables)"
    )
    command.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="with --make: pairs that people judged, for table 1",
    )
    where = "where to (default: data/tables)"
    command.add_argument("--out", type=Path, metavar="FOLDER", help=where)
