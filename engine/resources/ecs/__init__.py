"""Kinds of ECS."""
