"""Kinds of EC2: networks, security groups, keys, instances, volumes, Auto Scaling groups."""
