"""A dry run says what students take of a device, and how long at a stated speed."""

import re

import pytest

from tests.whole.test_methods import flags


def test_a_dry_run_says_memory_tokens_and_hours(cli, small, data):
    settings = ["runtime.trained_per_second=10000", "runtime.written_per_second=2000"]
    settings += ["runtime.processes=2", 'runtime.launcher="torchrun --nproc_per_node 2"']
    said = cli("all", "--run", "dry", "--config", small, "--dry-run", *flags(settings))
    assert re.search(
        r"\nsft: would run after teacher\n  would train 2,557,632 of 2,557,632 parameters, 8 x 96 "
        r"tokens at a time: about \d+ MiB of a device \(weights 10 MiB, gradients 10 MiB, optimizer "
        r"20 MiB, activations \d+ MiB\); \d+ MiB where 2 share them \(FSDP, ZeRO-3\)\n"
        r"  would train on at most 12,288 tokens: 1 minutes at 10,000 a second\n",
        said,
    )
    assert re.search(r"\n  would train 2,557,632 of 2,557,632 parameters, 8 x 96 tokens at", said)
    assert re.search(r"\n  would write 144 answers, 144 at a time: about \d+ MiB of a device", said)
    assert "  would write at most 6,912 tokens: 1 minutes at 2,000 a second\n" in said
    assert not (data / "runs/dry").exists()


@pytest.mark.parametrize(
    "setting", ["runtime.trained_per_second=0", "runtime.written_per_second=-1"]
)
def test_a_speed_is_above_0(cli, small, setting):
    said = cli("all", "--run", "dry", "--config", small, "--dry-run", "--set", setting, code=3)
    assert "greater than 0" in said
