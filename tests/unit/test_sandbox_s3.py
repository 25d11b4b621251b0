"""The sandbox's S3 as strangers see it: public access block, policy, ACL; websites; URLs that are signed."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from engine.sandbox import Running
from engine.sandbox.aws.strangers import decide
from tests import clients
from tests.waiting import until

OPEN = {"BlockPublicPolicy": False, "RestrictPublicBuckets": False}


@pytest.fixture
def s3(cloud: Running) -> Any:
    return client(cloud)


def client(cloud: Running, **config: Any) -> Any:
    return clients.at(cloud.aws_endpoint, "s3", config=Config(**config))


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    name = f"open-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a b/ü.txt", Body=b"hello", ContentType="text/plain")
    yield name
    for each in s3.list_objects_v2(Bucket=name).get("Contents", ()):
        s3.delete_object(Bucket=name, Key=each["Key"])
    s3.delete_bucket(Bucket=name)


def policy(bucket: str, *actions: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return {"Effect": effect, "Principal": "*", "Action": list(actions), "Resource": resources, **more}


def opened(s3: Any, bucket: str, *statements: dict[str, Any]) -> None:
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)


def ask(
    cloud: Running, path: str, host: str = "", method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes, dict[str, str]]:
    line = http.client.HTTPConnection(urlsplit(cloud.aws_endpoint).netloc, timeout=10)
    try:
        line.request(method, path, body, {"Host": host} if host else {})
        answer = line.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        line.close()


FILE = "/a%20b/%C3%BC.txt"


def test_nobody_reads_what_is_private(cloud: Running, bucket: str) -> None:
    for path, host in ((f"/{bucket}{FILE}", ""), (FILE, f"{bucket}.s3.us-east-1.amazonaws.com")):
        status, body, _ = ask(cloud, path, host)
        assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
        assert ask(cloud, path, host, "HEAD")[:2] == (403, b"")
    assert ask(cloud, "/no-such-bucket/a")[0] == 404
    assert ask(cloud, "/")[0] == 403, "nobody lists the buckets"


def test_a_public_policy_is_refused_while_it_is_blocked(s3: Any, bucket: str) -> None:
    with pytest.raises(
        ClientError, match="blocked by the BlockPublicPolicy block public access setting"
    ) as caught:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": policy(bucket, "s3:GetObject")}))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_everybody_reads_what_the_policy_opens_and_no_more(cloud: Running, s3: Any, bucket: str) -> None:
    opened(s3, bucket, policy(bucket, "s3:GetObject"))
    for path, host in (
        (f"/{bucket}{FILE}", ""),
        (FILE, f"{bucket}.s3.us-east-1.amazonaws.com"),
        (FILE, f"{bucket}.s3.amazonaws.com"),
        (f"/{bucket}{FILE}", "s3.us-east-1.amazonaws.com"),
    ):
        status, body, headers = ask(cloud, path, host)
        assert (status, body, headers["content-type"]) == (200, b"hello", "text/plain"), host
        assert ask(cloud, path, host, "HEAD")[:2] == (200, b"")
    assert ask(cloud, f"/{bucket}/")[0] == 403, "listing is another permission"
    assert ask(cloud, f"/{bucket}/none")[0] == 403, "so it is not told what is not there"
    assert ask(cloud, f"/{bucket}/new", method="PUT", body=b"x")[0] == 403
    assert ask(cloud, f"/{bucket}{FILE}", method="DELETE")[0] == 403
    assert ask(cloud, f"/{bucket}?policy")[0] == 403
    assert ask(cloud, f"/{bucket}{FILE}?acl")[0] == 403


def test_who_may_list_is_told_what_is_not_there(cloud: Running, s3: Any, bucket: str) -> None:
    opened(s3, bucket, policy(bucket, "s3:GetObject", "s3:ListBucket"))
    status, body, _ = ask(cloud, "/?list-type=2", f"{bucket}.s3.us-east-1.amazonaws.com")
    assert status == 200
    assert "<Key>a b/ü.txt</Key>" in body.decode()
    status, body, _ = ask(cloud, f"/{bucket}/none")
    assert (status, b"NoSuchKey" in body) == (404, True)


def test_everybody_writes_where_the_policy_says_so(cloud: Running, s3: Any, bucket: str) -> None:
    opened(s3, bucket, policy(bucket, "s3:PutObject", "s3:DeleteObject"))
    assert ask(cloud, f"/{bucket}/drop", method="PUT", body=b"mine")[0] == 200
    assert s3.get_object(Bucket=bucket, Key="drop")["Body"].read() == b"mine"
    assert ask(cloud, f"/{bucket}/drop", method="DELETE")[0] == 204


def test_restricted_means_nobody_else(cloud: Running, s3: Any, bucket: str) -> None:
    opened(s3, bucket, policy(bucket, "s3:GetObject"))
    s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration={**OPEN, "RestrictPublicBuckets": True}
    )
    assert ask(cloud, f"/{bucket}{FILE}")[0] == 403


def test_acls_count_where_they_are_on_and_not_ignored(cloud: Running, s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="does not allow ACLs"):
        s3.put_object_acl(Bucket=bucket, Key="a b/ü.txt", ACL="public-read")
    rule = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rule)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object_acl(Bucket=bucket, Key="a b/ü.txt", ACL="public-read")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_object_acl(Bucket=bucket, Key="a b/ü.txt", ACL="public-read")
    assert ask(cloud, f"/{bucket}{FILE}")[0] == 200
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert ask(cloud, f"/{bucket}{FILE}")[0] == 403


def test_the_account_may_what_nobody_else_may(s3: Any, bucket: str) -> None:
    """A denial that is about plain HTTP is not about requests to the API."""
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    opened(s3, bucket, policy(bucket, "s3:*", effect="Deny", Condition=condition))
    assert s3.get_object(Bucket=bucket, Key="a b/ü.txt")["Body"].read() == b"hello"
    s3.delete_bucket_policy(Bucket=bucket)


def test_policies_of_other_buckets_are_refused(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="Policy has invalid resource"):
        opened(s3, bucket, policy("another", "s3:GetObject"))
    with pytest.raises(ClientError, match="valid JSON"):
        s3.put_bucket_policy(Bucket=bucket, Policy="{")


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], None),
        ([policy("b", "s3:*")], True),
        ([policy("b", "S3:Get*")], True),
        ([policy("b", "s3:PutObject")], None),
        ([policy("b", "s3:*"), policy("b", "s3:GetObject", effect="Deny")], False),
        ([policy("b", "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})], True),
        ([policy("b", "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], None),
        ([policy("b", "s3:GetObject", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], None),
        (
            [
                policy("b", "s3:*"),
                policy("b", "s3:*", effect="Deny", Condition={"Bool": {"aws:SecureTransport": False}}),
            ],
            False,
        ),
        ([{**policy("b", "s3:*"), "Principal": {"AWS": "arn:aws:iam::1:root"}}], None),
        ([{**policy("b", "s3:*"), "Principal": {"AWS": ["*"]}}], True),
        ([{"Effect": "Allow", "Principal": "*", "NotAction": "s3:Put*", "Resource": "*"}], True),
        (
            [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/other/*"}],
            None,
        ),
    ],
)
def test_what_a_policy_says(statements: list[dict[str, Any]], allowed: bool | None) -> None:
    text = json.dumps({"Statement": statements}).encode() if statements else None
    assert decide(text, "s3:GetObject", "arn:aws:s3:::b/key", secure=False) is allowed


# -- websites ----------------------------------------------------------------------------------------------


def test_a_website(cloud: Running, s3: Any, bucket: str) -> None:
    host = f"{bucket}.s3-website-us-east-1.amazonaws.com"
    assert b"NoSuchWebsiteConfiguration" in ask(cloud, "/", host)[1]
    for key, text in (("index.html", "<h1>hi</h1>"), ("docs/index.html", "docs"), ("404.html", "lost?")):
        s3.put_object(
            Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/html", CacheControl="no-cache"
        )
    s3.put_bucket_website(
        Bucket=bucket,
        WebsiteConfiguration={
            "IndexDocument": {"Suffix": "index.html"},
            "ErrorDocument": {"Key": "404.html"},
        },
    )
    assert ask(cloud, "/", host)[0] == 403, "a website is not public by itself"
    opened(s3, bucket, policy(bucket, "s3:GetObject"))
    status, body, headers = ask(cloud, "/", host)
    assert (status, body, headers["content-type"], headers["cache-control"]) == (
        200,
        b"<h1>hi</h1>",
        "text/html",
        "no-cache",
    )
    assert ask(cloud, "/", host, "HEAD")[:2] == (200, b"")
    assert ask(cloud, "/docs/", host)[1] == b"docs"
    assert ask(cloud, "/docs", host)[2]["location"] == "/docs/"
    assert ask(cloud, "/none", host)[:2] == (403, b"lost?")
    opened(s3, bucket, policy(bucket, "s3:GetObject", "s3:ListBucket"))
    assert ask(cloud, "/none", host)[:2] == (404, b"lost?")
    assert ask(cloud, "/", host, "POST")[0] == 405
    assert ask(cloud, "/", "none-such.s3-website.eu-central-1.amazonaws.com")[0] == 404


def test_a_website_that_is_elsewhere_now(cloud: Running, s3: Any, bucket: str) -> None:
    to = {"HostName": "example.com", "Protocol": "https"}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"RedirectAllRequestsTo": to})
    status, _, headers = ask(cloud, "/a%20b", f"{bucket}.s3-website-us-east-1.amazonaws.com")
    assert (status, headers["location"]) == (301, "https://example.com/a%20b")


# -- URLs that are signed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_signed_url_is_good_for_its_time(cloud: Running, bucket: str, version: str) -> None:
    signer = client(cloud, signature_version=version)
    where = {"Bucket": bucket, "Key": "a b/ü.txt"}

    def path(url: str) -> str:
        split = urlsplit(url)
        return f"{split.path}?{split.query}"

    host = urlsplit(cloud.aws_endpoint).netloc
    good = path(signer.generate_presigned_url("get_object", Params=where, ExpiresIn=60))
    assert ask(cloud, good, host)[:2] == (200, b"hello")
    assert ask(cloud, good.replace("a%20b", "c"), host)[0] == 403
    assert ask(cloud, good, host, "DELETE")[0] == 403
    put = path(signer.generate_presigned_url("put_object", Params={**where, "Key": "up"}, ExpiresIn=60))
    assert ask(cloud, put, host, "PUT", b"up")[0] == 200
    short = path(signer.generate_presigned_url("get_object", Params=where, ExpiresIn=1))
    # Good for a second of the clock, of which the signature tells no parts.
    until(lambda: ask(cloud, short, host)[0], 403, seconds=3)
    assert b"Request has expired" in ask(cloud, short, host)[1]


def test_a_made_up_signature_opens_nothing(cloud: Running, bucket: str) -> None:
    for query in (
        "Signature=x",
        "AWSAccessKeyId=labctl&Signature=x&Expires=9999999999",
        "AWSAccessKeyId=me&Signature=x&Expires=9999999999",
        "X-Amz-Signature=x",
        "X-Amz-Signature=x&X-Amz-Credential=labctl/20260101/us-east-1/s3/aws4_request&X-Amz-Expires=60"
        "&X-Amz-Date=20990101T000000Z&X-Amz-SignedHeaders=host",
    ):
        assert ask(cloud, f"/{bucket}{FILE}?{query}")[0] in (400, 403), query
