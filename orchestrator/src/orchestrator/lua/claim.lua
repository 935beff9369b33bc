-- Take the first job of the queue under a lease. Nothing ever leaves the queue without holding one.
--
-- KEYS[1] 3d:queue   list  job ids ready for a worker
-- KEYS[2] 3d:leases  zset  job id → end of the lease, ms
-- KEYS[3] 3d:claims  hash  token → job id, to find a claim whose reply was lost
-- job:{id}           hash  the job
-- ARGV[1] token   ARGV[2] lease ms   ARGV[3] wall clock, s   ARGV[4] message of the first stage   ARGV[5] its progress
-- Returns the job's fields and values, or an empty list.
local again = redis.call('HGET', KEYS[3], ARGV[1])
if again then return redis.call('HGETALL', 'job:' .. again) end
while true do
  local id = redis.call('LPOP', KEYS[1])
  if not id then return {} end
  local job = 'job:' .. id
  local state, token, waiting = unpack(redis.call('HMGET', job, 'state', 'token', 'waiting_for'))
  -- Ids of jobs that ended or were deleted while queued are dropped here.
  if state and state ~= 'completed' and state ~= 'failed' and token == '' and waiting == '' then
    if state == 'queued' then
      state = 'generating_images'
      redis.call('HSET', job, 'state', state, 'stage', state, 'message', ARGV[4], 'progress', ARGV[5])
    end
    if redis.call('HGET', job, 'started_at') == '' then redis.call('HSET', job, 'started_at', ARGV[3]) end
    redis.call('HSET', job, 'token', ARGV[1])
    redis.call('HINCRBY', job, 'attempt', 1)
    redis.call('HINCRBY', job, 'version', 1)
    redis.call('ZADD', KEYS[2], now_ms() + ARGV[2], id)
    redis.call('HSET', KEYS[3], ARGV[1], id)
    local message, progress = unpack(redis.call('HMGET', job, 'message', 'progress'))
    tell(id, cjson.encode({type = 'claimed', state = state, message = message, progress = tonumber(progress)}))
    return redis.call('HGETALL', job)
  end
end
