package main

import (
	"context"
	"testing"
	"time"

	"github.com/redisx/redisx/internal/servers/serverstest"
)

// Every client must run every operation, or the table compares failures.
func TestEveryClientRunsEveryOperation(t *testing.T) {
	server := serverstest.Start(t)
	o := options{size: 64, time: 20 * time.Millisecond}
	if err := fill(context.Background(), server.Addr, o); err != nil {
		t.Fatal(err)
	}
	for _, o.op = range operations {
		for _, c := range clients {
			if c.raw && values(o.op) > 1 && o.op != "pipeline" && o.op != "mget" || c.name == "go-redis AutoPipeline" && o.op == "pipeline" {
				continue
			}
			n := 4
			if c.lone {
				n = 1
			}
			s, err := measure(context.Background(), o, c, server, n)
			if err != nil || s.rate <= 0 || s.p50 <= 0 || s.p99 < s.p50 {
				t.Errorf("%s, %s: %+v, %v", c.name, o.op, s, err)
			}
		}
	}
}

func TestMediansAndRatiosPairWithinARepetition(t *testing.T) {
	rate := func(s sample) float64 { return s.rate }
	a := []sample{{rate: 30}, {rate: 10}, {rate: 20}}
	b := []sample{{rate: 10}, {rate: 10}, {rate: 5}}
	if m := median(a, rate); m != 20 {
		t.Errorf("median %v, want 20", m)
	}
	if r := ratio(a, b, rate); r != "3.00" { // 3, 1, 4
		t.Errorf("ratio %v, want 3.00", r)
	}
	if r := ratio(a, nil, rate); r != "-" {
		t.Errorf("ratio without a base %q, want -", r)
	}
}
