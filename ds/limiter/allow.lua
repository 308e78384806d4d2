-- allow: decide one call by GCRA, on the server's clock.
-- KEYS[1] {p}bucket
-- ARGV[1] rule: "count per burst", count calls each per µs (reduced), burst calls at once
-- ARGV[2] cost, in calls: absent means 1, 0 only looks
-- returns {admitted, calls left, µs until it fits, µs until full again, now in µs}
--
-- The value is "limiter/1 <rule> <last> <debt>". The debt is counted so that
-- every number is whole: one call adds per, one µs takes count away, and the
-- bucket is empty at burst * per. Go keeps that below 2^52, so that the sums
-- and quotients of Lua's doubles are exact. last is when the debt was true.
local count, per, burst = string.match(ARGV[1], '^(%d+) (%d+) (%d+)$')
count, per, burst = tonumber(count), tonumber(per), tonumber(burst)
local cost = tonumber(ARGV[2] or 1)
local size = burst * per

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local debt, ahead, rebase = 0, 0, false

local state = redis.call('GET', KEYS[1])
if state then
  local rule, last, was = string.match(state, '^limiter/1 (%d+ %d+ %d+) (%d+) (%d+)$')
  if not rule then
    return redis.error_reply('WRONGSTATE the key holds no limiter state of version 1')
  end
  last, debt = tonumber(last), tonumber(was)
  if rule ~= ARGV[1] then
    -- The calls in use stay in use, at most all of them, and drain at the new
    -- rate since they were noted.
    local oldper = tonumber(string.match(rule, ' (%d+) '))
    debt = math.min(math.ceil(debt * per / oldper), size)
  end
  if now >= last then
    debt = math.max(0, debt - (now - last) * count)
  elseif (last - now) * count <= size then
    -- The clock stepped back by less than it takes to fill: nothing drains
    -- until it has caught up.
    ahead = last - now
    now = last
  else
    -- It stepped back further (a failover, an operator). Waiting for it could
    -- take for ever, so the debt is noted anew at the time that is now true,
    -- even if this call is denied.
    rebase = true
  end
end

local need = math.max(cost, 1) * per
local admitted = debt + need <= size
local wait = 0
if not admitted then
  wait = ahead + math.ceil((debt + need - size) / count)
end
if admitted and cost > 0 then
  debt = debt + need
end
local reset = math.ceil(debt / count)
if rebase or (admitted and cost > 0) then
  redis.call('SET', KEYS[1], string.format('limiter/1 %s %.0f %.0f', ARGV[1], now, debt),
    'PXAT', string.format('%.0f', math.floor((now + reset) / 1000) + 1))
end
if reset > 0 then
  reset = reset + ahead
end
return {admitted and 1 or 0, math.floor((size - debt) / per), wait, reset, now}
