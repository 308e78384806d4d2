package semaphore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/dstest"
)

// roles are what the test binary can be besides; tests fill it.
var roles = dstest.Roles{}

func TestMain(m *testing.M) {
	dstest.Play(roles)
	goleak.VerifyTestMain(m)
}
