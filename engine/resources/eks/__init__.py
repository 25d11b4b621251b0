"""Kinds of EKS, and what is applied to its clusters."""
