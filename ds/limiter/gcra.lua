-- gcra: a bucket that drains all the time. Included by other scripts, after state.lua.
-- returns nothing: it defines gcra
--
-- used is a debt, counted so that every number is whole: one call adds per, one
-- µs takes count away, and the bucket is empty at burst * per. Go keeps that
-- below 2^52, so that the sums and quotients of Lua's doubles are exact.
local gcra = {}

-- load returns the state as it was noted.
function gcra.load(key, rule)
  local s = load_text(key)
  s.size = rule.burst * rule.per
  s.span = math.ceil(s.size / rule.count) -- how long it takes until all is forgotten
  if s.was and s.was ~= rule.numbers then
    -- The calls in use stay in use, at most all of them, and drain at the new
    -- rate since they were noted.
    local per = tonumber(string.match(s.was, ' (%d+) '))
    s.used = math.min(math.ceil(s.used * rule.per / per), s.size)
  end
  return s
end

-- bring makes the state that at now.
function gcra.bring(s, rule, now)
  if now >= s.at then
    s.used = math.max(0, s.used - (now - s.at) * rule.count)
    s.at = now
  elseif (s.at - now) * rule.count > s.size then
    -- The clock stepped back by more than it takes to fill (a failover, an
    -- operator). Waiting for it could take for ever, so the debt is noted anew
    -- at the time that is now true, even if this call is denied.
    s.at, s.changed = now, true
  end
  -- If it stepped back by less, nothing drains until it has caught up.
end

-- wait returns how long after s.at so many calls fit, in µs.
function gcra.wait(s, rule, calls)
  local over = s.used + calls * rule.per - s.size
  return over > 0 and math.ceil(over / rule.count) or 0
end

function gcra.left(s, rule)
  return math.floor((s.size - s.used) / rule.per)
end

-- full returns when the bucket is full again.
function gcra.full(s, rule)
  return s.at + math.ceil(s.used / rule.count)
end

-- take charges calls that happen so long after s.at. What drains until then is
-- charged with them, so that the bucket is as empty then as they make it.
function gcra.take(s, rule, calls, ahead)
  s.used = math.max(s.used, ahead * rule.count) + calls * rule.per
end

gcra.save = save_text
