#!lua flags=no-writes
-- inspect: tell who has the lease, who waits, and the last token.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}queue   KEYS[4] {p}order   KEYS[5] {p}readers
-- ARGV[1] most tickets to look at for the next
-- returns {last token, waiting, owner of the next, readers}, and if it is held also
--   id, owner, token, since µs, ms left, ttl ms, meta, 1 when it is offered to a ticket, else 0
-- include clock.lua
-- include tickets.lua
-- include shares.lua
local lease, queue, order, readers = KEYS[1], KEYS[3], KEYS[4], KEYS[5]
local now = server_ms()
local held = redis.call('HMGET', lease, 'id', 'owner', 'token', 'since', 'ttl', 'meta', 'offered')
local left = redis.call('PTTL', lease)
local next = ''
for _, id in ipairs(redis.call('ZRANGE', order, 0, ARGV[1] - 1)) do
  local till, _, owner = ticket_of(queue, id)
  if till > now then
    next = owner
    break
  end
end
local found = {redis.call('HGET', KEYS[2], 'last') or '0', redis.call('ZCARD', order), next, 0}

if held[1] == 'readers' then
  found[4] = redis.call('ZCOUNT', readers, string.format('(%.0f', now), '+inf')
  -- Of the readers, the one who may stay longest.
  local last = redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')
  if found[4] == 0 then
    return found
  end
  local token, since, ttl, _, owner, meta = share_of(lease, last[1])
  held = {last[1], owner, token, since, ttl, meta}
  left = last[2] - now
end
if held[1] and held[1] ~= 'queue' then
  for _, v in ipairs({held[1], held[2] or '', held[3] or '0', held[4] or '0', left, held[5] or '0', held[6] or '', held[7] and 1 or 0}) do
    found[#found + 1] = v
  end
end
return found
