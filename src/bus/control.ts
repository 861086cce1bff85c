/** The message on the events' channel that makes an instance read its close requests; its name follows. */
export const CALL_PREFIX = '\tclose\t'
/** The message to all instances that events wait in the queue of glimpse.enqueue(). */
export const QUEUED = '\tqueue'
