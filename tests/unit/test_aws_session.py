"""What is sent again and what is not, and what trouble is called; against an AWS with a script."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.aws import Aws
from engine.aws.clients import on_this_machine
from engine.aws.errors import AwsError
from engine.aws.errors import refusal as refused
from engine.errors import LostAnswer, StepFailed, Unreachable

VPC = "<CreateVpcResponse><vpc><vpcId>vpc-1</vpcId></vpc></CreateVpcResponse>"
VPCS = "<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet></DescribeVpcsResponse>"
HTML = "<html><body>Internal Server Error</body>"
DROP = "drop"
"""The connection ends without an answer."""


def refusal(code: str, text: str = "no") -> str:
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors></Response>"
    )


class Scripted(ThreadingHTTPServer):
    """Answers each request with the next line of its script."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[tuple[int, str]] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        status, body = self.server.script.pop(0)
        if body == DROP:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def aws_at(url: str, account: str | None = None) -> Aws:
    return Aws(
        region="us-east-1",
        endpoint_url=url,
        credentials=("key", "secret"),
        account=account,
        sleep=lambda seconds: None,
    )


def test_making_one_asks_nothing() -> None:
    assert aws_at("http://127.0.0.1:1").requests == []


@pytest.mark.parametrize(
    "trouble", [(200, DROP), (500, refusal("InternalError")), (503, refusal("Unavailable"))]
)
def test_a_create_without_a_token_is_not_sent_twice(server: Scripted, trouble: tuple[int, str]) -> None:
    server.script = [trouble]
    with pytest.raises(LostAnswer, match="may or may not have taken effect"):
        aws_at(server.url).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    assert server.asked == 1


@pytest.mark.parametrize("trouble", [(200, DROP), (500, refusal("InternalError")), (500, HTML)])
def test_a_create_with_a_token_is_sent_again(server: Scripted, trouble: tuple[int, str]) -> None:
    made = "<natGateway><natGatewayId>nat-1</natGatewayId></natGateway>"
    done = f"<CreateNatGatewayResponse>{made}</CreateNatGatewayResponse>"
    server.script = [trouble, (200, done)]
    answer = aws_at(server.url).call("ec2", "create_nat_gateway", SubnetId="subnet-1", ClientToken="t")
    assert answer["NatGateway"]["NatGatewayId"] == "nat-1"
    assert server.asked == 2


def nat_refused(server: Scripted, *answers: tuple[int, str]) -> AwsError:
    """What a create with a token is refused with after these answers."""
    server.script = list(answers)
    with pytest.raises(AwsError) as caught:
        aws_at(server.url).call("ec2", "create_nat_gateway", SubnetId="subnet-1", ClientToken="t")
    return caught.value


def test_a_refusal_leaves_no_doubt_unless_something_was_lost_before_it(server: Scripted) -> None:
    refused, busy = (400, refusal("InvalidGroup.Duplicate")), (503, refusal("RequestLimitExceeded"))
    assert nat_refused(server, refused).no_effect
    assert nat_refused(server, busy, refused).no_effect
    assert nat_refused(server, *[busy] * 10).no_effect
    assert not nat_refused(server, (200, DROP), refused).no_effect
    assert not nat_refused(server, (500, refusal("InternalError")), *[busy] * 20).no_effect
    assert not nat_refused(server, *[(500, refusal("InternalError"))] * 10).no_effect


def test_a_read_is_sent_again_and_counted(server: Scripted) -> None:
    server.script = [(200, DROP), (200, VPCS)]
    aws = aws_at(server.url)
    assert aws.pages("ec2", "describe_vpcs", "Vpcs") == [{"VpcId": "vpc-1"}]
    assert aws.requests == [("ec2", "describe_vpcs")] * 2


def test_what_was_turned_away_is_sent_again(server: Scripted) -> None:
    server.script = [(503, refusal("RequestLimitExceeded"))] * 3 + [(200, VPC)]
    assert aws_at(server.url).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] == "vpc-1"
    assert server.asked == 4


def test_turned_away_for_good(server: Scripted) -> None:
    server.script = [(503, refusal("RequestLimitExceeded"))] * 20
    with pytest.raises(AwsError) as caught:
        aws_at(server.url).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    assert caught.value.code == "RequestLimitExceeded"
    assert server.asked == 10


def test_no_capacity_is_an_answer(server: Scripted) -> None:
    server.script = [(500, refusal("InsufficientInstanceCapacity", "none left"))]
    with pytest.raises(AwsError, match="no free machine of this instance type") as caught:
        aws_at(server.url).call("ec2", "run_instances", MinCount=1, MaxCount=1, ClientToken="t")
    assert "instance_type" in caught.value.remedy
    assert server.asked == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AuthFailure", "does not accept these credentials"),
        ("InvalidClientTokenId", "does not know this access key"),
        ("SignatureDoesNotMatch", "secret access key does not belong"),
        ("ExpiredToken", "have expired"),
        ("RequestExpired", "have expired"),
    ],
)
def test_credentials_that_do_not_do(server: Scripted, code: str, words: str) -> None:
    server.script = [(401, refusal(code))]
    with pytest.raises(Unreachable, match=words) as caught:
        aws_at(server.url).call("ec2", "describe_vpcs")
    assert caught.value.exit_code == 5
    assert caught.value.remedy


