-- grant: makes fencing tokens. Included by other scripts.
-- returns nothing: it defines new_token
local function new_token(fence, ttl, now)
  local last = tonumber(redis.call('HGET', fence, 'last') or '0')
  -- The clock alone rises across FLUSHALL, eviction and failover; last + 1 alone
  -- rises when the clock is set back. Together they repeat only if both happen.
  local token = string.format('%.0f', math.max(last + 1, now))
  if math.abs(now - last) < 86400000000 then
    -- Its days are counted from the first grant of the day: that is cheaper.
    redis.call('HSET', fence, 'last', token)
  else
    redis.call('HSET', fence, 'kind', 'lease.fence', 'v', '1', 'last', token)
    redis.call('PEXPIRE', fence, ttl)
  end
  return token
end
