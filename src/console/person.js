import { element } from './dom.js'

/**
 * The fields for one user: a name, and a token of one's own.
 * @param {HTMLElement} container
 * @param {object} options
 * @param {string} options.label of the name field
 * @param {import('./identity.js').Identity} options.identity
 * @param {() => void} options.onChange
 * @param {(words: string) => void} options.onError
 * @returns {{ show(): void, askForToken(): void }} show: repaint after the identity changed elsewhere
 */
export function personFields(container, { label, identity, onChange, onError }) {
  const id = `${container.parentElement?.id}-name`
  const name = element('input', {
    id,
    type: 'text',
    maxlength: '128',
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
  })
  const token = element('textarea', {
    id: `${id}-token`,
    rows: '3',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'eyJhbGciOi…',
  })
  const use = element('button', { type: 'button' }, 'Use this token')
  const forget = element('button', { type: 'button', class: 'quiet' }, 'Forget it')
  const own = element(
    'details',
    {},
    element('summary', {}, 'Use your own token (JWT)'),
    element('label', { for: token.id }, element('span', { class: 'label' }, `${label}’s JWT`)),
    token,
    element('div', { class: 'row' }, use, forget),
  )
  container.append(
    element('label', { for: id }, element('span', { class: 'label' }, `${label}’s user id`), name),
    own,
  )

  function show() {
    name.value = identity.name
    name.readOnly = identity.hasOwnToken
    forget.disabled = !identity.hasOwnToken
    own.classList.toggle('in-use', identity.hasOwnToken)
  }

  name.addEventListener('change', () => {
    if (name.value === '') name.value = identity.name
    if (name.value === identity.name) return
    identity.rename(name.value)
    onChange()
  })
  use.addEventListener('click', () => {
    try {
      identity.useToken(token.value.trim())
    } catch (error) {
      onError(error instanceof Error ? error.message : String(error))
      return
    }
    // Don't leave the token where anybody who walks by can read it.
    token.value = ''
    show()
    onChange()
  })
  forget.addEventListener('click', () => {
    identity.useToken(undefined)
    show()
    onChange()
    use.focus()
  })
  show()
  return {
    show,
    askForToken: () => {
      own.open = true
    },
  }
}
