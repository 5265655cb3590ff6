package main

import (
	"math"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"refship/gitserver"
)

// limitFlags bound what clients can use of a server.
type limitFlags struct {
	MaxConnections           amount   `variable:"" default:"1000" placeholder:"N" help:"How many connections may be open at a time. Default: 1000."`
	MaxConnectionsPerAddress amount   `variable:"" default:"100" placeholder:"N" help:"How many of them one IP address may have; with IPv6, one network of 64 bits. Default: 100."`
	LoginGrace               duration `variable:"" default:"1m" placeholder:"TIME" help:"How long a client may take to authenticate. Default: 1m."`
	MaxPackSize              size     `variable:"" default:"1GiB" placeholder:"SIZE" help:"The largest pack that one push may send, in bytes or such as 100MiB. Default: 1GiB."`
	MaxFileSize              size     `variable:"" default:"512MiB" placeholder:"SIZE" help:"The largest file that is deployed. Default: 512MiB. The embedded etcd's quota is 8 GiB, and each version of a file takes its full size of it."`
	CheckLimit               duration `variable:"" default:"5m" placeholder:"TIME" help:"How long a target's check may take. Default: 5m."`
}

func (l *limitFlags) limits() gitserver.Limits {
	return gitserver.Limits{
		Connections: int(l.MaxConnections), ConnectionsPerAddress: int(l.MaxConnectionsPerAddress),
		LoginGrace: time.Duration(l.LoginGrace), MaxPack: int64(l.MaxPackSize),
	}
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

// size is a number of bytes from 1, written with or without a unit: KiB, MiB, GiB, or KB, MB, GB of powers of ten.
type size int64

func (s *size) UnmarshalText(text []byte) error {
	value, err := humanize.ParseBytes(string(text))
	if err != nil || value == 0 || value > math.MaxInt64 {
		return usagef("%q is not a size above 0, such as 100MiB, 1GiB or 1048576", text)
	}
	*s = size(value)
	return nil
}
