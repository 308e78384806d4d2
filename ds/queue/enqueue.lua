-- enqueue: add jobs, and wake one idle consumer.
-- KEYS[1] {p}jobs   KEYS[2] {p}wake   KEYS[3] {p}meta
-- ARGV[1] schema    ARGV[2..] payloads
-- returns {job id, …}, or the error "SCHEMA n" when the queue is of schema n
local schema = redis.call('HGET', KEYS[3], 'schema')
if not schema then
  redis.call('HSET', KEYS[3], 'kind', 'queue', 'schema', ARGV[1])
elseif schema ~= ARGV[1] then
  return redis.error_reply('SCHEMA ' .. schema)
end
local ids = {}
for i = 2, #ARGV do
  ids[i - 1] = redis.call('XADD', KEYS[1], '*', 'v', ARGV[i])
end
-- One token is enough: whoever takes it and leaves jobs behind puts it back.
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], '1')
end
return ids
