"""One HTTP request to one address.

aiohttp alone, not the openai package around it: building pydantic models and request objects is
three quarters of that client's time for an answer (`make bench`), and an answer's few fields are
read in call.py. Proxies and certificates are those of the environment: HTTPS_PROXY, HTTP_PROXY,
NO_PROXY, SSL_CERT_FILE.
"""

import json
import time
import urllib.parse
import urllib.request
from typing import Any, Protocol

from pipeline import standin
from pipeline.config.endpoint import STANDIN, Endpoint
from pipeline.errors import ConfigError, EndpointError
from pipeline.llm.faults import STREAM, Gone, Retry, by_status
from pipeline.llm.identity import Identity, is_this_machine

CONNECT = 30.0
"""Seconds at most to reach a server, which is no matter of how long its answer is."""
MOST_BYTES = 1 << 25
"""The longest body that is read, unpacked: many times the longest answer with all log-probabilities
that can be asked for."""


class Client(Protocol):
    async def send(self, path: str, payload: bytes) -> bytes:
        """The body of a 200; every other outcome is an exception of faults.py, or EndpointError."""

    def fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        """What a status other than 200 means, with its Retry-After header and body."""

    def hidden_text(self, text: str) -> str:
        """What is said of a failure, without the secrets that a server may repeat."""

    async def close(self) -> None: ...


def connect(endpoint: Endpoint, url: str, timeout: float) -> Client:
    """A client for one of an endpoint's addresses; call it where a loop runs."""
    return InProcess(endpoint) if url == STANDIN else Http(endpoint, url, timeout)


class Http:
    """A connection pool to one address."""

    def __init__(self, endpoint: Endpoint, url: str, timeout: float) -> None:
        import aiohttp
        from multidict import CIMultiDict
        from yarl import URL

        self.endpoint = endpoint
        self.url = url
        self._timeout = timeout
        self._identity = Identity(endpoint)
        self._headers = CIMultiDict(
            {
                "Content-Type": "application/json",
                "User-Agent": "humor-distill",
                **self._identity.headers,
            }
        )
        self._lost = aiohttp.ClientError
        self._refused = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        self._untrusted = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
        self._paths = {
            path: URL(f"{url.rstrip('/')}/{path}") for path in ("chat/completions", "completions")
        }
        self._proxy = proxy(url, self._identity.has_secrets)
        # without headers: those of a session go to a proxy as well, with CONNECT and in the clear
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=certificates(url)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT)),
        )

    async def send(self, path: str, payload: bytes) -> bytes:
        try:
            async with self._session.post(
                self._paths[path],
                data=payload,
                headers=self._headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                body = await _body(response)
                if response.status == 200:
                    return self._identity.hidden_in_answer(body)
                wait = response.headers.get("Retry-After")
        except self._untrusted as error:
            raise EndpointError(
                f"{self.url}: its certificate is not trusted: {error}\n"
                "If it is your own, name the file of its authority: export SSL_CERT_FILE=..."
            ) from None
        except self._refused as error:
            raise Gone(str(error)) from None
        except TimeoutError:
            raise Retry(
                f"no answer within {self._timeout:g} s (runtime.timeout; where a server answers "
                "fewer at a time than runtime.concurrency asks, the others wait in it)"
            ) from None
        except (self._lost, OSError) as error:  # its own words may show headers, and so keys
            what = f"{type(error).__name__} {getattr(error, 'status', '')}"
            raise Retry(f"the connection broke: {what}".strip()) from None
        raise self.fault(response.status, wait, body)

    def hidden_text(self, text: str) -> str:
        return self._identity.hidden_text(text)

    def fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        hidden = self._identity.hidden(body)
        return by_status(self.endpoint, self.url, status, wait, hidden, time.time())

    async def close(self) -> None:
        await self._session.close()


async def _body(response: Any) -> bytes:
    """A body of at most MOST_BYTES; Retry where it is longer, or a stream."""
    length = response.content_length
    packed = "Content-Encoding" in response.headers
    if length is not None and length <= MOST_BYTES and not packed:
        whole: bytes = await response.read()
        return whole
    parts: list[bytes] = []
    size = 0
    while part := await response.content.readany():
        if not parts and response.content_type == "text/event-stream" and part[:1] != b"{":
            raise Retry(STREAM)
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Retry(f"the answer is longer than {MOST_BYTES >> 20} MiB")
    return b"".join(parts)


def proxy(url: str, secret: bool = False) -> str | None:
    """The proxy that the environment names for an address; none for one of this machine.

    ConfigError where what is asked holds a secret, and the proxy could read it.
    """
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or is_this_machine(url) or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if found and secret and parts.scheme != "https":
        raise ConfigError(
            f"{url} would be asked through a proxy that can read the key, as it is no https. Use "
            f"https, or name the host in NO_PROXY: export NO_PROXY={parts.hostname}"
        )
    return found


def certificates(url: str) -> Any:
    """What to trust: the system's authorities, or those of SSL_CERT_FILE as it is now."""
    import ssl

    return ssl.create_default_context() if url.startswith("https:") else True


class InProcess:
    """The stand-in, without a wire."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        Identity(endpoint)  # a missing key is missing here as it would be elsewhere

    async def send(self, path: str, payload: bytes) -> bytes:
        status, answer = standin.respond(json.loads(payload))
        body = json.dumps(answer).encode()
        if status == 200:
            return body
        raise self.fault(status, None, body)

    def hidden_text(self, text: str) -> str:
        return text

    def fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        return by_status(self.endpoint, STANDIN, status, wait, body, 0.0)

    async def close(self) -> None:
        pass
