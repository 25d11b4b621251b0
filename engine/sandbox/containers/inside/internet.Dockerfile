# The stand-ins for the places that hosts ask and that cannot be reached from here. Every one says that it is one.
ARG BASE
FROM ${BASE}
COPY web.py stand_ins.py labctl-docker-packages /srv/
RUN apt-get update && sh /srv/labctl-docker-packages && python3 /srv/stand_ins.py && rm -rf /var/lib/apt/lists/*
CMD ["python3", "/srv/web.py"]
