"""Buckets, objects and folders on the sandbox, looked at from behind with boto3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.errors import StepFailed
from engine.local_files import PlaybookFiles
from engine.refs import UNKNOWN, Ref, Unknown
from engine.resources.s3._upload import WHOLE
from engine.resources.s3.buckets import S3Bucket
from engine.resources.s3.objects import S3Object
from engine.resources.s3.sync import INDEX, S3Sync
from engine.sandbox import CREDENTIALS, Running
from tests.kinds.aws_examples.s3 import a_bucket, reading_for_all
from tests.kinds.aws_stage import Stage
from tests.kinds.test_contract import differing

OPEN = {"block_public_policy": False, "restrict_public_buckets": False}


@pytest.fixture
def s3(client: Callable[[str], Any]) -> Any:
    return client("s3")


def names(s3: Any) -> list[str]:
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def keys(s3: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def refused(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        S3Bucket.model_validate({"name": "some-bucket", **fields})
    return str(caught.value)


# -- buckets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ab", "has 2 characters"),
        ("a" * 64, "has 64 characters"),
        ("My-Bucket", "small letters, digits, hyphens and dots"),
        ("my_bucket", "small letters, digits, hyphens and dots"),
        ("-bucket", "begins and ends with a letter or digit"),
        ("bucket-", "begins and ends with a letter or digit"),
        ("my..bucket", "no two dots in a row"),
        ("192.168.5.4", "looks like an IP address"),
        ("xn--bucket", "S3 keeps for itself"),
        ("bucket-s3alias", "S3 keeps for itself"),
    ],
)
def test_names_that_s3_does_not_take(name: str, words: str) -> None:
    assert words in refused(name=name)


def test_what_does_not_go_together() -> None:
    assert "is for encryption: aws:kms" in refused(encryption_key_id="key-1")
    assert "does not go with dots" in refused(name="my.bucket", accelerate_enabled=True)
    rule = {"rule_id": "a", "expiration_days": 3}
    assert "two lifecycle rules are called a" in refused(lifecycle=[rule, rule])
    assert "the rule does nothing" in refused(lifecycle=[{"rule_id": "a"}])
    assert "only one of expiration_days" in refused(lifecycle=[{**rule, "expiration_date": "2030-01-31"}])
    assert "needs either transition_days or transition_date" in refused(
        lifecycle=[{"rule_id": "a", "transitions": [{"storage_class": "GLACIER"}]}]
    )
    assert "is no day" in refused(lifecycle=[{"rule_id": "a", "expiration_date": "tomorrow"}])
    assert "stands alone" in refused(website={"suffix": "index.html", "redirect_all_requests": "example.com"})
    assert "without a slash" in refused(website={"suffix": "a/index.html"})
    assert "did you mean Principal?" in refused(policy={"Statement": [{"Effect": "Allow", "principal": "*"}]})
    assert "is no JSON" in refused(policy="{")
    assert "is no region" in refused(region="Europe")


def test_tags_are_in_the_create_call_itself(stage: Stage) -> None:
    a_bucket(stage)
    writes = [name for service, name in stage.aws.requests if name.startswith(("create_", "put_"))]
    assert writes == ["create_bucket"]


def test_addresses_of_loops_fit_into_tags(stage: Stage, s3: Any) -> None:
    world = stage.world("store[alice]")
    bucket = S3Bucket(name=f"{stage.lab}-loop")
    bucket.create(world)
    stage.made.append((S3Bucket, bucket.name))
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket.name)["TagSet"]}
    assert tags["labctl:address"] == "store=5Balice=5D"
    assert S3Bucket.read_many(world, [bucket.name])[bucket.name]["tags"]["labctl:address"] == "store[alice]"


def test_a_new_bucket_is_closed_to_the_public(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage)
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    values = S3Bucket.read_many(stage.world(), [name])[name]
    assert set(values["public_access"].values()) == {True}
    assert (values["object_ownership"], values["encryption"]) == ("BucketOwnerEnforced", "AES256")
    assert values["domain_name"] == f"{name}.s3.us-east-1.amazonaws.com"
    assert values["website_endpoint"] == f"{name}.s3-website-us-east-1.amazonaws.com"


def test_a_bucket_in_another_region(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage, region="eu-central-1")
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-central-1"
    values = S3Bucket.read_many(stage.world(), [name])[name]
    assert values["region"] == "eu-central-1"
    assert values["website_endpoint"] == f"{name}.s3-website.eu-central-1.amazonaws.com"


def test_a_bucket_of_the_default_region_seen_from_another(stage: Stage, cloud: Running, s3: Any) -> None:
    """us-east-1 must not be named, and other regions must."""
    there = Stage(
        Aws(region="eu-west-1", endpoint_url=cloud.aws_endpoint, credentials=CREDENTIALS), stage.lab
    )
    own, other = a_bucket(there), S3Bucket(name=f"{stage.lab}-us", region="us-east-1").create(there.world())
    there.made.append((S3Bucket, other))
    assert s3.get_bucket_location(Bucket=own)["LocationConstraint"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket=other)["LocationConstraint"] is None
    there.clear()
    assert {own, other} & set(names(s3)) == set()


def test_a_bucket_that_is_there_already_is_not_touched(stage: Stage, s3: Any) -> None:
    """In us-east-1 S3 itself would say yes to the second create."""
    name = f"{stage.lab}-theirs"
    s3.create_bucket(Bucket=name)
    with pytest.raises(
        StepFailed, match=r"this account has a bucket called .* this lab did not make it"
    ) as caught:
        S3Bucket(name=name).create(stage.world(foreseen=name))
    assert caught.value.no_effect
    assert "adopt: true" in caught.value.remedy
    assert S3Bucket.find(stage.world(foreseen=name)) == []
    assert S3Bucket(name=name).adopts(stage.world()) is None
    assert S3Bucket(name=name, adopt=True).adopts(stage.world()) == name
    s3.delete_bucket(Bucket=name)
    assert S3Bucket(name=name, adopt=True).adopts(stage.world()) is None


def test_what_is_in_it_keeps_a_bucket(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage)
    s3.put_object(Bucket=name, Key="precious", Body=b"1")
    there = S3Bucket.read_many(stage.world(), [name])[name]
    assert there["objects"] == 1
    assert S3Bucket.lost_with(there) == (
        "1 object in it: must be gone first (the lab's own go first); with force: true all go along",
    )
    with pytest.raises(StepFailed, match=r"still holds 1 object\(s\)") as caught:
        S3Bucket.delete(stage.world(), name)
    assert "force: true" in caught.value.remedy
    assert keys(s3, name) == ["precious"]
    s3.delete_object(Bucket=name, Key="precious")


def test_with_force_versions_markers_and_uploads_go_too(stage: Stage, s3: Any) -> None:
    name = S3Bucket(name=f"{stage.lab}-full", force=True, versioning=True).create(stage.world())
    for at in range(3):
        s3.put_object(Bucket=name, Key="a", Body=str(at).encode())
    s3.delete_object(Bucket=name, Key="a")
    s3.create_multipart_upload(Bucket=name, Key="half")
    there = S3Bucket.read_many(stage.world(), [name])[name]
    assert (there["objects"], there["force"]) == (4, True)
    assert S3Bucket.lost_with(there) == ("4 objects in it: deleted with it",)
    S3Bucket.delete(stage.world(), name)
    assert name not in names(s3)


def test_many_objects_go_in_batches(stage: Stage, s3: Any) -> None:
    name = S3Bucket(name=f"{stage.lab}-many", force=True).create(stage.world())
    for at in range(1003):
        s3.put_object(Bucket=name, Key=f"{at:05}", Body=b"")
    assert "1000 objects or more" in S3Bucket.lost_with(S3Bucket.read_many(stage.world(), [name])[name])[0]
    before = len(stage.aws.requests)
    said: list[str] = []
    S3Bucket.delete(stage.world(say=said.append), name)
    assert [name for _, name in stage.aws.requests[before:]].count("delete_objects") == 2
    assert said == ["1000 objects deleted", "1003 objects deleted"]
    assert name not in names(s3)


def test_force_is_asked_of_the_bucket_not_of_the_playbook(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage)
    assert S3Bucket.read_many(stage.world(), [name])[name]["force"] is False
    S3Bucket(name=name, force=True).update(stage.world(), name, frozenset({"force"}))
    assert {"Key": "labctl:force", "Value": "true"} in s3.get_bucket_tagging(Bucket=name)["TagSet"]
    assert "labctl:force" not in S3Bucket.read_many(stage.world(), [name])[name]["tags"]
    S3Bucket(name=name).update(stage.world(), name, frozenset({"force"}))
    assert S3Bucket.read_many(stage.world(), [name])[name]["force"] is False


def test_retagging_leaves_the_tags_of_others(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage, force=True)
    tags = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [*tags, {"Key": "theirs", "Value": "1"}]})
    there = S3Bucket.read_many(stage.world(), [name])[name]
    S3Bucket.retag(stage.world(), name, there, {"course": "w300"})
    after = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    assert (after["theirs"], after["course"], after["labctl:force"]) == ("1", "w300", "true")


def test_every_setting_of_lists_reads_as_it_was_written(stage: Stage) -> None:
    name = f"{stage.lab}-lists"
    wish = S3Bucket.model_validate(
        {
            "name": name,
            "versioning": True,
            "lifecycle": [
                {
                    "rule_id": "by-days",
                    "prefix": "logs/",
                    "status": "disabled",
                    "expiration_days": 365,
                    "noncurrent_version_expiration_days": 30,
                    "abort_incomplete_multipart_upload_days": 7,
                    "transitions": [
                        {"transition_days": 30, "storage_class": "STANDARD_IA"},
                        {"transition_days": 90, "storage_class": "GLACIER"},
                    ],
                    "noncurrent_version_transitions": [{"transition_days": 7, "storage_class": "GLACIER_IR"}],
                },
                {"rule_id": "by-date", "expiration_date": "2030-01-31"},
                {"rule_id": "markers", "expire_object_delete_marker": True},
            ],
            "cors": [
                {
                    "id": "pages",
                    "allowed_origins": ["https://example.com", "https://*.example.org"],
                    "allowed_methods": ["GET", "PUT"],
                    "allowed_headers": ["*"],
                    "expose_headers": ["ETag"],
                    "max_age_seconds": 60,
                },
                {"allowed_origins": ["*"], "allowed_methods": ["HEAD"]},
            ],
            "website": {"redirect_all_requests": "https://example.com"},
        }
    )
    stage.make(wish)
    assert differing(wish, S3Bucket.read_many(stage.world(), [name])[name]) == {}
    turned = wish.model_copy(update={"lifecycle": wish.lifecycle[::-1]})
    assert differing(turned, S3Bucket.read_many(stage.world(), [name])[name]) == {}


def test_public_and_private_again(stage: Stage, s3: Any) -> None:
    name = a_bucket(stage)
    public = S3Bucket.model_validate({"name": name, "public_access": OPEN, "policy": reading_for_all(name)})
    public.update(stage.world(), name, frozenset({"public_access", "policy"}))
    assert differing(public, S3Bucket.read_many(stage.world(), [name])[name]) == {}
    private = S3Bucket.model_validate({"name": name, "public_access": {}, "policy": {}})
    there = S3Bucket.read_many(stage.world(), [name])[name]
    assert set(differing(private, there)) == {"public_access", "policy"}
    private.update(stage.world(), name, frozenset({"public_access", "policy"}))
    assert differing(private, S3Bucket.read_many(stage.world(), [name])[name]) == {}


def test_a_public_policy_behind_the_block_is_explained(stage: Stage, cloud: Running) -> None:
    impatient = Aws(
        region="us-east-1",
        endpoint_url=cloud.aws_endpoint,
        credentials=CREDENTIALS,
        sleep=lambda seconds: None,
        clock=iter(range(0, 10**6, 10)).__next__,
    )
    name = a_bucket(stage)
    wish = S3Bucket.model_validate({"name": name, "policy": reading_for_all(name)})
    with pytest.raises(StepFailed, match="public policies are blocked") as caught:
        wish.update(Stage(impatient, stage.lab).world(), name, frozenset({"policy"}))
    assert "public_access: {block_public_policy: false" in caught.value.remedy


def test_policies_are_compared_by_what_they_mean() -> None:
    one = {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": ["123456789012"]},
            "Action": ["s3:PutObject", "s3:GetObject"],
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"Bool": {"aws:SecureTransport": True}},
        },
        "Version": "2012-10-17",
    }
    other = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": ["arn:aws:s3:::b/*"],
                "Condition": {"Bool": {"aws:securetransport": "true"}},
            }
        ],
    }
    assert not S3Bucket.differs("policy", one, other)
    assert S3Bucket.differs("policy", one, {**other, "Version": "2008-10-17"})
    assert S3Bucket.differs("policy", one, {})


# -- objects -----------------------------------------------------------------------------------------------


def an_object(bucket: str, **fields: Any) -> S3Object:
    return S3Object.model_validate(
        {"bucket": bucket, "object": "notes/a b.txt", "content": "one\n", **fields}
    )


def test_an_object_and_what_is_told_of_it(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage)
    told = stage.make(an_object(bucket))
    assert s3.get_object(Bucket=bucket, Key="notes/a b.txt")["Body"].read() == b"one\n"
    assert told["url"] == f"https://{bucket}.s3.us-east-1.amazonaws.com/notes/a%20b.txt"
    assert (told["size"], told["content_type"]) == (4, "text/plain; charset=utf-8")
    assert told["monthly_usd"] == pytest.approx(4 / 2**30 * 0.023)
    assert told["uri"] == f"s3://{bucket}/notes/a b.txt"


def test_the_lab_is_not_told_to_who_reads_an_object(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage)
    stage.make(an_object(bucket))
    assert stage.lab not in str(s3.head_object(Bucket=bucket, Key="notes/a b.txt"))


def test_an_object_of_others_is_not_written_over(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage, force=True)
    s3.put_object(Bucket=bucket, Key="notes/a b.txt", Body=b"theirs")
    with pytest.raises(StepFailed, match="this resource did not make it") as caught:
        an_object(bucket).create(stage.world())
    assert caught.value.no_effect
    assert s3.get_object(Bucket=bucket, Key="notes/a b.txt")["Body"].read() == b"theirs"
    assert an_object(bucket).adopts(stage.world()) is None
    assert an_object(bucket, adopt=True).adopts(stage.world()) == f"{bucket}/notes/a b.txt"


def test_of_an_object_nothing_is_left(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage, versioning=True)
    s3.put_object(Bucket=bucket, Key="notes/a b.txt.old", Body=b"theirs")
    wish = an_object(bucket)
    id = wish.create(stage.world())
    an_object(bucket, content="two\n").update(stage.world(), id, frozenset({"content"}))
    s3.delete_object(Bucket=bucket, Key="notes/a b.txt")
    assert S3Object.read_many(stage.world(), [id]) == {}
    S3Object.delete(stage.world(), id)
    left = s3.list_object_versions(Bucket=bucket)
    assert [each["Key"] for each in left["Versions"]] == ["notes/a b.txt.old"]
    assert "DeleteMarkers" not in left
    s3.delete_object(Bucket=bucket, Key="notes/a b.txt.old", VersionId=left["Versions"][0]["VersionId"])


def test_uploads_that_were_cut_short_go_with_their_object(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage, force=True)
    id = an_object(bucket).create(stage.world())
    s3.create_multipart_upload(Bucket=bucket, Key="notes/a b.txt")
    s3.create_multipart_upload(Bucket=bucket, Key="notes/a b.txt.other")
    S3Object.delete(stage.world(), id)
    left = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["notes/a b.txt.other"]


def test_an_object_written_over_by_hand_is_seen(stage: Stage, s3: Any) -> None:
    bucket = a_bucket(stage)
    wish = an_object(bucket)
    told = stage.make(wish)
    s3.put_object(Bucket=bucket, Key="notes/a b.txt", Body=b"other")
    there = S3Object.read_many(stage.world(), [told["id"]])[told["id"]]
    assert set(differing(wish, there)) == {"content"}


def test_big_files_go_in_parts(stage: Stage, s3: Any, tmp_path: Path) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(range(256)) * (3 * WHOLE // 256) + b"end")
    bucket = a_bucket(stage)
    said: list[str] = []
    wish = S3Object.model_validate(
        {"bucket": bucket, "object": "big.bin", "src": "big.bin"},
        context={"files": PlaybookFiles((tmp_path,))},
    )
    world = stage.world(say=said.append)
    id = wish.create(world)
    stage.made.append((S3Object, id))
    sent = [name for _, name in stage.aws.requests]
    assert sent.count("upload_part") == 4
    assert "put_object" not in sent
    assert s3.get_object(Bucket=bucket, Key="big.bin")["Body"].read() == file.read_bytes()
    assert differing(wish, S3Object.read_many(world, [id])[id]) == {}
    assert said[-1].endswith("% of 50 MB uploaded")
    assert S3Object.find(stage.world(foreseen=id, token=world.job.token)) == [id]
    with pytest.raises(StepFailed, match="this resource did not make it"):
        wish.create(stage.world("other"))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_acls_are_refused_in_words_where_they_are_off(stage: Stage) -> None:
    bucket = a_bucket(stage)
    with pytest.raises(AwsError, match="ACLs are switched off for this bucket") as caught:
        an_object(bucket, permission="public-read").create(stage.world())
    assert "object_ownership: BucketOwnerPreferred" in caught.value.remedy


def test_acls_where_they_are_on(stage: Stage, s3: Any) -> None:
    blocks = {"block_public_acls": False, "ignore_public_acls": False}
    bucket = a_bucket(stage, object_ownership="BucketOwnerPreferred", public_access=blocks)
    told = stage.make(an_object(bucket, permission="public-read"))
    assert any(
        "AllUsers" in str(grant) for grant in s3.get_object_acl(Bucket=bucket, Key=told["key"])["Grants"]
    )
    an_object(bucket).update(stage.world(), told["id"], frozenset({"permission"}))
    assert "AllUsers" not in str(s3.get_object_acl(Bucket=bucket, Key=told["key"])["Grants"])


def test_objects_that_cannot_be() -> None:
    for fields, words in (
        ({"content": None}, "needs one of `src`"),
        ({"object": "/a"}, "does not begin with a slash"),
        ({"object": ""}, "1 to 1024 bytes"),
        ({"metadata": {"Team": "a"}}, "in small letters"),
        ({"metadata": {"team": "blå"}}, "ASCII"),
        ({"encryption_kms_key_id": "k"}, "is for encryption_mode: aws:kms"),
    ):
        with pytest.raises(ValidationError) as caught:
            an_object("bucket", **fields)
        assert words in str(caught.value)


def test_what_is_not_known_yet_is_no_trouble() -> None:
    wish = an_object("bucket").model_copy(update={"bucket": UNKNOWN, "content": UNKNOWN})
    assert wish.wanted()["content"] == UNKNOWN
    assert wish.price() == 0
    assert wish.in_full() == {}
    assert wish.at("note").as_commands("create", None)


def test_commands_set_what_is_not_known_yet() -> None:
    unknown = Unknown(frozenset({Ref("names", "error_page")}))
    fields = {
        "website": {"suffix": "index.html", "error_key": unknown},
        "cors": unknown,
        "lifecycle": unknown,
    }
    bucket = S3Bucket.model_validate({"name": "pages-of-a-lab", **fields}).at("pages")
    text = "\n".join(bucket.as_commands("create", None))
    for setting in ("website", "cors", "lifecycle-configuration"):
        assert f"aws s3api put-bucket-{setting} " in text
    assert '"$NAMES_ERROR_PAGE"' in text
    assert "delete-bucket" not in text


# -- folders -----------------------------------------------------------------------------------------------


def a_site(bucket: str, folder: Path, **fields: Any) -> S3Sync:
    given = {"bucket": bucket, "file_root": "site", "key_prefix": "docs", **fields}
    return S3Sync.model_validate(given, context={"files": PlaybookFiles((folder,))})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site" / "img").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("<h1>hi</h1>")
    (tmp_path / "site" / "img" / "a.svg").write_text("<svg/>")
    return tmp_path


def test_only_what_differs_is_sent_again(stage: Stage, s3: Any, folder: Path) -> None:
    bucket = a_bucket(stage)
    wish = a_site(bucket, folder)
    told = stage.make(wish)
    assert keys(s3, bucket) == ["docs/" + INDEX, "docs/img/a.svg", "docs/index.html"]
    assert s3.head_object(Bucket=bucket, Key="docs/img/a.svg")["ContentType"] == "image/svg+xml"
    assert told["files"] == 2
    (folder / "site" / "index.html").write_text("<h1>ho</h1>")
    (folder / "site" / "img" / "a.svg").unlink()
    (folder / "site" / "new.txt").write_text("new")
    wish = a_site(bucket, folder)
    there = S3Sync.read_many(stage.world(), [told["id"]])[told["id"]]
    words = S3Sync.describe_difference("file_root", wish.wanted()["file_root"], there["file_root"])
    assert words == "1 new: new.txt; 1 changed: index.html; 1 no longer wanted: img/a.svg"
    when = s3.head_object(Bucket=bucket, Key="docs/index.html")["ETag"]
    wish.update(stage.world("other"), told["id"], frozenset({"file_root"}))
    assert keys(s3, bucket) == ["docs/" + INDEX, "docs/index.html", "docs/new.txt"]
    assert s3.head_object(Bucket=bucket, Key="docs/index.html")["ETag"] != when
    before = len(stage.aws.requests)
    wish.update(stage.world("other"), told["id"], frozenset({"file_root"}))
    sent = [name for _, name in stage.aws.requests[before:]]
    assert sent.count("put_object") == 2, "the index before and after, and no file"


def test_what_others_have_below_the_prefix_stays(stage: Stage, s3: Any, folder: Path) -> None:
    bucket = a_bucket(stage, force=True)
    s3.put_object(Bucket=bucket, Key="docs/theirs.txt", Body=b"theirs")
    wish = a_site(bucket, folder)
    id = wish.create(stage.world())
    S3Sync.delete(stage.world(), id)
    assert keys(s3, bucket) == ["docs/theirs.txt"]
    (folder / "site" / "theirs.txt").write_text("mine")
    with pytest.raises(StepFailed, match=r"there is an object docs/theirs\.txt") as caught:
        a_site(bucket, folder).create(stage.world())
    assert "choose another key" in caught.value.remedy
    S3Sync.delete(stage.world(), id)
    assert s3.get_object(Bucket=bucket, Key="docs/theirs.txt")["Body"].read() == b"theirs"


def test_two_folders_do_not_share_a_prefix(stage: Stage, folder: Path) -> None:
    bucket = a_bucket(stage)
    stage.make(a_site(bucket, folder), "one")
    with pytest.raises(StepFailed, match="this resource did not make it"):
        a_site(bucket, folder).create(stage.world("two"))


def test_a_run_that_was_cut_short_is_finished(stage: Stage, s3: Any, folder: Path) -> None:
    """The index is there, and one of the files, when the next run looks."""
    bucket = a_bucket(stage)
    wish = a_site(bucket, folder)
    world = stage.world()
    id = wish.create(world)
    stage.made.append((S3Sync, id))
    s3.delete_object(Bucket=bucket, Key="docs/index.html")
    assert S3Sync.find(stage.world(token=world.job.token, foreseen=id)) == [id]
    assert "file_root" in differing(wish, S3Sync.read_many(world, [id])[id])
    wish.update(world, id, frozenset({"file_root"}))
    assert differing(wish, S3Sync.read_many(world, [id])[id]) == {}
