#!lua flags=allow-oom
-- barrier_leave: break the generation that this id waits in.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N   KEYS[4] {p}ids:N
-- ARGV[1] N   ARGV[2] party   ARGV[3] id
-- ARGV[4] ttl of the arrival, ms   ARGV[5] ttl of the barrier, ms
-- returns 1, or 0 when it does not wait there
-- include barrier_end.lua
if redis.call('HGET', KEYS[2], 'ended') or redis.call('HGET', KEYS[4], ARGV[2]) ~= ARGV[3]
  or redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then
  return 0
end
end_generation(KEYS[1], KEYS[2], KEYS[3], ARGV[1], 'broken', ARGV[2], 'left', ARGV[4], ARGV[5])
return 1
