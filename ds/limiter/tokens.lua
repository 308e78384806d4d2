-- tokens: a bucket that gets count tokens at the end of each period. Included by other scripts, after state.lua.
-- returns nothing: it defines tokens
--
-- used is what the bucket lacks, in calls; at is when the period began. Periods
-- begin with the first call that a full bucket admits.
local tokens = {}

function tokens.load(key, rule)
  local s = load_text(key)
  s.span = math.ceil(rule.burst / rule.count) * rule.per
  if s.was and s.was ~= rule.numbers then
    s.used = math.min(s.used, rule.burst)
  end
  return s
end

function tokens.bring(s, rule, now)
  if s.at - now > s.span then
    -- The clock stepped back by more than it takes to fill.
    s.at, s.changed = now, true
  elseif now > s.at then
    local periods = math.floor((now - s.at) / rule.per)
    s.used = math.max(0, s.used - periods * rule.count)
    s.at = s.used > 0 and s.at + periods * rule.per or now
  end
  s.now = math.max(s.at, now)
end

function tokens.wait(s, rule, calls)
  local over = s.used + calls - rule.burst
  return over > 0 and s.at + math.ceil(over / rule.count) * rule.per - s.now or 0
end

function tokens.left(s, rule)
  return rule.burst - s.used
end

function tokens.full(s, rule)
  return s.used > 0 and s.at + math.ceil(s.used / rule.count) * rule.per or s.now
end

function tokens.take(s, rule, calls, ahead)
  local periods = math.floor((s.now + ahead - s.at) / rule.per)
  s.used = math.max(s.used, periods * rule.count) + calls
end

tokens.save = save_text
