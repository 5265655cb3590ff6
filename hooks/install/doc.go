// Package install puts refship's hooks into repositories of another server, and takes them out again.
//
// [Find] and [FindAll] find repositories. [Inspect] says what one has of refship, [Install] puts hooks and config into
// it or upgrades them, [Uninstall] gives back what was there before.
//
// # Words
//
// The earlier hook is the one that was there before refship's. It is set aside when it gets a second name, and goes on
// running: refship's hook runs it first. A dispatcher is a hook NAME that runs all programs in the directory NAME.d,
// as Gitea's do. H is the directory where git looks for hooks: core.hooksPath, or hooks in the git directory.
//
// # On disk
//
// In H, for N in pre-receive and post-receive:
//
//	N                    a short script for sh, which becomes
//	                     PROGRAM hook run --hook N [--earlier H/N.before-refship] -- ARGUMENT…
//	N.before-refship     the earlier hook: the same file under another name
//	N.d/zz-refship       the script, where N is a dispatcher; then N stays, and there is no earlier hook
//	refship.json         the manifest, below
//	.NAME.*.refship-tmp  what is about to be renamed to NAME
//
// In the repository:
//
//	<GIT_DIR>/config                  [refship] and [refship "<target>"], see package target
//	<GIT_DIR>/refship/installed.json  where H is, and what the config was like without refship's sections
//	<GIT_DIR>/refship/pending/        intents, see package intent
//	<GIT_DIR>/refship/checks/         where checks run
//
// The manifest belongs to the directory, since several repositories may share it:
//
//	{
//	 "format": 1,
//	 "program": "/usr/bin/refship",
//	 "made": false,
//	 "hooks": [
//	  {
//	   "name": "post-receive",
//	   "file": "post-receive",
//	   "sha256": [
//	    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//	   ]
//	  },
//	  {
//	   "name": "pre-receive",
//	   "file": "pre-receive",
//	   "sha256": [
//	    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
//	   ],
//	   "earlier": {
//	    "sha256": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
//	    "mode": "0755"
//	   }
//	  }
//	 ],
//	 "repositories": [
//	  ".."
//	 ]
//	}
//
// made says that install has made H. A hook's sha256 is that of its script, and of both while one is replaced. earlier
// is what the earlier hook was like: of a symbolic link, "link" is true and sha256 is of where it leads to.
//
// installed.json is
//
//	{
//	 "format": 1,
//	 "hooks": "hooks",
//	 "config": {
//	  "sha256": "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",
//	  "newline": true
//	 }
//	}
//
// where config is what the git config was without refship's sections, and newline that it ended with a line feed.
//
// A script finds the earlier hook beside itself, and both JSON files name what lies in the git directory relative to
// themselves. So a repository can be moved.
//
// # Order
//
//	install    installed.json, config, manifest, post-receive, pre-receive, manifest without what was replaced
//	uninstall  pre-receive, look for intents, post-receive, config, <GIT_DIR>/refship, manifest
//
// An upgrade is an install. One function plans the steps from what is there, another makes them. Each step is one
// rename, after which file and directory are synced.
//
// pre-receive is the switch: without it nothing is prepared or promised, and a push is what it was. It comes last,
// when all that it and post-receive need is there. It goes first, while post-receive still is there to keep the
// promises made. So post-receive must let a push without an intent pass in silence. Both must let pushes to a
// repository without refship's settings pass, after the earlier hook: H may be shared, and the config goes before a
// shared H does.
//
// # Invariants
//
//   - At each moment N is the earlier hook or refship's script, whole. The earlier hook gets its second name by
//     link(2), and then the script is renamed over the first name. On uninstall the second name is renamed over the
//     first.
//   - When a run is killed, the next install or uninstall finishes, and uninstall gives every byte and mode back.
//   - What is not refship's is never changed. A script of refship's that was edited is not, either:
//     [EditedError]. The manifest is written before a script and names the old and the new one then, so that the two
//     can be told from an edited one wherever a run ends. Without a manifest, a script is refship's if it is exactly
//     what script writes.
//   - What another hook does is read from its text by plain rules, and it is never run to find out. It is a dispatcher
//     if it has a pattern such as "$name.d"/*, or gives that directory to run-parts. If it only speaks of such a
//     directory, and one with hooks in it exists, install refuses.
//
// # The earlier hook
//
// The script hands --earlier PATH to refship if there was an earlier hook. Refship runs PATH first, with the arguments
// behind --, git's standard input and environment. Like git it leaves out a hook that is not executable; one that is
// gone refuses. git's working directory and GIT_DIR are those of a linked worktree if that is pushed to.
//
// # Concurrency
//
// Install and Uninstall hold a lock on H, by flock(2), and wait for it up to 10 s. A pre-receive and a manual deploy
// hold a shared lock on <GIT_DIR>/refship, and an uninstall an exclusive one. So an uninstall sees what is being
// promised, and takes nothing away beneath it.
package install
