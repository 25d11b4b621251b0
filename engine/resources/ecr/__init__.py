"""Kinds of ECR."""
