"""Kubernetes over its API: the only importer of the official client."""

from engine.k8s.cluster import Cluster, Conflict, Ref, reach

__all__ = ["Cluster", "Conflict", "Ref", "reach"]
