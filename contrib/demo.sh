#!/bin/sh
# The main job on real input: starts a server with an embedded etcd in a scratch directory, pushes this project's own
# history into it, reads it back, and shows one refusal. Needs bin/refship (make build), git, ssh, ssh-keygen.
# Every command is printed before it runs; the exit status is 0 only if everything was as it should be.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/refship-demo.XXXXXX")
server=
cleanup() {
	status=$?
	trap - EXIT INT TERM
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null || :
		wait "$server" 2>/dev/null || :
	fi
	rm -rf "$scratch"
	[ "$status" -eq 0 ] || echo "demo: failed with status $status" >&2
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
	echo "demo: $*" >&2
	exit 1
}

# show prints a command as it can be pasted: what a shell would read otherwise is quoted.
show() {
	line=
	for word in "$@"; do
		case $word in
		'' | *[!A-Za-z0-9_./:=@%+,-]*) word="'$(printf '%s\n' "$word" | sed "s/'/'\\\\''/g")'" ;;
		esac
		line="$line $word"
	done
	printf '\n$%s\n' "$line"
}

# run prints a command and runs it.
run() {
	show "$@"
	"$@"
}

# Nobody's git settings, identity or ssh keys take part, and nobody's etcd ($REFSHIP_ENDPOINTS).
for name in $(env | sed -n -e 's/^\(GIT_[A-Z0-9_]*\)=.*/\1/p' -e 's/^\(REFSHIP_[A-Z0-9_]*\)=.*/\1/p'); do
	unset "$name"
done
unset SSH_AUTH_SOCK SSH_ASKPASS XDG_CONFIG_HOME XDG_DATA_HOME STATE_DIRECTORY
export HOME="$scratch" GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
export REFSHIP_DATA_DIR="$scratch/data"
PATH="$top/bin:$PATH"
export GIT_SSH_COMMAND="ssh -F /dev/null -i $scratch/id -o IdentitiesOnly=yes -o UserKnownHostsFile=$scratch/known_hosts"

# A clone, so that nothing here can touch the checkout; safe.directory, so that its owner may be somebody else.
git config --global safe.directory '*'
git config --global advice.detachedHead false
git -C "$top" rev-parse --verify --quiet HEAD >/dev/null || fail "$top is no git checkout with a commit: the demo pushes its history"
git clone --quiet --no-hardlinks "$top" "$scratch/work"
cd "$scratch/work"
newest=$(git rev-parse HEAD)
early=$(git rev-list --first-parent "$newest" | tail -n 1)
[ "$early" != "$newest" ] || fail "the history of $top has one commit only (a shallow clone?): the demo pushes an early one, then the rest"

echo "== a key for the pusher, and a server with an embedded etcd in $REFSHIP_DATA_DIR"
run ssh-keygen -q -t ed25519 -N '' -C demo -f "$scratch/id"
run refship key add demo --key "$scratch/id.pub" --allow 'deploy:*'
run refship repo create self

printf '\n$ refship serve --listen 127.0.0.1:0 &\n'
mkfifo "$scratch/said"
refship serve --listen 127.0.0.1:0 2>"$scratch/said" &
server=$!
exec 3<"$scratch/said"
port=
while IFS= read -r line <&3; do
	printf '%s\n' "$line"
	case $line in
	*"listening on ssh://"*) port=$(printf '%s\n' "$line" | sed 's/.*listening on ssh:\/\/[^ ,]*:\([0-9][0-9]*\).*/\1/') ;;
	*" repository: "*) break ;; # the last line of the start
	esac
done
[ -n "$port" ] || fail "the server did not start"
cat <&3 >"$scratch/server.log" &
printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$REFSHIP_DATA_DIR/keys/host_ed25519.pub")" >"$scratch/known_hosts"
run git remote add deploy "ssh://git@127.0.0.1:$port/self"

echo
echo "== an early commit first, then all the rest at once"
run git push deploy "$early:refs/heads/main"
run git push deploy "$newest:refs/heads/main"

echo
echo "== what was deployed, by whom, when"
run refship log
run refship show 2

echo
echo "== what stands in etcd is what git has, byte for byte"
for id in 1 2; do
	commit=$early
	[ "$id" = 1 ] || commit=$newest
	run refship checkout "$id" "$scratch/out-$id"
	run mkdir "$scratch/git-$id"
	run git archive --format=tar --output="$scratch/git-$id.tar" "$commit"
	run tar -x -f "$scratch/git-$id.tar" -C "$scratch/git-$id"
	run diff -r "$scratch/git-$id" "$scratch/out-$id"
done

echo
echo "== a rewound branch is refused, and nothing moves"
show git push --force deploy "$early:refs/heads/main"
if git push --force deploy "$early:refs/heads/main"; then
	fail "the rewound branch was taken"
fi
[ "$(git ls-remote deploy refs/heads/main | cut -f1)" = "$newest" ] || fail "the refused push moved the branch"
[ "$(refship log 2>/dev/null | wc -l)" -eq 2 ] || fail "the refused push made a deploy"

echo
echo "demo: done: 2 deploys, each equal to git archive; the rewound branch was refused"
