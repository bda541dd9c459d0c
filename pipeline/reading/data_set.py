"""The rows of a data set, on the Hub or in a folder, as the library datasets reads them."""

import logging
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import errors
from pipeline.errors import ConfigError, DataError, meant

BATCH = 1000
LONGEST = 300
"""Characters that are shown of what the library says."""
SAVED = ("dataset_dict.json", "state.json")
"""One of them is in a folder that save_to_disk wrote."""
WANTING = {
    "--hub-config": r"(?:Config name is missing|BuilderConfig .* not found)[\s\S]*?\[(.*?)\]",
    "--hub-split": r"Unknown split .* Should be one of \[(.*?)\]",
}
"""What the library says where a flag is missing or wrong; the names that it knows are a group."""


def rows(name: str, config: str | None, split: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name: row N, columns) of a data set's split (train, if None is named).

    DataError where the library cannot read it; ConfigError, with the names that there are, where it
    has no such split, or no such configuration, or several.
    """
    with _quiet(), _said(name, config, split):
        data = _data(name, config, split)
        # as Arrow, so that no picture or sound beside the sentences is decoded
        batches = data.with_format("arrow").iter(BATCH)
    number = 0
    while True:
        with _quiet(), _said(name, config, split):
            batch = next(batches, None)
            columns = [] if batch is None else batch.to_pylist()
        if not columns:
            return
        for row in columns:
            number += 1
            yield f"{name}: row {number}", row


def _data(name: str, config: str | None, split: str | None) -> Any:
    """What was loaded of the data set."""
    import datasets

    if not any((Path(name) / file).is_file() for file in SAVED):
        return datasets.load_dataset(name, config, split=split or "train")
    data = datasets.load_from_disk(name)
    if isinstance(data, datasets.DatasetDict):
        if (split or "train") not in data:
            raise _unknown("--hub-split", name, split or "train", list(data))
        return data[split or "train"]
    if split and str(data.split) != split:
        raise _unknown("--hub-split", name, split, [str(data.split)] if data.split else [])
    return data


@contextmanager
def _said(name: str, config: str | None, split: str | None) -> Iterator[None]:
    """What the library raises becomes an error for the person."""
    try:
        yield
    except errors.HumorDistillError:
        raise
    except Exception as error:  # builders, codecs, Arrow and the Hub's client have each their own
        if errors.storage(error, lambda: Path(name)) is not None:
            raise
        for flag, pattern in WANTING.items():
            match = re.search(pattern, str(error))
            if match:
                names = re.findall(r"'(.*?)'", match[1])
                given = config if flag == "--hub-config" else split or "train"
                raise _unknown(flag, name, given, names) from error
        raise DataError(_unread(name, error)) from error


def _unknown(flag: str, name: str, given: str | None, names: list[str]) -> ConfigError:
    """That a data set has several configurations, or no such one, or no such split."""
    what = flag.removeprefix("--hub-").replace("config", "configuration")
    if given is None:
        return ConfigError(f"{name}: it has several configurations. {_choose(flag, names)}")
    return ConfigError(
        f"{name}: it has no {what} {given!r}. {_choose(flag, names)}{meant(given, names)}"
    )


def _choose(flag: str, names: list[str]) -> str:
    if not names:
        return f"Leave {flag} out."
    return f"Name one: {flag} {shlex.quote(names[0])}. There are: {', '.join(names)}."


def _unread(name: str, error: Exception) -> str:
    """That the library cannot read a data set, why, and what to do."""
    cause: BaseException = error
    while cause.__cause__ is not None:  # the first says least
        cause = cause.__cause__
    why = " ".join(str(cause).split()) or type(cause).__name__
    if len(why) > LONGEST:
        why = why[:LONGEST] + " ..."
    if Path(name).exists():
        return (
            f"{name}: the library datasets cannot read this folder: {why.rstrip('.')}. Mend it, or "
            "import one of its files: .jsonl, .csv, .tsv or .txt."
        )
    return (
        f"{name}: neither a file nor a data set that can be loaded from the Hub: "
        f"{why.rstrip('.')}. Check how it is spelt, or download it and name its folder."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars, warnings and log.

    What matters of them is in the error.
    """
    import datasets
    from huggingface_hub.utils.tqdm import disable_progress_bars

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
