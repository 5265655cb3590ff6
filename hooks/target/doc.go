// Package target says what of a repository is deployed where and how, and reads and writes that in the repository's
// git config.
//
// # Words
//
// A [Target] is a named rule: what is pushed to one ref goes into one namespace, for one frontend. [Settings] are how
// much each of these namespaces may hold, and what an installed hook needs besides: the repository's name, where etcd
// is, and with which key records are signed. A [Config] is both.
//
// # Format
//
// Both are sections of <GIT_DIR>/config, in the syntax of git-config(1). A setting that is not there has its default.
//
//	[refship]
//		max-stored = 500MiB                     # none: no limit; default: a quarter of etcd's quota
//		repository = config                     # name in records
//		endpoints = https://a:2379,https://b:2379
//		cacert = /etc/refship/ca.pem            # files have absolute names
//		cert = /etc/refship/cert.pem
//		key = /etc/refship/key.pem
//		user = refship                          # always with password-file
//		password-file = /etc/refship/password
//		signing-key = /etc/refship/signing-key
//		allowed-signers = /etc/refship/allowed_signers
//	[refship "default"]                         # a target; its name is 1 to 32 of a-z, 0-9 and '-'
//		ref = refs/heads/main                   # full ref name
//		namespace = /refship/config
//		frontend = files                        # the default; or lang, yaml, puppet, empty, auto
//		path = web                              # default: the whole tree
//		check = make check                      # command line for sh -c; default: none
//		wait = 2m0s                             # default: pushes do not wait for nodes
//		rings = canary,rest                     # default: all nodes may run a deploy at once
//		ring-pause = 10m0s                      # between two rings; default: none
//		on-failure = rollback                   # default: stop
//		notify = https://ci.example.com/hook    # default: no receiver
//		lfs = deploy-pointers                   # default: Git LFS pointers are refused
//		entry = site.mcl                        # this and the others below: only of mgmt's frontends
//		puppet-conf = puppet.conf               # only of puppet
//		module-path = vendor/modules            # only of lang, and the next three
//		version-file = files/version
//		unify-name = fast-solver
//		unify-optimizations = skip-func-cmp,heuristical-drop
//		noop = true
//		sema = 8
//		no-autoedges = true
//		no-autogroup = true
//
// [Read] reads the file itself and starts no git: a process would cost each push some milliseconds. It follows no
// include. A section or key may be written in any case, as in git. A setting that is unknown, there twice or not
// usable is an error that names it: nothing is deployed by half a rule. Errors name no path, since pushers read them.
//
// # Change
//
// [EditConfig] changes the file as git does. It creates config.lock, edits a copy with git config, and checks that the
// copy says what it must. Then it writes the copy into config.lock and renames that over the config. So readers see
// the old config or the new one. Every byte outside of the refship sections stays.
//
// A process that is killed leaves config.lock behind, as git does, and the copy beside it. The next edit removes both
// if they are older than [MaxConfigEdit]. A config.lock without a copy is git's own, and is never removed.
//
// # Invariants
//
//   - No two targets of a repository have the same name, and no namespace lies inside another.
//   - A password is never in the config, only the name of a file that holds it.
//   - [WithoutSections] takes out what an edit put in: the other bytes are those of before, but for a line feed at the
//     end that git needs to begin a section.
//
// # Concurrency
//
// All functions may be called from several goroutines and processes. Edits of one config exclude each other: the
// second one is refused, not delayed.
package target
