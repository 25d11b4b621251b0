"""What runs in the sandbox's cloud: images and functions' code as processes of this machine.

`images` keeps images and unpacks their files, `build` makes them from a Dockerfile, `running` starts and
ends processes, `programs` says which of them can be started at all. What runs inside is in `inside/`.
"""
