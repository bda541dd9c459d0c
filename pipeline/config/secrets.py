"""What looks like a secret in a configuration: it stays out of files."""

import re
from typing import Any

NAME = re.compile(
    r"auth|credential|passw|passphrase|secret|cookie|bearer|jwt|signature|session|token|key|\bpwd\b",
    re.IGNORECASE,
)
"""Names of headers whose values are secrets."""
BODY_NAME = re.compile(
    r"key|(?:.*[-_. ])?(?:authori[sz]ation|auth|credentials?|passw(?:or)?d|passphrase|pwd|secret"
    r"|cookies?|bearer|jwt|signature|token"
    r"|(?:api|access|private|secret|subscription|session|client|account|auth)[-_ ]?key"
    r"|(?:access|auth|api|id|refresh|session|bearer|user|client)token)(?:[-_ ](?:value|id))?",
    re.IGNORECASE,
)
"""Names of keys of a request's body whose values, where they are texts, are secrets; max_tokens and
stop_token_ids are none."""
VALUE = re.compile(
    r"\s*(?:(?:bearer|basic|token)\s+\S{8,}|(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|glpat|xai|xox[abprs]|pplx|r8"
    r"|nvapi|sk-ant|github_pat|csk|fw|tgp|AKIA|AIza|ya29)[-_.]?[A-Za-z0-9][\w.-]{15,}"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}\.?[\w-]*)\s*",
    re.IGNORECASE,
)
"""Values that are keys, whatever their names: of known makers, or tokens in three parts."""
PASSWORD = re.compile(r"//[^/?#]*@")
"""In a URL."""


def header(name: str, value: str) -> bool:
    """Whether a header holds a secret; "$NAME" names the variable that holds it."""
    return not value.startswith("$") and bool(NAME.search(name) or VALUE.fullmatch(value))


def in_body(value: Any, name: str = "") -> str | None:
    """The dotted name of a secret among the keys of a body, if there is one."""
    if isinstance(value, dict):
        parts = [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [(name, part) for part in value]
    else:
        last = name.rpartition(".")[2]
        secret = isinstance(value, str) and (BODY_NAME.fullmatch(last) or VALUE.fullmatch(value))
        return name if secret else None
    for inner, part in parts:
        found = in_body(part, inner)
        if found is not None:
            return found
    return None
