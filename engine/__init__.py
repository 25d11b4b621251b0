"""labctl: a declarative provisioning engine for cloud labs."""

__version__ = "0.1.0"
