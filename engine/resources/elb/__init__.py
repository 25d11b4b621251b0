"""Kinds of Elastic Load Balancing."""
