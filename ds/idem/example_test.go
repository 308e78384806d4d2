package idem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
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
		fmt.Println(err, errors.Is(err, idem.ErrFailed))
	}
	// Prints:
	// asking the bank
	// card declined true
	// idem: pay:8: card declined true
}

func ExampleCheckpoint() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	mailServer := errors.New("mail server is down")
	for range 2 {
		receipt, err := idem.Run(ctx, client, "pay:9", func(ctx context.Context) (Receipt, error) {
			charge, err := idem.Checkpoint(ctx, "charge", func(ctx context.Context) (string, error) {
				fmt.Println("charging the card")
				return "ch-1", nil
			})
			if err != nil {
				return Receipt{}, err
			}
			_, err = idem.Checkpoint(ctx, "mail", func(ctx context.Context) (bool, error) {
				fmt.Println("sending a mail for", charge)
				err := mailServer
				mailServer = nil
				return err == nil, err
			})
			return Receipt{ID: charge}, err
		}, idem.ResumeOnCrash())
		fmt.Println(receipt.ID, err)
	}
	// Prints:
	// charging the card
	// sending a mail for ch-1
	//  mail server is down
	// sending a mail for ch-1
	// ch-1 <nil>
}

func ExampleEffect() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for range 2 {
		receipt, err := idem.Run(ctx, client, "transfer:4", func(ctx context.Context) (Receipt, error) {
			// Both, and the receipt, or none of them, also if we die now.
			err := idem.Effect(ctx, command.DecrBy("balance:ada", 10), command.IncrBy("balance:bob", 10))
			return Receipt{ID: "t-4"}, err
		})
		bob, _ := client.Get(ctx, "balance:bob")
		fmt.Println(receipt.ID, err, "bob has", bob)
	}
	// Prints:
	// t-4 <nil> bob has 10
	// t-4 <nil> bob has 10
}

// ExampleMiddleware is a small service: its handler knows nothing of
// idempotency, and runs once for each key of each user.
func ExampleMiddleware() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	once, err := idem.Middleware(client, idem.HTTP{
		Scope: func(r *http.Request) string { // who has signed in
			user, _, _ := r.BasicAuth()
			return user
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	payments := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", func(w http.ResponseWriter, r *http.Request) {
		payments++
		w.Header().Set("Location", fmt.Sprint("/payments/", payments))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "payment %d", payments)
	})
	service := httptest.NewServer(once(mux))
	defer service.Close()

	pay := func(user, key, amount string) {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, service.URL+"/payments", strings.NewReader("amount="+amount))
		r.SetBasicAuth(user, "secret")
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusCreated {
			fmt.Println(resp.StatusCode)
			return
		}
		fmt.Println(resp.StatusCode, string(body), resp.Header.Get("Location"), resp.Header.Get("Idempotency-Replayed"))
	}
	pay("ada", `"8e03978e"`, "5")
	pay("ada", `"8e03978e"`, "5") // a repeat
	pay("ada", `"8e03978e"`, "6") // another request
	pay("bob", `"8e03978e"`, "5") // somebody else
	pay("ada", "", "5")
	fmt.Println(payments, "payments")
	http.DefaultClient.CloseIdleConnections()
	// Prints:
	// 201 payment 1 /payments/1
	// 201 payment 1 /payments/1 true
	// 422
	// 201 payment 2 /payments/2
	// 400
	// 2 payments
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Run", "charging the card\nr-1 <nil>\nr-1 <nil>\nother arguments: true\n", ExampleRun},
		{"Final", "asking the bank\ncard declined true\nidem: pay:8: card declined true\n", ExampleFinal},
		{"Checkpoint", "charging the card\nsending a mail for ch-1\n mail server is down\nsending a mail for ch-1\nch-1 <nil>\n", ExampleCheckpoint},
		{"Effect", "t-4 <nil> bob has 10\nt-4 <nil> bob has 10\n", ExampleEffect},
		{"Middleware", "201 payment 1 /payments/1 \n201 payment 1 /payments/1 true\n422\n201 payment 2 /payments/2 \n400\n2 payments\n", ExampleMiddleware},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
