#!/bin/sh
# Before the programs go. dpkg calls it with "remove", rpm with 0; an upgrade comes with something else.
set -e

root=${DPKG_ROOT:-}
case $1 in
remove | 0) ;;
*) exit 0 ;;
esac

command -v systemctl >/dev/null || exit 0
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl stop refship.service 'refship-agent@*.service'
fi
# The template stands for every node. What an administrator has masked cannot be disabled.
systemctl ${root:+--root="$root"} --no-reload --quiet disable refship.service refship-agent@.service || :
