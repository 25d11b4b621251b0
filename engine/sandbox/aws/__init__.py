"""The sandbox's AWS: moto's server with what it gets wrong for labs put right, one file a sort of fault."""
