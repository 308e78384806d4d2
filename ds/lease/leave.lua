#!lua flags=allow-oom
-- leave: give back all that an id has: the lease, a share of it, a place in the queue.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}queue   KEYS[4] {p}order   KEYS[5] {p}readers
-- ARGV[1] id   ARGV[2] token, 0: none was granted
-- returns 1, or why it had neither the lease nor a share
-- include clock.lua
-- include tickets.lua
-- include shares.lua
-- include why.lua
local lease, queue, order, readers, id = KEYS[1], KEYS[3], KEYS[4], KEYS[5], ARGV[1]
local now = server_ms()
local holder = redis.call('HGET', lease, 'id')
local ours, free = false, not holder
if holder == id then
  redis.call('DEL', lease)
  ours, free = true, true
elseif holder == 'readers' then
  bury(lease, readers, now)
  ours = part(lease, readers, id)
  if redis.call('EXISTS', readers) == 0 then
    redis.call('DEL', lease)
    free = true
  else
    settle(lease, readers)
    -- Where there is a limit, who waits may fit now.
    free = redis.call('HEXISTS', lease, 'limit') == 1
  end
end

local rank = redis.call('ZRANK', order, id)
if rank then
  drop(queue, order, id)
end
if free or rank == 0 then
  wake(lease, queue, order, now)
end
return ours and 1 or why_not(holder ~= 'readers' and holder, KEYS[2], id, ARGV[2])
