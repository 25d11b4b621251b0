"""Kinds of IAM."""
