package resp3_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// hostile holds what a malicious or broken server may send: head, then body
// times times, then nothing.
var hostile = []struct {
	name, head, body string
	times            int
	ok               bool // frames come out before the end
}{
	{name: "a bulk of 2^63-1 bytes", head: "$9223372036854775807\r\n"},
	{name: "a bulk length that overflows", head: "$99999999999999999999\r\n"},
	{name: "a bulk of -2 bytes", head: "$-2\r\n"},
	{name: "an array of -2 elements", head: "*-2\r\n"},
	{name: "a set of -5 elements", head: "~-5\r\n"},
	{name: "a map of -1 pairs", head: "%-1\r\n"},
	{name: "an announced array of 4 M, nothing after", head: "*4000000\r\n"},
	{name: "an announced map of 4 M, nothing after", head: "%4000000\r\n"},
	{name: "an announced set of 16 M, nothing after", head: "~16777216\r\n"},
	{name: "an announced bulk of 200 MB, nothing after", head: "$200000000\r\n"},
	{name: "an announced bulk of 512 MiB, 1 MiB after", head: "$536870912\r\n", body: strings.Repeat("x", 1<<10), times: 1 << 10},
	{name: "an announced bulk of 512 MiB, 24 MiB after", head: "$536870912\r\n", body: strings.Repeat("x", 1<<20), times: 24},
	{name: "an announced bulk of 200 MB in an array in a map", head: "%1\r\n+k\r\n*2\r\n$3\r\nabc\r\n$200000000\r\n", body: "x", times: 3 << 20},
	{name: "announced arrays of 100000 inside each other", body: "*100000\r\n", times: 200},
	{name: "5 M arrays inside each other", body: "*1\r\n", times: 5_000_000},
	{name: "5 M maps inside each other", body: "%1\r\n+k\r\n", times: 5_000_000},
	{name: "5 M streamed arrays inside each other", body: "*?\r\n", times: 5_000_000},
	{name: "5 M attributes inside each other", body: "|1\r\n", times: 5_000_000},
	{name: "an endless line", head: "+", body: strings.Repeat("x", 1<<10), times: 64 << 10},
	{name: "an endless error", head: "-ERR ", body: strings.Repeat("x", 1<<10), times: 64 << 10},
	{name: "an endless integer", head: ":", body: strings.Repeat("0", 1<<10), times: 64 << 10},
	{name: "an endless double", head: ",", body: strings.Repeat("1", 1<<10), times: 64 << 10},
	{name: "a big number of 10 M digits", head: "(", body: strings.Repeat("9", 1000), times: 10_000},
	{name: "an endless length", head: "$", body: strings.Repeat("0", 1<<10), times: 1 << 10},
	{name: "an endless streamed string", head: "$?\r\n", body: ";1\r\na\r\n", times: 3 << 19},
	{name: "an endless streamed array of nothing", head: "*?\r\n", body: "*?\r\n.\r\n", times: 3 << 19},
	{name: "an endless streamed array", head: "*?\r\n", body: ":1\r\n", times: 3 << 20},
	{name: "streamed arrays without end", head: "", body: "*?\r\n.\r\n", times: 1 << 20, ok: true},
	{name: "16 M empty elements, of which 4 M come", head: "*16777216\r\n", body: "+\r\n", times: 4 << 20},
	{name: "attributes without a reply", body: "|1\r\n+k\r\n+v\r\n", times: 1 << 20},
	{name: "empty attributes without a reply", body: "|0\r\n", times: 1 << 20},
	{name: "an endless attribute", head: "|?\r\n", body: "+k\r\n+v\r\n", times: 1 << 20},
	{name: "an attribute with a bulk of 512 MiB", head: "|1\r\n$536870912\r\n", body: strings.Repeat("x", 1<<10), times: 16 << 10},
	{name: "a flood of pushes", body: ">2\r\n+message\r\n+x\r\n", times: 1 << 20, ok: true},
	{name: "a flood of empty pushes", body: ">0\r\n", times: 1 << 20, ok: true},
	{name: "an HTTP server", head: "HTTP/1.1 400 Bad Request\r\n\r\n"},
	{name: "a TLS alert", head: "\x15\x03\x01\x00\x02\x02\x46"},
	{name: "an SSH banner", head: "SSH-2.0-OpenSSH_9.9\r\n"},
	{name: "LF without CR", head: "+OK\n"},
	{name: "a wrong trailer", head: "$2\r\nabXX+OK\r\n"},
	{name: "a boolean x", head: "#x\r\n"},
	{name: "a double abc", head: ",abc\r\n"},
	{name: "a big number with a letter", head: "(12x\r\n"},
}

