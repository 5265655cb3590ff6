// Package upkeep keeps a server's repositories quick: each push makes one pack, and git looks into all of them.
//
// # When
//
// A [Keeper] looks at a repository after a push to it, and once when it is told of it ([Keeper.Later]). There is
// something to do if it has more than 50 packs, 200 loose refs or some 2,000 loose objects, or if a git that died left
// files. The Keeper works on one repository at a time, those with a push first, and begins only while that has no push;
// at four times these bounds it begins beside pushes.
//
// After a failure it lets a repository be for ten minutes and then tries again; after the next ones for twice as long
// each time, up to six hours. Where git gets no memory within a minute, and where the repository has a [Pause], it
// tries again after ten minutes.
//
// # What
//
//	git repack --geometric=2 -d                    few packs, each more than twice as large as the next
//	git commit-graph write --reachable --split     for ancestry
//	git pack-refs --all
//
// No object is ever removed: repack takes packs into a new one as they are, with what no ref leads to, and loose
// objects too. Records in etcd name commits that no branch may lead to any more. (To those refs/refship/replaced/
// leads, see git.KeepReplaced: what a person runs in the repository may prune.)
//
// git is niced and its disk access is idle, but for pack-refs, whose locks pushes may wait for. Its memory has a limit
// ([Config].Memory).
//
// A push goes on beside it. What it stores is a pack of its own, and what reads packs opens them again when they are
// gone. It waits only for the locks of pack-refs: git is told for how long (see [PushSettings]).
//
// # What a dead git leaves
//
// [Keeper.Enter], with which each push begins, removes the locks (git.Lock) that are older than a minute and older than
// each push and upkeep that runs in the repository: so they are of no git of this server, and of a person's git only if
// that has held one for a minute. Quarantines and half-written packs are removed with the rest of the upkeep when they
// have not changed for an hour.
//
// # Concurrency
//
// All methods of a Keeper may be called at the same time; Run once. A Keeper that is killed leaves what a dead git
// leaves. Work has a shared flock on the repository's directory, which lets it be renamed and removed at other times
// only, and one on the directory objects, which a Pause has alone.
package upkeep
