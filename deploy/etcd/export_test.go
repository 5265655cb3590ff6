package etcd

// What tests check the bounds by.
const (
	RequestTimeout = requestTimeout
	InFlight       = inFlight
	StreamEndpoint = streamEndpoint
)
