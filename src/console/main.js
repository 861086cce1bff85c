import { breakages } from './breakages.js'
import { commandList } from './commands.js'
import { byId, element } from './dom.js'
import { Identity, NeedsToken } from './identity.js'
import { Panel } from './panel.js'
import { personFields } from './person.js'
import { Pulse } from './pulse.js'
import { Tally } from './tally.js'
import { showUnread } from './unread.js'

const EMOJI = new Map([
  ['❤️', 'love'],
  ['😂', 'laugh'],
  ['😮', 'wow'],
  ['😢', 'sad'],
  ['😍', 'delight'],
  ['😎', 'cool'],
])
const STRANGERS = ['ana', 'ben', 'eli', 'ivy', 'kai', 'leo', 'mia', 'noa', 'sam', 'tom', 'uma', 'zoe']
/** Where the numbers behind strangers' names stand; not from 0, as those of this page before a reload have looked. */
let strangers = 1000 + Math.floor(Math.random() * 1_000_000)
const VIEWERS = ['bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan']

const author = new Identity('author', 'alice')
const viewer = new Identity('viewer', 'bob')
/** @type {string | undefined} */
let story

const guide = byId('guide', HTMLElement)
const errorLine = byId('error', HTMLElement)
const postForm = byId('post', HTMLFormElement)
const storyText = byId('story-text', HTMLInputElement)
const viewButton = byId('view', HTMLButtonElement)
const reactions = byId('reactions', HTMLFieldSetElement)
const remember = commandList(byId('commands', HTMLOListElement), (as) =>
  (as === 'AUTHOR' ? author : viewer).token(),
)

/** What was last asked for on this page, and when: shows how fast the news of it came round. */
let asked = { event: '', at: 0 }

const authorFields = personFields(personIn('author'), {
  label: 'Author',
  identity: author,
  onChange: authorChanged,
  onError: showError,
})
const viewerFields = personFields(personIn('viewer'), {
  label: 'Viewer',
  identity: viewer,
  onChange: viewerChanged,
  onError: showError,
})

const pulse = new Pulse(byId('pulse', HTMLElement))
const tally = new Tally(byId('tally', HTMLElement), async (id) => {
  const read = await author.request({ method: 'GET', path: `/stories/${id}` })
  if (id === story) paintTotals(read)
  return read
})
/** Both panels bring every event: it is counted when it comes first. */
let counted = 0

const shared = { identity: author, sinceClick, onDisconnect, onResume, onEvent: count, onUnread: showUnread }
const panels = [
  new Panel(byId('sse', HTMLElement), {
    ...shared,
    title: 'Server-Sent Events',
    address: 'GET /events',
    announce: 'polite',
    transport: 'sse',
    onConnect: rememberStream,
  }),
  new Panel(byId('websocket', HTMLElement), {
    ...shared,
    title: 'WebSocket',
    address: 'GET /ws',
    announce: 'off',
    transport: 'websocket',
    // curl speaks WebSocket only where it was built to.
    onConnect: () => {},
  }),
]

const newest = () => panels.find((panel) => panel.live)

byId('read', HTMLButtonElement).addEventListener(
  'click',
  () => void attempt(async () => newest()?.markRead()),
)
byId('tour', HTMLButtonElement).addEventListener('click', () => void attempt(tour))
breakages({ panels, makeEvents, attempt })

postForm.addEventListener('submit', (submitted) => {
  submitted.preventDefault()
  void attempt(postStory)
})
viewButton.addEventListener('click', () => void attempt(viewStory))
byId('another', HTMLButtonElement).addEventListener('click', anotherViewer)
for (const [emoji, name] of EMOJI) {
  const button = element('button', { type: 'button', 'aria-label': `React with ${name}`, title: name }, emoji)
  button.addEventListener('click', () => void attempt(() => react(emoji)))
  reactions.append(button)
}

showNames()
void attempt(start)

/** Both panels listen before the first click, so that the first click already shows what this is about. */
async function start() {
  await author.token()
  for (const panel of panels) panel.connect()
  rememberStream()
  await viewer.token()
  say(
    `Post a story as ${author.name}, then view it as ${viewer.name}: the news arrives in both panels. Or let the page do it.`,
  )
}

async function postStory() {
  const body = storyText.value === '' ? {} : { text: storyText.value }
  const posted = await act('AUTHOR', { method: 'POST', path: '/stories', body })
  story = posted.id
  byId('story', HTMLElement).hidden = false
  byId('story-shown', HTMLElement).textContent = posted.text ?? storyText.value
  byId('story-id', HTMLElement).textContent = posted.id
  viewButton.disabled = false
  reactions.disabled = false
  viewButton.classList.add('primary')
  postForm.querySelector('button')?.classList.remove('primary')
  await showTotals()
  say(`Posted. Now press “View it as ${viewer.name}”.`)
}

async function viewStory() {
  const path = `/stories/${story}/view`
  clock('story.viewed')
  const { recorded } = await act('VIEWER', { method: 'POST', path })
  await showTotals()
  if (viewer.name === author.name) say('Your own views are not news: no event.')
  else if (recorded) say(`${viewer.name} viewed it. React, or be another viewer.`)
  else say(`${viewer.name} has viewed it before: a second look is no new view, so no event.`)
}

/** @param {string} emoji */
async function react(emoji) {
  clock('story.reacted')
  const { recorded } = await act('VIEWER', {
    method: 'POST',
    path: `/stories/${story}/reactions`,
    body: { emoji },
  })
  await showTotals()
  if (viewer.name === author.name) say('Your own reactions are not news: no event.')
  else if (recorded)
    say(
      `${viewer.name} reacted ${emoji}. ${panels.every((panel) => panel.listening) ? 'Now try Disconnect.' : 'Now press Resume.'}`,
    )
  else say(`${viewer.name}’s reaction was ${emoji} already: nothing changed, so no event.`)
}

