#!/usr/bin/env bash
# The life of a deb: installed, used, upgraded, removed, purged, in a root of its own. It leaves nothing behind.
#
#   contrib/packages/lifecycle.sh OLD.deb NEW.deb
#
# As root that root is this machine's, with all changes in memory, where systemd is started, and a push goes to the service. Otherwise it
# is an empty one, into which dpkg installs without chroot(2); there nothing is started.
set -euo pipefail

fail() {
	echo "packages: error: $*" >&2
	exit 1
}

[ $# -eq 2 ] || fail "usage: contrib/packages/lifecycle.sh OLD.deb NEW.deb"
if [ "$(id -u)" -eq 0 ] && [ -z "${LIFECYCLE_INSIDE:-}" ] && unshare --mount true; then
	LIFECYCLE_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi

work=$(mktemp -d)
systemd= # the process id of the systemd inside
cleanup() {
	[ -z "$systemd" ] || kill -KILL "$systemd" || :
	umount --recursive --lazy "$work" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
root=$work/root

# machine_root makes a root that is this machine's, with changes in memory.
machine_root() {
	mount -t tmpfs tmpfs "$work" && mkdir "$work"/{root,upper,work} &&
		mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root" || return
	mount -t tmpfs tmpfs "$root/run"
	mount -t tmpfs tmpfs "$root/dev"
	local device
	for device in null zero full random urandom tty; do
		touch "$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	ln -s /proc/self/fd "$root/dev/fd"
	mkdir "$root/debs"
	cp "$@" "$root/debs/"
}

# inside runs a command in the root; package runs dpkg in it, or on it.
if [ -n "${LIFECYCLE_INSIDE:-}" ] && machine_root "$@"; then
	mount -t proc proc "$root/proc"
	inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
	package() { inside dpkg "$@"; }
	old=/debs/${1##*/} new=/debs/${2##*/}
else
	mkdir -p "$root"/{etc,var/lib/dpkg/{info,updates,triggers}}
	cp /var/lib/dpkg/status "$root/var/lib/dpkg/status" # for what the package depends on
	package() { fakeroot dpkg --root="$root" --force-script-chrootless --log=/dev/null "$@"; }
	old=$1 new=$2
fi

has() {
	local path
	for path in "$@"; do [ -e "$root$path" ] || [ -L "$root$path" ] || fail "there is no $path"; done
}
lacks() {
	local path
	for path in "$@"; do [ ! -e "$root$path" ] && [ ! -L "$root$path" ] || fail "there is $path"; done
}
says() {
	grep -q "$1" "$work/said" || fail "it did not say $1, but: $(cat "$work/said")"
}

settings=/etc/refship/refship.env
wants=/etc/systemd/system/multi-user.target.wants
programs=(/usr/bin/refship /usr/bin/refship-hook /usr/lib/systemd/system/refship.service
	/usr/lib/systemd/system/refship-agent@.service)

echo "packages: install"
package --install "$old" >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"
says 'installed, not started'
has "${programs[@]}" "$settings" /var/lib/refship /var/lib/refship-agent
lacks "$wants/refship.service"
[ "$(stat -c %a "$root$settings")" = 600 ] || fail "$settings is not for root alone"
grep -q '^refship:' "$root/etc/passwd" && grep -q '^refship-agent:' "$root/etc/passwd" || fail "there are no users"
"$root/usr/bin/refship" version | grep -q '^refship v1.0.0 ' || fail "this is not version 1.0.0"

echo "packages: change the settings, enable both, upgrade"
echo REFSHIP_LISTEN=127.0.0.1:0 >>"$root$settings"
echo REFSHIP_CHAIN=ssh://git@deploy.example/site >"$root/etc/refship/agent-site.env"
mkdir "$root/var/lib/refship/repos"
systemctl --quiet --root="$root" enable refship.service refship-agent@site.service
has "$wants/refship.service" "$wants/refship-agent@site.service"
package --force-confold --install "$new" >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"
has "${programs[@]}" "$wants/refship.service" "$wants/refship-agent@site.service" "$settings.dpkg-dist"
grep -q '^REFSHIP_LISTEN=127.0.0.1:0' "$root$settings" || fail "the settings were not kept"
"$root/usr/bin/refship" version | grep -q '^refship v1.1.0 ' || fail "this is not version 1.1.0"

echo "packages: install it once more"
package --force-confold --install "$new" >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"

echo "packages: remove"
package --remove refship >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"
lacks "${programs[@]}" "$wants/refship.service" "$wants/refship-agent@site.service"
has "$settings" /etc/refship/agent-site.env /var/lib/refship/repos

echo "packages: purge"
package --purge refship >"$work/said" 2>&1 </dev/null || fail "$(cat "$work/said")"
says '/var/lib/refship stays'
lacks /etc/refship /var/lib/refship-agent
has /var/lib/refship/repos
