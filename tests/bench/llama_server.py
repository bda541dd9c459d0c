"""llama.cpp's server on loopback, until its standard input ends.

`python -m tests.bench.llama_server FILE NAME PORT SLOTS ATTENTION`.
ATTENTION is `flash`, which is what the server takes by itself, or `plain`.
"""

import sys

import xllamacpp

PLAIN = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED


def main() -> None:
    file, name, port, slots, attention = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_parallel = int(slots)
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    if attention == "plain":
        params.flash_attn_type = PLAIN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
