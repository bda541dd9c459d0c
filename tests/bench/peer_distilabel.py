"""distilabel on the same job, in batches of C, cache off. URL, N, C, OUTDIR in the environment."""

import json
import os
from pathlib import Path

OUT = Path(os.environ["OUTDIR"]).resolve()
os.environ |= {
    "HOME": str(OUT),
    "HF_HOME": str(OUT / "hf"),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISTILABEL_CACHE_DIR": str(OUT / "distilabel"),
    "DISTILABEL_LOG_LEVEL": "WARNING",
}

from distilabel.models import OpenAILLM  # noqa: E402 - it reads the environment as it is imported
from distilabel.pipeline import Pipeline  # noqa: E402
from distilabel.steps import LoadDataFromDicts  # noqa: E402
from distilabel.steps.tasks import TextGeneration  # noqa: E402


def main() -> None:
    rows, at_once = int(os.environ["N"]), int(os.environ["C"])
    data = [{"row": row, "instruction": f"Tell a joke. row={row}"} for row in range(rows)]
    llm = OpenAILLM(
        model="mock-1",
        base_url=os.environ["URL"],
        api_key="x",
        generation_kwargs={"max_new_tokens": 64},
    )
    with Pipeline(name="jokes", cache_dir=OUT / "distilabel") as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=rows)
        load >> TextGeneration(llm=llm, input_batch_size=at_once)
    found = pipeline.run(use_cache=False)["default"]["train"]
    with (OUT / "out.jsonl").open("w") as file:
        for row, text in zip(found["row"], found["generation"], strict=True):
            if text is not None:
                file.write(json.dumps({"row": row, "text": text}) + "\n")


if __name__ == "__main__":
    main()
