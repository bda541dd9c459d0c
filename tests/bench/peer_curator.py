"""bespokelabs-curator on the same job, telemetry, viewer and cache off. URL, N, C, OUTDIR in the
environment."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

OUT = Path(os.environ["OUTDIR"]).resolve()
TOKENIZERS = (
    Path(find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
)  # cl100k_base is in it
os.environ |= {
    "HOME": str(OUT),
    "HF_HOME": str(OUT / "hf"),
    "HF_HUB_OFFLINE": "1",
    "CURATOR_CACHE_DIR": str(OUT / "curator"),
    "CURATOR_DISABLE_CACHE": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_VIEWER": "0",
    "TELEMETRY_ENABLED": "false",
    "TIKTOKEN_CACHE_DIR": str(TOKENIZERS),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

from bespokelabs import curator  # noqa: E402 - it reads the environment as it is imported


class Joker(curator.LLM):
    def prompt(self, input):
        return f"Tell a joke. row={input['row']}"

    def parse(self, input, response):
        return {"row": input["row"], "text": response}


def main() -> None:
    joker = Joker(
        model_name="mock-1",
        backend="openai",
        generation_params={"max_tokens": 64},
        backend_params={
            "base_url": os.environ["URL"],
            "api_key": "x",
            "max_concurrent_requests": int(os.environ["C"]),
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "require_all_responses": False,
        },
    )
    found = joker([{"row": row} for row in range(int(os.environ["N"]))]).dataset
    with (OUT / "out.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"row": one["row"], "text": one["text"]}) + "\n" for one in found
        )


if __name__ == "__main__":
    main()
