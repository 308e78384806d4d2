-- queue: take the lease, or a share of it, when it is one's turn; else wait in the queue.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}queue   KEYS[4] {p}order   KEYS[5] {p}readers   KEYS[6] {p}limit
-- ARGV[1] id   ARGV[2] owner   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms   ARGV[5] meta
-- ARGV[6] 'read' for a share, else 'write'   ARGV[7] ttl of the ticket, ms, 0: do not wait   ARGV[8] most tickets, and most readers
-- ARGV[9] weight of the share   ARGV[10] what all shares may weigh unless KEYS[6] says otherwise, 0: no limit
-- ARGV[11..] ids that the caller holds itself
-- returns the token, or {3}: too many, or {4}: the caller is one of the readers, or {6, limit}: the share never fits, or
--   {0, id, owner, token, since µs, ms left, ttl ms, meta, readers, position, waiting, ms until it may change},
--   and with a limit also what the shares weigh, and the limit
-- include grant.lua
-- include tickets.lua
-- include shares.lua
local lease, queue, order, readers = KEYS[1], KEYS[3], KEYS[4], KEYS[5]
local id, read, wait = ARGV[1], ARGV[6] == 'read', tonumber(ARGV[7])
local weight, limit = tonumber(ARGV[9]), tonumber(ARGV[10])
local now = math.floor(us / 1000)
local held = redis.call('HMGET', lease, 'id', 'owner', 'token', 'since', 'ttl', 'meta', 'queue')
local shared = held[1] == 'readers'

-- The same request once more, its first answer lost: the same grant.
if held[1] == id then
  redis.call('PEXPIRE', lease, ARGV[3])
  return held[3]
end
if shared then
  bury(lease, readers, now)
  if redis.call('EXISTS', readers) == 0 then
    redis.call('DEL', lease)
    held, shared = {}, false
  end
end
if shared then
  local share = redis.call('HGET', lease, 'reader:' .. id)
  if share and share_end(readers, id) > now then
    extend(lease, readers, id, now + ARGV[3])
    return string.match(share, '^%d+')
  end
  for i = 11, #ARGV do
    if share_end(readers, ARGV[i]) > now then
      return {4}
    end
  end
  if read and redis.call('ZCARD', readers) >= tonumber(ARGV[8]) then
    return {3}
  end
end

local used, kept = shared and tonumber(redis.call('HGET', lease, 'used')) or 0, nil
if limit > 0 then
  kept = redis.call('HGET', KEYS[6], 'limit')
  limit = tonumber(kept or limit)
  if weight > limit then
    return {6, limit}
  end
end
local fits = limit == 0 or used + weight <= limit

-- Who comes before: those ahead in the queue whose tickets are good.
local rank = redis.call('ZRANK', order, id)
local place = rank or redis.call('ZCARD', order)
local before, good
while place > 0 do
  before = redis.call('ZRANGE', order, place - 1, place - 1)[1]
  good = ticket_of(queue, before)
  if good > now then
    break
  end
  drop(queue, order, before)
  place = place - 1
end

if place == 0 and (not held[1] or held[1] == 'queue' or (read and shared and fits)) then
  local token = new_token(KEYS[2], ARGV[4])
  if rank then
    drop(queue, order, id)
  end
  if read then
    if not shared then
      redis.call('DEL', lease, readers)
    end
    used = used + weight
    redis.call('HSET', lease, 'kind', 'lease', 'v', '1', 'id', 'readers', 'used', used, 'reader:' .. id,
      table.concat({token, stamp, ARGV[3], ARGV[9], #ARGV[2], ARGV[2] .. ARGV[5]}, ' '))
    if limit > 0 then
      redis.call('HSET', lease, 'limit', limit)
    end
    if kept then
      redis.call('PEXPIRE', KEYS[6], ARGV[4])
    end
    extend(lease, readers, id, now + ARGV[3])
    -- Readers who wait one behind the other come in together.
    local next = redis.call('ZRANGE', order, 0, 0)[1]
    if next and select(2, ticket_of(queue, next)) == 'read' and (limit == 0 or used < limit) then
      wake(lease, queue, order, now)
    end
  else
    redis.call('HSET', lease, 'kind', 'lease', 'v', '1', 'id', id, 'owner', ARGV[2],
      'token', token, 'since', stamp, 'ttl', ARGV[3], 'meta', ARGV[5])
    redis.call('PEXPIRE', lease, ARGV[3])
    if redis.call('EXISTS', order) == 1 then
      redis.call('HSET', lease, 'queue', '1')
    end
  end
  return token
end

if wait > 0 then
  if not rank then
    if place >= tonumber(ARGV[8]) then
      return {3}
    end
    local last = redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')[2] or '0'
    redis.call('ZADD', order, string.format('%.0f', math.max(us, last + 1)), id)
  end
  redis.call('HSET', queue, 'kind', 'lease.queue', 'v', '1',
    id, table.concat({string.format('%.0f', now + wait), ARGV[6], ARGV[2]}, ' '))
  outlast(queue, wait)
  outlast(order, wait)
  if held[1] == 'queue' then
    outlast(lease, wait)
  elseif held[1] and not held[7] then
    redis.call('HSET', lease, 'queue', '1')
  end
end
if not held[1] then
  -- Its holder has died: the first in the queue may not have seen it yet.
  wake(lease, queue, order, now)
end

local waiting = redis.call('ZCARD', order)
local position = wait > 0 and place + 1 or 0
local again = place > 0 and good - now
-- When to look again, where what is held lapses after left. Who stands near the
-- front looks then, too: where it has become the first because the one before it
-- was granted, nobody has told it.
local function look(left)
  return place < 8 and math.min(again or left, left) or again
end
if held[1] and held[1] ~= 'queue' and not shared then
  local left = redis.call('PTTL', lease)
  return {0, held[1], held[2], held[3], held[4], left, held[5], held[6] or '', 0, position, waiting, look(left)}
end
if shared then
  -- Of the readers, the one who may stay longest.
  local last = redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')
  local left = last[2] - now
  local token, since, ttl, _, owner, meta = share_of(lease, last[1])
  local answer = {0, last[1], owner, token, since, left, ttl, meta, redis.call('ZCARD', readers), position, waiting, again or left}
  if limit > 0 then
    -- The first share to lapse may make room.
    answer[12] = look(redis.call('ZRANGE', readers, 0, 0, 'WITHSCORES')[2] - now)
    answer[13], answer[14] = used, limit
  end
  return answer
end
-- Nobody holds it: it is promised to the first in the queue.
local first = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
local till, _, owner = ticket_of(queue, first[1])
return {0, first[1], owner, '0', first[2], till - now, 0, '', 0, position, waiting, again or till - now}
