#!/usr/bin/env bash
# Runs the image without Docker: its root is made as the Dockerfile makes it, of this machine's git, and refship is the first process in
# it, as the image's user, with nothing to write to but a volume. Somebody pushes, and the volume is enough for the next start.
#
#   contrib/container/check.sh REFSHIP REFSHIP-HOOK     as root, on Debian
set -euo pipefail

fail() {
	echo "container: error: $*" >&2
	exit 1
}

[ $# -eq 2 ] || fail "usage: contrib/container/check.sh REFSHIP REFSHIP-HOOK"
if [ -z "${CONTAINER_INSIDE:-}" ]; then
	if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
		echo "container: warning: not run: it needs root, and mounts" >&2
		exit 0
	fi
	CONTAINER_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
outer= init=
cleanup() {
	[ -z "$outer" ] || kill -KILL "$init" || :
	! mountpoint -q "$work" || umount --recursive --lazy "$work"
	rm -rf "$work"
}
trap cleanup EXIT
mount -t tmpfs tmpfs "$work"
image=$work/image

export SOURCE_DATE_EPOCH=1700000000
for root in "$image" "$work/again"; do
	"$here/root.sh" "$root"
	tar --create --sort=name --directory "$root" . | sha256sum >>"$work/sums"
done
[ "$(sort -u "$work/sums" | wc -l)" -eq 1 ] || fail "two roots differ: $(diff -r --no-dereference "$image" "$work/again" || true)"
rm -r "$work/again"
install "$1" "$2" "$image/usr/bin/"
size=$(du -sh "$image" | cut -f1)
# What Docker mounts, and nobody may write to the rest.
mkdir "$image/proc" "$image/dev" "$work/volume"
for device in null zero full random urandom; do touch "$image/dev/$device"; done
mount --bind "$image" "$image"
mount -o remount,bind,ro "$image"
for device in null zero full random urandom; do mount --bind "/dev/$device" "$image/dev/$device"; done
cp -a "$image/var/lib/refship/." "$work/volume/" # as Docker fills a new volume: it is the user's
chown --reference="$image/var/lib/refship" "$work/volume"
mount --bind "$work/volume" "$image/var/lib/refship"

read -ra settings <<<"$(sed -n 's/^ENV //p' "$here/Dockerfile")"
user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' "$here/Dockerfile")
[ "$(stat -c %u "$work/volume")" = "$user" ] || fail "the volume is not the user's"

# start starts the image, and sets port.
start() {
	env -i "${settings[@]}" REFSHIP_LISTEN=127.0.0.1:0 /usr/bin/unshare --pid --ipc --uts --fork --kill-child --root="$image" --wd=/var/lib/refship \
		--mount-proc=/proc --setgid="$user" --setuid="$user" /usr/bin/refship serve >"$work/log" 2>&1 &
	outer=$!
	local tries=0
	until grep -q '^refship: .* repositor' "$work/log"; do # the last line of the start
		[ $((tries += 1)) -lt 600 ] && kill -0 "$outer" || fail "it did not start: $(cat "$work/log")"
		sleep 0.1
	done
	port=$(sed -n 's/.*listening on ssh:\/\/127.0.0.1:\([0-9]*\),.*/\1/p' "$work/log")
	init=$(cat "/proc/$outer/task/$outer/children") && init=${init% }
	echo "[127.0.0.1]:$port $(cat "$work/volume/keys/host_ed25519.pub")" >"$work/known_hosts"
}

# stop stops it as docker stop does.
stop() {
	kill -TERM "$init"
	wait "$outer" || fail "it ended with status $?: $(cat "$work/log")"
	outer=
}

# inside runs a command as docker exec does.
inside() {
	env -i "${settings[@]}" nsenter --target "$init" --mount --pid --root --wd --setgid="$user" --setuid="$user" "$@"
}

# must runs a command, and shows what it said only if it fails.
must() {
	"$@" >"$work/said" 2>&1 || fail "$*: $(cat "$work/said")"
}

start
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
must inside /usr/bin/refship key add laptop --key - --allow 'deploy:*' <"$work/key.pub"
must inside /usr/bin/refship repo create site
git -c init.defaultBranch=main init -q "$work/site"
for text in first second; do
	echo "$text" >"$work/site/index.html"
	git -C "$work/site" add index.html
	git -C "$work/site" -c user.name=ada -c user.email=ada@localhost commit -qm "$text"
	must env GIT_SSH_COMMAND="ssh -F /dev/null -i $work/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$work/known_hosts" \
		git -C "$work/site" push "ssh://git@127.0.0.1:$port/site" main
done
[ "$(inside /usr/bin/refship cat site@2 index.html 2>/dev/null)" = second ] || fail "the second push was not deployed"
for child in $(cat "/proc/$init/task/$init/children"); do
	! grep -q '^State:.*Z' "/proc/$child/status" || fail "the first process leaves ended ones behind"
done
stop

start
[ "$(inside /usr/bin/refship log site 2>/dev/null | wc -l)" = 2 ] || fail "the volume does not have the deploys: $(cat "$work/log")"
stop
echo "container: started, pushed to twice, stopped, started again: $size, git $(git --version | cut -d' ' -f3)"
