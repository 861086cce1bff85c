import { byId } from './dom.js'

const TITLE = document.title

/**
 * The number that follows the author everywhere: in the header and in the tab's title.
 * @param {number} unread
 */
export function showUnread(unread) {
  const count = byId('unread', HTMLElement)
  count.textContent = `${unread} unread`
  count.classList.toggle('some', unread > 0)
  byId('read', HTMLButtonElement).disabled = unread === 0
  document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE
}
