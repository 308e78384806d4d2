-- grant: makes fencing tokens. Included by other scripts.
-- returns nothing: it defines us and stamp, the server's time in µs as number and as text, and new_token
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', us)

local function new_token(fence, ttl)
  local last = tonumber(redis.call('HGET', fence, 'last') or '0')
  -- The clock alone rises across FLUSHALL, eviction and failover; last + 1 alone
  -- rises when the clock is set back. Together they repeat only if both happen.
  local token = last < us and stamp or string.format('%.0f', last + 1)
  if math.abs(us - last) < 86400000000 then
    -- Its days are counted from the first grant of the day: that is cheaper.
    redis.call('HSET', fence, 'last', token)
  else
    redis.call('HSET', fence, 'kind', 'lease.fence', 'v', '1', 'last', token)
    redis.call('PEXPIRE', fence, ttl)
  end
  return token
end
