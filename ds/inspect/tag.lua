#!lua flags=no-writes
-- tag: tell the generation of a tag.
-- KEYS[1] {p}tag
-- returns {generation, ms left}; '' and -2 ms where there is none
return {redis.call('HGET', KEYS[1], 'generation') or '', redis.call('PTTL', KEYS[1])}