def test_what_is_not_allowed_fails_the_step(server: Scripted) -> None:
    text = "You are not authorized to perform: ec2:CreateVpc. Encoded authorization failure message: abc"
    server.script = [(403, refusal("UnauthorizedOperation", text))]
    with pytest.raises(AwsError) as caught:
        aws_at(server.url).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    assert caught.value.exit_code == 1
    assert "ec2:CreateVpc" in caught.value.message
    assert "Encoded" not in caught.value.message


def test_nobody_listens() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f"{url} cannot be reached"):
            aws_at(url).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Unreachable, match="no usable AWS credentials"):
        Aws(region="us-east-1").call("ec2", "describe_vpcs")
    with pytest.raises(Unreachable, match="w251"):
        Aws(region="us-east-1", profile="w251").call("ec2", "describe_vpcs")


IDENTITY = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{}</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


def test_another_account_is_refused_before_anything_is_asked(server: Scripted) -> None:
    server.script = [(200, IDENTITY.format("222222222222"))]
    aws = aws_at(server.url, account="111111111111")
    for _ in range(2):
        with pytest.raises(Unreachable, match="account 222222222222, the inventory is for 111111111111"):
            aws.call("ec2", "describe_vpcs")
    assert aws.requests == [("sts", "get_caller_identity")]


def test_the_right_account_is_asked_once(server: Scripted) -> None:
    server.script = [(200, IDENTITY.format("111111111111")), (200, VPCS), (200, VPCS)]
    aws = aws_at(server.url, account="111111111111")
    aws.call("ec2", "describe_vpcs")
    aws.call("ec2", "describe_vpcs")
    assert server.asked == 3


def test_poll_waits_longer_and_longer_and_says_so() -> None:
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    aws = Aws(region="us-east-1", sleep=sleep, clock=lambda: now[0])
    said: list[str] = []
    answers = iter([None, None, None, "there"])
    assert aws.poll(lambda: next(answers), what="it", timeout=60, say=said.append) == "there"
    assert slept == pytest.approx([0.2, 0.28, 0.392])
    assert said == ["waiting for it"]
    with pytest.raises(StepFailed, match="gave up waiting for it after 60 seconds"):
        aws.poll(lambda: None, what="it", timeout=60)
    assert max(slept) == 5.0
    assert now[0] == pytest.approx(60 + 0.872)


# -- what of the user's settings counts ----------------------------------------------------------------------

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings of the user's with which nothing can be reached: proxies, profiles, files, a CA bundle."""
    for name in (*PROXIES, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    spoilt = tmp_path / "config"
    spoilt.write_text("this is [ no configuration\n")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.setenv(name, "a-profile-that-is-missing")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(spoilt))
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_RETRY_MODE", "nonsense")
    return spoilt


@pytest.mark.usefixtures("spoilt")
def test_given_credentials_are_all_there_is(server: Scripted) -> None:
    server.script = [(200, VPCS)]
    assert aws_at(server.url).pages("ec2", "describe_vpcs", "Vpcs") == [{"VpcId": "vpc-1"}]


@pytest.fixture
def own_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in PROXIES:
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.usefixtures("own_credentials")
def test_an_endpoint_on_this_machine_is_asked_past_proxies(server: Scripted) -> None:
    server.script = [(200, VPCS)]
    aws = Aws(region="us-east-1", endpoint_url=server.url)
    assert aws.pages("ec2", "describe_vpcs", "Vpcs") == [{"VpcId": "vpc-1"}]


@pytest.mark.usefixtures("own_credentials")
def test_other_endpoints_are_asked_through_proxies(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.script = [(200, VPCS)]
    aws = Aws(region="us-east-1", endpoint_url="http://ec2.example.edu")
    assert aws.pages("ec2", "describe_vpcs", "Vpcs") == [{"VpcId": "vpc-1"}]
    assert server.asked == 1


@pytest.mark.parametrize(
    ("url", "local"),
    [
        (None, False),
        ("http://localhost:4566", True),
        ("http://aws.localhost:4566", True),
        ("http://127.8.0.1:4566", True),
        ("http://[::1]:4566", True),
        ("https://ec2.us-east-1.amazonaws.com", False),
        ("http://10.0.0.1:4566", False),
    ],
)
def test_what_is_on_this_machine(url: str | None, local: bool) -> None:
    assert on_this_machine(url) is local


@pytest.mark.parametrize(
    "said",
    [
        "Not authorized for images: [ami-1]",
        "You do not have permission to access the specified resource.",
        "The address '203.0.113.9' does not belong to you.",
    ],
)
def test_one_thing_of_somebody_else_is_no_trouble_with_the_credentials(said):
    failure = refused("RunInstances", "AuthFailure", said)
    assert isinstance(failure, AwsError)
    assert said in failure.message
