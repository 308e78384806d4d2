package coord

import (
	"embed"
	"strconv"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed barrier_arrive.lua
	barrierArriveSource string
	//go:embed barrier_renew.lua
	barrierRenewSource string
	//go:embed barrier_look.lua
	barrierLookSource string
	//go:embed barrier_leave.lua
	barrierLeaveSource string
	//go:embed barrier_inspect.lua
	barrierInspectSource string
	//go:embed barrier_end.lua
	barrierParts embed.FS
)

// barrierLua are the steps of a barrier.
var barrierLua = struct{ arrive, renew, look, leave, inspect *command.Script }{
	arrive:  script.New(barrierArriveSource, barrierParts),
	renew:   script.New(barrierRenewSource, barrierParts),
	look:    script.New(barrierLookSource, barrierParts),
	leave:   script.New(barrierLeaveSource, barrierParts),
	inspect: command.NewScript(barrierInspectSource),
}

// barrierKeys are the keys of one generation of a barrier: the barrier, the
// generation, who has arrived until when, and by which id. The third changes
// all the time; who waits watches the second, which changes when it ends.
func barrierKeys(namespace, name string, generation int64) []string {
	p, n := keys.Prefix(namespace, "barrier", name), strconv.FormatInt(generation, 10)
	return []string{p + "barrier", p + "generation:" + n, p + "arrived:" + n, p + "ids:" + n}
}

// standing is how a generation stands, the first word that the scripts return.
type standing string

const (
	passed  standing = "passed"
	broken  standing = "broken"
	waiting standing = "waiting"
	other   standing = "other"   // it is not the one to come
	parties standing = "parties" // it has another number of parties
	gone    standing = "gone"    // the server knows nothing of our arrival
)

// verdict is what the scripts return.
type verdict struct {
	standing
	by, why string        // broken: by which party, left or lapsed
	lapse   time.Duration // waiting: until another's arrival lapses unless renewed, 0 when there is none
	number  int64         // other: which one; parties: how many
	server  string        // gone: which server says so
	reason  hold.Reason   // gone: why
}

func asVerdict(v resp3.View) (verdict, error) {
	f := script.Read(v)
	r := verdict{standing: standing(f.Text())}
	switch r.standing {
	case passed:
	case gone:
		r.server, r.reason = f.Text(), hold.ReasonOf(f.Text())
	case broken:
		r.by, r.why = f.Text(), f.Text()
	case waiting:
		r.lapse = f.Millis()
	case other, parties:
		r.number = f.Int()
	default:
		f.Refuse(string(r.standing))
	}
	return r, f.Err()
}

// BarrierInfo is what the server says of a barrier at one moment.
type BarrierInfo struct {
	Name string `json:"name"`
	// Generation is the one to come. It is 0 where the server knows of no
	// barrier of that name.
	Generation int64 `json:"generation"`

	// The rest is zero while nobody has arrived in it.

	Parties int       `json:"parties,omitempty"` // how many it waits for
	Since   time.Time `json:"since,omitzero"`    // the first arrival, by the server's clock
	Arrived []Party   `json:"arrived,omitempty"` // the one that lapses first comes first
}

// Party is one that waits at a barrier.
type Party struct {
	Name string `json:"name"`
	// Left is for how long the server waits for its next renewal. Negative: it
	// has lapsed, which breaks the generation as soon as another party asks.
	Left time.Duration `json:"left_ns"`
}

func asBarrierInfo(v resp3.View) (i BarrierInfo, standing string, current int64, err error) {
	f := script.Read(v)
	standing = f.Text()
	switch standing {
	case "other":
		current = f.Int()
	case "here":
		i.Parties, i.Since = int(f.Int()), f.Micros()
		for f.More() {
			i.Arrived = append(i.Arrived, Party{Name: f.Text(), Left: f.Millis()})
		}
		if len(i.Arrived) == 0 {
			i.Parties, i.Since = 0, time.Time{}
		}
	case "none":
	default:
		f.Refuse(standing)
	}
	return i, standing, current, f.Err()
}
