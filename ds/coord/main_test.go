package coord_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/dstest"
)

// roles are what the test binary can be besides; tests fill it.
var roles = dstest.Roles{}

// soon is less than things last that nobody renews, by the default TTL of 10 s, and
// much more than a loaded machine takes: what comes so soon did not wait for that.
const soon = 8 * time.Second

// slack is the bound of a scenario with REDISX_LONG, and much more without: other
// tests take their part of the machine.
func slack(d time.Duration) time.Duration { return time.Duration(dstest.Rounds(20, 1)) * d }

func TestMain(m *testing.M) {
	dstest.Play(roles)
	goleak.VerifyTestMain(m)
}
