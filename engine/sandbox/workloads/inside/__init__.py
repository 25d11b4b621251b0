"""What runs in and around a workload, in processes of its own: scripts that import nothing of labctl."""
