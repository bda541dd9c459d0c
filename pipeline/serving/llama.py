"""llama.cpp's server on loopback, until it is killed.

`python -m pipeline.serving.llama MODEL PORT`. MODEL is a GGUF file, or a folder of transformers',
of which one is made beside it in float32. The server is the package xllamacpp, which the extra
`gguf` brings.
"""

import os
import signal
import sys
from pathlib import Path

SLOTS = 4
"""Requests that are worked on at a time."""


def main(model: Path, port: int) -> None:
    import xllamacpp

    from pipeline.serving import gguf

    file = model
    if model.is_dir():
        file = model.with_suffix(".gguf")
        gguf.convert(model, file, "f32")
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    if "OMP_NUM_THREADS" in os.environ:
        params.cpuparams.n_threads = int(os.environ["OMP_NUM_THREADS"])
    # its kernel for flash attention rounds keys and values to half precision
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
