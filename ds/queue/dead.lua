#!lua flags=allow-oom
-- dead: move a job to the dead letters, payload untouched, if its delivery is still ours.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}dead
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] job id   ARGV[4] attempt   ARGV[5] cause
-- returns 1 moved, 0 another delivery has it, -1 gone
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if p.err then
  return string.find(p.err, 'NOGROUP', 1, true) and -1 or p
end
p = p[1]
if not p then return -1 end
if p[2] ~= ARGV[2] or p[4] ~= tonumber(ARGV[4]) then return 0 end

local e = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if e then
  redis.call('XADD', KEYS[3], '*', 'job', ARGV[3], 'attempts', p[4], 'cause', ARGV[5], unpack(e[2]))
end
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[3]) ~= 1 then
  return redis.error_reply('ERR XACK took nothing')
end
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
return e and 1 or -1
