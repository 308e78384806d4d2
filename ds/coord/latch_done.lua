-- latch_done: count a member as done, once; the last one opens the latch.
-- KEYS[1] {p}latch   KEYS[2] {p}done
-- ARGV[1] member
-- returns how many are still to be done, or -1 when there is no latch
local latch = redis.call('HMGET', KEYS[1], 'count', 'open', 'ttl')
if not latch[1] then
  return -1
end
if latch[2] then
  return 0
end
redis.call('SADD', KEYS[2], ARGV[1])
local left = latch[1] - redis.call('SCARD', KEYS[2])
if left <= 0 then
  -- Open is a state of its own, which stays: who comes late must not find a
  -- latch that is gone and take it for one that is still to come.
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'open', string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('PEXPIRE', KEYS[1], latch[3])
  left = 0
end
redis.call('PEXPIRE', KEYS[2], latch[3]) -- never before the latch
return left
