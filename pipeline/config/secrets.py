"""What looks like a secret in a configuration: it stays out of files."""

import re
from typing import Any

NAME = re.compile(
    r"^(?:authorization|proxy-authorization|cookie|set-cookie)$"
    r"|api[-_]?key|access[-_]?key|subscription[-_]?key|(?:^|-)key$|token$|secret|passw|passphrase|credential"
    r"|bearer|jwt|signature|(?:^|-)auth$|-auth-|auth-?token",
    re.IGNORECASE,
)
"""Names of headers whose values are secrets."""
HARMLESS = re.compile(r"idempotency|cache-?key", re.IGNORECASE)
"""Names of headers that are none for all that."""
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
"""The words of a name, whether a hyphen, a line or a capital divides them."""
SECRET_WORDS = frozenset(
    "authorization authorisation auth credential credentials creds password passwd passphrase pwd "
    "secret secrets cookie bearer jwt signature apikey".split()
)
"""A key of a body with one of these in its name holds a secret."""
SECRET_PAIRS = frozenset(
    "api key,api keys,access key,private key,secret key,subscription key,signing key,session key,"
    "client key,account key,auth key,access token,auth token,api token,id token,refresh token,"
    "session token,bearer token,user token,hf token,connection string".split(",")
)
"""And with two such words one after the other."""
VALUE = re.compile(
    r"\s*(?:(?i:bearer|basic|token|apikey)\s+\S{6,}"
    r"|(?:sk|pk|rk|gsk|hf|gh[pousr]|glpat|xai|xox[abprs]|pplx|r8|nvapi|github_pat|csk|fw|tgp|npm|pypi"
    r"|dapi|whsec)[-_](?=[\w.-]*\d)[\w.-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|ya29\.[\w.-]{16,}|SG\.[\w.-]{16,}|dapi[0-9a-f]{24,}"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}\.?[\w-]*|-----BEGIN[ A-Z]*PRIVATE KEY-----(?:.|\s)*)\s*"
)
"""Values that are keys, whatever their names: of known makers, or tokens in three parts."""
IN_URL = re.compile(
    r"//[^/?#\s@]*:[^/?#\s@]*@|[?&](?:key|token|api[-_]?key|access_token|sig|secret)=",
    re.IGNORECASE,
)
"""A password or a key in a URL."""
PASSWORD = re.compile(r"//[^/?#]*@")
"""In a URL."""


def header(name: str, value: str) -> bool:
    """Whether a header holds a secret."""
    return looks_like_a_key(value) or bool(NAME.search(name) and not HARMLESS.search(name))


def looks_like_a_key(value: str) -> bool:
    return bool(VALUE.fullmatch(value) or IN_URL.search(value))


def in_body(value: Any, name: str = "", secret: bool = False) -> str | None:
    """The dotted name of a secret among the keys of a body, if there is one."""
    if isinstance(value, dict):
        for key, part in value.items():
            dotted = f"{name}.{key}" if name else str(key)
            found = in_body(part, dotted, secret or _is_secret(str(key)))
            if found is not None:
                return found
        return None
    if isinstance(value, list):
        for part in value:
            found = in_body(part, name, secret)
            if found is not None:
                return found
        return None
    if isinstance(value, str) and value and (secret or looks_like_a_key(value)):
        return name
    return None


def _is_secret(name: str) -> bool:
    """Whether a key of a body is a secret's, by its words; max_tokens and eos_token are none."""
    words = [word.lower() for word in WORDS.findall(name)]
    pairs = {f"{left} {right}" for left, right in zip(words, words[1:], strict=False)}
    return words in (["token"], ["key"]) or bool(SECRET_WORDS & {*words} or SECRET_PAIRS & pairs)
