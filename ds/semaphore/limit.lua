-- limit: set what all permits may weigh, for everybody, and tell the first who waits.
-- KEYS[1] {p}limit   KEYS[2] {p}lease   KEYS[3] {p}queue   KEYS[4] {p}order
-- ARGV[1] the limit, 0: each caller's own again   ARGV[2] ttl, ms
-- returns 1
-- include clock.lua
-- include tickets.lua
if ARGV[1] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'kind', 'semaphore.limit', 'v', '1', 'limit', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
wake(KEYS[2], KEYS[3], KEYS[4], server_ms())
return 1
