#!lua flags=allow-oom
-- release: hand deliveries back that nobody began to work on, for others to take at once; they do not count as attempts.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}wake
-- ARGV[1] group   ARGV[2] consumer   ARGV[3..] job id, attempt, job id, attempt, …
-- returns {code, …}, one for each: 1 handed back, 0 another delivery has it, -1 gone
local function pending(id)
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if p.err and not string.find(p.err, 'NOGROUP', 1, true) then
    return redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  end
  return p[1]
end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local codes = {}
for i = 3, #ARGV, 2 do
  local id, code = ARGV[i], -1
  local p = pending(id)
  if p and (p[2] ~= ARGV[2] or p[4] ~= tonumber(ARGV[i + 1])) then
    code = 0
  elseif p then
    redis.call('XCLAIM', KEYS[1], ARGV[1], '(delayed)', 0, id, 'RETRYCOUNT', p[4] - 1, 'JUSTID')
    redis.call('ZADD', KEYS[2], now, id)
    code = 1
  end
  codes[#codes + 1] = code
end
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('LPUSH', KEYS[3], '1') end
return codes
