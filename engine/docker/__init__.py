"""The Docker Engine that builds images here and pushes them: the only importer of docker-py."""

from engine.docker.building import Docker, Login

__all__ = ["Docker", "Login"]
