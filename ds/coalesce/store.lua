-- store: keep the value and end the fill, if it is still ours.
-- KEYS[1] {p}value   KEYS[2] {p}fill
-- ARGV[1] token       ARGV[2] value   ARGV[3] life of the value, ms
-- returns {1} for stored or {2, value} that somebody set meanwhile or {0} for not ours
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then
  return {0}
end
local present = redis.call('GET', KEYS[1])
if not present then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2])
if present then
  return {2, present}
end
return {1}
