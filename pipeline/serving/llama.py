"""llama.cpp's server of a GGUF file on loopback: `python -m pipeline.serving.llama FILE PORT`.

It is the package xllamacpp, which the extra `gguf` brings. It runs until it is killed.
"""

import os
import signal
import sys

SLOTS = 4
"""Requests that are worked on at a time."""


def main(file: str, port: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
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
    main(sys.argv[1], int(sys.argv[2]))
