-- tag: tell the generation of a tag, or begin one, and keep it for as long as what will carry it.
-- KEYS[1] {p}tag
-- ARGV[1] a generation that nobody has had   ARGV[2] ms to keep it   ARGV[3] name
-- returns the generation
local generation = redis.call('HGET', KEYS[1], 'generation')
if not generation then
  generation = ARGV[1]
  redis.call('HSET', KEYS[1], 'kind', 'aside.tag', 'v', 1, 'name', ARGV[3], 'generation', generation)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return generation
