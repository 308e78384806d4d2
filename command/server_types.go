package command

import (
	"time"

	"github.com/redisx/redisx/resp3"
)

// Common is the longest common subsequence of two strings.
type Common struct {
	Length  int64
	Matches []CommonMatch // from the end to the beginning
}

// CommonMatch is one stretch that two strings have in common. Positions count
// bytes from 0; both ends are included.
type CommonMatch struct {
	Start1, End1 int64 // in the first string
	Start2, End2 int64
	Length       int64
}

// FunctionStatistics tells which function runs and what the engines hold.
type FunctionStatistics struct {
	Running Optional[RunningFunction]
	Engines map[string]EngineInfo
}

// RunningFunction is a function or script that the server is busy with.
type RunningFunction struct {
	Name    string
	Command []string // the command that called it
	Took    time.Duration
}

// EngineInfo tells what an engine of functions holds.
type EngineInfo struct {
	Libraries int64
	Functions int64
}

// TrackingInfo tells how a connection tracks what it reads.
type TrackingInfo struct {
	Flags    []string // "off", or "on" with "bcast", "optin", "noloop"…
	Redirect int64    // the connection that gets the invalidations; 0 itself, -1 none
	Prefixes []string
}

// ACLUser tells what a user may do, in rules of the server's own.
type ACLUser struct {
	Flags     []string
	Passwords []string // as SHA-256 digests
	Commands  string
	Keys      string
	Channels  string
	Selectors []ACLSelector // (Redis 7.0)
}

// ACLSelector is one more set of rules of a user.
type ACLSelector struct {
	Commands string
	Keys     string
	Channels string
}

// ACLLogEntry is one refusal, or several alike.
type ACLLogEntry struct {
	ID         int64 // (Redis 7.2)
	Count      int64
	Reason     string // "auth", "command", "key", "channel"…
	Context    string // "toplevel", "multi", "lua"…
	Object     string // what was refused
	User       string
	Client     string // as ClientInfo describes it
	Age        time.Duration
	Created    time.Time // (Redis 7.2)
	LastUpdate time.Time // (Redis 7.2)
}

// KeyUse is a key of a command and what the command does with it.
type KeyUse struct {
	Key   string
	Flags []string // "RO", "RW", "OW", "RM", "access", "update", "insert", "delete"…
}

// Histogram tells how long the calls of a command took.
type Histogram struct {
	Calls   int64
	Buckets []HistogramBucket // by rising time; empty ones are left out
}

// HistogramBucket counts the calls that took no longer than UpTo.
type HistogramBucket struct {
	UpTo  time.Duration
	Count int64 // with those of the smaller buckets
}

// LatencySample is one measured delay.
type LatencySample struct {
	At   time.Time // to the second
	Took time.Duration
}

// LatencyEvent is an event that delayed the server.
type LatencyEvent struct {
	Name   string
	Latest LatencySample
	Max    time.Duration // ever
}

// ModuleInfo tells of a module that the server has loaded.
type ModuleInfo struct {
	Name    string
	Version int64
	Path    string
	Args    []string
}

// Logged is one of Valkey's logs of commands.
type Logged string

// The logs of commands.
const (
	LoggedSlow         Logged = "slow"
	LoggedLargeRequest Logged = "large-request"
	LoggedLargeReply   Logged = "large-reply"
)

// AsCommon reads the reply of LCS IDX WITHMATCHLEN.
func AsCommon(v resp3.View) (c Common, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "len":
			return into(&c.Length, e, AsInt)
		case "matches":
			return into(&c.Matches, e, AsSlice(asCommonMatch))
		}
		return nil
	})
	return c, err
}

func asCommonMatch(v resp3.View) (m CommonMatch, err error) {
	e, err := tuple(v, 3)
	if err != nil {
		return m, err
	}
	if m.Start1, m.End1, err = ends(e[0]); err != nil {
		return m, err
	}
	if m.Start2, m.End2, err = ends(e[1]); err == nil {
		err = into(&m.Length, e[2], AsInt)
	}
	return m, err
}

func ends(v resp3.View) (start, end int64, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return 0, 0, err
	}
	if err = into(&start, e[0], AsInt); err == nil {
		err = into(&end, e[1], AsInt)
	}
	return start, end, err
}

// AsValueMap reads a map, or the flat array that RESP2 sends, with its values
// untyped.
func AsValueMap(v resp3.View) (map[string]resp3.Value, error) { return stringMap(v, AsValue) }

// AsFunctionStats reads the reply of FUNCTION STATS.
func AsFunctionStats(v resp3.View) (s FunctionStatistics, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "running_script":
			return into(&s.Running, e, AsOptional(asRunning))
		case "engines":
			s.Engines, err = stringMap(e, asEngine)
			return err
		}
		return nil
	})
	return s, err
}

func asRunning(v resp3.View) (r RunningFunction, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "name":
			return into(&r.Name, e, AsString)
		case "command":
			return into(&r.Command, e, AsStrings)
		case "duration_ms":
			return into(&r.Took, e, AsMillis)
		}
		return nil
	})
	return r, err
}

func asEngine(v resp3.View) (i EngineInfo, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "libraries_count":
			return into(&i.Libraries, e, AsInt)
		case "functions_count":
			return into(&i.Functions, e, AsInt)
		}
		return nil
	})
	return i, err
}

// AsTrackingInfo reads the reply of CLIENT TRACKINGINFO.
func AsTrackingInfo(v resp3.View) (t TrackingInfo, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "flags":
			return into(&t.Flags, e, AsStrings)
		case "redirect":
			return into(&t.Redirect, e, AsInt)
		case "prefixes":
			return into(&t.Prefixes, e, AsStrings)
		}
		return nil
	})
	return t, err
}

