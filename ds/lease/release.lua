#!lua flags=allow-oom
-- release: delete the lease, if this id has it, and tell the first in the queue.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}queue   KEYS[4] {p}order
-- ARGV[1] id
-- returns 1, or why it is not ours
local held = redis.call('HMGET', KEYS[1], 'id', 'queue')
local id = held[1]
if id == ARGV[1] then
  redis.call('DEL', KEYS[1])
  if held[2] then
    -- include clock.lua
    -- include tickets.lua
    wake(KEYS[1], KEYS[3], KEYS[4], server_ms())
  end
  return 1
end
local deposed = redis.pcall('HMGET', KEYS[2], 'deposed', 'why')
if deposed[1] == ARGV[1] then
  return deposed[2]
end
return id and 'not owner' or 'gone'
