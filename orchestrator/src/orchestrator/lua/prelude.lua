-- Shared by all scripts: time, and the three places every change is told.
--
-- job:{id}:events  stream  the job's history
-- 3d:events        stream  all jobs' history, trimmed: the outbox
-- 3d:live          channel "id": something happened to the job
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function tell(id, event)
  redis.call('XADD', 'job:' .. id .. ':events', 'MAXLEN', '~', 2000, '*', 'event', event)
  redis.call('XADD', '3d:events', 'MAXLEN', '~', 10000, '*', 'job_id', id, 'event', event)
  redis.call('PUBLISH', '3d:live', id)
end