// AsACLUser reads the reply of ACL GETUSER, or Nil.
func AsACLUser(v resp3.View) (u ACLUser, err error) {
	if v.IsNull() {
		return u, Nil
	}
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "flags":
			return into(&u.Flags, e, AsStrings)
		case "passwords":
			return into(&u.Passwords, e, AsStrings)
		case "commands":
			return into(&u.Commands, e, AsString)
		case "keys":
			return into(&u.Keys, e, asRules)
		case "channels":
			return into(&u.Channels, e, asRules)
		case "selectors":
			return into(&u.Selectors, e, AsSlice(asSelector))
		}
		return nil
	})
	return u, err
}

// asRules reads rules as one text; servers before 7.0 send a list.
func asRules(v resp3.View) (string, error) {
	if v.Kind() != resp3.Array {
		return AsString(v)
	}
	list, err := AsStrings(v)
	text := ""
	for i, s := range list {
		if i > 0 {
			text += " "
		}
		text += s
	}
	return text, err
}

func asSelector(v resp3.View) (s ACLSelector, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "commands":
			return into(&s.Commands, e, AsString)
		case "keys":
			return into(&s.Keys, e, AsString)
		case "channels":
			return into(&s.Channels, e, AsString)
		}
		return nil
	})
	return s, err
}

// AsACLLog reads the entries of the log of refusals.
func AsACLLog(v resp3.View) ([]ACLLogEntry, error) { return slice(v, asACLLogEntry) }

func asACLLogEntry(v resp3.View) (l ACLLogEntry, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "count":
			return into(&l.Count, e, AsInt)
		case "reason":
			return into(&l.Reason, e, AsString)
		case "context":
			return into(&l.Context, e, AsString)
		case "object":
			return into(&l.Object, e, AsString)
		case "username":
			return into(&l.User, e, AsString)
		case "client-info":
			return into(&l.Client, e, AsString)
		case "age-seconds":
			return into(&l.Age, e, asSeconds)
		case "entry-id":
			return into(&l.ID, e, AsInt)
		case "timestamp-created":
			return into(&l.Created, e, asUnixMilli)
		case "timestamp-last-updated":
			return into(&l.LastUpdate, e, asUnixMilli)
		}
		return nil
	})
	return l, err
}

func asSeconds(v resp3.View) (time.Duration, error) {
	s, err := AsFloat(v)
	return time.Duration(s * float64(time.Second)), err
}

func asUnixMilli(v resp3.View) (time.Time, error) {
	n, err := AsInt(v)
	return time.UnixMilli(n), err
}

// AsKeyUses reads keys with what is done with them.
func AsKeyUses(v resp3.View) ([]KeyUse, error) {
	return slice(v, func(v resp3.View) (u KeyUse, err error) {
		e, err := tuple(v, 2)
		if err != nil {
			return u, err
		}
		if err = into(&u.Key, e[0], AsString); err == nil {
			u.Flags, err = AsStrings(e[1])
		}
		return u, err
	})
}

// AsHistograms reads the histograms of commands.
func AsHistograms(v resp3.View) (map[string]Histogram, error) { return stringMap(v, asHistogram) }

func asHistogram(v resp3.View) (h Histogram, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "calls":
			return into(&h.Calls, e, AsInt)
		case "histogram_usec":
			return each(e, func(k, e resp3.View) error {
				var b HistogramBucket
				if err := into(&b.UpTo, k, asMicros); err != nil {
					return err
				}
				err := into(&b.Count, e, AsInt)
				h.Buckets = append(h.Buckets, b)
				return err
			})
		}
		return nil
	})
	return h, err
}

func asMicros(v resp3.View) (time.Duration, error) {
	n, err := AsInt(v)
	return time.Duration(n) * time.Microsecond, err
}

// AsLatencySamples reads samples of an event.
func AsLatencySamples(v resp3.View) ([]LatencySample, error) {
	return slice(v, func(v resp3.View) (s LatencySample, err error) {
		e, err := tuple(v, 2)
		if err != nil {
			return s, err
		}
		if err = into(&s.At, e[0], AsUnix); err == nil {
			err = into(&s.Took, e[1], AsMillis)
		}
		return s, err
	})
}

// AsLatencyEvents reads the latest sample of each event.
func AsLatencyEvents(v resp3.View) ([]LatencyEvent, error) {
	return slice(v, func(v resp3.View) (l LatencyEvent, err error) {
		e, err := tuple(v, 4)
		if err != nil {
			return l, err
		}
		if err = into(&l.Name, e[0], AsString); err != nil {
			return l, err
		}
		if err = into(&l.Latest.At, e[1], AsUnix); err != nil {
			return l, err
		}
		if err = into(&l.Latest.Took, e[2], AsMillis); err == nil {
			err = into(&l.Max, e[3], AsMillis)
		}
		return l, err
	})
}

// AsModules reads the modules that the server has loaded.
func AsModules(v resp3.View) ([]ModuleInfo, error) {
	return slice(v, func(v resp3.View) (m ModuleInfo, err error) {
		err = each(v, func(k, e resp3.View) error {
			switch string(k.Bytes()) {
			case "name":
				return into(&m.Name, e, AsString)
			case "ver":
				return into(&m.Version, e, AsInt)
			case "path":
				return into(&m.Path, e, AsString)
			case "args":
				return into(&m.Args, e, AsStrings)
			}
			return nil
		})
		return m, err
	})
}
