// Package intent keeps intents: the promise, on disk in a repository, to publish what pre-receive accepted.
//
// # Format
//
// <GIT_DIR>/refship/pending/<push>.json, where <push> is 32 hex digits, random. It is written to a temporary file,
// synced, renamed, and the directory is synced. All fields are there and no others; times are RFC 3339 in UTC.
//
//	{
//	 "format": 1,
//	 "push": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
//	 "time": "2026-11-23T14:00:00.000000005Z",
//	 "process": "",
//	 "repository": "config",
//	 "pusher": {
//	  "name": "laptop",
//	  "key": "SHA256:abc",
//	  "via": "ssh"
//	 },
//	 "options": [
//	  "ci.skip",
//	  "deploy.force",
//	  "deploy.reason=the old line is given up"
//	 ],
//	 "certificate": "",
//	 "deploys": [
//	  {
//	   "target": {
//	    "name": "default",
//	    "ref": "refs/heads/main",
//	    "path": "",
//	    "namespace": "/refship/config",
//	    "frontend": "files",
//	    "check": "make check"
//	   },
//	   "old": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
//	   "new": "5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90",
//	   "head": 7,
//	   "forced": true,
//	   "forced_head": 7,
//	   "again": 0,
//	   "reason": "the old line is given up"
//	  }
//	 ]
//	}
//
// commit is there where new is an annotated tag, and is what that names. process is empty for a server's pushes.
// certificate is the oid of the push certificate, or empty; old is 40 zeros where the ref was not there; forced is set
// where the head's deploy had to be overridden, and forced_head is its id, else 0; again is the head at which the
// pusher saw that something undone comes back, or 0; head is the id of the chain's head when the push was accepted.
// Where the chain has been forced or rolled back since, or has had the commit already, the intent is dropped: it must
// not undo a later decision. A file that cannot be read as an intent is renamed to <name>.bad and reported.
//
// # Who has an intent
//
// A push that runs settles its own intent: [Intent.MayRun] tells it from one that died. A push takes the shared lock of
// [Enter], and what takes hooks out of a repository waits with [AwaitPushes] until no push is being prepared.
//
// # Concurrency
//
// Files are written whole and renamed, so that readers may run beside a writer. An intent itself belongs to one
// goroutine.
package intent
