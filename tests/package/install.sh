#!/bin/bash
# The packages that scripts/package has made, installed, used, upgraded, removed and purged: in a view of this machine
# that is written to memory (an overlay) and has a network of its own, so that nothing of it is touched.
set -euo pipefail

packages=$(realpath "${1:?usage: tests/package/install.sh DIRECTORY}")
if [[ ${2-} == "" ]]; then
    base=$(mktemp -d)
    status=0
    unshare --mount --net --pid --fork --kill-child --propagation private "$0" "$packages" "$base" || status=$?
    rmdir "$base"
    exit $status
fi

base=$2
mount -t tmpfs none "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay none -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount -t proc none "$base/root/proc"
mount --bind /dev "$base/root/dev"
mount -t devpts none "$base/root/dev/pts"
cp "$packages"/*.deb "$base/root/root/"
ip link set lo up

cat >"$base/root/root/steps.sh" <<'END'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
module=libnginx-mod-http-realtime
enabled=/etc/nginx/modules-enabled/50-mod-http-realtime.conf

fail()
{
    echo "failed: $*" >&2
    exit 1
}

# is WHAT EXPECTED ACTUAL
is()
{
    [[ $2 == "$3" ]] || fail "$1: $3 rather than $2"
}

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # nobody's services
chmod 755 /usr/sbin/policy-rc.d
rm -f /etc/nginx/modules-enabled/*realtime*

apt-get install -qq --no-install-recommends -o Dpkg::Use-Pty=0 /root/*.deb
nginx -t
[[ $(nginx -T 2>&1) == *'load_module modules/ngx_http_realtime_module.so;'* ]] || fail 'the module is not enabled'
for directory in /var/lib/nginx-realtime /var/spool/nginx-realtime; do
    is "$directory" 'www-data www-data 750' "$(stat -c '%U %G %a' "$directory")"
done
[[ $(dpkg-query -W -f='${Depends}' $module) == *nginx-abi-* ]] || fail 'it depends on no binary interface of nginx'
contents=$(for package in /root/*.deb; do dpkg-deb -c "$package"; done)$'\n'
for file in usr/share/man/man1/realtime.1.gz usr/share/doc/$module/README.md usr/share/doc/$module/docs/directives.md \
    usr/share/doc/$module/examples/quickstart.conf usr/share/doc/$module/examples/www/index.html; do
    [[ $contents == *" ./$file"$'\n'* ]] || fail "no $file"
done

# README.md's configuration, where Debian's nginx.conf looks for it.
cat >/etc/nginx/conf.d/realtime.conf <<CONF
realtime_zone main 8m;
realtime_broker events { server sqlite:/var/lib/nginx-realtime/events.db; }
realtime_broker away { server amqp://guest:guest@127.0.0.1:5672/%2F; spool /var/spool/nginx-realtime; }
realtime_app default {
    channels later { broker away; }
    broker events;
}
server {
    listen 127.0.0.1:8080;
    location ~ ^/pub/(?<ch>[\w.-]+)\$ { realtime_publish   \$ch ack=stored; }
    location ~ ^/sub/(?<ch>[\w.-]+)\$ { realtime_subscribe \$ch; }
}
CONF
nginx
id=$(realtime pub http://127.0.0.1:8080/pub/ news hello)
is 'what is heard' hello "$(realtime tail --count 1 --timeout 10 --raw http://127.0.0.1:8080/sub/ news)"
[[ $(realtime tail --count 1 --json http://127.0.0.1:8080/sub/ news) == *"\"$id\""* ]] || fail "it has not the id $id"
is 'what is stored, by www-data' hello "$(sqlite3 /var/lib/nginx-realtime/events.db 'select data from events')"
realtime pub http://127.0.0.1:8080/pub/ later hello >/dev/null # ack=stored: it is in the spool
[[ -n $(ls /var/spool/nginx-realtime) ]] || fail 'nothing is in the spool'

# The same version again, as an upgrade: what the administrator has changed stays.
rm "$enabled"
dpkg -i /root/$module*.deb
[[ ! -e $enabled ]] || fail 'an upgrade has enabled what was disabled'
ln -s /usr/share/nginx/modules-available/mod-http-realtime.conf "$enabled"
nginx -s reload
realtime pub http://127.0.0.1:8080/pub/ news again >/dev/null
nginx -s stop
rm /etc/nginx/conf.d/realtime.conf

dpkg -r $module
nginx -t
[[ ! -e $enabled ]] || fail 'a removed module is still enabled'
dpkg -i /root/$module*.deb
[[ $(nginx -T 2>&1) == *realtime_module* ]] || fail 'it is not enabled when it comes back'
rm /var/spool/nginx-realtime/*
dpkg -P $module nginx-realtime-tool
nginx -t
is 'what purging leaves in /etc/nginx' '' "$(find /etc/nginx -name '*realtime*')"
is 'what purging leaves of the module' '' "$(find /usr/lib/nginx /usr/share/nginx -name '*realtime*' 2>/dev/null)"
[[ ! -e /var/spool/nginx-realtime ]] || fail 'an empty spool is left'
is 'events after purging' 2 "$(sqlite3 /var/lib/nginx-realtime/events.db 'select count(*) from events')"
echo 'installed, used, upgraded, removed, purged'
END
exec chroot "$base/root" /bin/bash /root/steps.sh
