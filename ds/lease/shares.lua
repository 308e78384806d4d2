-- shares: the readers who hold a lease together. Included by other scripts.
-- returns nothing: it defines share_end, settle, extend and bury
local function share_end(readers, id)
  return tonumber(redis.call('ZSCORE', readers, id) or '0')
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

-- Takes out the shares that have lapsed.
local function bury(lease, readers, now)
  for _, id in ipairs(redis.call('ZRANGE', readers, '-inf', now, 'BYSCORE')) do
    redis.call('ZREM', readers, id)
    redis.call('HDEL', lease, 'reader:' .. id)
  end
end
