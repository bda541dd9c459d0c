"""The student that looks its jokes up: encoder, index and search."""

import pipeline.models  # noqa: F401 - it sets the environment of torch and its kin
