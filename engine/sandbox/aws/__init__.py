"""The sandbox's AWS: moto's server with what it gets wrong for labs put right, one file a sort of fault."""

import os

ACCOUNT = "123456789012"
"""The one account there is, moto's."""

os.environ.update(  # read by moto when it is imported
    MOTO_EC2_LOAD_DEFAULT_AMIS="true",
    MOTO_ENABLE_AMI_VALIDATION="true",
    MOTO_ENABLE_KEYPAIR_VALIDATION="true",
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    MOTO_ALLOW_NONEXISTENT_REGION="false",
)
