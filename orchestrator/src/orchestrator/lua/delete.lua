-- Forget an ended job.
--
-- KEYS[1] job:{id}               hash    the job
-- KEYS[2] job:{id}:events        stream  its history
-- KEYS[3] 3d:jobs:{owner}        zset    job id → time of submission
-- KEYS[4] 3d:unfinished:{owner}  set     ids of jobs that have not ended
-- ARGV[1] id
-- Returns 1, or 0 when it has not ended.
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'completed' and state ~= 'failed' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
return 1
