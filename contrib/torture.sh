#!/usr/bin/env bash
# Runs the long loops, which go test leaves out: all, or those that are named. Each is bounded, starts servers of its own on loopback, and
# fails over its bounds. What they print are ratios within one run, and memory. At the end there is one line for each; status 1 if one
# has failed.
#
#   contrib/torture.sh [NAME...]
set -uo pipefail
cd "$(dirname "$0")/.."

loops=(
	"beside      ./cmd/refship BenchmarkBeside             what a pusher notices of hostile loads"
	"history     ./gitserver   BenchmarkBesideHistory      a push after 3,000 pushes"
	"first-start ./cmd/refship BenchmarkFirstStart         500 kills within a server's first second"
	"full-disk   ./cmd/refship BenchmarkFullDisk           a disk that is filled again and again"
	"memory      ./cmd/refship BenchmarkMemoryOfLargePush  a file of 400 MiB, and a line more"
	"random      ./deploy      Test(RandomHistories|DiffEqualsGits|RelationAgainstGit) 300 drawn histories against git"
	"waiters     ./deploy      TestLockOfManyWaiters       64 that wait for one lock"
	"one-order   ./cmd/refship Test(LinearizableOneServer|LinearizableTwoServers) pushes beside kills, held against one order"
	"kills       ./cmd/refship TestKillAtRandom            50 pushes in which the server is killed"
	"gc-kills    ./cmd/refship TestGCKilledAtRandom        200 times that gc is killed beside pushes and rollbacks"
	"bundles     ./cmd/refship TestKillBundle              50 kills of an export, and of an import"
	"nodes       ./cmd/refship TestAgentKilledAtRandom     1,000 kills of a node"
	"node-steps  ./cmd/refship TestAgentKilledAtEveryStep  200 kills of a node at each step of its work"
	"one-ref     ./cmd/refship TestLoadOneRef              64 pushers of one ref"
	"many        ./cmd/refship TestLoadManyRepositories    500 pushes at once"
	"rollbacks   ./deploy      TestRollbacksRaced          rollbacks, pushes and holds on one chain, 20 histories"
	"gc          ./deploy/gc   TestRace                    gc for a minute beside pushes, rollbacks and pins, with faults"
)

# arguments PATTERN prints what go test gets for it.
arguments() {
	case $1 in
	Benchmark*) echo "-run=^$ -bench=^$1\$ -benchtime=1x" ;;
	TestLockOfManyWaiters) echo "-run=^$1\$ -count=20" ;;
	Test\(Linearizable*) echo "-run=^$1\$ -linear.for=2m" ;;
	TestKillAtRandom) echo "-run=^$1\$ -kill.times=50" ;;
	TestGCKilledAtRandom) echo "-run=^$1\$ -gc.kills=200" ;;
	TestKillBundle) echo "-run=^$1\$ -bundle.kills=50" ;;
	TestAgentKilledAt*) echo "-run=^$1\$ -agent.kills=1000" ;;
	TestLoadOneRef) echo "-run=^$1\$ -load.pushers=64" ;;
	TestLoadManyRepositories) echo "-run=^$1\$ -load.repositories=500" ;;
	TestRace) echo "-race -run=^$1\$ -gc.for=1m" ;;
	TestRollbacks*) echo "-run=^$1\$ -count=20" ;;
	*) echo "-run=^$1\$ -rapid.checks=300" ;;
	esac
}

known=" $(printf '%s\n' "${loops[@]}" | awk '{ printf "%s ", $1 }')"
for name in "$@"; do
	if [[ $known != *" $name "* ]]; then
		echo "torture: error: no loop is named $name; there are:$known" >&2
		exit 2
	fi
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
lines=() failed=0
for loop in "${loops[@]}"; do
	read -r name package pattern what <<<"$loop"
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
		continue
	fi
	echo "torture: $name: $what"
	start=$SECONDS result=ok
	# shellcheck disable=SC2046 # they are words
	if ! go test "$package" -timeout="${TEST_TIMEOUT:-20m}" $(arguments "$pattern") 2>&1 </dev/null | tee "$log"; then
		result=FAILED failed=1
	fi
	lines+=("$(printf '%-12s %-7s %5d s  %s' "$name" "$result" $((SECONDS - start)) "$what")")
	# What a benchmark has measured, without the time of its one round, which depends on the machine.
	while read -r line; do
		lines+=("$(printf '%-12s %s' '' "$line")")
	done < <(awk '/^Benchmark/ && NF > 4 {
		sub(/^Benchmark[^\/ ]*-[0-9]+$/, "", $1); sub(/^Benchmark[^\/]*\//, "", $1); sub(/-[0-9]+$/, "", $1)
		printf "%s", $1
		for (i = 3; i < NF; i += 2) if ($(i + 1) != "ns/op") printf " %s %s", $i, $(i + 1)
		print ""
	}' "$log")
done
echo
echo "torture: summary"
printf '%s\n' "${lines[@]}"
exit "$failed"
