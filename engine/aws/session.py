"""One target's AWS: clients made once and shared by threads, requests counted, retried where that is safe."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.aws import clients
from engine.aws.errors import FAULTS, THROTTLED, AwsError, refusal
from engine.aws.turning import Turning
from engine.errors import LabctlError, LostAnswer, StepFailed, Unreachable
from engine.world import silent

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")

_READS: Final = ("describe_", "get_", "list_", "head_", "lookup_")
_ATTEMPTS: Final = 10
"""For requests that AWS turned away because there were too many: half a minute to a minute in all."""
_ATTEMPTS_AFTER_FAULTS: Final = 4
_SLOWEST: Final = 10.0


class Aws:
    """AWS in one region and account. Making one asks nothing and imports nothing of boto3."""

    def __init__(
        self,
        *,
        region: str,
        profile: str | None = None,
        endpoint_url: str | None = None,
        credentials: tuple[str, str] | None = None,
        account: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`account`: the only account id that may be acted on, looked up once before anything else.

        With `credentials` nothing else of the user's AWS settings, nor any proxy, counts.
        """
        self.region = region
        self.requests: list[tuple[str, str]] = []
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._credentials = credentials
        self._account = account
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.RLock()
        self._session: Any = None
        self._clients: dict[str, BaseClient] = {}
        self._remembered: dict[Hashable, Any] = {}

    def call(
        self, service: str, operation: str, /, *, retry: bool | None = None, **params: Any
    ) -> dict[str, Any]:
        """Send one request; the answer as boto3 gives it. `operation` is named as boto3's method.

        Requests turned away as too many are always sent again. After a lost connection or a fault at
        AWS, reads and requests with a ClientToken are sent again (`retry` says otherwise); for others
        LostAnswer is raised. Raises AwsError for refusals, Unreachable for credentials or the endpoint.
        """
        if retry is None:
            retry = operation.startswith(_READS) or "ClientToken" in params
        self._keep_to_account()
        return self._insist(service, operation, retry, params)

    def body(self, service: str, operation: str, key: str = "Body", **params: Any) -> tuple[Any, bytes]:
        """As `call`, and all that the answer streams under `key`; Unreachable where that breaks off."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        answer = self.call(service, operation, **params)
        try:
            return answer, answer[key].read()
        except (BotoCoreError, HTTPError, OSError) as error:
            words = f"the connection was lost while the answer to {operation} was read: {error}"
            raise Unreachable(words, "run the same command again") from error

    def look(self, service: str, operation: str, params: Mapping[str, Any]) -> str:
        """What AWS answers a read, as JSON text with the contents of streams in it.

        Raises StepFailed where there is no such service, operation or parameter, else as `call`.
        """
        if operation not in self._client(service).meta.method_to_api_mapping:
            raise StepFailed(f"{service} has no operation `{operation}`, as boto3 names them")
        answer = self.call(service, operation, **params)
        answer.pop("ResponseMetadata", None)
        return json.dumps(answer, default=_as_text, ensure_ascii=False)

    def presigned(self, service: str, operation: str, headers: Mapping[str, str], *, seconds: int) -> str:
        """A signed address that does `operation` for whoever has it within `seconds`, if sent with `headers`.

        For query APIs such as STS; nothing is sent. Raises Unreachable without credentials.
        """
        from botocore.exceptions import NoCredentialsError
        from botocore.signers import RequestSigner

        client = self._client(service)
        meta = client.meta
        credentials = self._session.get_credentials()
        if credentials is None:
            raise _no_credentials(NoCredentialsError())
        signer = RequestSigner(
            meta.service_model.service_id, self.region, service, "v4", credentials, self._session.events
        )
        action = meta.method_to_api_mapping[operation]
        version = meta.service_model.api_version
        request = {
            "method": "GET",
            "url": f"{meta.endpoint_url}/?Action={action}&Version={version}",
            "body": {},
            "headers": dict(headers),
            "context": {},
        }
        address: str = signer.generate_presigned_url(
            request, region_name=self.region, expires_in=seconds, operation_name=""
        )
        return address

    def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        """The items under `key` of all pages of a read, asked one page at a time.

        How pages follow each other is told by botocore's paginators; where it tells none, by NextToken.
        """
        turning = self._turning(service, operation)
        items: list[Any] = []
        onward: dict[str, Any] = {}
        while True:
            answer = self.call(service, operation, **params, **onward)
            items += answer.get(key) or []
            onward = turning.onward(answer)
            if not onward:
                return items

    def _turning(self, service: str, operation: str) -> Turning:
        name = self._client(service).meta.method_to_api_mapping[operation]
        return self.remember(("pages", service, name), lambda: Turning.of(self._session, service, name))

    def poll(
        self,
        check: Callable[[], T | None],
        *,
        what: str,
        timeout: float,
        say: Callable[[str], None] = silent,
    ) -> T:
        """Ask `check` until it gives something, at growing intervals of 0.2 to 5 seconds.

        `what` completes "waiting for …" and is told through `say` once there is something to wait for. Raises
        StepFailed after `timeout` seconds.
        """
        deadline = self._clock() + timeout
        pause = 0.2
        told = False
        while (result := check()) is None:
            if not told:
                say(f"waiting for {what}")
                told = True
            left = deadline - self._clock()
            if left <= 0:
                raise StepFailed(
                    f"gave up waiting for {what} after {timeout:.0f} seconds",
                    "run the same command again; `timeout:` on the resource allows it more seconds",
                )
            self._sleep(min(pause, left))
            pause = min(5.0, pause * 1.4)
        return result

    def account_id(self) -> str:
        """The id of the account that the credentials belong to, asked once (STS GetCallerIdentity)."""
        return self.remember("account", lambda: str(self._identity()["Account"]))

    def in_region(self, region: str) -> Aws:
        """The same account seen in another region; its requests count with these."""
        return self if region == self.region else self.remember(("region", region), lambda: self._of(region))

    def _of(self, region: str) -> Aws:
        other = Aws(
            region=region,
            profile=self._profile,
            endpoint_url=self._endpoint_url,
            credentials=self._credentials,
            account=self._account,
            sleep=self._sleep,
            clock=self._clock,
        )
        other.requests = self.requests
        return other

    def remember(self, key: Hashable, ask: Callable[[], T]) -> T:
        """What `ask` gave the first time it was asked under `key`; for facts that do not change."""
        with self._lock:
            if key not in self._remembered:
                self._remembered[key] = ask()
            value: T = self._remembered[key]
            return value

    def _identity(self) -> dict[str, Any]:
        return self._insist("sts", "get_caller_identity", True, {})

    def _keep_to_account(self) -> None:
        if self._account is None:
            return
        here = self.account_id()
        if here != self._account:
            raise Unreachable(
                f"these credentials belong to AWS account {here}, the inventory is for {self._account}",
                "set aws.profile in the inventory (or AWS_PROFILE) to credentials of that account",
            )

    def _insist(self, service: str, operation: str, retry: bool, params: dict[str, Any]) -> dict[str, Any]:
        attempt = 0
        lost = False
        while True:
            attempt += 1
            try:
                return self._send(service, operation, params)
            except AwsError as refused:
                # What was sent before may have taken effect, and be the very reason.
                refused.no_effect = refused.no_effect and not lost
                raise
            except _AgainError as again:
                lost = lost or again.sent
                if not again.worth_it(attempt, retry):
                    raise again.verdict(retry, lost) from again.__cause__
            # Full jitter: many labs that were turned away together do not come back together.
            self._sleep(random.uniform(0.05, min(_SLOWEST, 0.3 * 2.0**attempt)))

    def _client(self, service: str) -> BaseClient:
        client = self._clients.get(service)
        if client is not None:
            return client
        with self._lock:
            # Sessions are not safe to share between threads, clients are.
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> BaseClient:
        from botocore.exceptions import BotoCoreError, UnknownServiceError

        given = self._credentials is not None
        try:
            if self._session is None:
                self._session = clients.session(self.region, self._profile, self._credentials)
            client: BaseClient = self._session.client(
                service,
                endpoint_url=self._endpoint_url,
                config=clients.config(self._endpoint_url, direct=given),
            )
        except UnknownServiceError:
            raise StepFailed(f"AWS has no service `{service}`, as boto3 names them") from None
        except BotoCoreError as error:
            raise _no_credentials(error) from None
        except ValueError as error:
            raise Unreachable(
                f"the AWS settings are not valid: {error}", "see `aws:` in the inventory"
            ) from None
        return client

    def _send(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        client = self._client(service)
        self.requests.append((service, operation))
        name = client.meta.method_to_api_mapping[operation]
        try:
            answer: dict[str, Any] = getattr(client, operation)(**params)
            return answer
        except ClientError as error:
            raise _refused(name, error) from None
        except ResponseParserError as error:
            raise _AgainError(name, "AWS gave an answer that cannot be read", sent=True) from error
        except BotoCoreError as error:
            raise self._broken(name, error) from None

    def _broken(self, operation: str, error: BotoCoreError) -> Exception:
        """What a failure on the way to AWS means: before the request left, or after."""
        from botocore import exceptions as boto

        where = self._endpoint_url or f"AWS in {self.region}"
        if isinstance(
            error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError
        ):
            return _AgainError(operation, f"{where} cannot be reached", sent=False)
        if isinstance(error, boto.SSLError):
            return Unreachable(
                f"the connection to {where} is not safe: {error}", "check proxies and certificates"
            )
        if isinstance(error, boto.HTTPClientError):  # closed, reset, timed out while reading
            return _AgainError(operation, f"the connection to {where} was lost", sent=True)
        if isinstance(error, boto.ParamValidationError):
            return StepFailed(f"{operation}: {error}")
        return _no_credentials(error)


def _as_text(value: Any) -> str:
    """What JSON has no form for: streams are read, times told as ISO 8601 does."""
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


class _AgainError(Exception):
    """A failure after which the request might be sent again."""

    def __init__(self, operation: str, what: str, *, sent: bool, refused: LabctlError | None = None) -> None:
        super().__init__(what)
        self.operation = operation
        self.what = what
        self.sent = sent
        self.refused = refused

    def worth_it(self, attempt: int, retry: bool) -> bool:
        """Whether to send it once more after `attempt` tries."""
        if isinstance(self.refused, AwsError) and self.refused.code in THROTTLED:
            return attempt < _ATTEMPTS
        return attempt < _ATTEMPTS_AFTER_FAULTS and (retry or not self.sent)

    def verdict(self, retry: bool, lost: bool) -> LabctlError:
        """What to raise once it is no longer sent again; `lost` where a try of it may have taken effect."""
        if isinstance(self.refused, AwsError):
            self.refused.no_effect = not lost
        if not self.sent:
            if self.refused is not None:
                return self.refused
            return Unreachable(
                self.what, "check the network and the inventory's region and endpoint, then run it again"
            )
        if retry:
            return self.refused or Unreachable(
                f"{self.what} ({self.operation})", "run the same command again"
            )
        return LostAnswer(
            f"{self.what} after {self.operation} was sent: it may or may not have taken effect",
            "run the same command again: it looks first at what is there",
        )


def _refused(operation: str, error: ClientError) -> Exception:
    details = error.response.get("Error", {})
    code = str(details.get("Code", "Unknown"))
    refused = refusal(operation, code, str(details.get("Message", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    if code in THROTTLED:
        return _AgainError(operation, code, sent=False, refused=refused)
    # Capacity errors come with status 500 too, but are answers like any other.
    if code in FAULTS or (status >= 500 and not code.startswith("Insufficient")):
        return _AgainError(operation, f"AWS had an internal error ({code})", sent=True, refused=refused)
    return refused


def _no_credentials(error: BotoCoreError) -> Unreachable:
    return Unreachable(
        f"no usable AWS credentials: {error}",
        "set them up with `aws configure` or `aws sso login`, or name a profile under aws.profile",
    )
