-- shares: the readers who hold a lease together, and what they weigh. Included by other scripts.
-- returns nothing: it defines share_end, share_of, settle, extend, part and bury
local function share_end(readers, id)
  return tonumber(redis.call('ZSCORE', readers, id) or '0')
end

-- Returns token, since, ttl, weight, owner and meta of a share, all as text.
local function share_of(lease, id)
  local token, since, ttl, weight, size, text = string.match(redis.call('HGET', lease, 'reader:' .. id) or '0 0 0 1 0 ',
    '^(%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  return token, since, ttl, weight, string.sub(text, 1, size), string.sub(text, size + 1)
end

-- The keys end with the last share.
local function settle(lease, readers)
  local last = redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', lease, last)
  redis.call('PEXPIREAT', readers, last)
end

local function extend(lease, readers, id, till)
  redis.call('ZADD', readers, till, id)
  settle(lease, readers)
end

-- Takes a share out. Returns whether it was there.
local function part(lease, readers, id)
  if redis.call('ZREM', readers, id) == 0 then
    return false
  end
  redis.call('HINCRBY', lease, 'used', '-' .. select(4, share_of(lease, id)))
  redis.call('HDEL', lease, 'reader:' .. id)
  return true
end

-- Takes out the shares that have lapsed.
local function bury(lease, readers, now)
  for _, id in ipairs(redis.call('ZRANGE', readers, '-inf', now, 'BYSCORE')) do
    part(lease, readers, id)
  end
end
