package idem_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a way to give them a server, or to pass over them where there is
// none. TestExamples runs them and knows what they print.

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

type Receipt struct{ ID string }

func ExampleRun() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	order := map[string]any{"item": "book", "amount": 12}
	pay := func(ctx context.Context) (Receipt, error) {
		fmt.Println("charging the card")
		return Receipt{ID: "r-1"}, nil
	}
	for range 2 { // the second call could come from any process
		receipt, err := idem.Run(ctx, client, "pay:7", pay, idem.Fingerprint(order))
		fmt.Println(receipt.ID, err)
	}
	order["amount"] = 13
	_, err = idem.Run(ctx, client, "pay:7", pay, idem.Fingerprint(order))
	fmt.Println("other arguments:", errors.Is(err, idem.ErrKeyMismatch))
	// Prints:
	// charging the card
	// r-1 <nil>
	// r-1 <nil>
	// other arguments: true
}

func ExampleFinal() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for range 2 {
		_, err = idem.Run(ctx, client, "pay:8", func(ctx context.Context) (Receipt, error) {
			fmt.Println("asking the bank")
			return Receipt{}, idem.Final(errors.New("card declined"))
		})
		var stored *idem.StoredError
		fmt.Println(err, errors.As(err, &stored))
	}
	// Prints:
	// asking the bank
	// card declined false
	// idem: pay:8: card declined true
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Run", "charging the card\nr-1 <nil>\nr-1 <nil>\nother arguments: true\n", ExampleRun},
		{"Final", "asking the bank\ncard declined false\nidem: pay:8: card declined true\n", ExampleFinal},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
