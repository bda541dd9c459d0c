"""What a dry run says."""

from tests.execution.conftest import TEACHERS


def test_a_dry_run_shows_the_first_prompt_and_writes_nothing(cli, config, data):
    said = cli("teacher", "--run", "v1", "--config", config, "--dry-run")
    assert "would ask standin-teacher at standin: up to 40 times" in said
    assert 'Sentence: "The kettle in room 0 broke on Monday."' in said
    assert not data.exists()


def test_sample_can_be_tried_dry(cli, config):
    cli("teacher", "--run", "v1", "--config", config)
    assert "sample: would run" in cli("sample", "--run", "v1", "--set", TEACHERS, "--dry-run")
