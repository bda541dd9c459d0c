"""What an endpoint is shown of the person who asks, and how it stays between the two.

Keys are values of environment variables, read when a client is made. They go into the requests to
the endpoint's own addresses, over TLS unless that is this machine, and into nothing that is kept or
shown: what a server repeats of them, however it spells it, is taken out before anybody reads it.
"""

import base64
import html
import ipaddress
import os
import re
import urllib.parse
from collections.abc import Iterable

from pipeline.config.endpoint import LOCAL, STANDIN, Endpoint
from pipeline.errors import ConfigError

SHORTEST = 12
"""Characters from which a secret is taken out of answers as well: a shorter one, such as the word
EMPTY that some servers want, may be a word of an answer."""
SHORTEST_SHOWN = 4
"""And out of what is said of failures."""
HIDDEN = b"***"
ESCAPES = (rb"\u00", rb"\x", b"&#")
"""What a letter that is written as a number begins with."""
IN_URLS = re.compile(rb"%(?:25)*[2-7][0-9a-f]")


class Identity:
    """The headers for an endpoint's addresses, with the values of the variables that they name.

    ConfigError where a variable is empty, or would go over the wire in the clear.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.headers: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        """By the variables that hold them."""
        for name, value in endpoint.extra_headers.items():
            if value.startswith("$"):
                value = self._secret(value[1:], f"the header {name}")
            self.headers[name] = value
        if endpoint.api_key_env is not None:
            key = self._secret(endpoint.api_key_env, endpoint.base_url)
            self.headers["Authorization"] = f"Bearer {key}"
        for url in (endpoint.base_url, *endpoint.replicas):
            if self._secrets and not endpoint.allow_http and in_the_clear(url):
                raise ConfigError(
                    f"{url}: what {' and '.join(self._secrets)} hold would go there in the clear, "
                    "for everybody on the way to read. Use https, or, where the network is your "
                    "own, set allow_http = true in the endpoint's section."
                )
        self._in_failures = Spellings(self._secrets.values(), SHORTEST_SHOWN)
        self._in_answers = Spellings(self._secrets.values(), SHORTEST)

    def _secret(self, variable: str, what: str) -> str:
        secret = _variable(variable, what)
        self._secrets[variable] = secret
        return secret

    @property
    def has_secrets(self) -> bool:
        return bool(self._secrets)

    def hidden(self, body: bytes) -> bytes:
        """What a server says of a failure, without the secrets that it may repeat."""
        return self._in_failures.hidden(body)

    def hidden_text(self, text: str) -> str:
        """The same of a text."""
        return self.hidden(text.encode("utf-8", "replace")).decode()

    def hidden_in_answer(self, body: bytes) -> bytes:
        """An answer's body, without the longer of the secrets."""
        return self._in_answers.hidden(body)


def _variable(variable: str, what: str) -> str:
    """The value of a variable of the environment; ConfigError where it cannot be a key."""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        why = "is not a key" if key else "is empty"
        raise ConfigError(
            f"The environment variable {variable} {why}. It holds the key for {what}: export "
            f"{variable}=... and run the same command again."
        )
    return key


def in_the_clear(url: str) -> bool:
    """Whether what goes to an address can be read on the way: no TLS, and another machine."""
    if url in (STANDIN, LOCAL):
        return False
    return urllib.parse.urlsplit(url).scheme.lower() != "https" and not is_this_machine(url)


def is_this_machine(url: str) -> bool:
    """Whether an address is a loopback one."""
    host = (urllib.parse.urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Spellings:
    """Every way in which a server may spell some secrets."""

    def __init__(self, secrets: Iterable[str], shortest: int) -> None:
        ways = []
        self._parts: list[bytes] = []
        """One of them is in whatever holds a secret that is not escaped letter by letter."""
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= shortest:
                codes = _encoded(secret)
                ways += ["".join(_character(letter) for letter in secret), *map(re.escape, codes)]
                plain = max(re.split("[^a-z0-9]+", secret.lower()), key=len)
                self._parts += [part.lower().encode() for part in (plain, *codes)]
        self._ways = re.compile("|".join(ways).encode(), re.IGNORECASE) if ways else None

    def hidden(self, body: bytes) -> bytes:
        """A body without the secrets."""
        if self._ways is None:
            return body
        lower = body.lower()
        marks = (*self._parts, *ESCAPES)
        if any(mark in lower for mark in marks) or IN_URLS.search(lower):
            return self._ways.sub(HIDDEN, body)
        return body


def _character(letter: str) -> str:
    """A letter as it is, or escaped: of JSON (more than once), of a URL, or of HTML."""
    code = ord(letter)
    ways = [
        rf"\\*{re.escape(letter)}",
        rf"\\+u00{code:02x}",
        rf"\\+x{code:02x}",
        rf"%(?:25)*{code:02x}",
        rf"&#(?:0*{code}|x0*{code:x});?",
    ]
    name = html.escape(letter)
    if name != letter:
        ways.append(re.escape(name))
    return f"(?:{'|'.join(ways)})"


def _encoded(secret: str) -> list[str]:
    """A secret in hexadecimal, and in Base64 at each of the three places that a byte can have."""
    codes = [secret.encode().hex()]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        # the characters at both ends hold bits of what stands beside the secret
        inner = coded[(0, 2, 3)[before] : len(coded) - 1]
        codes += [inner, inner.replace("+", "-").replace("/", "_")]
    return [code for code in dict.fromkeys(codes) if len(code) >= SHORTEST_SHOWN]
