package codec

import "encoding/json"

// Codec turns values into bytes and back. Its methods are called by many
// goroutines at once.
type Codec interface {
	// Encode returns v as it is stored.
	Encode(v any) ([]byte, error)
	// Decode reads data into what v points to. It must not keep data.
	Decode(data []byte, v any) error
}

// JSON is the default: encoding/json.
type JSON struct{}

// Encode is json.Marshal.
func (JSON) Encode(v any) ([]byte, error) { return json.Marshal(v) }

// Decode is json.Unmarshal.
func (JSON) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }
