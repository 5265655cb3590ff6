package gate

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// answer is a message that is handed on as it came.
type answer struct{ data mem.BufferSlice }

// codec is gRPC's own, but for answers.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2. An answer is sent once: gRPC frees what it has sent.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*answer); ok {
		data := a.data
		a.data = nil
		return data, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if a, ok := v.(*answer); ok {
		data.Ref()
		a.data = data
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
