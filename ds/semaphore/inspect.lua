#!lua flags=no-writes
-- inspect: tell who has permits, and who waits.
-- KEYS[1] {p}lease   KEYS[2] {p}queue   KEYS[3] {p}order   KEYS[4] {p}readers   KEYS[5] {p}limit
-- ARGV[1] most permits to tell of   ARGV[2] most tickets to look at for the next
-- returns {limit, 1 when the server keeps it, baseline µs, used, permits, waiting, owner of the next},
--   and of each permit id, owner, token, since µs, ms left, weight
-- include clock.lua
-- include tickets.lua
-- include shares.lua
local lease, queue, order, readers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = server_ms()
local kept = redis.call('HMGET', KEYS[5], 'limit', 'baseline')
local held = redis.call('HMGET', lease, 'id', 'used', 'limit')
local next = ''
for _, id in ipairs(redis.call('ZRANGE', order, 0, ARGV[2] - 1)) do
  local till, _, owner = ticket_of(queue, id)
  if till > now then
    next = owner
    break
  end
end

local used, permits, shown = 0, 0, {}
if held[1] == 'readers' then
  used = tonumber(held[2] or '0')
  for _, id in ipairs(redis.call('ZRANGE', readers, '-inf', now, 'BYSCORE')) do
    used = used - select(4, share_of(lease, id)) -- lapsed, and not taken out yet
  end
  local after = string.format('(%.0f', now)
  permits = redis.call('ZCOUNT', readers, after, '+inf')
  shown = redis.call('ZRANGE', readers, after, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
end
local found = {kept[1] or held[3] or '0', kept[1] and 1 or 0, kept[2] or '0', used, permits, redis.call('ZCARD', order), next}
for i = 1, #shown, 2 do
  local token, since, _, weight, owner = share_of(lease, shown[i])
  for _, v in ipairs({shown[i], owner, token, since, shown[i + 1] - now, weight}) do
    found[#found + 1] = v
  end
end
return found
