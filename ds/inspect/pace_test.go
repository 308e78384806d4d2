package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/resp3"
)

const (
	bucket     = "{redisx:limiter:x}:bucket"
	bucketForm = "*4\r\n*4\r\n$6\r\nstring\r\n:9\r\n$7\r\nlimiter\r\n$1\r\n1\r\n*0\r\n*0\r\n*0\r\n"
)

// keyspace answers as a server with that many keys, of which every nth is a
// limiter; 0 for none. It counts the keys that it looks at.
type keyspace struct {
	t         testing.TB
	size      int
	every     int
	looked    int
	described int
	asked     int64 // the largest COUNT
}

func (k *keyspace) Do(_ context.Context, r command.Request) (command.Reply, error) {
	reply := func(wire string) (command.Reply, error) {
		view := value(k.t, wire).View()
		return command.NewReply(&view, nil), nil
	}
	if r.Name() != "SCAN" {
		k.described++
		return reply(bucketForm)
	}
	var cursor, count int
	for i := range r.Len() {
		switch {
		case i == 0:
			cursor, _ = strconv.Atoi(r.Arg(i).Text())
		case r.Arg(i).Text() == "COUNT":
			count, _ = strconv.Atoi(r.Arg(i + 1).Text())
		case r.Arg(i).Text() == "MATCH" && r.Arg(i+1).Text() != "{*}:*":
			k.t.Errorf("MATCH %s", r.Arg(i+1).Text())
		}
	}
	k.asked = max(k.asked, int64(count))
	var found []string
	end := min(cursor+count, k.size)
	for ; cursor < end; cursor++ {
		k.looked++
		if k.every > 0 && cursor%k.every == 0 {
			found = append(found, fmt.Sprintf("{redisx:limiter:%d}:bucket", cursor))
		}
	}
	if cursor == k.size {
		cursor = 0
	}
	next := strconv.Itoa(cursor)
	return reply(fmt.Sprintf("*2\r\n$%d\r\n%s\r\n%s", len(next), next, bulks(found...)))
}

func TestASearchKeepsItsRate(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size, every int
		rate        int
		want        time.Duration
	}{
		{"a million keys of others at the default rate", 1_000_000, 0, 0, 20 * time.Second},
		{"slowly", 10_000, 0, 100, 100 * time.Second},
		{"objects count as 20 keys more", 10_000, 10, 1000, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &keyspace{t: t, size: tt.size, every: tt.every}
				var opts []inspect.Option
				if tt.rate > 0 {
					opts = append(opts, inspect.Rate(tt.rate))
				}
				began, found := time.Now(), 0
				for _, err := range inspect.Find(t.Context(), k, opts...) {
					if err != nil {
						t.Fatal(err)
					}
					found++
					if tt.rate > 0 {
						// At no moment has the server looked at more than the rate allows and one page.
						most := time.Since(began).Seconds()*float64(tt.rate) + 21*float64(k.asked)
						if cost := float64(k.looked + 20*k.described); cost > most {
							t.Fatalf("after %v the server had looked at %v keys", time.Since(began), cost)
						}
					}
				}
				took := time.Since(began)
				if took < tt.want-tt.want/20 || took > tt.want+tt.want/20 || k.looked != tt.size {
					t.Errorf("it took %v for %d keys, want %v", took, k.looked, tt.want)
				}
				if tt.every > 0 && found != tt.size/tt.every {
					t.Errorf("found %d", found)
				}
				if k.asked > 250 || tt.rate > 0 && int(k.asked) > max(10, tt.rate/20) {
					t.Errorf("a page of %d keys", k.asked)
				}
			})
		})
	}
}

func TestACancelledSearchEndsAtOnceWithTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(1234*time.Millisecond, func() { cancel(cause) })
		_, e := broken(t, ctx, &keyspace{t: t, size: 1_000_000}, inspect.Rate(10))
		if took := time.Since(began); took != 1234*time.Millisecond {
			t.Errorf("it ended after %v", took)
		}
		if e == nil || !errors.Is(e, cause) || !errors.Is(e, context.Canceled) || e.Visited != 20 {
			t.Errorf("it ended with %v", e)
		}
	})
}

func TestASearchThatIsLeftAsksNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keyspace{t: t, size: 1_000_000, every: 1000}
		for o, err := range inspect.Find(t.Context(), k) {
			if err != nil || o.Name != "0" {
				t.Errorf("found %v, %v", o, err)
			}
			break
		}
		if k.looked > 250 {
			t.Errorf("it looked at %d keys", k.looked)
		}
	})
}

func TestASearchIsBoundedInObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keyspace{t: t, size: 100_000, every: 1}
		found, e := broken(t, t.Context(), k, inspect.AtMost(10))
		if e == nil || !errors.Is(e, inspect.ErrTooMany) || len(found) != 10 || e.Found != 10 || k.looked > 250 {
			t.Fatalf("found %d, looked at %d keys, ended with %v", len(found), k.looked, e)
		}
		found, e = broken(t, t.Context(), &keyspace{t: t, size: 10, every: 1}, inspect.AtMost(10))
		if e != nil || len(found) != 10 {
			t.Errorf("of exactly as many as allowed it found %d, and ended with %v", len(found), e)
		}
	})
}

func TestKeysThatAreReturnedTwiceAreOneObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := []string{
			"*2\r\n$1\r\n7\r\n" + bulks(bucket, bucket),
			"*2\r\n$1\r\n8\r\n" + bulks("{redisx:limiter:gone}:bucket"),
			"*2\r\n$1\r\n0\r\n" + bulks(bucket),
		}
		described := 0
		d := fake(func(_ context.Context, r command.Request) (resp3.Value, error) {
			if r.Name() == "SCAN" {
				page := pages[0]
				pages = pages[1:]
				return value(t, page), nil
			}
			described++
			if r.Arg(2).Text() != bucket {
				return value(t, "*4\r\n*0\r\n*0\r\n*0\r\n*0\r\n"), nil // expired meanwhile
			}
			return value(t, bucketForm), nil
		})
		found, e := broken(t, t.Context(), d)
		if e != nil || len(found) != 1 || len(found[0].Keys) != 1 || described != 2 {
			t.Errorf("found %v, %v; asked %d times", found, e, described)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opt := range map[string]inspect.Option{
		"an unknown kind":      inspect.OfKind("lease", "leese\x1b"),
		"no rate":              inspect.Rate(0),
		"a rate that is small": inspect.Rate(9),
		"no objects":           inspect.AtMost(0),
	} {
		d := fake(func(context.Context, command.Request) (resp3.Value, error) {
			t.Errorf("%s: the server was asked", name)
			return resp3.Value{}, errors.New("no")
		})
		for _, err := range inspect.Find(t.Context(), d, opt) {
			if err == nil || !printable(err.Error()) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, err := range inspect.Reports(t.Context(), d, opt) {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, err := inspect.Lookup(t.Context(), d, "x", opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
