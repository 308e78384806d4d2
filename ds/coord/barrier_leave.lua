#!lua flags=allow-oom
-- barrier_leave: break the generation that this id waits in.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N   KEYS[4] {p}ids:N
-- ARGV[1] N   ARGV[2] party   ARGV[3] id
-- ARGV[4] ttl of the arrival, ms   ARGV[5] ttl of the barrier, ms
-- returns 1, or 0 when it does not wait there
if redis.call('HGET', KEYS[2], 'ended') or redis.call('HGET', KEYS[4], ARGV[2]) ~= ARGV[3]
  or redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], 'ended', 'broken', 'by', ARGV[2], 'why', 'left')
redis.call('PEXPIRE', KEYS[2], math.max(2 * ARGV[4], redis.call('PTTL', KEYS[3])))
redis.call('HSET', KEYS[1], 'generation', string.format('%.0f', ARGV[1] + 1))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
