-- fixed: windows by the calendar, each with a count. Included by other scripts, after state.lua.
-- returns nothing: it defines fixed
--
-- at is when the window began, a multiple of the period. used is what is
-- admitted in it; what is beyond the count belongs to the windows after it.
local fixed = {}

function fixed.load(key, rule)
  local s = load_text(key)
  s.span = rule.per
  if s.was and s.was ~= rule.numbers then
    s.used = math.min(s.used, rule.count)
    s.at = s.at - s.at % rule.per
  end
  return s
end

function fixed.bring(s, rule, now)
  local window = now - now % rule.per
  if s.at - window > rule.per then
    -- The clock stepped back by more than a window.
    s.used, s.at, s.changed = math.min(s.used, rule.count), window, true
  elseif window > s.at then
    s.used = math.max(0, s.used - (window - s.at) / rule.per * rule.count)
    s.at = window
  end
  s.now = math.max(s.at, now)
end

-- window_for returns which window from s.at on has room, 0 being that at s.at, and
-- what is admitted in it.
local function window_for(s, rule, calls)
  local window = math.floor(s.used / rule.count)
  local used = s.used - window * rule.count
  if used + calls > rule.count then
    return window + 1, 0
  end
  return window, used
end

function fixed.wait(s, rule, calls)
  local window = window_for(s, rule, calls)
  return window > 0 and s.at + window * rule.per - s.now or 0
end

function fixed.left(s, rule)
  return rule.count - s.used
end

function fixed.full(s, rule)
  return s.used > 0 and s.at + math.ceil(s.used / rule.count) * rule.per or s.now
end

function fixed.take(s, rule, calls, ahead)
  s.used = math.max(s.used, math.floor((s.now + ahead - s.at) / rule.per) * rule.count)
  local window, used = window_for(s, rule, calls)
  s.used = window * rule.count + used + calls
end

fixed.save = save_text
