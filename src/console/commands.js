import { element } from './dom.js'

const COMMANDS_KEPT = 30

/**
 * @typedef {object} Shown
 * @property {string} method
 * @property {string} path
 * @property {'AUTHOR' | 'VIEWER'} as the shell variable that holds the token
 * @property {unknown} [body]
 * @property {boolean} [stream] leaves the response open
 * @property {string} [cursor] resumes after it
 */

/**
 * The curl command that does what the page did. The token stays in a shell variable: readable, and fit to be pasted
 * into a chat.
 * @param {string} origin
 * @param {Shown} shown
 */
export function curlCommand(origin, { method, path, as, body, stream, cursor }) {
  const words = ['curl', stream ? '-N' : '-s']
  if (method !== 'GET') words.push('-X', method)
  words.push(quoted(origin + path), '-H', `"Authorization: Bearer $${as}"`)
  if (cursor !== undefined) words.push('-H', quoted(`Last-Event-ID: ${cursor}`))
  // Not --json: the curl of an older system does not know it.
  if (body !== undefined)
    words.push('-H', quoted('Content-Type: application/json'), '-d', quoted(JSON.stringify(body)))
  return words.join(' ')
}

/**
 * One word for a POSIX shell, whatever is in it.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/**
 * @param {HTMLOListElement} list
 * @param {(as: Shown['as']) => Promise<string>} tokenOf
 * @returns {(shown: Shown) => void} adds a command on top
 */
export function commandList(list, tokenOf) {
  return (shown) => {
    const command = curlCommand(location.origin, shown)
    const code = element('code', {}, command)
    const copy = element('button', { type: 'button', class: 'quiet' }, 'Copy')
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(`${shown.as}=${quoted(await tokenOf(shown.as))}\n${command}`)
        copy.textContent = 'Copied'
        setTimeout(() => {
          copy.textContent = 'Copy'
        }, 1500)
      } catch {
        // No clipboard outside secure contexts: leave the text selected, one key away from copied.
        getSelection()?.selectAllChildren(code)
      }
    })
    list.prepend(element('li', {}, code, copy))
    while (list.childElementCount > COMMANDS_KEPT) list.lastElementChild?.remove()
  }
}
