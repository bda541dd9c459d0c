"""What verify has found in one step, or in what is around the steps."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Faults, and notes on what is no fault but cannot be compared, or has moved on since."""

    name: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
