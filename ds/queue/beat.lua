#!lua flags=allow-oom
-- beat: keep deliveries for another visibility, those that are still ours.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] visibility, ms   ARGV[4..] job id, attempt, job id, attempt, …
-- returns {code, …}, one for each: 1 kept, 0 another delivery has it, -1 gone
-- It takes no memory, and without it a full server would run jobs twice.
local function pending(id)
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if p.err and not string.find(p.err, 'NOGROUP', 1, true) then
    return redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  end
  return p[1]
end

local t = redis.call('TIME')
-- As text: a number would be printed anew for every job.
local deadline = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[3])
local codes = {}
for i = 4, #ARGV, 2 do
  local id, code = ARGV[i], -1
  local p = pending(id)
  if p and (p[2] ~= ARGV[2] or p[4] ~= tonumber(ARGV[i + 1])) then
    code = 0
  elseif p then
    -- JUSTID keeps the delivery count; RETRYCOUNT says so to servers that count
    -- it all the same (miniredis). An entry that was deleted drops out.
    if #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', p[4], 'JUSTID') == 1 then
      redis.call('ZADD', KEYS[2], deadline, id)
      code = 1
    end
  end
  codes[#codes + 1] = code
end
return codes
