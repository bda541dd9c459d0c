"""import through datasets: the code that loads from the Hub, on a local folder."""

import json

from tests.conftest import rows


def test_a_data_set_s_folder(cli, tmp_path):
    (tmp_path / "set").mkdir()
    lines = [{"utterance": f"This is sentence {n}.", "label": n} for n in range(5)]
    (tmp_path / "set/train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = ["--field", "utterance", "--split", "train", "--limit", "train=4"]
    assert "4 train" in cli("import", tmp_path / "set", "--out", tmp_path / "out.jsonl", *flags)
    assert [row["text"] for row in rows(tmp_path / "out.jsonl")] == [
        f"This is sentence {n}." for n in range(4)
    ]


def test_a_hub_id_that_cannot_be_reached_is_named(cli, tmp_path):
    said = cli(
        "import", "nobody/nothing", "--out", tmp_path / "out.jsonl", "--split", "train", code=5
    )
    assert "nobody/nothing: neither a file nor a data set" in said
