#!/usr/bin/env bash
# Builds the deb, the rpm and the SBOM of the commit that is checked out, for the architecture of $GOARCH, and prints their checksums.
# Two runs give the same bytes, wherever they run: what is built is a clone, and every time in it is the commit's.
#
#   contrib/packages/build.sh TOOLS OUT     TOOLS has nfpm and cyclonedx-gomod; make packages builds them
set -euo pipefail

fail() {
	echo "packages: error: $*" >&2
	exit 1
}

[ $# -eq 2 ] || fail "usage: contrib/packages/build.sh TOOLS OUT"
mkdir -p "$2"
tools=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."

commit=$(git rev-parse --verify -q HEAD) || fail "packages are built from a commit, and $PWD is no git checkout with one"
[ -z "$(git status --porcelain)" ] || echo "packages: warning: what is not committed is not in the packages" >&2

umask 022
export LC_ALL=C TZ=UTC
# A clone, because Go finds no version in a worktree, and so that nothing that lies around gets in.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q --shared --no-checkout . "$work/refship"
cd "$work/refship"
git -c advice.detachedHead=false checkout -q "$commit"

# What a machine may have set otherwise.
export GOFLAGS="-buildvcs=true -ldflags=-s" GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0
GOARCH=$(go env GOARCH) SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export GOARCH SOURCE_DATE_EPOCH

# licenses prints refship's license, and those of all that is linked into it.
licenses() {
	local module dir files
	cat LICENSE
	printf '\n\n=== Go and its standard library\n\n' && cat "$(go env GOROOT)/LICENSE"
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/refship ./cmd/refship-hook |
		sort -u | while read -r module dir; do
		files=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
		[ -n "$files" ] || fail "$module has no license"
		printf '\n\n=== %s\n\n' "$module"
		echo "$files" | while read -r file; do cat "$file"; done
	done
}

stage=bin/package
make -s install PREFIX=/usr DESTDIR="$stage"
gzip -9n "$stage"/usr/share/man/man1/*.1
licenses >"$stage/licenses"
# Without the comment at the top, which says how to install them by hand.
for unit in refship.service refship-agent@.service; do
	sed -e '1,/^$/d' -e 's|/usr/local/bin/|/usr/bin/|' "contrib/systemd/$unit" >"$stage/$unit"
done

VERSION=$(go version -m "$stage/usr/bin/refship" | awk '$1 == "mod" { print $3 }')
case $VERSION in
v*) export VERSION ;;
*) fail "the program has no version: $VERSION" ;;
esac
"$tools/nfpm" package -f contrib/packages/nfpm.yaml -p deb -t "$out/" >/dev/null
"$tools/nfpm" package -f contrib/packages/nfpm.yaml -p rpm -t "$out/" >/dev/null
"$tools/cyclonedx-gomod" bin -json -std -noserial -notimestamp -output "$out/refship-$VERSION-$GOARCH.cdx.json" \
	"$stage/usr/bin/refship"
cd "$out"
sha256sum ./*
