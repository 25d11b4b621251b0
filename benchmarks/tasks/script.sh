# The twenty tasks as commands; $1 is the host's name.
export DEBIAN_FRONTEND=noninteractive
for package in tree bc zip unzip pv; do apt-get install -y -q $package; done
mkdir -p /srv/script
printf 'Bring a laptop.\n' >/srv/script/notes.txt
printf 'level = 3\n' >/srv/script/settings
chmod 0600 /srv/script/settings
printf '<!doctype html>\n<title>%s</title>\n<p>This is %s.</p>\n' "$1" "$1" >/srv/script/index.html
printf 'machine %s\npurpose measuring\n' "$1" >/srv/script/about
useradd -m -s /bin/bash script1
useradd -m -s /bin/bash -c Ben script2
useradd -m -s /bin/sh -G adm script3
for number in 1 2 3; do systemctl enable --now script-$number; done
date >/srv/script/stamp
ls /usr/bin >/srv/script/index
docker run -d --name script-web -p 8031:80 page:1
docker run -d --name script-api -p 8032:80 --restart always page:1
