import { element } from './dom.js'

const STORIES_SHOWN = 8

/** The author's stories with their views and reactions, as the service counts them; an event says which one to read again. */
export class Tally {
  #body
  #empty
  #read
  /** @type {Map<string, { row: HTMLTableRowElement, due: boolean }>} */
  #stories = new Map()

  /**
   * @param {HTMLElement} container
   * @param {(id: string) => Promise<{ text: string | null, views: number, reactions: Record<string, number> }>} read
   */
  constructor(container, read) {
    this.#read = read
    this.#body = element('tbody')
    this.#empty = element('p', { class: 'hint' }, 'Each story that somebody views gets a row here.')
    const heads = ['Story', 'Views', 'Reactions'].map((name) => element('th', { scope: 'col' }, name))
    container.append(
      element('table', {}, element('thead', {}, element('tr', {}, ...heads)), this.#body),
      this.#empty,
    )
  }

  /**
   * Something happened to a story: reads it again, once for many events of one moment.
   * @param {string} id
   */
  touch(id) {
    let story = this.#stories.get(id)
    if (story === undefined) {
      story = { row: element('tr', {}), due: false }
      this.#stories.set(id, story)
      const oldest = this.#stories.keys().next().value
      if (this.#stories.size > STORIES_SHOWN && oldest !== undefined) {
        this.#stories.get(oldest)?.row.remove()
        this.#stories.delete(oldest)
      }
    }
    if (story.due) return
    story.due = true
    setTimeout(() => void this.#look(id), 150)
  }

  clear() {
    this.#stories.clear()
    this.#body.replaceChildren()
    this.#empty.hidden = false
  }

  /** @param {string} id */
  async #look(id) {
    const story = this.#stories.get(id)
    if (story === undefined) return
    story.due = false
    try {
      const { text, views, reactions } = await this.#read(id)
      const counts = Object.entries(reactions).map(([emoji, count]) => `${emoji} ${count}`)
      story.row.replaceChildren(
        element('th', { scope: 'row' }, element('bdi', {}, text || 'Untitled')),
        element('td', {}, String(views)),
        element('td', {}, counts.join('  ') || '–'),
      )
      if (this.#stories.get(id) !== story || story.row.isConnected) return
      this.#body.prepend(story.row)
      this.#empty.hidden = true
    } catch {
      // Deleted, expired, or the service is away: its row keeps the last numbers, or never appears.
    }
  }
}
