package hooks

// life is what can be told of a process by its name.
type life int

const (
	lifeUnknown life = iota
	lifeRunning
	lifeEnded
)
