"""Errors for the person at the terminal: printed without a traceback, each class with its own exit code.

    HumorDistillError
    ├── ConfigError      3   a key, a value or a run name that cannot be meant
    ├── StageError       4   a stage that cannot run now: missing input, changed recipe, another process
    ├── DataError        5   a file or a row that is not what it should be
    ├── EndpointError    6   a hosted model that refuses everybody: key, model name, address
    ├── BudgetError      7   the money cap is reached, or cannot be kept
    └── StudentError     8   a student that cannot be trained or run here

Everything else is a bug and propagates.
"""


class HumorDistillError(Exception):
    """What is wrong, where, and the next command."""

    exit_code = 1


class ConfigError(HumorDistillError):
    exit_code = 3


class StageError(HumorDistillError):
    exit_code = 4


class DataError(HumorDistillError):
    exit_code = 5


class EndpointError(HumorDistillError):
    exit_code = 6


class BudgetError(HumorDistillError):
    exit_code = 7


class StudentError(HumorDistillError):
    exit_code = 8
