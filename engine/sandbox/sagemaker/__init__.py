"""SageMaker in the sandbox: jobs and endpoints run what their images say, as workloads."""
