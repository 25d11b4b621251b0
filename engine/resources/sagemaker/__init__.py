"""Kinds of SageMaker."""
