#!/usr/bin/env bash
# The life of a package: installed, used, upgraded, removed, and a deb purged, in a root of its own. It leaves nothing behind.
#
#   contrib/packages/lifecycle.sh OLD NEW     two debs, or two rpms
#
# As root, that root is this machine's with all changes in memory, and a systemd is started in it, with a network of its own: a push
# goes to the service, and a node runs it. Otherwise it is an empty one into which dpkg installs without chroot(2), and nothing is started.
set -euo pipefail

fail() {
	echo "packages: error: $*" >&2
	exit 1
}

[ $# -eq 2 ] || fail "usage: contrib/packages/lifecycle.sh OLD NEW"
top=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$(id -u)" -eq 0 ] && [ -z "${LIFECYCLE_INSIDE:-}" ] && unshare --mount true 2>/dev/null; then
	LIFECYCLE_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi

work=$(mktemp -d)
root=$work/root said=$(mktemp) boot=$(mktemp)
init= group= # the process id of the systemd inside, and its control group
cleanup() {
	if [ -n "$init" ]; then
		kill -KILL "$init" || :
		wait || :
		find "$group" -depth -type d -exec rmdir {} \; || :
	fi
	! mountpoint -q "$work" || umount --recursive "$work" || umount --recursive --lazy "$work"
	rm -rf "$work" "$said" "$boot"
}
trap cleanup EXIT

# machine_root makes a root that is this machine's, with changes in memory and nothing of what runs here.
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
	ln -s pts/ptmx "$root/dev/ptmx"
	mkdir "$root/packages" "$root/old"
	cp "$@" "$root/packages/"
	# The checkout, which may have an rpm, may be on another file system.
	mkdir -p "$root$top"
	mount --bind "$top" "$root$top"
	rm -f "$root/var/lib/man-db/auto-update" # an index of all manual pages takes most of the time
	# Of this machine's services systemd starts none.
	rm -rf "$root"/{etc,usr/lib,lib}/systemd/system/*.target.wants
	ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
	mkdir "$root/etc/systemd/system/sysinit.target.wants"
	ln -s /lib/systemd/system/systemd-journald.service "$root/etc/systemd/system/sysinit.target.wants"
}

# soon COMMAND... runs it until it succeeds.
soon() {
	local tries=0
	until "$@" 2>/dev/null; do
		[ $((tries += 1)) -lt 600 ] || fail "not within a minute: $*: $(cat "$boot")"
		sleep 0.1
	done
}

# start_systemd starts it in the root, as the first process of namespaces of its own.
start_systemd() {
	[ -x "$root/lib/systemd/systemd" ] && mountpoint -q /sys/fs/cgroup || return
	group=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)$(sed -n 's/^0:://p' /proc/self/cgroup)/refship-lifecycle.$$
	mkdir "$group" 2>/dev/null || return
	# shellcheck disable=SC2016 # for the inner shell
	(
		echo "$BASHPID" >"$group/cgroup.procs"
		exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child sh -euc '
			mount -t proc proc "$1/proc"
			mount --bind "$1/proc/sys" "$1/proc/sys"
			mount -o remount,bind,ro "$1/proc/sys"
			mount -t sysfs -o ro sysfs "$1/sys"
			mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
			cd "$1"
			pivot_root . old
			umount --lazy /old
			exec env -i container=lifecycle /lib/systemd/systemd --log-target=journal
		' sh "$root"
	) >"$boot" 2>&1 &
	soon started $!
	inside systemctl is-system-running --wait >/dev/null
}

# started PID says whether the systemd answers whose unshare has this process id.
started() {
	init=$(cat "/proc/$1/task/$1/children") && init=${init% } && [ -n "$init" ] && inside test -S /run/systemd/private
}

# inside runs a command in the root.
inside() {
	nsenter --target "$init" --all --root --wd=/ env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"
}

if [ -n "${LIFECYCLE_INSIDE:-}" ] && machine_root "$@" && start_systemd; then
	deb=(inside dpkg)
	old=/packages/${1##*/} new=/packages/${2##*/}
else
	echo "packages: warning: no systemd can be started here, as root with mounts and control groups: nothing is started" >&2
	root=$work/empty
	mkdir -p "$root"/{etc,var/lib/dpkg/{info,updates,triggers}}
	cp /var/lib/dpkg/status "$root/var/lib/dpkg/status" # for what the package depends on
	deb=(fakeroot dpkg --root="$root" --force-script-chrootless --log=/dev/null)
	old=$1 new=$2
fi

# add installs a package, and take removes it.
case $1 in
*.deb)
	add() { "${deb[@]}" --force-unsafe-io --force-confold --install "$1"; }
	take() { "${deb[@]}" --remove refship; }
	theirs=.dpkg-dist kept=
	;;
*.rpm)
	[ -n "$init" ] || exit 0
	rpm=$(command -v rpm) || fail "there is no rpm"
	add() { inside "$rpm" --upgrade --replacepkgs --nodeps "$1"; }
	take() { inside "$rpm" --erase refship; }
	theirs=.rpmnew kept=.rpmsave
	;;
esac

step() {
	echo "packages: $* (${SECONDS} s)"
}
must() {
	"$@" >"$said" 2>&1 </dev/null || fail "$*: $(cat "$said")"
}
refuse() {
	! "$@" >"$said" 2>&1 </dev/null || fail "$*: it succeeded: $(cat "$said")"
}
has() {
	local path
	for path in "$@"; do [ -e "$root$path" ] || [ -L "$root$path" ] || fail "there is no $path"; done
}
lacks() {
	local path
	for path in "$@"; do [ ! -e "$root$path" ] && [ ! -L "$root$path" ] || fail "there is $path"; done
}
says() {
	grep -q -e "$1" "$said" || fail "it did not say $1, but: $(cat "$said")"
}
version() {
	must "$root/usr/bin/refship" version
	says "^refship v$1 "
}

