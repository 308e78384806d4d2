-- state: a rule, and its state as text. Included by other scripts.
-- returns nothing: it defines rule_of, wrong_state, load_text and save_text
--
-- The text is "limiter/1 <count> <per> <burst> <at> <used>", and where calls
-- are reserved " <held> <first> <last>": how many, and when the first and the
-- last of the reservations lapse. Times are in µs of the server. What used
-- counts in is for the algorithm to say.
local rules = {}
local function rule_of(text)
  local rule = rules[text]
  if not rule then
    local algorithm, numbers, count, per, burst = string.match(text, '^(%l+) ((%d+) (%d+) (%d+))$')
    rule = {algorithm = algorithm, numbers = numbers, count = tonumber(count), per = tonumber(per), burst = tonumber(burst)}
    rules[text] = rule
  end
  return rule
end

local function wrong_state()
  error({err = 'WRONGSTATE the key holds no limiter state of version 1'})
end

local function load_text(key)
  local s = {at = 0, used = 0, held = 0, first = 0, last = 0}
  local text = redis.call('GET', key)
  if not text then
    return s
  end
  local numbers, at, used, more = string.match(text, '^limiter/1 (%d+ %d+ %d+) (%d+) (%d+)(.*)$')
  if not numbers then
    wrong_state()
  end
  s.was, s.at, s.used = numbers, tonumber(at), tonumber(used)
  if more ~= '' then
    local held, first, last = string.match(more, '^ (%d+) (%d+) (%d+)$')
    if not held then
      wrong_state()
    end
    s.held, s.first, s.last = tonumber(held), tonumber(first), tonumber(last)
  end
  return s
end

-- save_text keeps the state until ends: then it says no more than no state.
local function save_text(key, rule, s, ends)
  local text
  if s.held > 0 then
    text = string.format('limiter/1 %s %.0f %.0f %.0f %.0f %.0f', rule.numbers, s.at, s.used, s.held, s.first, s.last)
  else
    text = string.format('limiter/1 %s %.0f %.0f', rule.numbers, s.at, s.used)
  end
  redis.call('SET', key, text, 'PXAT', string.format('%.0f', math.floor(ends / 1000) + 1))
end
