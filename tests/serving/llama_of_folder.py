"""A folder of transformers' behind llama.cpp: `python -m tests.serving.llama_of_folder FOLDER PORT`."""

import sys
from pathlib import Path

from pipeline.serving import gguf, llama

folder = Path(sys.argv[1])
file = folder.with_suffix(".gguf")
gguf.convert(folder, file, "f32")
llama.main(str(file), int(sys.argv[2]))
