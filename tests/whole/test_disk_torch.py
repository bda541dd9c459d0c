"""A disk that fills up under the stages that train, write and evaluate."""

from tests.whole.test_disk import check, filled, needs_mount


@needs_mount
def test_a_full_disk_loses_nothing(inside, small):
    found = filled(small, inside, "sft", "round-1/sample", "round-1/dpo", "evaluate")
    check(found)
    for step in ("sft", "round-1/dpo"):  # rows, then checkpoints, then weights did not fit
        assert len(found[step]) > 6
        assert any("going on from checkpoint-" in attempt["said"] for attempt in found[step])
