-- shares: the readers who hold a lease together. Included by other scripts.
-- returns nothing: it defines share_end, why_not, settle, extend and bury
local function share_end(readers, id)
  return tonumber(redis.call('ZSCORE', readers, id) or '0')
end

-- Why an id has no share of a lease that this holder has.
local function why_not(holder, fence, id)
  local deposed = redis.call('HMGET', fence, 'deposed', 'why')
  if deposed[1] == id then
    return deposed[2]
  end
  return holder and holder ~= 'readers' and 'not owner' or 'gone'
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
