#!lua flags=allow-oom
-- ack: jobs are done and leave the queue, those whose delivery is still ours.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines
-- ARGV[1] group   ARGV[2] consumer   ARGV[3..] job id, attempt, job id, attempt, … in the order of the ids
-- returns {code, …}, one for each: 1 done, 0 another delivery has it, -1 gone
local first = #ARGV > 2 and redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[#ARGV - 1], #ARGV, ARGV[2]) or {}
if first.err and not string.find(first.err, 'NOGROUP', 1, true) then return first end
local mine = {}
for _, p in ipairs(first) do mine[p[1]] = p[4] end

-- The ids come in order, so one call has found them, unless as many again of
-- this consumer lie in between. What is not among them is looked at alone.
local function code(id, attempt)
  if mine[id] then return mine[id] == attempt and 1 or 0 end
  local p = not first.err and redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if not p then return -1 end
  return p[2] == ARGV[2] and p[4] == attempt and 1 or 0
end

local codes, done, n = {}, {}, 0
for i = 3, #ARGV, 2 do
  local c = code(ARGV[i], tonumber(ARGV[i + 1]))
  codes[(i - 1) / 2] = c
  if c == 1 then
    n = n + 1
    done[n] = ARGV[i]
  end
end
if n > 0 then
  local acked = redis.call('XACK', KEYS[1], ARGV[1], unpack(done))
  if acked ~= n then
    return redis.error_reply('ERR XACK took ' .. acked .. ' of ' .. n)
  end
  redis.call('XDEL', KEYS[1], unpack(done))
  redis.call('ZREM', KEYS[2], unpack(done))
end
return codes
