// Package stale finds what git processes that died leave in a server's repository and later ones trip over: lock files,
// quarantine folders, half-written intents and configs. It removes nothing.
//
// It is for a time at which no push can be running. Locks of refs are stale whatever their age: this server's gits died
// with the last server. A person's git holds one for moments, but a lock that stayed for a minute more would have all
// pushes to that ref refused for it. Only a config is edited while no server runs, so its young lock is not stale.
package stale
