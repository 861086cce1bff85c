/** What an instance is called with over the events' channel, followed by its name, to look at what it is to end. */
export const CALL_PREFIX = '\tclose\t'
/** What all instances are called with where events wait in the queue of glimpse.enqueue(). */
export const QUEUED = '\tqueue'
