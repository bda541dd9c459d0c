"""Students learn: arguments, the trainers, and what learning did."""

import pipeline.models  # noqa: F401 - it sets the environment of torch and its kin
