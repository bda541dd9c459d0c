"""--from: steps of another run."""

from pipeline.config.file import load, validate
from pipeline.execution import linking
from pipeline.runs.run import Run
from pipeline.runs.step import steps
from tests.execution.conftest import files


def linked(run, source, config, **changes):
    """Link what can be linked, as --from does before it runs a stage."""
    found = validate({**load(config), **changes}, "test")
    borrowing = linking.linkable(Run(run), Run(source), steps(found), found, but_seed=True)
    linking.link(borrowing, found.model_dump(mode="json"))
    return [str(step) for step in steps(found) if Run(run).manifest(step)]


def test_a_dry_run_reads_from_the_other_run_and_links_nothing(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    said = cli("sft", "--run", "v2", "--from", "v1", "--dry-run")
    assert f"reads teacher: {data}/runs/v1/teacher/records.jsonl" in said
    assert "sft: would run" in said
    assert "evaluate: would run after sft, round-1/dpo" in cli(
        "evaluate", "--run", "v2", "--from", "v1", "--dry-run"
    )
    assert not (data / "runs/v2").exists()


def test_from_links_what_agrees_but_for_the_seed(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    assert linked("v2", "v1", config, seed=3) == ["teacher"]
    assert (data / "runs/v2/teacher").is_symlink()
    assert "linked" in cli("status", "--run", "v2")
    assert "nothing to do" in cli("teacher", "--run", "v2", "--config", config, "--set", "seed=3")
    said = cli("sft", "--run", "v3", "--from", "v1", "--set", "teacher.jokes=2", code=4)
    assert "sft reads teacher, which is not there in run v3" in said
    assert "First: humor-distill teacher --run v3 --from v1 --set teacher.jokes=2" in said
    cli("sft", "--run", "v4", "--from", "nowhere", code=4)


def test_a_linked_step_is_not_changed_from_the_run_that_links_it(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    linked("v2", "v1", config)
    before = files(data / "runs/v1/teacher")
    assert "linked from another run" in cli(
        "teacher", "--run", "v2", "--config", config, "--force", code=4
    )
    assert files(data / "runs/v1/teacher") == before


def test_all_links_only_what_agrees_to_the_seed(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    found = validate({**load(config), "seed": 1}, "test")
    linking.link(
        linking.linkable(Run("v2"), Run("v1"), steps(found), found, but_seed=False),
        found.model_dump(mode="json"),
    )
    assert not (data / "runs/v2").exists()
