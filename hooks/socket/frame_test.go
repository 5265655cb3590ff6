package socket

import (
	"bytes"
	"testing"
)

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("v\x00\x00\x00\x03a=bi\x00\x00\x00\x02xye\x00\x00\x00\x00"))
	f.Add([]byte("v\x00\x00\x00\x01a"))
	f.Add([]byte("i\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		req, err := readRequest(bytes.NewReader(sent))
		if err != nil {
			return
		}
		size := len(req.Input)
		for name, value := range req.Vars {
			size += len(name) + len(value)
		}
		if size > len(sent) {
			t.Errorf("%d bytes out of %d", size, len(sent))
		}
	})
}
