-- Shared by all scripts: time, and the places every change is told.
--
-- job:{id}:events  stream   the job's history; begins when something other than its submission happens
-- 3d:events        stream   all jobs' history, trimmed: the outbox. One change has the same entry id in both
-- 3d:live          channel  "entry_id job_id owner event": what happened
-- 3d:stop          channel  "job_id": whoever carries the job must stop
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function outbox(id, owner, event)
  local entry = redis.call('XADD', '3d:events', 'MAXLEN', '~', @OUTBOX_ENTRIES@, '*', 'job_id', id, 'owner', owner, 'event', event)
  redis.call('PUBLISH', '3d:live', entry .. ' ' .. id .. ' ' .. owner .. ' ' .. event)
  return entry
end

local function append(stream, entry, event)
  -- An id that is not above the last one is refused (somebody deleted the outbox): the clock's own will do.
  local kept = redis.pcall('XADD', stream, 'MAXLEN', '~', 2000, entry, 'event', event)
  if type(kept) == 'table' and kept.err then
    redis.call('XADD', stream, 'MAXLEN', '~', 2000, '*', 'event', event)
  end
end

local function tell(id, owner, event)
  local stream = 'job:' .. id .. ':events'
  if redis.call('EXISTS', stream) == 0 then
    local submitted = redis.call('HGET', 'job:' .. id, 'submitted')
    if submitted then append(stream, submitted, [[@SUBMITTED@]]) end
  end
  append(stream, outbox(id, owner, event), event)
end
