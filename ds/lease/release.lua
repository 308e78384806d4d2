#!lua flags=allow-oom
-- release: delete the lease, if this id has it.
-- KEYS[1] {p}lease
-- ARGV[1] id
-- returns 1, or 0 when somebody else or nobody has it
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
