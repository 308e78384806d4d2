#!lua flags=allow-oom
-- open: make sure that the queue and its one group exist.
-- KEYS[1] {p}jobs   KEYS[2] {p}meta
-- ARGV[1] schema    ARGV[2] group
-- returns {schema of the queue, group of the queue}: the caller's, or it must stop
-- It may run out of memory's bounds: a full server is emptied by consumers that come.
local schema = redis.call('HGET', KEYS[2], 'schema') or ARGV[1]
local group = redis.call('HGET', KEYS[2], 'group') or ARGV[2]
if schema == ARGV[1] and group == ARGV[2] then
  redis.call('HSET', KEYS[2], 'kind', 'queue', 'schema', schema, 'group', group)
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], group, '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
    return made
  end
end
return {schema, group}
