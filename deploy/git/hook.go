package git

// The names of the hooks of a push (githooks(5)).
const (
	PreReceive  = "pre-receive"
	PostReceive = "post-receive"
)
