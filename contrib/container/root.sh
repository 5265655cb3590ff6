#!/bin/sh
# Makes the root of the image out of a Debian that has git and ca-certificates, without refship itself: git and the libraries that it
# loads, the CA certificates, one user, and of the packages that these come from the licenses, and what a scanner looks for.
#
#   contrib/container/root.sh DIR     as root, so that the data directory belongs to the user
set -eu

[ $# -eq 1 ] && [ ! -e "$1" ] || {
	echo "usage: contrib/container/root.sh DIR, which is made" >&2
	exit 2
}
mkdir -p "$1"
root=$(cd "$1" && pwd)
umask 022

# All that git runs of itself is in this one program. Templates of repositories are refship's own.
files="/usr/bin/git /etc/ssl/certs/ca-certificates.crt $(ldd /usr/bin/git | grep -o '/[^ ]*')"
for file in $files; do
	mkdir -p "$root${file%/*}"
	cp -L "$file" "$root$file"
done
mkdir -p "$root/usr/lib/git-core"
ln -s ../../bin/git "$root/usr/lib/git-core/git"

mkdir -p "$root/etc" "$root/tmp" "$root/var/lib/refship" "$root/var/lib/dpkg/status.d"
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/refship"
chown 65532:65532 "$root/var/lib/refship"
echo 'refship:x:65532:65532:refship:/var/lib/refship:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'refship:x:65532:' >"$root/etc/group"

# The libraries' paths may be those of before Debian merged /lib into /usr/lib.
for file in $files; do
	dpkg -S "$file" 2>/dev/null || dpkg -S "/usr$file" 2>/dev/null || dpkg -S "${file#/usr}" 2>/dev/null || :
done | sed 's/:.*//' | sort -u | grep . >"$root/packages"
echo ca-certificates >>"$root/packages" # its file belongs to no package
while read -r package; do
	mkdir -p "$root/usr/share/doc/$package"
	cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
	dpkg -s "$package" >"$root/var/lib/dpkg/status.d/$package"
done <"$root/packages"
rm "$root/packages"

# Two runs with one SOURCE_DATE_EPOCH, seconds since 1970, give the same root.
[ -z "${SOURCE_DATE_EPOCH:-}" ] || find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
