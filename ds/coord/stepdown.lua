-- stepdown: ask whoever leads to resign. The request is for that term only.
-- KEYS[1] {p}lease   KEYS[2] {p}stepdown
-- ARGV[1] who asks   ARGV[2] why
-- returns the term that is asked to end, 0 when nobody leads
local led = redis.call('HMGET', KEYS[1], 'token', 'ttl')
if not led[1] then
  return '0'
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'kind', 'stepdown', 'v', '1', 'term', led[1], 'by', ARGV[1], 'why', ARGV[2])
-- A leader that has heard nothing of it for two TTLs is none any more.
redis.call('PEXPIRE', KEYS[2], 2 * led[2])
return led[1]
