#!/bin/sh
# After the programs went. dpkg calls it with "remove", and with "purge" when the settings go, too; rpm with 0. An upgrade comes
# with something else.
set -e

root=${DPKG_ROOT:-}
case $1 in
remove | purge | 0) ;;
*) exit 0 ;;
esac

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi

[ "$1" != remove ] || exit 0
# They belong to no package, and may hold passwords. rpm has no purge, and leaves what was changed.
[ "$1" != purge ] || rm -f "$root"/etc/refship/agent-*.env
# Deploys, repositories and keys are never deleted by a package.
for data in /var/lib/refship /var/lib/refship-agent; do
	if [ -n "$(ls -A "$root$data" 2>/dev/null)" ]; then
		echo "refship: $data stays. To delete it, with all that it holds: rm -r $data"
	else
		rmdir "$root$data" 2>/dev/null || :
	fi
done
