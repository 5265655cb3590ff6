//go:build !linux

package intent

// ThisProcess is "" where it cannot be told whether a process still is the one that it was.
func ThisProcess() string { return "" }

func ReceivePack() string { return "" }

func ProcessLife(string) Life { return unknown }
