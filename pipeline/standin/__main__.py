"""Serve the stand-in on a loopback port: `python -m pipeline.standin`."""

import argparse

from pipeline.standin import MODELS, server


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.standin", description="Serve the stand-in on loopback."
    )
    parser.add_argument("--port", type=int, default=8008)
    args = parser.parse_args()
    print(
        f"stand-in (not a language model) at http://127.0.0.1:{args.port}/v1, "
        f"models {', '.join(MODELS)}"
    )
    server(args.port).serve_forever()


if __name__ == "__main__":
    main()
