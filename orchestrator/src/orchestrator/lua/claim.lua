-- Take the first job of the queue under a lease. Nothing ever leaves the queue without holding one.
--
-- KEYS[1] 3d:queue   list  job ids ready for a worker
-- KEYS[2] 3d:leases  zset  job id → end of the lease, ms
-- KEYS[3] 3d:claims  hash  token → job id, to find a claim whose reply was lost
-- job:{id}           hash  the job
-- ARGV[1] token   ARGV[2] lease ms   ARGV[3] newest schema the caller knows
-- ARGV[4] messages by state, as JSON   ARGV[5] progress at which the first stage begins
-- ARGV[6] losses that make a job a suspect, which is left where it is ('': it is taken)
-- Returns the job's fields and values; an empty list: none is there; {'newer'}: only jobs of a newer schema are;
-- {'suspect'}: one is the next.
local again = redis.call('HGET', KEYS[3], ARGV[1])
if again then return redis.call('HGETALL', 'job:' .. again) end
local skipped = 0
while true do
  local id = redis.call('LINDEX', KEYS[1], skipped)
  if not id then return skipped > 0 and {'newer'} or {} end
  local job = 'job:' .. id
  local state, token, waiting, schema, owner, started, losses, attempt, version, progress =
    unpack(redis.call('HMGET', job, 'state', 'token', 'waiting_for', 'schema', 'owner', 'started_at', 'losses',
      'attempt', 'version', 'progress'))
  local ready = state and state ~= 'completed' and state ~= 'failed'
    and (not token or token == '') and (not waiting or waiting == '')
  if ready and (tonumber(schema) or 1) > tonumber(ARGV[3]) then
    skipped = skipped + 1 -- a worker that knows this schema will take it
    if skipped > 100 then return {'newer'} end
  elseif ready and ARGV[6] ~= '' and (tonumber(losses) or 0) == tonumber(ARGV[6]) then
    return {'suspect'}
  elseif not ready then
    redis.call('LREM', KEYS[1], 1, id) -- ended, deleted or taken while it was queued
  else
    redis.call('LREM', KEYS[1], 1, id)
    local now = now_ms()
    local at = string.format('%.3f', now / 1000)
    if state == 'queued' then state, progress = 'generating_images', ARGV[5] end
    if not started or started == '' then started = at end
    local message = cjson.decode(ARGV[4])[state]
    redis.call('HSET', job, 'token', ARGV[1], 'claimed_at', at, 'started_at', started, 'message', message,
      'state', state, 'stage', state, 'progress', progress or 0,
      'attempt', (tonumber(attempt) or 0) + 1, 'version', (tonumber(version) or 0) + 1)
    redis.call('ZADD', KEYS[2], now + ARGV[2], id)
    redis.call('HSET', KEYS[3], ARGV[1], id)
    tell(id, owner, cjson.encode({type = 'claimed', state = state, message = message, progress = tonumber(progress) or 0}))
    return redis.call('HGETALL', job)
  end
end
