package queue

import "github.com/redisx/redisx/ds/internal/codec"

// Codec turns payloads into bytes and back: Encode(v) and Decode(data, &v).
// Producers and consumers of a queue must use the same.
type Codec = codec.Codec