// repeat is a source that returns head, then body times times, in pieces of at
// most 64 KiB. It counts what was taken.
type repeat struct {
	head, body string
	times      int
	taken      int
}

func (r *repeat) Read(p []byte) (int, error) {
	p = p[:min(len(p), 64<<10)]
	n := 0
	for n < len(p) {
		if r.head == "" {
			if r.times == 0 {
				break
			}
			r.head, r.times = r.body, r.times-1
		}
		c := copy(p[n:], r.head)
		r.head = r.head[c:]
		n += c
	}
	r.taken += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// TestHostileRepliesAreBounded measures the heap: none of these frames is ever
// complete and large, so at no time may the Reader hold more than what it has
// taken from the peer and 4 MB. The heap is read after a collection; what is
// garbage is counted by TestMemoryIsTwiceWhatWasReceived.
func TestHostileRepliesAreBounded(t *testing.T) {
	for _, tt := range hostile { // not parallel: the heap is shared
		t.Run(tt.name, func(t *testing.T) {
			base := heap()
			src := &repeat{head: tt.head, body: tt.body, times: tt.times}
			r := resp3.NewReader(src, resp3.Limits{})
			frames, next := 0, 0
			var err error
			for err == nil {
				var ok bool
				if _, ok, err = r.Poll(); ok {
					frames++
				} else if err == nil {
					err = r.Fill()
				}
				if src.taken >= next || err != nil {
					next = src.taken + src.taken/3 + 1<<10
					if got, most := heap()-base, src.taken+4<<20; got > most {
						t.Fatalf("the Reader holds %d bytes after %d were received", got, src.taken)
					}
				}
			}
			runtime.KeepAlive(r)
			var pe *resp3.ProtocolError
			if !errors.As(err, &pe) && err != io.EOF {
				t.Errorf("error %v, want a ProtocolError or io.EOF", err)
			}
			if errors.As(err, &pe) && src.taken > 4<<20 && !strings.Contains(pe.Reason, "limit") {
				t.Errorf("%v after %d bytes", err, src.taken)
			}
			if tt.ok != (frames > 0) {
				t.Errorf("%d frames", frames)
			}
		})
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestNothingIsAllocatedBecauseItWasAnnounced counts all allocation, garbage
// included, for frames that announce much and send nothing.
func TestNothingIsAllocatedBecauseItWasAnnounced(t *testing.T) {
	for _, head := range []string{
		"$200000000\r\n", "$536870912\r\n", "*16777216\r\n", "%8388608\r\n", "*4000000\r\n*4000000\r\n", "$?\r\n;536870912\r\n",
		"=536870912\r\n", ">16777216\r\n", "|100000\r\n",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := resp3.NewReader(strings.NewReader(head), resp3.Limits{}).Read()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 20<<10 {
			t.Errorf("%q: %d bytes allocated", head, got)
		}
		if err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v, want io.ErrUnexpectedEOF", head, err)
		}
	}
}

// large holds frames that take many buffers, whole and unfinished: head, then
// body times times, then end, then nothing.
var large = []struct {
	name, head, body, end string
	times                 int
	elems                 int // of the frame, or its length if it is a string; 0 if it has no end
}{
	{name: "a bulk", head: "$33554432\r\n", body: mebi, times: 32, end: "\r\n", elems: 32 << 20},
	{name: "a bulk after a small element", head: "*2\r\n:1\r\n$33554432\r\n", body: mebi, times: 32, end: "\r\n", elems: 2},
	{name: "a bulk that is cut off", head: "$536870912\r\n", body: mebi, times: 32},
	{name: "an array of integers", head: "*2000000\r\n", body: ":1\r\n", times: 2_000_000, elems: 2_000_000},
	{name: "an array of empty strings", head: "*4000000\r\n", body: "+\r\n", times: 4_000_000, elems: 4_000_000},
	{name: "an array of bulks of 100 KiB", head: "*320\r\n", body: "$102400\r\n" + mebi[:100<<10] + "\r\n", times: 320, elems: 320},
	{name: "an array of lines of 60 KiB", head: "*500\r\n", body: "+" + mebi[:60<<10] + "\r\n", times: 500, elems: 500},
	{name: "an announced array of 16 Mi of which 10 MiB come", head: "*16777216\r\n", body: ":1\r\n", times: 5 << 19},
	{name: "an announced map of which 16 MiB come", head: "%8388608\r\n", body: "+k\r\n$1\r\nv\r\n", times: 16 << 20 / 12},
	{name: "a streamed string without end", head: "$?\r\n", body: ";4\r\naaaa\r\n", times: 32 << 20 / 10},
	{name: "a streamed string", head: "$?\r\n", body: ";1024\r\n" + mebi[:1024] + "\r\n", times: 32 << 10, end: ";0\r\n", elems: 32 << 20},
	{name: "a streamed array without end", head: "*?\r\n", body: ":1\r\n", times: 3 << 20},
	{name: "streamed arrays in a streamed array", head: "*?\r\n" + strings.Repeat("*?\r\n.\r\n", 64<<10-1), body: ":1\r\n", times: 3 << 20, end: ".\r\n", elems: 3<<20 + 64<<10 - 1},
	{name: "a streamed array", head: "*?\r\n", body: ":1\r\n", times: 3 << 20, end: ".\r\n", elems: 3 << 20},
}

var mebi = strings.Repeat("x", 1<<20)

// TestMemoryIsTwiceWhatWasReceived counts all allocation since the Reader was
// made, as of each read. That is stricter than the growth of the heap: it does
// not sink when the collector runs, so it counts every buffer that was ever
// taken, and it is exact, so the test does not depend on when it runs.
func TestMemoryIsTwiceWhatWasReceived(t *testing.T) {
	for _, tt := range large { // not parallel: allocation is counted for the process
		t.Run(tt.name, func(t *testing.T) {
			src := &repeat{head: tt.head, body: tt.body, times: tt.times}
			r := resp3.NewReader(io.MultiReader(src, strings.NewReader(tt.end)), resp3.Limits{})
			base := allocated()
			var v resp3.View
			var ok bool
			var err error
			for err == nil && !ok {
				if err = r.Fill(); err != nil {
					break
				}
				received := src.taken + len(tt.end)
				v, ok, err = r.Poll()
				if got, most := allocated()-base, 2*received+4<<20; got > most {
					t.Fatalf("%d bytes allocated for %d received: %.1f times, bound %d", got, received, float64(got)/float64(received), most)
				}
			}
			switch {
			case tt.elems == 0 && (err != io.EOF || r.Buffered() != src.taken):
				t.Errorf("%d bytes buffered of %d, error %v", r.Buffered(), src.taken, err)
			case tt.elems > 0 && (err != nil || v.Len() != tt.elems || r.Buffered() != 0):
				t.Errorf("a frame of length %d, want %d; %d bytes left, error %v", v.Len(), tt.elems, r.Buffered(), err)
			}
		})
	}
}

// allocated returns how many bytes the process ever allocated.
func allocated() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.TotalAlloc)
}

func TestTextOfAnOwnedViewIsNotCopied(t *testing.T) {
	long := resp3.AppendBulk(nil, strings.Repeat("x", 1000)) // too long for the stack
	v := resp3.NewView(append([]byte("*2\r\n*1\r\n"), append(long, mix...)...)).Owned()
	n := 0
	if allocs := testing.AllocsPerRun(100, func() { n += lengths(v) }); allocs != 0 || n == 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

func lengths(v resp3.View) int {
	n := len(v.Text())
	c := v.Cursor()
	for c.Len() > 0 {
		e, _ := c.Next()
		n += lengths(e)
	}
	return n
}
