"""One HTTP request to one address.

aiohttp alone, not the openai package around it: building pydantic models and request objects is
three quarters of that client's time for an answer (`make bench`), and an answer's few fields are
read in answer.py. Proxies and certificates are those of the environment: HTTPS_PROXY, HTTP_PROXY,
NO_PROXY, SSL_CERT_FILE.
"""

import json
import os
import time
import urllib.parse
import urllib.request
from typing import Any, Protocol

from pipeline import standin
from pipeline.config.endpoint import STANDIN, Endpoint
from pipeline.errors import ConfigError, EndpointError
from pipeline.llm.faults import Gone, Retry, by_status


class Client(Protocol):
    async def send(self, path: str, payload: bytes) -> bytes:
        """The body of a 200; every other outcome is an exception of faults.py, or EndpointError."""

    async def close(self) -> None: ...


def connect(endpoint: Endpoint, url: str, timeout: float) -> Client:
    """A client for one of an endpoint's addresses; call it where a loop runs."""
    return InProcess(endpoint) if url == STANDIN else Http(endpoint, url, timeout)


class Identity:
    """What an endpoint is shown: headers, with the values of the variables that they name."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._secrets: list[str] = []
        self.headers: dict[str, str] = {}
        for name, value in endpoint.extra_headers.items():
            self.headers[name] = (
                self._secret(value[1:], f"the header {name}") if value.startswith("$") else value
            )
        if endpoint.api_key_env is not None:
            self.headers["Authorization"] = (
                f"Bearer {self._secret(endpoint.api_key_env, endpoint.base_url)}"
            )

    def _secret(self, variable: str, what: str) -> str:
        self._secrets.append(_variable(variable, what))
        return self._secrets[-1]

    def hidden(self, said: bytes) -> bytes:
        """What a server said, without the secrets that it may repeat."""
        for secret in self._secrets:
            said = said.replace(secret.encode(), b"***")
        return said


def _variable(variable: str, what: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        why = "is not a key" if key else "is empty"
        raise ConfigError(
            f"The environment variable {variable} {why}. It holds the key for {what}: "
            f"export {variable}=... and run the same command again."
        )
    return key


class Http:
    """A connection pool to one address."""

    def __init__(self, endpoint: Endpoint, url: str, timeout: float) -> None:
        import aiohttp
        from yarl import URL

        self.endpoint, self.url, self._identity = endpoint, url, Identity(endpoint)
        self._lost, self._refused = (
            aiohttp.ClientError,
            (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError),
        )
        self._untrusted = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
        self._paths = {
            path: URL(f"{url.rstrip('/')}/{path}") for path in ("chat/completions", "completions")
        }
        self._proxy = proxy(url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=certificates(url)),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": "humor-distill",
                **self._identity.headers,
            },
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 30)),
        )

    async def send(self, path: str, payload: bytes) -> bytes:
        try:
            async with self._session.post(
                self._paths[path], data=payload, proxy=self._proxy, allow_redirects=False
            ) as response:
                body = await response.read()
                if response.status == 200:
                    return body
                wait = response.headers.get("Retry-After")
        except self._untrusted as error:
            raise EndpointError(
                f"{self.url}: its certificate is not trusted: {error}\nIf it is your own, name the "
                "file of its "
                "authority: export SSL_CERT_FILE=..."
            ) from None
        except self._refused as error:
            raise Gone(str(error)) from None
        except TimeoutError:
            raise Retry("no answer within runtime.timeout seconds") from None
        except (self._lost, OSError) as error:  # its own words may show headers, and so keys
            raise Retry(
                f"the connection broke: {type(error).__name__} {getattr(error, 'status', '')}".strip()
            ) from None
        raise by_status(
            self.endpoint, self.url, response.status, wait, self._identity.hidden(body), time.time()
        )

    async def close(self) -> None:
        await self._session.close()


def proxy(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    found = urllib.request.getproxies()
    return found.get(parts.scheme) or found.get("all")


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
        raise by_status(self.endpoint, STANDIN, status, None, body, 0.0)

    async def close(self) -> None:
        pass
