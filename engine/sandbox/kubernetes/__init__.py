"""The API of the sandbox's EKS clusters: objects are kept, pods of deployments run as workloads."""
