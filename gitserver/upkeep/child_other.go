//go:build !linux

package upkeep

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts a child into a process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// beNice lets a process group come after others.
func beNice(pgid int) { _ = unix.Setpriority(unix.PRIO_PGRP, pgid, 10) }
