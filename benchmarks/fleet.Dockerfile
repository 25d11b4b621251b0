# A host to measure on: a host of the sandbox with a Docker Engine, what Ansible needs, and everything that the
# tasks would fetch from the internet: the packages in apt's cache, the containers' image on disk.
ARG BASE
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
ARG PACKAGES
RUN rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update \
  && apt-get install -y --no-install-recommends docker.io python3-requests busybox-static \
  && apt-get install -y --download-only --no-install-recommends ${PACKAGES} \
  && touch /etc/cloud/cloud-init.disabled \
  && useradd -m -s /bin/bash admin && mkdir -m 700 /home/admin/.ssh \
  && echo 'admin ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/admin \
  && printf 'MaxStartups 200\n' >/etc/ssh/sshd_config.d/fleet.conf
# An image of one file, as `docker load` takes it.
RUN mkdir -p /tmp/image/root/bin && cp /bin/busybox /tmp/image/root/bin/ && cd /tmp/image \
  && tar -C root -cf layer.tar . && layer=$(sha256sum layer.tar | cut -d' ' -f1) \
  && printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/busybox","httpd","-f","-p","80"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture)" "$layer" >config.json \
  && printf '[{"Config":"config.json","RepoTags":["page:1"],"Layers":["layer.tar"]}]' >manifest.json \
  && tar -cf /srv/page.tar layer.tar config.json manifest.json && rm -rf /tmp/image
ARG SERVICES
RUN for one in ${SERVICES}; do \
    printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
      >"/etc/systemd/system/$one.service"; done