# as USER COMMAND... runs a command as a user of the root.
as() {
	local user=$1
	shift
	inside runuser -u "$user" -- "$@"
}

# make_pusher makes a key, a repository and a clone, as the manual says, before the server was started.
make_pusher() {
	must inside ssh-keygen -q -t ed25519 -N '' -f /root/key
	as refship refship key add laptop --key - --allow 'deploy:*' --data-dir /var/lib/refship <"$root/root/key.pub" 2>/dev/null
	must as refship refship repo create site --data-dir /var/lib/refship
	must inside git init -q -b main /root/site
}

# wrong_users checks what a user is told who may not read what a command needs.
wrong_users() {
	refuse inside refship repo create other --data-dir /var/lib/refship
	says 'as its owner: runuser -u refship -- refship'
	refuse as refship-agent refship log site --data-dir /var/lib/refship
	says 'belongs to refship, and you are refship-agent'
	must inside chmod 600 /root/key.pub
	refuse as refship refship key add other --key /root/key.pub --allow 'read:*' --data-dir /var/lib/refship
	says '--key - < /root/key.pub'
}

# make_node makes a key for the node, and says where the chain is.
make_node() {
	must as refship-agent mkdir -m 700 /var/lib/refship-agent/.ssh
	must as refship-agent ssh-keygen -q -t ed25519 -N '' -f /var/lib/refship-agent/.ssh/id_ed25519
	as refship refship key add n1 --key - --allow node:site --data-dir /var/lib/refship \
		<"$root/var/lib/refship-agent/.ssh/id_ed25519.pub" 2>/dev/null
	echo "[localhost]:2222 $(cat "$root/var/lib/refship/keys/host_ed25519.pub")" >"$root/var/lib/refship-agent/.ssh/known_hosts"
	cp "$root/var/lib/refship-agent/.ssh/known_hosts" "$root/root/known_hosts"
	printf '%s\n' REFSHIP_CHAIN=ssh://git@localhost:2222/site REFSHIP_NAME=n1 >"$root/etc/refship/agent-site.env"
}

# reports says whether the node has told that it runs the head.
reports() {
	as refship refship nodes site --data-dir /var/lib/refship | grep -q '^n1 .* running$'
}

# push TEXT pushes a file with it, and looks whether the node runs it, and says so.
push() {
	echo "$1" >"$root/root/site/index.html"
	must inside git -C /root/site add index.html
	must inside git -C /root/site -c user.name=ada -c user.email=ada@localhost commit -qm "$1"
	must inside env GIT_SSH_COMMAND="ssh -i /root/key -o UserKnownHostsFile=/root/known_hosts" \
		git -C /root/site push ssh://git@localhost:2222/site main
	says 'published'
	soon grep -qx "$1" "$root/var/lib/refship-agent/site/current/index.html"
	soon reports
}

# state UNIT STATE checks the state of a unit.
state() {
	local is
	is=$(inside systemctl is-active "$1") || :
	[ "$is" = "$2" ] || fail "$1 is $is, not $2: $(inside systemctl status --no-pager "$1" 2>&1)"
}

settings=/etc/refship/refship.env
wants=/etc/systemd/system/multi-user.target.wants
programs=(/usr/bin/refship /usr/bin/refship-hook /usr/lib/systemd/system/refship.service
	/usr/lib/systemd/system/refship-agent@.service /usr/share/man/man1/refship.1.gz)
links=("$wants/refship.service" "$wants/refship-agent@site.service")

step "install"
must add "$old"
says 'installed, not started'
has "${programs[@]}" "$settings" /var/lib/refship /var/lib/refship-agent
lacks "${links[@]}"
[ "$(stat -c %a "$root$settings")" = 600 ] || fail "$settings is not for root alone"
for user in refship refship-agent; do
	grep -q "^$user:" "$root/etc/passwd" || fail "there is no user $user"
done
version 1.0.0

step "change the settings, enable both units"
echo REFSHIP_LOG_LEVEL=debug >>"$root$settings"
if [ -n "$init" ]; then
	state refship inactive
	make_pusher
	wrong_users
	must inside systemctl enable --now refship
	make_node
	must inside systemctl enable --now refship-agent@site
	push 'of version 1.0.0'
	before=$(inside systemctl show -P MainPID refship refship-agent@site)
else
	touch "$root/etc/refship/agent-site.env" "$root/var/lib/refship/data"
	must systemctl --root="$root" enable refship.service refship-agent@site.service
fi
has "${links[@]}"

step "upgrade"
must add "$new"
has "${programs[@]}" "${links[@]}" "$settings$theirs"
[ "$(tail -n 1 "$root$settings")" = REFSHIP_LOG_LEVEL=debug ] || fail "the settings were not kept"
version 1.1.0
if [ -n "$init" ]; then
	state refship active
	state refship-agent@site active
	[ "$(inside systemctl show -P MainPID refship refship-agent@site)" != "$before" ] || fail "what runs is the old version"
	push 'of version 1.1.0'
fi

step "install it once more, and remove it"
must add "$new"
must take
lacks "${programs[@]}" "${links[@]}"
has "$settings$kept" /etc/refship/agent-site.env
if [ -n "$init" ]; then
	state refship inactive
	state refship-agent@site inactive
fi

[ -n "$(ls "$root/var/lib/refship")" ] || fail "the data is gone"

if [[ $1 == *.deb ]]; then
	step "purge"
	must "${deb[@]}" --purge refship
	lacks /etc/refship
	[ -n "$(ls "$root/var/lib/refship")" ] || fail "the data is gone"
fi
says '/var/lib/refship stays'
step "done"
