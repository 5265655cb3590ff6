// Package plan turns a tree of a commit or of a plain directory into what etcd lacks of it, and puts that there. It
// knows neither verdict nor lock: package deploy says which tree, and publishes the deploy.
//
// # Words
//
// A task is a tree to be put into a chain's namespace. A plan is a task that was read and compared with etcd: contents,
// nodes and git objects that etcd lacks, what mgmt reads, and a summary of what changes. A share is what one plan has
// of the memory for all.
//
// # The steps
//
// [Make], in this order (task.go):
//
//	plan.go      planTree, which directories etcd perhaps has no node of, from the root down
//	contents.go  learnSizes, of the files in them
//	late.go      postpone, which of these need not be read yet
//	contents.go  readContents, the sha256 of the others
//	plan.go      fillNodes and findNodes, the nodes' text, and which of them etcd lacks
//	changes.go   countFiles, what differs from the head
//	mgmt.go      layForMgmt, payload and superblock
//	contents.go  findMissing, which contents etcd lacks
//	objects.go   readObjects, which commits etcd lacks
//
// [Plan.Put] writes them (put.go). memory.go bounds what plans take. [WriteTree] writes a tree to the disk, for a
// target's check.
//
// # Late contents
//
// A tree whose new contents fit into memory is read by Make. Of a larger one that is to be stored, most contents are
// late: Make learns their sizes, and reads only what a tree can be refused for, which are links and what may be a Git
// LFS pointer, and what is so large that it has to be read twice. Put reads what is late and stores it at the same time,
// so that it is read once. Until then the nodes above are open: they have their size and no sha256, and the Summary has
// upper bounds. [Plan.Settle] reads what is late before Put does, for who must know exactly. With mgmt's frontends
// nothing is late: payload and superblock name all contents.
//
// # Invariants
//
//   - If a tree key exists, everything below it exists: contents are acknowledged before the node that names them, and
//     a node before the node above it. So the walk stops at a node that is there.
//   - What the head's nodes name is believed, since the head's record vouches for it. Anything else that is there is
//     compared byte by byte.
//   - What a plan takes in memory is counted before it is taken, and so is what a tree holds: files and directories
//     wherever they occur, depth, lengths of paths. A directory is read once, however often it occurs.
//   - Whatever can refuse a tree does so in Make. Put fails for what is broken, or has changed, or is lost.
//   - Once a plan is put, nothing of its contents stays in memory. Of late contents there are never more than a few
//     batches in it.
//   - The files of a directory are read again when they are put. One that has changed since it was first read ends the
//     put, before what names it is there.
//
// # Concurrency
//
// A [Memory] may be used by many goroutines. A [Plan] belongs to one at a time.
package plan
