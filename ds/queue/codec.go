package queue

import "encoding/json"

// Codec turns payloads into bytes and back. It must be usable by many
// goroutines at once.
type Codec interface {
	// Encode returns v as bytes, which the queue does not change.
	Encode(v any) ([]byte, error)
	// Decode reads data into v, a pointer to the queue's payload type. It may
	// keep data. An error, or a panic, ends the job as a dead letter.
	Decode(data []byte, v any) error
}

// jsonCodec is the default.
type jsonCodec struct{}

func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }
