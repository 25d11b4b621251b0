"""Kinds on hosts, and what they share."""
