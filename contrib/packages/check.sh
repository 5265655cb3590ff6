#!/usr/bin/env bash
# Checks the packages of the work tree as a user meets them: builds two versions, one of them twice, then lives with them. All of it is
# in a directory that is removed afterwards. As root more is checked: see lifecycle.sh.
#
#   contrib/packages/check.sh TOOLS     TOOLS has nfpm, cyclonedx-gomod and packagelint; make packagetest builds them
set -euo pipefail

fail() {
	echo "packages: error: $*" >&2
	exit 1
}

step() {
	echo "packages: $* (${SECONDS} s)"
}

[ $# -eq 1 ] || fail "usage: contrib/packages/check.sh TOOLS"
tools=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
top=$PWD work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Nobody's settings of git take part.
export HOME=${HOME:-$work} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=packager GIT_AUTHOR_EMAIL=packager@localhost GIT_COMMITTER_NAME=packager GIT_COMMITTER_EMAIL=packager@localhost

# Where CI is not root it may become it. Nobody else is asked for it.
as_root=()
if [ "$(id -u)" -ne 0 ] && [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; then
	as_root=(sudo -n env "PATH=$PATH")
fi

# release VERSION DATE commits what is in the tree, and tags it.
release() {
	git -C "$work/tree" add -A
	GIT_AUTHOR_DATE=$2 GIT_COMMITTER_DATE=$2 git -C "$work/tree" commit -qm "$1"
	git -C "$work/tree" tag "$1"
}

# same DIR1 DIR2 compares all files of two directories.
same() {
	[ "$(ls "$1")" = "$(ls "$2")" ] || fail "two builds of one commit have other names: $(ls "$1" "$2")"
	local file
	for file in "$1"/*; do
		cmp "$file" "$2/${file##*/}" || fail "two builds of one commit differ"
	done
}

step "version 1.0.0"
git -c init.defaultBranch=main init -q "$work/tree"
git ls-files -z --cached --others --exclude-standard |
	tar --create --ignore-failed-read --null --files-from=- 2>/dev/null | tar --extract --directory="$work/tree"
release v1.0.0 2026-01-02T03:04:05Z
"$work/tree/contrib/packages/build.sh" "$tools" "$work/1"

step "the same in another place, at another time, by somebody with other settings"
git clone -q "$work/tree" "$work/another place"
(
	umask 077
	export TZ=Asia/Kathmandu GOFLAGS=-buildvcs=false GOAMD64=v3 LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1
	"$work/another place/contrib/packages/build.sh" "$tools" "$work/again" >/dev/null
)
same "$work/1" "$work/again"

step "version 1.1.0, with another line in the settings"
echo '# of version 1.1.0' >>"$work/tree/contrib/packages/refship.env"
release v1.1.0 2026-02-03T04:05:06Z
"$work/tree/contrib/packages/build.sh" "$tools" "$work/2" >/dev/null

step "the rpm has what the deb has"
deb_has() {
	dpkg-deb --fsys-tarfile "$1" | tar --list | sed -e '/\/$/d' -e 's|^\.||' \
		-e 's|/zsh/vendor-completions/|/zsh/site-functions/|' -e 's|/doc/refship/copyright|/licenses/refship/LICENSE|' | sort
}
rpm_has() {
	rpm --query --package --queryformat '[%{FILEMODES:perms} %{FILENAMES}\n]' "$1" | sed -n 's/^-[^ ]* //p' | sort
}
if command -v rpm >/dev/null; then
	diff <(deb_has "$work"/1/*.deb) <(rpm_has "$work"/1/*.rpm) || fail "the deb and the rpm hold other files"
	[ "$(rpm --query --package --configfiles "$work"/1/*.rpm)" = /etc/refship/refship.env ] || fail "the rpm has other settings"
elif [ -n "${REFSHIP_REQUIRE_TOOLS:-}" ]; then
	fail "there is no rpm"
else
	echo "packages: warning: there is no rpm to look at the rpm with" >&2
fi

step "deb: install, upgrade, remove, purge"
"${as_root[@]}" contrib/packages/lifecycle.sh "$work"/1/*.deb "$work"/2/*.deb
if command -v rpm >/dev/null; then
	step "rpm: install, upgrade, remove"
	"${as_root[@]}" contrib/packages/lifecycle.sh "$work"/1/*.rpm "$work"/2/*.rpm
fi

step "the container image"
"$tools/packagelint" contrib/container/Dockerfile .goreleaser.yaml
dpkg-deb --extract "$work"/2/*.deb "$work/programs"
"${as_root[@]}" contrib/container/check.sh "$work"/programs/usr/bin/refship{,-hook}
step "done"
