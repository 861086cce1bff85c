import { announce } from './announce.js'
import { byId, element } from './dom.js'

const ACTIONS_KEPT = 20

/**
 * @typedef {object} Caller
 * @property {'AUTHOR' | 'VIEWER'} variable the shell variable that holds the token
 * @property {string} name the user
 * @property {string | undefined} [pasted] the token, where the service did not issue it
 *
 * @typedef {object} Command
 * @property {string} method
 * @property {string} path
 * @property {Caller} by
 * @property {unknown} [body]
 * @property {boolean} [stream] leaves the response open
 * @property {string | undefined} [cursor] resumes after it
 */

/**
 * A script for a POSIX shell that does what the page did, from its variables on: pasted whole, it posts a story of its own
 * and acts on that. Without comments: an interactive zsh takes them for commands.
 * @param {string} origin
 * @param {readonly Command[]} commands
 * @param {(caller: Caller) => string} pastedToken what stands for a token that the service did not issue
 * @returns {string}
 */
export function shellScript(origin, commands, pastedToken) {
  const lines = [`GLIMPSE=${quoted(origin)}`]
  /** @type {Map<string, string>} the user whose token each variable holds so far */
  const users = new Map()
  for (const command of commands) {
    const { by } = command
    if (users.get(by.variable) !== by.name) {
      lines.push(`${by.variable}=${by.pasted === undefined ? issuedToken(by.name) : quoted(pastedToken(by))}`)
      users.set(by.variable, by.name)
    }
    lines.push(curlCommand(command))
  }
  return lines.join('\n')
}

/** @param {Command} command */
function curlCommand({ method, path, by, body, stream, cursor }) {
  const words = ['curl', stream ? '-sN' : '-s']
  if (method !== 'GET') words.push('-X', method)
  const variablePath = path.replace(/^\/stories\/[^/]+/, '/stories/$STORY')
  words.push(`"$GLIMPSE${variablePath}"`, '-H', `"Authorization: Bearer $${by.variable}"`)
  if (cursor !== undefined) words.push('-H', quoted(`Last-Event-ID: ${cursor}`))
  // Not --json: the curl of an older system does not know it.
  if (body !== undefined)
    words.push('-H', quoted('Content-Type: application/json'), '-d', quoted(JSON.stringify(body)))
  const curl = words.join(' ')
  // A stream does not end: the script goes on beside it, once it is open.
  if (stream) return `${curl} &\nsleep 1`
  return isPost({ method, path }) ? `STORY=$(${curl} | ${fieldOf('id')})` : curl
}

/** @param {string} user */
function issuedToken(user) {
  const body = quoted(JSON.stringify({ user }))
  return `$(curl -s "$GLIMPSE/dev/tokens" -H 'Content-Type: application/json' -d ${body} | ${fieldOf('token')})`
}

/**
 * Reads one field out of an answer without jq, which many machines lack.
 * @param {string} name
 */
function fieldOf(name) {
  return `sed 's/.*"${name}":"\\([^"]*\\)".*/\\1/'`
}

/** @param {{ method: string, path: string }} command */
function isPost({ method, path }) {
  return method === 'POST' && path === '/stories'
}

/**
 * One word for a POSIX shell, whatever is in it.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** The script on the page: how the author listens, the newest story, and what was done to it. */
export class Commands {
  #code = element('code')
  #copy = byId('copy', HTMLButtonElement)
  /** @type {Command[]} */
  #listening = []
  /** @type {Command[]} */
  #actions = []

  constructor() {
    byId('commands', HTMLElement).append(this.#code)
    this.#copy.addEventListener('click', () => void this.#copyScript())
  }

  /** @param {Command} command */
  add(command) {
    if (command.stream) {
      this.#listening = [command]
    } else if (isPost(command)) {
      // Each story begins the script anew: the variable STORY means one story.
      this.#actions = [command]
    } else {
      this.#actions.push(command)
      // The first of them sets STORY.
      if (this.#actions.length > ACTIONS_KEPT) this.#actions.splice(1, 1)
    }
    this.#code.textContent = this.#script(({ name }) => `paste the token of ${name} here`)
  }

  /** Another author: the stream and the story were the former one's. */
  clear() {
    this.#listening = []
    this.#actions = []
    this.#code.textContent = ''
  }

  /** @param {(caller: Caller) => string} pastedToken */
  #script(pastedToken) {
    return shellScript(location.origin, [...this.#listening, ...this.#actions], pastedToken)
  }

  async #copyScript() {
    try {
      // The page never shows a token: somebody may look on. The clipboard gets it.
      await navigator.clipboard.writeText(`${this.#script(({ pasted }) => pasted ?? '')}\n`)
      this.#copy.textContent = 'Copied'
      announce('Copied.')
      setTimeout(() => {
        this.#copy.textContent = 'Copy all'
      }, 1500)
    } catch {
      // No clipboard outside secure contexts: leave the text selected, one key away from copied.
      getSelection()?.selectAllChildren(this.#code)
    }
  }
}
