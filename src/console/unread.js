import { byId, setUsable } from './dom.js'

const TITLE = document.title

/**
 * Shows how many events are unread, in the header and in the tab's title.
 * @param {number} unread
 */
export function showUnread(unread) {
  const count = byId('unread', HTMLElement)
  count.textContent = `${unread} unread`
  count.classList.toggle('some', unread > 0)
  setUsable(byId('read', HTMLButtonElement), unread > 0)
  document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE
}
