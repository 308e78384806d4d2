package aside

import (
	"embed"
	"errors"
	"math"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/batch"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed read.lua
	readSource string
	//go:embed take.lua
	takeSource string
	//go:embed store.lua
	storeSource string
	//go:embed fail.lua
	failSource string
	//go:embed invalidate.lua
	invalidateSource string
	//go:embed tag.lua
	tagSource string
	//go:embed inspect.lua
	inspectSource string
	//go:embed reading.lua
	parts embed.FS
)

var (
	readRows         = batch.New(readOnly(readSource), 2, 0, decodeReading)
	takeScript       = script.New(takeSource, parts)
	storeScript      = script.New(storeSource, parts)
	failScript       = script.New(failSource, parts)
	invalidateScript = script.New(invalidateSource, parts)
	tagScript        = script.New(tagSource, parts)
	inspectScript    = readOnly(inspectSource)
)

func readOnly(source string) *command.Script {
	return command.NewScriptRO(script.New(source, parts).Source())
}

// state is what a script found.
type state int64

const (
	stateNone    state = 0  // no value, and nothing known
	stateValue   state = 1  // a value of ours
	stateForeign state = 2  // a value that another program has set
	stateAbsent  state = 3  // a compute has found nothing
	stateDone    state = 10 // taken, stored
	stateDenied  state = 11 // the fill is somebody else's
)

// foreign is the version of a value that another program has set.
const foreign = "-"

// reading is what the server knows of a value.
type reading struct {
	state   state
	data    []byte
	fresh   time.Duration // for how long it is; below 0: for how long it has not been
	rest    time.Duration // until it is gone
	took    time.Duration // its compute
	quiet   time.Duration // for which nobody refreshes
	version string
	tags    string        // their generations when it was computed
	left    time.Duration // of stateDenied: until the fill of somebody else lapses
}

var errAnswer = errors.New("aside: unexpected answer of a script")

// forever is long, and may be added to.
const forever = time.Duration(math.MaxInt64 / 4)

func decodeReading(v resp3.View) (reading, error) {
	f := script.Read(v)
	r := reading{state: state(f.Int())}
	switch r.state {
	case stateNone, stateValue, stateForeign, stateAbsent:
		data := f.Next()
		if data.Kind() == resp3.BulkString {
			r.data = append([]byte(nil), data.Bytes()...)
		}
		r.fresh, r.rest, r.took, r.quiet = f.Millis(), f.Millis(), f.Millis(), f.Millis()
		r.version, r.tags = f.Text(), f.Text()
		if r.state == stateForeign && r.rest < 0 {
			r.fresh, r.rest = forever, forever
		}
	case stateDone:
	case stateDenied:
		if f.More() {
			f.Text() // the holder's token is for people who watch
			r.left = f.Millis()
		}
	default:
		return r, errAnswer
	}
	return r, f.Err()
}
