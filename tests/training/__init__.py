import pipeline.models  # noqa: F401 - the environment of TRL, before a test imports it
