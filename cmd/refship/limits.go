package main

import (
	"cmp"
	"strconv"
	"time"

	"refship/deploy/text"
	"refship/gitserver"
)

// limitFlags bound what clients can use of a server.
type limitFlags struct {
	MaxConnections           amount   `variable:"" default:"1000" placeholder:"N" help:"How many connections may be open at a time. Default: 1000."`
	MaxConnectionsPerAddress amount   `variable:"" default:"100" placeholder:"N" help:"How many of them one IP address may have; with IPv6, one network of 64 bits. Default: 100."`
	LoginGrace               duration `variable:"" default:"1m" placeholder:"TIME" help:"How long a client may take to authenticate. Default: 1m."`
	MaxPackSize              size     `variable:"" default:"1GiB" placeholder:"SIZE" help:"The largest pack that one push may send, in bytes or such as 100MiB. Default: 1GiB."`
	GitMemory                size     `variable:"" placeholder:"SIZE" help:"How much memory all git processes may take together, at least 288MiB. Default: half of what this process may use, which is the machine's memory or the limit of its control group (MemoryMax= of systemd, a container's)."`
	MaxFileSize              size     `variable:"" default:"512MiB" placeholder:"SIZE" help:"The largest file that is deployed. Default: 512MiB. Each version of a file takes its full size of etcd's quota (--etcd-quota)."`
	CheckLimit               duration `variable:"" default:"5m" placeholder:"TIME" help:"How long a target's check may take. Default: 5m."`
}

func (l *limitFlags) limits() gitserver.Limits {
	return gitserver.Limits{
		Connections: int(l.MaxConnections), ConnectionsPerAddress: int(l.MaxConnectionsPerAddress),
		LoginGrace: time.Duration(l.LoginGrace), MaxPack: int64(l.MaxPackSize), GitMemory: l.gitMemory(),
	}
}

// gitMemory is what all git processes may take together, in bytes.
func (l *limitFlags) gitMemory() int64 {
	return cmp.Or(int64(l.GitMemory), gitserver.DefaultGitMemory())
}

// check refuses a limit with which no push would ever pass.
func (l *limitFlags) check() error {
	if l.GitMemory > 0 && l.GitMemory < gitserver.MinGitMemory {
		return usagef("--git-memory: %s is too little, a server needs %s", text.Size(int64(l.GitMemory)),
			text.Size(gitserver.MinGitMemory))
	}
	return nil
}

const (
	// defaultQuota is how much the embedded etcd may hold, and etcd's own recommended maximum.
	defaultQuota quota = 8 << 30
	// minQuota holds some deploys, and more than one request of etcd's. maxQuota is what etcd still maps into memory.
	minQuota, maxQuota quota = 16 << 20, 1 << 40
)

// quota is how much the embedded etcd may hold, in bytes.
type quota int64

func (q *quota) UnmarshalText(word []byte) error {
	value, err := text.ParseSize(string(word))
	if err != nil {
		return usagef("%v", err)
	}
	if got := quota(value); got < minQuota || got > maxQuota {
		return usagef("%s is not a size from %s to %s", word, text.Size(int64(minQuota)), text.Size(int64(maxQuota)))
	}
	*q = quota(value)
	return nil
}

// amount is a whole number from 1.
type amount int

func (n *amount) UnmarshalText(text []byte) error {
	value, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil || value == 0 {
		return usagef("%q is not a whole number from 1", text)
	}
	*n = amount(value)
	return nil
}

// duration is a time span above 0, as time.ParseDuration has it.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil || value <= 0 {
		return usagef("%q is not a time above 0, such as 30s or 1m", text)
	}
	*d = duration(value)
	return nil
}

// size is a number of bytes from 1, as text.ParseSize reads it.
type size int64

func (s *size) UnmarshalText(word []byte) error {
	value, err := text.ParseSize(string(word))
	if err != nil {
		return usagef("%v", err)
	}
	*s = size(value)
	return nil
}
