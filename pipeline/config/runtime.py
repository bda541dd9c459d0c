"""What changes neither an answer nor a weight, and so is part of no recipe.

It is a section of the configuration.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Positive, Section


class Runtime(Section):
    concurrency: Positive = 32
    """Requests in flight."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Attempts after the first for a request that failed in transit; a 429 does not count."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds for one request."""
    budget: Annotated[float, Field(ge=0)] | None = None
    """The most a run may spend on hosted models, in the currency of the prices."""
    step_budget: Annotated[float, Field(ge=0)] | None = None
    """The most each of its steps may spend."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto is the best there is."""
    generate_batch: Positive = 192
    """Sequences generated at a time."""
