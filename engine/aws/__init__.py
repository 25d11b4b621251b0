"""AWS: one session, retries, waiting, tags; the only importer of boto3, and that only when asked."""

from engine.aws.session import Aws

__all__ = ["Aws"]
