package git

import "golang.org/x/sys/unix"

// lower sets the nice value of setpriority(2), counted from this process's own: a lower one needs a privilege.
func lower(pid, steps int) error {
	const highest = 19
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	own := 20 - raw // the system call gives it like that, since a negative result is an error
	return unix.Setpriority(unix.PRIO_PROCESS, pid, min(own+steps, highest))
}
