# A host of the sandbox: what a cloud image of Debian has. The base is Debian or Ubuntu, from a registry or debootstrap.
ARG BASE
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
    ca-certificates cloud-init cron curl dbus gnupg iproute2 iptables iputils-ping kmod netcat-openbsd \
    openssh-server openssl procps python3 sudo systemd systemd-sysv \
  && apt-get clean && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*_key* \
  && systemctl mask systemd-networkd-wait-online.service systemd-resolved.service getty@.service \
    console-getty.service apt-daily.timer apt-daily-upgrade.timer \
  && : >/etc/machine-id
# The names that stand-ins answer to carry a certificate of an authority that exists in this image only.
RUN mkdir -p /srv/tls && cd /srv/tls \
  && openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=labctl sandbox stand-ins" \
    -keyout ca.key -out /usr/local/share/ca-certificates/labctl-sandbox.crt 2>/dev/null \
  && openssl req -newkey rsa:2048 -nodes -subj "/CN=stand-in" -keyout key.pem -out request.pem 2>/dev/null \
  && printf 'subjectAltName=DNS:download.docker.com,DNS:registry-1.docker.io,DNS:auth.docker.io\n' >names \
  && openssl x509 -req -in request.pem -CA /usr/local/share/ca-certificates/labctl-sandbox.crt -CAkey ca.key \
    -CAcreateserial -days 3650 -extfile names -out cert.pem 2>/dev/null \
  && rm -f ca.key request.pem names && update-ca-certificates
COPY labctl-init labctl-storage /usr/local/sbin/
COPY cloud.cfg /etc/cloud/cloud.cfg
RUN chmod 755 /usr/local/sbin/labctl-* && mkdir -p /etc/systemd/system/docker.service.d /var/lib/labctl-storage \
  && printf '[Service]\nExecStartPre=/usr/local/sbin/labctl-storage\n' \
    >/etc/systemd/system/docker.service.d/10-labctl-storage.conf
# As in cloud images: only keys log in, and who tries otherwise is told so.
RUN printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n' \
  >/etc/ssh/sshd_config.d/60-cloudimg-settings.conf
STOPSIGNAL SIGRTMIN+3
CMD ["/usr/local/sbin/labctl-init"]