function anotherViewer() {
  const next = VIEWERS[VIEWERS.indexOf(viewer.name) + 1] ?? `viewer-${Math.random().toString(36).slice(2, 6)}`
  viewer.useToken(undefined)
  viewer.rename(next)
  viewerFields.show()
  viewerChanged()
}

/** From an empty page to the first event: what a newcomer would do, done at one press. */
async function tour() {
  if (story === undefined) await postStory()
  // A second look is no new view: whoever presses again sees somebody else look.
  else if (!viewer.hasOwnToken) anotherViewer()
  // On a phone the news would arrive out of sight.
  byId('hear', HTMLElement).scrollIntoView({ block: 'nearest' })
  await viewStory()
  await react('😍')
  byId('tour', HTMLButtonElement).classList.remove('primary')
  say(
    `That was it: ${viewer.name} looked, and ${author.name} heard of it at once, on both transports. Now break something below.`,
  )
}

/**
 * Something new for the author to hear: so many strangers view the story. Where tokens are not given away, the viewer
 * changes the reaction as often.
 * @param {number} many
 */
async function makeEvents(many) {
  if (story === undefined) await postStory()
  const path = `/stories/${story}`
  if (!viewer.hasOwnToken) {
    await Promise.all(
      Array.from({ length: many }, () =>
        // Nobody's choice, so not kept: only their views are.
        new Identity('', strangersName(), { keep: false }).request({ method: 'POST', path: `${path}/view` }),
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

/** Nobody twice: a second look by the same stranger would be no event, and one would be waited for in vain. */
function strangersName() {
  strangers += 1
  return `${STRANGERS[strangers % STRANGERS.length]}-${strangers}`
}

/** @param {import('./subscription.js').GlimpseEvent} event */
function count({ seq, data }) {
  if (seq <= counted) return
  counted = seq
  pulse.beat()
  tally.touch(data.story_id)
}

/**
 * One request by one of the two, shown as curl too.
 * @param {'AUTHOR' | 'VIEWER'} as
 * @param {{ method: string, path: string, body?: unknown }} call
 */
async function act(as, call) {
  remember({ ...call, as })
  return (as === 'AUTHOR' ? author : viewer).request(call)
}

async function showTotals() {
  paintTotals(await author.request({ method: 'GET', path: `/stories/${story}` }))
}

/** @param {{ views: number, reactions: Record<string, number> }} story */
function paintTotals({ views, reactions: counts }) {
  const parts = [`${views} ${views === 1 ? 'view' : 'views'}`]
  for (const [emoji, count] of Object.entries(counts)) parts.push(`${emoji} ${count}`)
  byId('story-totals', HTMLElement).textContent = parts.join(' · ')
}

function onDisconnect() {
  say(
    `Now be another viewer, view and react, then press Resume: what ${author.name} missed arrives in order.`,
  )
}

function onResume() {
  say('Resumed after the cursor: what happened while away comes first, each once and in order.')
}

/** @param {string} [cursor] */
function rememberStream(cursor) {
  remember({
    method: 'GET',
    path: '/events',
    as: 'AUTHOR',
    stream: true,
    ...(cursor === undefined ? {} : { cursor }),
  })
}

/** @param {'story.viewed' | 'story.reacted'} type */
function clock(type) {
  asked = { event: `${type} ${story} ${viewer.name}`, at: performance.now() }
}

/** @param {import('./subscription.js').GlimpseEvent} event */
function sinceClick(event) {
  const who = event.type === 'story.viewed' ? event.data.viewer_id : event.data.user_id
  if (asked.event !== `${event.type} ${event.data.story_id} ${who}`) return undefined
  const ms = performance.now() - asked.at
  // Later than this it is history being replayed, not news that came round.
  return ms > 2000 ? undefined : Math.max(1, Math.round(ms))
}

function authorChanged() {
  story = undefined
  byId('story', HTMLElement).hidden = true
  viewButton.disabled = true
  reactions.disabled = true
  viewButton.classList.remove('primary')
  postForm.querySelector('button')?.classList.add('primary')
  showNames()
  tally.clear()
  counted = 0
  for (const panel of panels) panel.changeUser()
  void attempt(async () => {
    await author.token()
    say(`You are the author ${author.name} now. Post a story.`)
  })
}

function viewerChanged() {
  showNames()
  void attempt(async () => {
    await viewer.token()
    say(story === undefined ? `The viewer is ${viewer.name} now.` : `Now view it as ${viewer.name}.`)
  })
}

function showNames() {
  viewButton.textContent = `View it as ${viewer.name}`
  byId('hear-words', HTMLElement).textContent = `Live events for ${author.name}`
}

/**
 * Does one thing; what goes wrong is said in plain words, and a missing token is asked for.
 * @param {() => Promise<void>} action
 */
async function attempt(action) {
  errorLine.hidden = true
  try {
    await action()
  } catch (error) {
    showError(error instanceof Error ? error.message : String(error))
    if (!(error instanceof NeedsToken)) return
    say('Two users are needed: paste a token for the author and one for the viewer, then post a story.')
    authorFields.askForToken()
    viewerFields.askForToken()
  }
}

/** @param {string} words */
function say(words) {
  guide.textContent = words
}

/** @param {string} words */
function showError(words) {
  errorLine.hidden = false
  errorLine.textContent = words
}

/** @param {string} id */
function personIn(id) {
  const container = byId(id, HTMLElement).querySelector('[data-person]')
  if (!(container instanceof HTMLElement)) throw new Error(`#${id} has no place for a person`)
  return container
}
