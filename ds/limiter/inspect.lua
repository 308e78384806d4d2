#!lua flags=no-writes
-- inspect: tell how the rules of a key stand, and change nothing.
-- KEYS[1..] for each algorithm: {p}STATE, {p}STATE:reserved
-- ARGV[1..] algorithms
-- returns for each state that is there {algorithm, count, per, burst, left, held, wait for one call, reset, now}
-- include state.lua
-- include gcra.lua
-- include tokens.lua
-- include fixed.lua
-- include sliding.lua
-- include rules.lua
local now = time_now()
local answers = {}
for i = 1, #ARGV do
  local key, numbers = KEYS[2 * i - 1], nil
  if ARGV[i] == 'sliding' then
    numbers = redis.call('HGET', key, 'rule')
  else
    numbers = load_text(key).was
  end
  if numbers then
    local rule = rule_of(ARGV[i] .. ' ' .. numbers)
    if not rule.algorithm then
      wrong_state()
    end
    local s, _, algorithm = open(key, KEYS[2 * i], ARGV[i] .. ' ' .. numbers, now)
    local wait = 0
    if s.held >= rule.burst then
      wait = math.max(s.first - now, 1)
    else
      wait = algorithm.wait(s, rule, 1 + s.held)
      wait = wait > 0 and wait + (s.now or s.at) - now or 0
    end
    local reset = (s.used > 0 or s.held > 0) and math.max(0, algorithm.full(s, rule) - now) or 0
    answers[#answers + 1] = {
      rule.algorithm, rule.count, rule.per, rule.burst, math.max(0, algorithm.left(s, rule) - s.held), s.held, wait, reset, now,
    }
  end
end
return answers
