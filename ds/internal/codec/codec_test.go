package codec

import (
	"errors"
	"testing"
)

type broken struct{}

var errBroken = errors.New("broken")

func (broken) MarshalJSON() ([]byte, error) { return nil, errBroken }

func TestJSONIsEncodingJSON(t *testing.T) {
	var c Codec = JSON{}
	data, err := c.Encode(map[string]int{"n": 1})
	if err != nil || string(data) != `{"n":1}` {
		t.Fatalf("Encode = %s, %v", data, err)
	}
	var back map[string]int
	if err := c.Decode(data, &back); err != nil || back["n"] != 1 {
		t.Errorf("Decode = %v, %v", back, err)
	}
	if err := c.Decode([]byte("{"), &back); err == nil {
		t.Error("half an object was decoded")
	}
	if _, err := c.Encode(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("Encode = %v, want the value's own error", err)
	}
}
