-- tickets: the queue of those who wait. Included by other scripts.
-- returns nothing: it defines ticket_of, outlast, tell, drop and wake
-- Until when the ticket is good, in ms, what for, and whose it is.
local function ticket_of(queue, id)
  local till, mode, owner = string.match(redis.call('HGET', queue, id) or '', '^(%d+) (%a+) (.*)$')
  return tonumber(till) or 0, mode or '', owner or ''
end

-- Keeps a key for ttl ms at least: another ticket may be good for longer.
local function outlast(key, ttl)
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, ttl)
  end
end

-- Tells who watches this id's turn. Ids share 256 keys by the number at their
-- end, so that a server's tracking table does not grow with each that ever waited.
-- The key is there for the length of the script only: what counts is the queue.
local function tell(queue, id)
  local turn = queue .. ':' .. (string.match(id, '%d+$') or 0) % 256
  redis.call('SET', turn, '')
  redis.call('DEL', turn)
end

local function drop(queue, order, id)
  redis.call('ZREM', order, id)
  redis.call('HDEL', queue, id)
  if redis.call('EXISTS', order) == 0 then
    redis.call('DEL', queue)
  end
end

-- Tells the first whose ticket is good that it may be its turn; tickets before
-- it that have lapsed go. A free lease is promised to the queue for as long as
-- that can last: the id 'queue' has it.
local function wake(lease, queue, order, now)
  while true do
    local id = redis.call('ZRANGE', order, 0, 0)[1]
    if not id then
      if redis.call('HGET', lease, 'id') == 'queue' then
        redis.call('DEL', lease)
      end
      return
    end
    if ticket_of(queue, id) > now then
      if redis.call('EXISTS', lease) == 0 then
        redis.call('HSET', lease, 'kind', 'lease', 'v', '1', 'id', 'queue')
        redis.call('PEXPIRE', lease, redis.call('PTTL', order))
      end
      tell(queue, id)
      return
    end
    drop(queue, order, id)
  end
end
