package session

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	smallWrite = 100 // as narrow as the windows of the tests
	goleak.VerifyTestMain(m)
}
