"""One module per command, each with a `run` that takes the parsed flags.

`stage` runs one stage or all of them; `flags` and `parser` read the command line.
"""
