import { byId, element, setUsable } from './dom.js'
import { Identity } from './identity.js'

const EMOJI = new Map([
  ['❤️', 'love'],
  ['😂', 'laugh'],
  ['😮', 'wow'],
  ['😢', 'sad'],
  ['😍', 'delight'],
  ['😎', 'cool'],
])
const STRANGERS = ['ana', 'ben', 'eli', 'ivy', 'kai', 'leo', 'mia', 'noa', 'sam', 'tom', 'uma', 'zoe']

/**
 * @typedef {object} StoryOptions
 * @property {Identity} author
 * @property {Identity} viewer
 * @property {import('./guide.js').Guide} guide
 * @property {import('./commands.js').Commands} commands
 * @property {(action: () => Promise<void>) => Promise<void>} attempt
 * @property {() => boolean} listening whether both panels are connected
 */

/** The story on the page, and what the author and the viewer do with it. */
export class Story {
  /** @type {string | undefined} */
  #id
  #options
  #text = byId('story-text', HTMLInputElement)
  #view = byId('view', HTMLButtonElement)
  #reactions = byId('reactions', HTMLFieldSetElement)
  /** The last click that makes an event, and when: shows how long the event takes to arrive. */
  #asked = { event: '', at: 0 }
  /** The number in the last stranger's name; random, because those of this page before a reload have viewed. */
  #strangers = 1000 + Math.floor(Math.random() * 1_000_000)

  /** @param {StoryOptions} options */
  constructor(options) {
    this.#options = options
    const { attempt } = options
    byId('post', HTMLFormElement).addEventListener('submit', (submitted) => {
      submitted.preventDefault()
      void attempt(() => this.post())
    })
    this.#view.addEventListener('click', () => void attempt(() => this.view()))
    for (const [emoji, name] of EMOJI) {
      const button = element(
        'button',
        {
          type: 'button',
          'aria-label': `React with ${name}`,
          'aria-describedby': 'view-reason',
          title: name,
        },
        emoji,
      )
      button.addEventListener('click', () => void attempt(() => this.react(emoji)))
      this.#reactions.append(button)
    }
    this.clear()
  }

  get posted() {
    return this.#id !== undefined
  }

  /** No story any more: another author is at the page. */
  clear() {
    this.#id = undefined
    byId('story', HTMLElement).hidden = true
    this.#setActing(false)
  }

  async post() {
    const { guide, viewer } = this.#options
    const text = this.#text.value
    const posted = await this.#act('AUTHOR', {
      method: 'POST',
      path: '/stories',
      body: text === '' ? {} : { text },
    })
    this.#id = posted.id
    byId('story', HTMLElement).hidden = false
    byId('story-shown', HTMLElement).textContent = posted.text ?? text
    byId('story-id', HTMLElement).textContent = posted.id
    this.#setActing(true)
    guide.lead(this.#view)
    await this.#showTotals()
    guide.say(`Posted. Now press “View it as ${viewer.name}”.`)
  }

  async view() {
    const { author, guide, viewer } = this.#options
    this.#clock('story.viewed')
    const { recorded } = await this.#act('VIEWER', { method: 'POST', path: `/stories/${this.#id}/view` })
    guide.lead()
    await this.#showTotals()
    if (viewer.name === author.name) guide.say('Your own views are not news: no event.')
    else if (recorded) guide.say(`${viewer.name} viewed it. React, or be another viewer.`)
    else guide.say(`${viewer.name} has viewed it before: a second look is no new view, so no event.`)
  }

  /** @param {string} emoji */
  async react(emoji) {
    const { author, guide, listening, viewer } = this.#options
    this.#clock('story.reacted')
    const path = `/stories/${this.#id}/reactions`
    const { recorded } = await this.#act('VIEWER', { method: 'POST', path, body: { emoji } })
    await this.#showTotals()
    if (viewer.name === author.name) guide.say('Your own reactions are not news: no event.')
    else if (recorded)
      guide.say(
        `${viewer.name} reacted ${emoji}. ${listening() ? 'Now press Disconnect in one of the boxes.' : 'Now press Resume.'}`,
      )
    else guide.say(`${viewer.name}’s reaction was ${emoji} already: nothing changed, so no event.`)
  }

  /**
   * Makes events for the author: so many strangers view the story. Where the service issues no tokens, the viewer changes
   * the reaction as often.
   * @param {number} many
   */
  async makeEvents(many) {
    const { viewer } = this.#options
    if (!this.posted) await this.post()
    const path = `/stories/${this.#id}`
    if (!viewer.hasOwnToken) {
      await Promise.all(
        Array.from({ length: many }, () =>
          // Not kept: a reload of the page must not find them as its people.
          new Identity('', this.#strangersName(), { keep: false }).request({
            method: 'POST',
            path: `${path}/view`,
          }),
        ),
      )
      return
    }
    const emoji = [...EMOJI.keys()]
    for (let made = 0, i = 0; made < many; i += 1) {
      const body = { emoji: emoji[i % emoji.length] }
      const { recorded } = await viewer.request({ method: 'POST', path: `${path}/reactions`, body })
      if (recorded) made += 1
    }
  }

  /**
   * Milliseconds since the click on this page that caused the event; undefined where none did.
   * @param {import('./subscription.js').GlimpseEvent} event
   */
  sinceClick({ type, data }) {
    const who = type === 'story.viewed' ? data?.viewer_id : data?.user_id
    if (this.#asked.event !== `${type} ${data?.story_id} ${who}`) return undefined
    const ms = performance.now() - this.#asked.at
    // Later than this, the event is one of the log that is sent again after a resume.
    return ms > 2000 ? undefined : Math.max(1, Math.round(ms))
  }

  /**
   * Reads a story of the author's, and shows its totals if it is the one on the page.
   * @param {string} id
   */
  async read(id) {
    const story = await this.#options.author.request({ method: 'GET', path: `/stories/${id}` })
    if (id === this.#id) paintTotals(story)
    return story
  }

  async #showTotals() {
    if (this.#id !== undefined) await this.read(this.#id)
  }

  /**
   * One request by one of the two, shown as curl too.
   * @param {'AUTHOR' | 'VIEWER'} variable
   * @param {{ method: string, path: string, body?: unknown }} call
   */
  async #act(variable, call) {
    const { author, commands, viewer } = this.#options
    const by = variable === 'AUTHOR' ? author : viewer
    commands.add({ ...call, by: { variable, name: by.name, pasted: by.pasted } })
    return by.request(call)
  }

  /** @param {'story.viewed' | 'story.reacted'} type */
  #clock(type) {
    this.#asked = { event: `${type} ${this.#id} ${this.#options.viewer.name}`, at: performance.now() }
  }

  /** @param {boolean} possible whether there is a story to act on */
  #setActing(possible) {
    for (const button of [this.#view, ...this.#reactions.querySelectorAll('button')])
      setUsable(button, possible)
    byId('view-reason', HTMLElement).hidden = possible
  }

  /** No name twice: a second look by the same stranger makes no event, and the page would wait for one. */
  #strangersName() {
    this.#strangers += 1
    return `${STRANGERS[this.#strangers % STRANGERS.length]}-${this.#strangers}`
  }
}

/** @param {{ views: number, reactions: Record<string, number> }} story */
function paintTotals({ views, reactions }) {
  const parts = [`${views} ${views === 1 ? 'view' : 'views'}`]
  for (const [emoji, count] of Object.entries(reactions)) parts.push(`${emoji} ${count}`)
  byId('story-totals', HTMLElement).textContent = parts.join(' · ')
}
