// Package resp3 reads and writes frames of the Redis serialization protocol,
// versions 2 and 3. It does no networking and starts no goroutines.
//
//	r := resp3.NewReader(conn, resp3.Limits{})
//	v, err := r.Read() // a View: the frame, in place
//	for e := range v.Elems() {
//		fmt.Println(e.Kind(), e.Text())
//	}
//
// There are two forms of a frame. A [View] lies in the buffer of its [Reader],
// costs no allocation and ends with the next read. A [Value] owns its bytes:
// [View.Value] makes one, [Decode] makes one from bytes, and constructors such
// as [StringValue] and [AggregateValue] build one to send with [Value.Append].
// Both have the same conversions: Int, Float, Bool, Str, Text, Err.
//
// # How it works
//
// A Reader checks every byte of a frame once, when it arrives, however it is
// cut into pieces, and remembers where it stopped. What has passed is never
// checked again and never copied into a tree: a View is the first header, read,
// and the bytes after it; a [Cursor] reads the headers of the elements as it
// comes to them. A Value is the same over a string of its own.
//
// A frame that outgrows a buffer of 1 MiB is kept in parts of 1 or 2 MiB, as it
// came, and copied once: into one piece, when all of it is there.
//
// # Guarantees
//
//   - No input makes a Reader, a View, a Cursor or Decode panic or recurse.
//   - A wrong byte is a [ProtocolError] as soon as it has arrived, whatever is
//     still missing. A Reader that met one returns it for ever.
//   - Nothing is allocated because a length was announced. For a frame, a Reader
//     takes at most twice what it has received of it, and 4 MB, counting what is
//     left to the collector on the way. Until the frame is complete it holds
//     what it has received once, and 4 MB. Depth and Streamed far above their
//     defaults add to both.
//   - An idle Reader holds 16 KiB after a few small frames, and none before its
//     first read and after Release. At most 256 KiB outlive a large frame.
//   - An error of the source, such as a deadline, loses nothing: ask again.
//   - What any split of a stream into reads yields is the same.
//   - Decode and a Reader accept the same frames and agree on what they hold.
//
// # Non-guarantees
//
//   - Text is not checked to be UTF-8, maps are not checked for equal keys, and
//     a push is not checked for its kind: RESP allows all of it.
//   - Which reply belongs to which command, and how many pushes may come between
//     two replies, is the business of the connection.
//   - [NewView] trusts its bytes.
//   - [Value.Elems] cuts its slice anew on each call. An element keeps all bytes
//     of the frame it was cut from alive.
//   - Equality of Values is that of the wire: ":1" is not ":+1".
//
// # Concurrency
//
// A Reader and a Cursor belong to one goroutine at a time. Views may be read by
// many goroutines while nobody touches the Reader. Values never change.
//
// # How long a View lasts
//
// Until the next call of Fill, Read or Release on its Reader. Poll never reads
// and never moves bytes: all frames that one Fill completed can be taken with
// Poll and held together. To keep a frame longer, use [View.Value], or copy
// [View.Raw] and [View.Rebase] onto the copy.
//
// # Limits
//
// Every field of [Limits] has a default and may be set:
//
//	Depth           128       levels of aggregates, attributes included
//	Line            64 KiB    simple strings, errors, doubles
//	                16 KiB    big numbers, fixed
//	Bulk            512 MiB   bulk strings, also the sum of streamed chunks
//	Elements        16 Mi     of one aggregate; a map's pair is two
//	Frame           1 GiB     with the attributes before it; lengths announced count
//	Attributes      1 Ki      before one frame
//	AttributeBytes  1 MiB     before one frame
//	Streamed        64 Ki     streamed strings and aggregates of one frame
//
// # RESP2
//
// RESP2 is read by the same code; nothing need be told. Where its frames stand
// for something that RESP3 has a kind for:
//
//	null             $-1 and *-1 have Kind Null
//	double           Float reads a bulk string
//	boolean          Bool reads an integer, 0 is false
//	map              an array: keys and values take turns, as in Elems of a Map
//	set              an array
//	verbatim string  a bulk string; Text leaves out a verbatim string's format
//	big number       a bulk string
//
// # Attributes, pushes, streamed types
//
// Attributes annotate the frame after them and are part of it: they never come
// out as a frame or an element. Views pass over them; [Reader.Frame] and
// [Value.Attributes] have them. A push is a frame of its own and comes out of
// Read and Poll between replies; inside another frame it is an error. Streamed
// strings and aggregates come out as if their length had been known.
package resp3
