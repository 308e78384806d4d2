package redisx

import (
	"context"
	"iter"

	"github.com/redisx/redisx/command"
)

// ScanAll walks over the keys of the database. The guarantees are those of
// [command.ScanAll]: keys that stay are found, some may be found twice, and the
// first error ends the walk and is its last pair.
func (c Commands) ScanAll(ctx context.Context, opts ...command.ScanOption) iter.Seq2[string, error] {
	return command.ScanAll(ctx, c.d, opts...)
}

// SScanAll walks over the members of a set; see [command.ScanAll].
func (c Commands) SScanAll(ctx context.Context, key string, opts ...command.ElementScanOption) iter.Seq2[string, error] {
	return command.SScanAll(ctx, c.d, key, opts...)
}

// HScanAll walks over the fields of a hash with their values; see
// [command.ScanAll].
func (c Commands) HScanAll(ctx context.Context, key string, opts ...command.ElementScanOption) iter.Seq2[Pair, error] {
	return command.HScanAll(ctx, c.d, key, opts...)
}

// HScanFieldsAll walks over the fields of a hash without their values (Redis
// 7.4, Valkey 8.0); see [command.ScanAll].
func (c Commands) HScanFieldsAll(ctx context.Context, key string, opts ...command.ElementScanOption) iter.Seq2[string, error] {
	return command.HScanFieldsAll(ctx, c.d, key, opts...)
}

// ZScanAll walks over the members of a sorted set with their scores, in no
// order; see [command.ScanAll].
func (c Commands) ZScanAll(ctx context.Context, key string, opts ...command.ElementScanOption) iter.Seq2[Z, error] {
	return command.ZScanAll(ctx, c.d, key, opts...)
}

// GetInto appends the string at key to dst, or returns dst and Nil. With room
// in dst it allocates nothing. [command.DoInto] does the same for any command
// that returns a string.
func (c Commands) GetInto(ctx context.Context, key string, dst []byte) ([]byte, error) {
	return command.DoInto(ctx, c.d, command.Get(key), dst)
}

// HGetAllAs returns a hash as a struct whose fields have tags such as
// `redis:"name"`, or Nil when there is no hash; see [command.AsStruct].
// [command.Fields] goes the other way.
func HGetAllAs[T any](ctx context.Context, d command.Doer, key string) (T, error) {
	return command.Do(ctx, d, command.HGetAllAs[T](key))
}
