package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleClient_Tx() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	tx := client.Tx()
	tx.Del("example:stock", "example:orders")
	stock := tx.DecrBy("example:stock", 2)
	redisx.Queue(tx, command.LPush("example:stock", "not a list"))
	orders := tx.RPush("example:orders", "tea", "tea")
	err = tx.Exec(ctx)

	var abort *redisx.AbortError
	var partial *redisx.PartialError
	switch {
	case errors.As(err, &abort):
		fmt.Println("nothing ran:", abort)
	case errors.As(err, &partial):
		fmt.Println(partial.Failed, "of", partial.Total, "failed, the others ran")
	}
	fmt.Println(stock.Result())
	fmt.Println(orders.Result())
}

func ExampleClient_WatchTx() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	client.Set(ctx, "example:balance", "100")

	errPoor := errors.New("not enough money")
	spend := func(amount int) error {
		return client.WatchTx(ctx, []string{"example:balance"}, 10, func(ctx context.Context, s *redisx.Session, tx *redisx.Tx) error {
			text, err := s.Get(ctx, "example:balance")
			if err != nil {
				return err
			}
			balance, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			if balance < amount {
				return errPoor // nothing is run
			}
			tx.Set("example:balance", strconv.Itoa(balance-amount))
			tx.RPush("example:spent", strconv.Itoa(amount))
			return nil
		})
	}
	fmt.Println(spend(70))
	fmt.Println(spend(70))
	fmt.Println(client.Get(ctx, "example:balance"))
}

func ExamplePipeline_Reset() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	p := client.Pipeline()
	for _, user := range []string{"ada", "grace"} {
		p.Reset() // uses the memory again
		p.Set("example:"+user, user)
		name := p.Get("example:" + user)
		if err := p.Exec(ctx); err != nil {
			fmt.Println(err, redisx.SafeToRetry(err))
			return
		}
		fmt.Println(name.Result())
	}
}

func TestTransactionExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, tt := range []struct {
		example func()
		want    string
	}{
		{ExampleClient_Tx, "1 of 4 failed, the others ran\n-2 <nil>\n2 <nil>\n"},
		{ExampleClient_WatchTx, "<nil>\nnot enough money\n30 <nil>\n"},
		{ExamplePipeline_Reset, "ada <nil>\ngrace <nil>\n"},
	} {
		if got := serverstest.Printed(t, tt.example); got != tt.want {
			t.Errorf("printed:\n%s\nwant:\n%s", got, tt.want)
		}
	}
}
