-- latch_create: make a closed latch, unless there is one.
-- KEYS[1] {p}latch   KEYS[2] {p}done
-- ARGV[1] count   ARGV[2] ttl, ms
-- returns {1} when it was made, or {0, count} of the one that is there
local count = redis.call('HGET', KEYS[1], 'count')
if count then
  return {0, count}
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'kind', 'latch', 'v', '1', 'count', ARGV[1], 'ttl', ARGV[2],
  'since', string.format('%.0f', time[1] * 1000000 + time[2]))
if ARGV[1] == '0' then
  redis.call('HSET', KEYS[1], 'open', string.format('%.0f', time[1] * 1000000 + time[2]))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- Who was done with a latch of this name that has gone is not done with this one. Last, as
-- a server that is out of memory refuses what comes before the first write only.
redis.call('DEL', KEYS[2])
return {1}
