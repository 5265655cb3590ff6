package intent

// Life is what can be told of a process by its name.
type Life int

const (
	unknown Life = iota
	running
	Ended
)
