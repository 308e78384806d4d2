package coord_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
)

func ExampleElection_Lead() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// With coord.Again(), too, it would campaign anew after a loss.
	err = coord.NewElection(client, "cron", coord.Name("web-1")).Lead(ctx, func(ctx context.Context, t *coord.Term) error {
		// ctx ends before anybody else leads. Outside of Redis, pass t.Token() on.
		_, err := t.Do(ctx, command.Set("cron:ran-by", t.Leader()))
		return err
	})
	ranBy, _ := client.Get(ctx, "cron:ran-by")
	fmt.Println(ranBy, err)
	// Prints: web-1 <nil>
}

func ExampleElection_Campaign() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	term, err := coord.NewElection(client, "cron").Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("leads:", term.Context().Err() == nil)
	fmt.Println("resigned:", term.Resign(ctx))
	fmt.Println("leads:", term.Context().Err() == nil)
	// Prints:
	// leads: true
	// resigned: <nil>
	// leads: false
}

func ExampleElection_Observe() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	go coord.NewElection(client, "reports", coord.Name("web-1")).Lead(ctx, func(ctx context.Context, _ *coord.Term) error {
		<-ctx.Done()
		return nil
	})

	for info, err := range coord.NewElection(client, "reports").Observe(ctx) {
		if err != nil {
			continue // the server is away; what is so afterwards is told again
		}
		if info.Led {
			fmt.Println(info.Leader, "leads")
			break
		}
	}
	// Prints: web-1 leads
}

func ExampleElection_StepDown() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	term, err := coord.NewElection(client, "billing").Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// The leader resigns when its context ends, as Lead does by itself.
	go func() {
		<-term.Context().Done()
		term.Resign(ctx)
	}()

	operator := coord.NewElection(client, "billing", coord.Name("ops"))
	fmt.Println(operator.StepDown(ctx, "deploy"))
	var lost *coord.LostError
	if errors.As(context.Cause(term.Context()), &lost) {
		fmt.Println(lost.Reason, lost.Err)
	}
	// Prints:
	// <nil>
	// asked by ops: deploy
}

func ExampleHealthy() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	fit := func(context.Context) error { return nil } // such as a ping of the database
	err = coord.NewElection(client, "cron", coord.Healthy(fit), coord.Weight(10)).Lead(ctx, func(ctx context.Context, t *coord.Term) error {
		fmt.Println("fit to lead")
		return nil
	})
	fmt.Println(err)
	// Prints:
	// fit to lead
	// <nil>
}
