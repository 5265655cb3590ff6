#!/bin/sh
# After the package was unpacked. dpkg calls it with "configure [OLD-VERSION]", rpm with how many versions are installed.
set -e

# Debian's tools can install into another root without chroot, and name it so.
root=${DPKG_ROOT:-}

upgraded=
case $1 in
configure) [ -z "$2" ] || upgraded=yes ;;
1) ;;
[2-9]) upgraded=yes ;;
*) exit 0 ;; # dpkg goes back to what was
esac

systemd-sysusers ${root:+--root="$root"} refship.conf refship-agent.conf
systemd-tmpfiles ${root:+--root="$root"} --create refship.conf

running=
[ -n "$root" ] || [ ! -d /run/systemd/system ] || running=yes
[ -z "$running" ] || systemctl daemon-reload

if [ -z "$upgraded" ]; then
	# A server that opens a port to the network starts when somebody says so.
	echo "refship: installed, not started. Settings: /etc/refship/refship.env. To start: systemctl enable --now refship"
elif [ -n "$running" ]; then
	# Only what runs. What does not start again says why in the journal; the package is installed all the same.
	systemctl try-restart refship.service 'refship-agent@*.service' ||
		echo "refship: a service did not start again: systemctl status 'refship*'" >&2
fi
