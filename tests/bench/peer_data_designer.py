"""NeMo Data Designer on the same job, telemetry and metrics off. URL, N, C, OUTDIR in the
environment."""

import json
import os
from pathlib import Path

OUT = Path(os.environ["OUTDIR"]).resolve()
os.environ |= {
    "HOME": str(OUT),
    "HF_HUB_OFFLINE": "1",
    "DATA_DESIGNER_HOME": str(OUT / "home"),
    "NEMO_TELEMETRY_ENABLED": "false",
}

import data_designer.config as dd  # noqa: E402 - it reads the environment as it is imported
import pandas as pd  # noqa: E402
from data_designer.interface import DataDesigner  # noqa: E402


def main() -> None:
    rows, at_once = int(os.environ["N"]), int(os.environ["C"])
    model = dd.ModelConfig(
        alias="mock",
        model="mock-1",
        provider="mock",
        inference_parameters=dd.ChatCompletionInferenceParams(
            max_tokens=64, max_parallel_requests=at_once
        ),
        skip_health_check=True,
    )
    config = dd.DataDesignerConfigBuilder(model_configs=[model])
    config.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame({"row": range(rows)})))
    config.add_column(
        dd.LLMTextColumnConfig(name="text", model_alias="mock", prompt="Tell a joke. row={{ row }}")
    )
    provider = dd.ModelProvider(name="mock", endpoint=os.environ["URL"], api_key="x")
    designer = DataDesigner(artifact_path=OUT / "artifacts", model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    found = designer.create(config, num_records=rows).load_dataset()
    with (OUT / "out.jsonl").open("w") as file:
        for row, text in zip(found["row"], found["text"], strict=True):
            file.write(json.dumps({"row": int(row), "text": text}) + "\n")


if __name__ == "__main__":
    main()
