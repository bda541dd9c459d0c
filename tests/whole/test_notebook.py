"""docs/notebook.md runs as it stands, inside of a running loop as in a notebook."""

import asyncio
import shutil

from tests.execution.test_before import BEFORE
from tests.pages import DOCS, FENCED


def test_its_blocks_run_in_order(data, capsys):
    shutil.copytree(BEFORE / "runs", data / "runs", symlinks=True)
    page = (DOCS / "notebook.md").read_text()
    blocks = [match[2] for match in FENCED.finditer(page) if match[1] == "python"]
    assert len(blocks) == 6
    names = {}

    async def cells():
        for block in blocks:
            exec(compile(block, "docs/notebook.md", "exec"), names)

    asyncio.run(cells())
    said = capsys.readouterr().out
    assert len(names["rates"]) == 3
    assert names["judged"].author.nunique() == 3
    assert "chosen" in names["preferences"].column_names
    assert names["written"].literal_id.nunique() == 20
    assert "teacher: " in said
    assert "complete" in said
