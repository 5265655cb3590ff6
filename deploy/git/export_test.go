package git

// GitPID is the process id of the running git, 0 if there is none.
func (r *Repository) GitPID() int {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.git == nil {
		return 0
	}
	return r.git.cmd.Process.Pid
}
