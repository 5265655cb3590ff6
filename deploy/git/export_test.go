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

// ParsePack gives how many bytes the objects of a pack have that is read without git.
func ParsePack(pack []byte) (size int, err error) {
	found, err := parsePack(pack)
	for _, o := range found {
		size += len(o.data)
	}
	return size, err
}
