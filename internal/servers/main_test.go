package servers

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// envParent makes the test binary play a parent that is killed.
const envParent = "SERVERS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(envParent) != "" {
		dyingParent()
	}
	goleak.VerifyTestMain(m)
}

// dyingParent starts a server, tells its pid, and dies without a word to it.
func dyingParent() {
	s, err := Launch(context.Background(), Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Pid())
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
