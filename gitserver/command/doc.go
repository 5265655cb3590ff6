// Package command reads what an SSH client asks for: git's own commands for push, clone and fetch, and the few that a
// person types. It runs nothing.
//
//	git-receive-pack '/team/config.git'   ReceivePack of team/config, as git sends it
//	log config:web -n 5                   Log of config's target web, 5 deploys
//
// A command is read the way git quotes it, and no shell is involved. A name is read by [repos.NameFromPath]. What is
// not understood is a fault.Usage.
package command
